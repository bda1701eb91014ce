"""What Kyverno's own webhook refuses of a policy, in its words: scripts that apply policies look for them.

Kyverno 1.19 pkg/validation/policy, api/kyverno/v1 and pkg/cel/policies/*/validate.go. What else is wrong with a policy
is said by whoever compiles it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from custody.errors import CustodyError
from custody.policy.kinds import Kinds, Selector
from custody.policy.kyverno.match import WHO
from custody.policy.kyverno.podsecurity import CONTAINER_LEVEL, POD_LEVEL, RESTRICTED

_VARIABLE = re.compile(r"(?:^|[^\\])(\{\{(?:\{[^{}]*\}|[^{}])*\}\})")
_OF_USERS = re.compile(r"[^.](?:serviceAccountName|serviceAccountNamespace|request.userInfo|request.roles|"
                       r"request.clusterRoles)\b")
_IN_BACKGROUND = ("only select variables are allowed in background mode. Set spec.background=false to disable "
                  "background mode for this policy rule: ")
_CONSTRAINED = ("ValidatingPolicy", "MutatingPolicy", "GeneratingPolicy", "DeletingPolicy")
_CONSTRAINTS = "spec.matchConstraints: Required value: a matchConstraints with at least one resource rule is required"


def refusal(document: Mapping[str, Any], kinds: Kinds) -> str:
    """Empty where Kyverno has no such objection; a document of another shape than it should have is no concern here."""
    spec = _map(document.get("spec"))
    kind, group = str(document.get("kind")), str(document.get("apiVersion")).partition("/")[0]
    if group == "policies.kyverno.io":
        constrained = _list(_map(spec.get("matchConstraints")).get("resourceRules"))
        return _CONSTRAINTS if kind.removeprefix("Namespaced") in _CONSTRAINED and not constrained else ""
    if kind == "PolicyException":
        return _together([fault for at, control in enumerate(_list(spec.get("podSecurity")))
                          for fault in _control(_map(control), f"spec.podSecurity[{at}]")])
    return _of_rules(document, spec, kinds) if kind in ("ClusterPolicy", "Policy") else ""


def _of_rules(document: Mapping[str, Any], spec: Mapping[str, Any], kinds: Kinds) -> str:
    rules = [_map(rule) for rule in _list(spec.get("rules"))]
    background = spec.get("background") is not False
    if background and (fault := _asker(document, rules)):
        return f"{_IN_BACKGROUND}{fault} "
    faults = [fault for at, rule in enumerate(rules) for fault in _security(_map(rule.get("validate")), at)]
    if faults:
        return _together(faults)
    if spec.get("admission") is False and not background:
        return "disabling both admission and background processing is not allowed"
    if spec.get("admission") is False and any(form in rule for rule in rules
                                              for form in ("mutate", "generate", "verifyImages")):
        return "disabling admission processing is only allowed with validation policies"
    return next(_subresources(rules, kinds), "") if background else ""


def _asker(document: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> str:
    """What a policy reads of who asks, which nobody does in the background."""
    for at, rule in enumerate(rules):
        for block in ("match", "exclude"):
            for place, part in _filters(_map(rule.get(block))):
                if name := next((name for name in ("roles", "clusterRoles", "subjects") if part.get(name)), ""):
                    return f"invalid variable used at path: spec/rules[{at}]/{block}/{place}{name}"
    if any(_map(rule.get("mutate")).get("targets") for rule in rules):
        return ""
    metadata = {name: value for name, value in _map(document.get("metadata")).items() if name != "managedFields"}
    annotations = {name: value for name, value in _map(metadata.get("annotations")).items()
                   if name != "kubectl.kubernetes.io/last-applied-configuration"}
    text = json.dumps({"metadata": {**metadata, "annotations": annotations}, "spec": document.get("spec")},
                      ensure_ascii=False)
    banned = next((variable for variable in _VARIABLE.findall(text) if _OF_USERS.search(variable)), "")
    return f"variable {banned} is not allowed" if banned else ""


def _filters(block: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The filters of a match block, each with the path to it."""
    yield "", {name: block[name] for name in WHO if name in block}
    for form in ("any", "all"):
        for at, part in enumerate(_list(block.get(form))):
            yield f"{form}[{at}]/", _map(part)


def _security(validate: Mapping[str, Any], at: int) -> Iterator[str]:
    security = _map(validate.get("podSecurity"))
    for index, control in enumerate(_list(security.get("exclude"))):
        where, name = f"spec.rules[{at}].podSecurity.exclude[{index}]", _map(control).get("controlName")
        yield from _control(_map(control), where)
        if security.get("level") == "baseline" and name in RESTRICTED:
            yield f'{where}.controlName: Invalid value: "{name}": Invalid control name defined at the given level'


def _control(control: Mapping[str, Any], where: str) -> Iterator[str]:
    name, images = control.get("controlName"), control.get("images")
    if name in CONTAINER_LEVEL and not images:
        yield (f'{where}.controlName: Invalid value: "{name}": exclude.images must be specified for the container '
               "level control")
    if name in POD_LEVEL and images:
        yield (f'{where}.controlName: Invalid value: "{name}": exclude.images must not be specified for the pod '
               "level control")
    if control.get("restrictedField") and not control.get("values"):
        yield f"{where}.values: Forbidden: values is required"
    if control.get("values") and not control.get("restrictedField"):
        yield f"{where}.restrictedField: Forbidden: restrictedField is required"


def _subresources(rules: Sequence[Mapping[str, Any]], kinds: Kinds) -> Iterator[str]:
    """Scans see objects, and no subresources of them."""
    for at, rule in enumerate(rules):
        if not rule.get("validate"):
            continue
        for block in ("match", "exclude"):
            written = _map(rule.get(block))
            parts = [(block, written)] + [(f"{block}.{form}[{index}]", _map(part)) for form in ("any", "all")
                                          for index, part in enumerate(_list(written.get(form)))]
            for where, part in parts:
                for text in _list(_map(part.get("resources")).get("kinds")):
                    if isinstance(text, str) and _is_subresource(text, kinds):
                        yield (f"path: spec.rules[{at}].{where}.kinds: background scan enabled with subresource "
                               f"{text}")


def _is_subresource(text: str, kinds: Kinds) -> bool:
    try:
        return any(target.subresource is not None for target in kinds.find(Selector.parse(text, "")))
    except CustodyError:
        return False


def _together(faults: Sequence[str]) -> str:
    """As Go's aggregate of errors is written."""
    faults = list(dict.fromkeys(faults))
    return faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]" if faults else ""


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
