"""How each policy is, said in its status as Kyverno's own controllers say it.

kyverno.io: `.status.conditions[Ready]` and `.status.rulecount`. policies.kyverno.io: `.status.conditionStatus`, with
the condition WebhookConfigured. Tools such as `kubectl wait` and chainsaw read these.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from custody.policy.kyverno.autogen import generated
from custody.policy.phases import Phase
from custody.policy.rule import Policy
from custody.ports.cluster import ApiError, ClusterObjects, Object
from custody.services.cluster.policies import Held, essence
from custody.services.cluster.webhooks import covers
from custody.services.mirror import key_of

_COUNTED = {Phase.VALIDATE: "validate", Phase.GENERATE: "generate", Phase.MUTATE: "mutate",
            Phase.VERIFY: "verifyimages"}


def wanted(held: Held, policy: Policy | None, *, registered: bool, now: datetime) -> Object | None:
    """The status that it should have; None where it has it. `registered`: the API server asks about it.

    `policy` is what it was compiled to, where it is in force.
    """
    if not held.definition.policy:
        return None
    ready = held.ready and registered
    message = held.fault[:1024] if held.fault else ("" if registered else "Not Ready")
    status: Mapping[str, Any] = held.document.get("status") or {}
    if held.definition.cel:
        return _cel(status.get("conditionStatus") or {}, ready=ready, message=message, now=now)
    written = _old(status, policy, ready=ready, message=message or "Ready", now=now)
    if policy is None or held.definition.kind not in ("ClusterPolicy", "Policy"):
        return written
    autogen = {"rules": [_shown(made.rule) for made in generated(essence(held.judged or held.document))]}
    shown = status.get("autogen")
    if shown is not None and covers(shown.get("rules") or [], autogen["rules"]):  # Kyverno's schema adds defaults
        return written
    return {**(written or {}), "autogen": autogen}


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
    condition = {"type": "Ready", "status": "True" if ready else "False",
                 "reason": "Succeeded" if ready else "Failed", "message": message}
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


def _cel(status: Mapping[str, Any], *, ready: bool, message: str, now: datetime) -> Object | None:
    condition = {"type": "WebhookConfigured", "status": "True" if ready else "False",
                 "reason": "Succeeded" if ready else "Failed",
                 "message": message or ("Webhook configured." if ready else "Policy is not configured in the webhook.")}
    conditions = _with(status.get("conditions") or [], condition, now)
    if conditions is None and status.get("ready") is ready and status.get("message", "") == message:
        return None
    return {"conditionStatus": {"ready": ready, "message": message, "conditions": conditions or status["conditions"]}}


def _with(conditions: list[Object], condition: Object, now: datetime) -> list[Object] | None:
    """The list with this condition in it; None where it has it. Its time is when its status changed."""
    before = next((known for known in conditions if known.get("type") == condition["type"]), {})
    if {name: before.get(name) for name in condition} == condition:
        return None
    same = before.get("status") == condition["status"] and before.get("lastTransitionTime")
    at = before["lastTransitionTime"] if same else now.strftime("%Y-%m-%dT%H:%M:%SZ")
    rest = [known for known in conditions if known.get("type") != condition["type"]]
    return [*rest, {**condition, "lastTransitionTime": at}]

