"""What if it were started again now? Pods that run, judged by today's policies, keys and evidence.

A cluster asks about a pod once, when it is created. What has changed since is found out when it is rescheduled, pod by
pod, unless somebody asks before. Nothing is changed here, and each distinct pod is judged once.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from custody.errors import CustodyError
from custody.formats.containers import owners
from custody.kit.clock import format_rfc3339
from custody.kit.members import object_of, objects_of, text_of
from custody.policy.load import PolicySet
from custody.policy.model import Verdict
from custody.services.admissions import Admissions
from custody.services.check import Checked, unjudged
from custody.services.decisions import reason_of

_AT_ONCE = 4
_TOKENS = "kube-api-access-"
"""How the API server calls the volume with a service account's token, which it adds itself (KEP-2907)."""
_KEPT = ("namespace", "labels", "annotations", "ownerReferences", "generateName")
_MIRROR = "kubernetes.io/config.mirror"
Outcome = Literal["allowed", "denied", "not judged"]
Check = Callable[[dict[str, Any], str], Awaitable[Checked]]
"""A pod and its namespace, judged as if it were created now."""


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """Pods of one workload that are alike."""

    workload: str
    namespace: str
    pods: tuple[str, ...]
    images: tuple[str, ...]
    outcome: Outcome
    rule: str = ""
    """`policy/rule`: the first that denied."""
    reason: str = ""
    allowed_at: str = ""
    """When one of these pods, or of their owners, was allowed last, RFC 3339; empty where no such decision is kept."""
    policies_then: str = ""
    """Digest of the policies of that decision."""
    policies_since: str = ""
    """When today's policies decided first, as far as decisions are kept; empty where they never did."""


async def restarted(pods: Sequence[Mapping[str, Any]], check: Check, policies: PolicySet, admissions: Admissions,
                    exempt: Callable[[str], bool] = lambda _: False,
                    advance: Callable[[int], None] | None = None) -> list[Restart]:
    """By namespace and workload. Raises StorageError, and what `check` raises but for CustodyError, which makes a
    workload not judged.
    """
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for pod in pods:
        status = object_of(dict(pod), "status")
        if status.get("phase") in ("Succeeded", "Failed"):
            continue
        again = reborn(pod)
        above = owners(pod)
        metadata = object_of(dict(pod), "metadata")
        workload = "/".join(above[-1]) if above else f"Pod/{text_of(metadata, 'name')}"
        groups.setdefault((text_of(metadata, "namespace"), workload, _shape(again)), []).append(pod)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def judge(namespace: str, workload: str, alike: Sequence[Mapping[str, Any]]) -> Restart:
        async with gate:
            result = await _judged(namespace, workload, alike, check, policies, admissions, exempt)
            if advance is not None:
                advance(1)
            return result

    return list(await asyncio.gather(*(judge(namespace, workload, alike)
                                       for (namespace, workload, _), alike in sorted(groups.items(), key=_name))))


async def _judged(namespace: str, workload: str, alike: Sequence[Mapping[str, Any]], check: Check, policies: PolicySet,
                  admissions: Admissions, exempt: Callable[[str], bool]) -> Restart:
    again = reborn(alike[0])
    names = tuple(sorted(text_of(object_of(dict(pod), "metadata"), "name") for pod in alike))
    spec = object_of(again, "spec")
    images = tuple(dict.fromkeys(text_of(container, "image") for field in ("initContainers", "containers")
                                 for container in objects_of(spec, field)))
    before = _allowed(admissions, namespace, workload, names)
    since = admissions.by_since(policies.digest)
    row = Restart(workload=workload, namespace=namespace, pods=names, images=images, outcome="not judged",
                  allowed_at=format_rfc3339(before[0]) if before else "", policies_then=before[1] if before else "",
                  policies_since=format_rfc3339(since) if since else "")
    metadata = object_of(dict(alike[0]), "metadata")
    if _MIRROR in object_of(metadata, "annotations"):
        return msgspec.structs.replace(row, reason="a static pod: no webhook is asked about it")
    if exempt(namespace):
        return msgspec.structs.replace(row, reason="its namespace is exempt: no webhook is asked about it")
    try:
        checked = await check(again, namespace)
    except CustodyError as error:
        return msgspec.structs.replace(row, reason=error.message)
    decision = checked.decision
    if decision.verdict is Verdict.DENIED:
        rule, _, reason = reason_of(decision).partition(": ")
        return msgspec.structs.replace(row, outcome="denied", rule=rule, reason=reason)
    if (why := unjudged(checked.request, decision, policies)) is not None:
        return msgspec.structs.replace(row, reason=why)
    return msgspec.structs.replace(row, outcome="allowed")


def reborn(pod: Mapping[str, Any]) -> dict[str, Any]:
    """The pod as its owner would ask for it again: without what the cluster found out about this one."""
    again = copy.deepcopy({key: value for key, value in pod.items() if key != "status"})
    again.setdefault("apiVersion", "v1")
    again.setdefault("kind", "Pod")
    metadata = object_of(again, "metadata")
    kept: dict[str, Any] = {key: metadata[key] for key in _KEPT if key in metadata}
    if not owners(pod):
        kept["name"] = text_of(metadata, "name")
    elif "generateName" not in kept:
        kept["generateName"] = f"{owners(pod)[0][1]}-"
    again["metadata"] = kept
    spec = object_of(again, "spec")
    for field in ("nodeName", "ephemeralContainers"):
        spec.pop(field, None)
    if isinstance(spec.get("volumes"), list):
        spec["volumes"] = [volume for volume in spec["volumes"] if not _is_token(volume)]
        if not spec["volumes"]:
            del spec["volumes"]
    for field in ("initContainers", "containers"):
        for container in objects_of(spec, field):
            if isinstance(container.get("volumeMounts"), list):
                container["volumeMounts"] = [mount for mount in container["volumeMounts"] if not _is_token(mount)]
                if not container["volumeMounts"]:
                    del container["volumeMounts"]
    return again


def _is_token(volume: Any) -> bool:
    return isinstance(volume, dict) and text_of(volume, "name").startswith(_TOKENS)


def _shape(pod: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(pod, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _name(group: tuple[tuple[str, str, str], list[Mapping[str, Any]]]) -> tuple[str, str, str]:
    return group[0]


def _allowed(admissions: Admissions, namespace: str, workload: str, names: Sequence[str]
             ) -> tuple[datetime, str] | None:
    """When one of them was allowed last, and by which policies."""
    kind, _, owner = workload.partition("/")
    decided = [admissions.decided(namespace, kind, owner), *(admissions.decided(namespace, "Pod", name)
                                                              for name in names)]
    allowed = [decision for decision in decided if decision is not None and decision.verdict == str(Verdict.ALLOWED)]
    last = max(allowed, key=lambda decision: decision.at, default=None)
    return (last.at, last.policies) if last is not None else None
