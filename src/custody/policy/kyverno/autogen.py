"""The rules for pod controllers that Kyverno makes of rules about pods (pkg/autogen/v1 of Kyverno 1.19).

Rules are rewritten as documents, before they are compiled: `NAME` about pods becomes `autogen-NAME` about Deployments
and the like, and `autogen-cronjob-NAME` about CronJobs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from custody.policy.kinds import KIND_VERSION

ANNOTATION = "pod-policies.kyverno.io/autogen-controllers"
"""`none`, or kinds with commas between them."""
PREFIX = "autogen-"
CONTROLLERS = {"DaemonSet": "apps/v1/DaemonSet", "Deployment": "apps/v1/Deployment", "Job": "batch/v1/Job",
               "ReplicaSet": "apps/v1/ReplicaSet", "ReplicationController": "v1/ReplicationController",
               "StatefulSet": "apps/v1/StatefulSet", "CronJob": "batch/v1/CronJob"}
"""By kind, as the generated rules name them."""
_KINDS = {*CONTROLLERS, "Pod"}
_LONGEST = 63
_TEMPLATE, _JOB_TEMPLATE = "spec.template", "spec.jobTemplate.spec.template"
_REFERENCE = re.compile(r"(?:\A|[^\\])\$\(.[^ ]*\)")
_FILTERS = ("any", "all")
# Of a rule, in the order in which Kyverno looks for them: one decides, and the others are left out.
_FORMS = ("pattern", "deny", "podSecurity", "anyPattern", "foreach")
_KEPT = ("failureAction", "failureActionOverrides", "allowExistingViolations")
_COPIED = ("match", "exclude", "celPreconditions", "context", "preconditions", "mutate", "validate", "verifyImages",
           "skipBackgroundRequests", "reportProperties")
Rule = dict[str, Any]


class Generated(NamedTuple):
    at: int
    """The position of the rule that it was made of."""
    rule: Rule
    kinds: tuple[str, ...]
    """It speaks of nothing else."""


def generated(document: dict[str, Any]) -> list[Generated]:
    """The rules that a policy's rules become for pod controllers, in order; shapes are those of rules that compile."""
    rules: list[Rule] = document["spec"].get("rules") or []
    if not _can(rules):
        return []
    named = (document["metadata"].get("annotations") or {}).get(ANNOTATION)
    kinds = sorted(CONTROLLERS if named is None else named.split(","))
    # Kyverno asks whether the kind of a request is among them, so that `all` and ` Job` name none.
    others = [kind for kind in kinds if kind.isalnum() and kind not in ("CronJob", "all", "none")]
    made = []
    for at, rule in enumerate(rules):
        if rule["name"].startswith(PREFIX) or not _about_pods(rule):
            continue
        if others and (template := _shifted(rule, "autogen", rule["name"], "template", others, of_pods=True)):
            made.append(Generated(at, _converted(template, _TEMPLATE), tuple(others)))
        if "CronJob" in kinds:
            inner = _shifted(rule, "autogen", rule["name"], "template", ["CronJob"], of_pods=True)
            outer = inner and _shifted(inner, "autogen-cronjob", rule["name"], "jobTemplate", ["CronJob"],
                                       of_pods=False)
            if outer:
                made.append(Generated(at, _converted(outer, _JOB_TEMPLATE), ("CronJob",)))
    return made


# ── whether there are any ───────────────────────────────────────────────────────────────────────────────────────────

def _can(rules: Sequence[Rule]) -> bool:
    """Whether Kyverno makes rules of any of a policy's: one that it cannot rewrite spoils it for all."""
    needed = False
    for rule in rules:
        mutate = rule.get("mutate") or {}
        if rule.get("generate") is not None or mutate.get("patchesJson6902") or any(
                foreach.get("patchesJson6902") for foreach in mutate.get("foreach") or []):
            return False
        for block in (rule.get("match") or {}, rule.get("exclude") or {}):
            for described in [block, *(block.get("any") or []), *(block.get("all") or [])]:
                resources = described.get("resources") or {}
                kinds = resources.get("kinds") or []
                if any(resources.get(field) for field in ("name", "names")) or any(
                        resources.get(field) is not None for field in ("selector", "annotations")):
                    return False
                if len(kinds) > 1 and contains(kinds, "Pod"):
                    return False
                needed = needed or not _KINDS.isdisjoint(kinds)
    return needed


def contains(kinds: Sequence[str], kind: str) -> bool:
    """Whether one of the texts of `kinds` names this kind, or a subresource of it."""
    return any(_kind(text) == kind for text in kinds)


def _kind(text: str) -> str:
    match text.split("/"):
        case [single]:
            kind = single.replace(".", "/", 1)
        case ["*", "*"]:
            return "*"
        case [version, last]:
            kind = last.replace(".", "/", 1) if KIND_VERSION.match(version) else f"{version}/{last}"
        case [version, second, third]:
            kind = f"{second}/{third}" if KIND_VERSION.match(version) else third.replace(".", "/", 1)
        case [_, _, third, last]:
            kind = f"{third}/{last}"
        case _:
            return ""
    parts = kind.split("/")
    return parts[0] if len(parts) == 2 else kind


