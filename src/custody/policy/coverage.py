"""Which of the fields that bring bytes into pods some loaded rule sees, and which none does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from custody.policy.model import Kind
from custody.policy.podfields import IMAGE_FIELDS, TEMPLATES
from custody.policy.resources import ApiResource

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
    own = {(resource.group, resource.kind) for resource in builtin().resources}
    for kind, template in TEMPLATES.items():
        resource = next((served for served in policies.kinds.resources
                         if served.kind == kind and (served.group, kind) in own), None)
        if resource is not None:
            rows += [Coverage(kind, f"{template}{field}", [*_seeing(policies, resource, template, field)])
                     for field in IMAGE_FIELDS]
    custom = dict.fromkeys((resource.group, resource.kind) for resource in policies.kinds.resources)
    return rows + [Coverage(f"{kind}.{group}", ANYWHERE, []) for group, kind in custom if (group, kind) not in own]


def _seeing(policies: PolicySet, resource: ApiResource, template: str, field: str) -> Iterator[str]:
    kind = Kind(resource.kind, resource.version, resource.group)
    for rule in policies.rules:
        if rule.scope.selects(kind, "CREATE") and rule.sees(template, field):
            yield f"{rule.policy.name}/{rule.name}"
