"""How each policy is, said in its status as Kyverno's own controllers say it.

kyverno.io: `.status.conditions[Ready]` and `.status.rulecount`. policies.kyverno.io: `.status.conditionStatus`, with
the conditions WebhookConfigured and RBACPermissionsGranted. Both: what they say of pod controllers, in
`.status.autogen`. Tools such as `kubectl wait` and chainsaw read these.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from custody.policy.cel import podtemplates
from custody.policy.kinds import builtin
from custody.policy.kyverno.autogen import generated
from custody.policy.phases import Phase
from custody.policy.rule import Policy
from custody.ports.cluster import ApiError, ClusterObjects, Object
from custody.services.cluster.emitting import Emitted
from custody.services.cluster.permissions import named
from custody.services.cluster.policies import Held, essence
from custody.services.cluster.webhooks import covers
from custody.services.mirror import key_of

_COUNTED = {Phase.VALIDATE: "validate", Phase.GENERATE: "generate", Phase.MUTATE: "mutate",
            Phase.VERIFY: "verifyimages"}

_GRANTED = "RBACPermissionsGranted"


def wanted(held: Held, policy: Policy | None, *, registered: bool, now: datetime,
           missing: str = "", lacking: str = "", emitted: Emitted | None = None) -> Object | None:
    """The status that it should have; None where it has it. `registered`: the API server asks about it.

    `policy` is what it was compiled to, where it is in force. `missing`: what scans may not read of it. `lacking`: why
    what it wants done to other objects is not done. `emitted`: what became of it as a policy of the API server's own.
    """
    said = _wanted(held, policy, registered=registered, now=now, missing=missing, lacking=lacking, emitted=emitted)
    if emitted is None:
        return said
    status: Mapping[str, Any] = held.document.get("status") or {}
    if held.definition.cel:
        if status.get("generated") is not emitted.generated:
            said = {**(said or {}), "generated": emitted.generated}
    elif any("validate" in rule for rule in held.document["spec"].get("rules") or ()):
        told = {"generated": emitted.generated, "message": emitted.message}
        if status.get("validatingadmissionpolicy") != told:
            said = {**(said or {}), "validatingadmissionpolicy": told}
    return said


def _wanted(held: Held, policy: Policy | None, *, registered: bool, now: datetime, missing: str, lacking: str,
            emitted: Emitted | None) -> Object | None:
    if not held.definition.policy:
        return None
    ready = held.ready and registered and (held.definition.cel or not lacking)
    message = held.fault[:1024] if held.fault else ("" if registered else "Not Ready")
    if not held.definition.cel:
        message = message or lacking[:1024]
    told_of = "" if emitted is None or emitted.message.endswith(": not enabled.") else emitted.message
    status: Mapping[str, Any] = held.document.get("status") or {}
    if held.definition.cel:
        told = _cel(held, status.get("conditionStatus") or {}, ready=ready, message=message, now=now, missing=missing,
                    lacking=lacking, beside=told_of)
        configs = shown_configs(held)
        kept = (status.get("autogen") or {}).get("configs") or {}
        if "autogen" in status and configs.keys() == kept.keys() and covers(kept, configs):
            return told
        gone = dict.fromkeys(kept.keys() - configs.keys())
        return {**(told or {}), "autogen": {"configs": {**configs, **gone}} if configs or gone else {}}
    written = _old(status, policy, ready=ready, message=message or "Ready", now=now)
    if policy is None or held.definition.kind not in ("ClusterPolicy", "Policy"):
        return written
    rules = {"rules": [_shown(made.rule) for made in generated(essence(held.judged or held.document))]}
    shown = status.get("autogen")
    if shown is not None and covers(shown.get("rules") or [], rules["rules"]):  # Kyverno's schema adds defaults
        return written
    return {**(written or {}), "autogen": rules}


async def write(cluster: ClusterObjects, held: Held, status: Object) -> None:
    """Raises CustodyError; that the object is gone is none."""
    namespace, name = key_of(held.document)
    served = await cluster.resource(str(held.document["apiVersion"]), held.definition.kind)
    if served is None:
        return
    try:
        await cluster.patch(served, name, namespace, {"status": status}, subresource="status")
    except ApiError as error:
        if not error.missing:
            raise


def _old(status: Mapping[str, Any], policy: Policy | None, *, ready: bool, message: str,
         now: datetime) -> Object | None:
    condition = _condition("Ready", ready, message)
    counts = dict.fromkeys(_COUNTED.values(), 0)
    for rule in policy.rules if policy is not None else ():
        if rule.phase in _COUNTED:
            counts[_COUNTED[rule.phase]] += 1
    conditions = _with(status.get("conditions") or [], condition, now)
    if conditions is None and (policy is None or status.get("rulecount") == counts):
        return None
    return {"conditions": conditions or status["conditions"], **({"rulecount": counts} if policy is not None else {})}


def _shown(rule: Object) -> Object:
    """As Go writes it: a block that matches has `resources`, also where there is nothing in it."""
    return {**rule, **{block: {"resources": {}, **rule[block]} for block in ("match", "exclude") if rule.get(block)}}


def _cel(held: Held, status: Mapping[str, Any], *, ready: bool, message: str, now: datetime,
         missing: str, lacking: str, beside: str) -> Object | None:
    """`beside`: what is said of a policy with which nothing is wrong."""
    admission, background = (_enabled(held.document, part) for part in ("admission", "background"))
    mutates = held.definition.kind.endswith("MutatingPolicy")
    changed = []
    conditions = list(status.get("conditions") or [])
    if held.fault or admission or not (background or mutates):
        changed.append(_condition("WebhookConfigured", ready, message or (
            "Webhook configured." if ready else "Policy is not configured in the webhook.")))
    if not held.fault and held.definition.kind.removeprefix("Namespaced") != "DeletingPolicy":
        changed.append(_condition(_GRANTED, not missing or not background, (
            "Background scanning disabled; reporting permissions not required." if not background else
            f"Policy is not ready for reporting, missing permissions: {missing}." if missing else
            "Policy is ready for reporting.")))
    if lacking:
        changed = [*(condition for condition in changed if condition["type"] != _GRANTED), _condition(
            _GRANTED, False, f"Policy is not carried out, missing permissions: {lacking}."[:1024])]
    elif not held.fault and all(condition["type"] != _GRANTED for condition in changed):
        conditions = [condition for condition in conditions if condition.get("type") != _GRANTED]
    for condition in changed:
        conditions = _with(conditions, condition, now) or conditions
    whole = all(condition["status"] == "True" for condition in changed)
    message = message or beside
    if (conditions == (status.get("conditions") or []) and status.get("ready") is whole
            and status.get("message", "") == message):
        return None
    return {"conditionStatus": {"ready": whole, "message": message, "conditions": conditions}}


def _enabled(document: Mapping[str, Any], part: str) -> bool:
    """Of spec.evaluation: admission, or background."""
    evaluation = (document.get("spec") or {}).get("evaluation") or {}
    return (evaluation.get(part) or {}).get("enabled") is not False


def shown_configs(held: Held) -> Object:
    """`status.autogen.configs`: what a policy about pods says of what makes pods."""
    spec = (held.judged or {}).get("spec") or {}
    made = podtemplates.configs(held.definition.kind, spec)
    return {name: {"targets": _targets(said), "spec": said} for name, said in made}


def _targets(spec: Mapping[str, Any]) -> list[Object]:
    kinds = {(resource.group, resource.plural): resource.kind for resource in builtin().resources}
    return [{"group": group, "version": version, "resource": plural, "kind": kinds.get((group, plural), "")}
            for group, version, plural in named([spec])]


def _condition(type_: str, holds: bool, message: str) -> Object:
    return {"type": type_, "status": "True" if holds else "False", "reason": "Succeeded" if holds else "Failed",
            "message": message}


def _with(conditions: list[Object], condition: Object, now: datetime) -> list[Object] | None:
    """The list with this condition in it; None where it has it. Its time is when its status changed."""
    before = next((known for known in conditions if known.get("type") == condition["type"]), {})
    if {name: before.get(name) for name in condition} == condition:
        return None
    same = before.get("status") == condition["status"] and before.get("lastTransitionTime")
    at = before["lastTransitionTime"] if same else now.strftime("%Y-%m-%dT%H:%M:%SZ")
    rest = [known for known in conditions if known.get("type") != condition["type"]]
    return [*rest, {**condition, "lastTransitionTime": at}]