def _named_in(block: Rule | None) -> list[str]:
    block = block or {}
    return [kind for described in [block, *(block.get("all") or []), *(block.get("any") or [])]
            for kind in (described.get("resources") or {}).get("kinds") or []]


def _about_pods(rule: Rule) -> bool:
    excluded = _named_in(rule.get("exclude"))
    return contains(_named_in(rule.get("match")), "Pod") and (not excluded or contains(excluded, "Pod"))


# ── rewriting ───────────────────────────────────────────────────────────────────────────────────────────────────────

def _shifted(rule: Rule, prefix: str, name: str, key: str, kinds: Sequence[str], *, of_pods: bool) -> Rule | None:
    """The rule one level further out: below `spec.KEY`. None for what Kyverno makes no rule of."""
    shift = "spec/template" if key == "template" else "spec/jobTemplate/spec/template"
    result = {**rule, "name": f"{prefix}-{name}"[:_LONGEST], "match": _matching(rule["match"], kinds, of_pods=of_pods,
                                                                               always=True)}
    if rule.get("exclude"):
        result["exclude"] = _matching(rule["exclude"], kinds, of_pods=of_pods, always=False)

    def below(value: Any) -> Rule:
        return {"spec": {key: value}}

    if rule.get("mutate"):
        mutate = _mutating(rule["mutate"], below)
        if mutate is not None:
            return {**result, "mutate": mutate}
    if rule.get("validate"):
        validate = _validating(rule["validate"], shift, below)
        if validate is not None:
            return {**result, "validate": validate}
    return result if rule.get("verifyImages") is not None else None


def _matching(block: Rule, kinds: Sequence[str], *, of_pods: bool, always: bool) -> Rule:
    named = [CONTROLLERS.get(kind, kind) for kind in kinds]
    for form in _FILTERS:
        if block.get(form):
            return {**block, form: [_described(part, named) if not of_pods or contains(_own(part), "Pod") else part
                                    for part in block[form]]}
    return _described(block, named) if always or _own(block) else block


def _own(part: Rule) -> list[str]:
    return (part.get("resources") or {}).get("kinds") or []


def _described(part: Rule, kinds: list[str]) -> Rule:
    return {**part, "resources": {**(part.get("resources") or {}), "kinds": kinds}}


def _mutating(mutate: Rule, below: Callable[[Any], Rule]) -> Rule | None:
    if mutate.get("patchStrategicMerge") is not None:
        return {"patchStrategicMerge": below(mutate["patchStrategicMerge"])}
    if mutate.get("foreach"):
        return {"foreach": [
            {**{field: foreach[field] for field in ("list", "context", "preconditions") if field in foreach},
             "patchStrategicMerge": below(foreach.get("patchStrategicMerge"))} for foreach in mutate["foreach"]]}
    return None


def _validating(validate: Rule, shift: str, below: Callable[[Any], Rule]) -> Rule | None:
    form = next((form for form in _FORMS if validate.get(form) not in (None, [])), None)
    if form is None:
        return dict(validate) if validate.get("cel") is not None else None
    value = validate[form]
    if form == "pattern":
        value = below(value)
    elif form == "anyPattern":
        value = [below(pattern) for pattern in value]
    shifted: Rule = {field: validate[field] for field in _KEPT if field in validate}
    if validate.get("message"):
        shifted["message"] = _references(validate["message"], shift, "pattern" if form == "foreach" else form)
    return {**shifted, form: value}


def _references(text: str, shift: str, pivot: str) -> str:
    """`$(./../pattern/…)` leads one level further in."""
    for match in _REFERENCE.findall(text):
        reference = match if match.startswith("$(") else match[1:]
        where = pivot
        if pivot == "anyPattern" and pivot in reference:
            where = f"{pivot}/{reference.split(pivot, 1)[1][1:].split('/')[0]}"
        text = text.replace(match, match[:len(match) - len(reference)]
                            + reference.replace(where, f"{where}/{shift}"), 1)
    return text


def _converted(rule: Rule, template: str) -> Rule:
    """With the fields that Kyverno carries over, whose expressions read the template where they read the pod."""
    kept = {"name": rule["name"], **{field: rule[field] for field in _COPIED if rule.get(field) is not None}}
    # CEL's expressions begin with object or with request.object, and mean the same by both.
    root = "" if (rule.get("validate") or {}).get("cel") is not None else "request."
    text = json.dumps(kept, ensure_ascii=False)
    for part in ("spec", "metadata"):
        for name in ("object", "oldObject"):
            text = text.replace(f"{root}{name}.{part}", f"{root}{name}.{template}.{part}")
    converted: Rule = json.loads(text)
    return converted
