"""Which of the fields that bring bytes into pods some loaded rule sees, and which none does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from custody.policy.kinds import Selector, builtin
from custody.policy.kyverno.policy import Rule
from custody.policy.load import PolicySet
from custody.policy.model import Kind
from custody.policy.podfields import IMAGE_FIELDS, TEMPLATES
from custody.policy.resources import ApiResource
from policylang.go.wildcards import glob
from policylang.kpattern import anchor

ANYWHERE = "any pod template in it"


class Coverage(NamedTuple):
    """One field of one kind. `field` is a JSON Pointer, with `[]` for each entry of a list."""

    kind: str
    field: str
    rules: list[str]
    """`policy/rule` of each rule that sees it: it verifies images there, or its pattern or conditions name it."""


def covered(policies: PolicySet) -> list[Coverage]:
    """A row for each field: of pods, of Kubernetes' own kinds with pod templates, and one for each custom resource."""
    rows = []
    own = {(one.group, one.kind) for one in builtin().resources}
    for kind, template in TEMPLATES.items():
        resource = next((one for one in policies.kinds.resources
                         if one.kind == kind and (one.group, kind) in own), None)
        if resource is not None:
            rows += [Coverage(kind, f"{template}{field}", [*_seeing(policies, resource, template, field)])
                     for field in IMAGE_FIELDS]
    custom = dict.fromkeys((one.group, one.kind) for one in policies.kinds.resources)
    return rows + [Coverage(f"{kind}.{group}", ANYWHERE, []) for group, kind in custom if (group, kind) not in own]


def _seeing(policies: PolicySet, resource: ApiResource, template: str, field: str) -> Iterator[str]:
    kind = Kind(resource.kind, resource.version, resource.group)
    for document, policy in zip(policies.documents, policies.policies, strict=True):
        for written, rule in zip(document["spec"]["rules"], policy.rules, strict=True):
            created = [text for one in rule.match.asked if "CREATE" in (one.operations or ("CREATE",))
                       for _, text in one.kinds]
            names = any(Selector.parse(text).selects(kind, "") for text in created)
            if names and _sees(written, rule, template, field):
                yield f"{policy.name}/{rule.name}"


def _sees(written: dict[str, Any], rule: Rule, template: str, field: str) -> bool:
    if rule.images:
        return template == TEMPLATES["Pod"]
    validate = written["validate"]
    patterns = [validate["pattern"]] if validate.get("pattern") is not None else validate.get("anyPattern") or []
    steps = f"{template}{field}".split("/")[1:]
    if patterns:
        return all(_names(pattern, steps) for pattern in patterns)
    return any(_mentions(text, template, field) for text in _texts(validate.get("deny")))


def _names(pattern: Any, steps: list[str]) -> bool:
    """Whether a pattern has something to say of the field at these steps."""
    if not steps:
        return True
    if steps[0] == "[]":
        return isinstance(pattern, list) and any(_names(one, steps[1:]) for one in pattern)
    return isinstance(pattern, dict) and any(
        glob(anchor(key)[1], steps[0]) and _names(value, steps[1:]) for key, value in pattern.items())


def _mentions(text: str, template: str, field: str) -> bool:
    """Whether a condition's expression names the field: by `images`, or by the names on the way to it."""
    holder = field.split("/")[1]
    if re.search(r"\bimages\b", text):
        return template == TEMPLATES["Pod"] and (
            re.search(rf"\b{holder}\b|\bimages\.?(\*|\[|\s*\||\s*\}}\}})", text) is not None)
    steps = {step for step in (template + field).split("/") if step not in ("", "[]")}
    return all(re.search(rf"\b{step}\b", text) for step in steps)


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for value in part.values():
            yield from _texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from _texts(value)
    elif isinstance(part, str) and "{{" in part:
        yield part
