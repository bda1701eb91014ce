"""Changes that policies want of other objects (`Decision.changes`), carried out: one after the other, each over the
object as it is now, and nothing that is so already.

A refusal that another attempt cannot mend (no permission, an object that is not valid) is told apart from one that it
can (a conflict, an API server that is away).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from custody.errors import AuthenticationError, CustodyError, MalformedError, NetworkError, UnsupportedError
from custody.policy.model import Change
from custody.ports.cluster import ApiError, ClusterObjects, Object, Propagation, Served
from custody.services.controllers.named import Reference

MOST = 1000
"""Changes of one trigger by one policy."""
MANAGER = "custody-background"
_SERVERS = ("creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields",
            "resourceVersion", "selfLink", "uid")
_LASTING = frozenset({"Forbidden", "Invalid", "BadRequest", "MethodNotAllowed", "NotAcceptable",
                      "RequestEntityTooLarge", "UnsupportedMediaType"})


class ChangeError(CustodyError):
    """A change that could not be carried out. `lasting`: whether it would fail again."""

    code = "change-failed"

    def __init__(self, change: Change, error: CustodyError) -> None:
        words = error.words if isinstance(error, ApiError) else error.message
        super().__init__(f"{change.verb} {Reference.of(change.object)}: {words}")
        self.lasting = not (isinstance(error, NetworkError) or
                            (isinstance(error, ApiError) and error.reason not in _LASTING))


class Carrier:
    def __init__(self, cluster: ClusterObjects) -> None:
        self._cluster = cluster

    async def carry_out(self, changes: Sequence[Change]) -> list[Reference]:
        """What was made, changed or deleted; what is so already is not among it. Raises ChangeError for the first
        that cannot be, when all the others were tried."""
        if len(changes) > MOST:
            raise ChangeError(changes[MOST], UnsupportedError(
                f"{len(changes)} changes of one object", f"at most {MOST} are carried out"))
        done: list[Reference] = []
        failures: list[ChangeError] = []
        for change in changes:
            try:
                touched = await self._carry_out(change)
            except CustodyError as error:
                failures.append(ChangeError(change, error))
                continue
            if touched is not None:
                done.append(Reference.of(touched))
        if failures:
            raise next((failure for failure in failures if not failure.lasting), failures[0])
        return done

    async def _carry_out(self, change: Change) -> Object | None:
        about = Reference.of(change.object)
        resource = await self._cluster.resource(about.api_version, about.kind)
        if resource is None:
            raise UnsupportedError(f"{about.api_version} {about.kind}", "the cluster serves no such kind")
        _check(change, about, resource)
        there = await self._cluster.get(resource, about.name, about.namespace)
        if change.verb == "delete":
            if there is None:
                return None
            propagation: Propagation = "Background"
            named = getattr(change, "propagation", "") or ""
            if named in ("Foreground", "Orphan"):
                propagation = "Foreground" if named == "Foreground" else "Orphan"
            uid = str(there["metadata"].get("uid") or "")
            if about.uid and about.uid != uid:
                return None  # another one by now, of which nobody spoke
            gone = await self._cluster.delete(resource, about.name, about.namespace, uid=uid, propagation=propagation)
            return there if gone else None
        target = _plain(change.object)
        if change.verb == "patch":
            return await self._patched(resource, change, target, there)
        if there is None:
            if change.server_side:
                return await self._cluster.apply(resource, target, manager=MANAGER)
            return await self._cluster.create(resource, target)
        if change.verb == "create" or _holds(target, there):
            return None
        if change.server_side:
            return await self._cluster.apply(resource, target, manager=MANAGER)
        target["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
        return await self._cluster.replace(resource, target)

    async def _patched(self, resource: Served, change: Change, target: Object, there: Object | None) -> Object | None:
        if there is None:
            return None  # gone since the rule read it
        before = change.before or {}
        if _plain(before) == target:
            return None
        version = (before.get("metadata") or {}).get("resourceVersion")
        target["metadata"]["resourceVersion"] = version or there["metadata"]["resourceVersion"]
        changed = await self._cluster.replace(resource, target)
        status = change.object.get("status")
        if status is not None and status != before.get("status"):
            target["metadata"]["resourceVersion"] = changed["metadata"]["resourceVersion"]
            changed = await self._cluster.replace(resource, target, subresource="status")
        return changed


def _check(change: Change, about: Reference, resource: Served) -> None:
    """Whether a policy may want it: whatever its engine let through is carried out by an account that may do more than
    who wrote the policy. Raises MalformedError."""
    namespace = change.policy.rpartition("/")[0]
    if namespace and not (resource.namespaced and about.namespace == namespace):
        raise MalformedError(f"policy {change.policy}", got=str(about), expected=f"an object of namespace {namespace}")
    if change.verb == "patch" and change.before is not None:
        was = Reference.of(change.before)
        if (was.kind, was.namespace, was.name) != (about.kind, about.namespace, about.name):
            raise MalformedError(f"policy {change.policy}", got=f"{was}, made {about}",
                                 expected="a patch that leaves kind, namespace and name")


def _plain(document: Object) -> Object:
    """Without what the API server alone says of an object."""
    plain = copy.copy(document)
    plain["metadata"] = {name: value for name, value in (document.get("metadata") or {}).items()
                         if name not in _SERVERS}
    return plain


def _holds(target: Any, there: Any) -> bool:
    """Whether an object says all that is target; defaults that the API server added do not matter."""
    if isinstance(target, dict) and isinstance(there, dict):
        return all(name in there and _holds(value, there[name]) for name, value in target.items())
    if isinstance(target, list) and isinstance(there, list):
        return len(target) == len(there) and all(_holds(value, standing)
                                                 for value, standing in zip(target, there, strict=True))
    return bool(target == there)


def is_lasting(error: CustodyError) -> bool:
    """Whether what failed would fail again."""
    if isinstance(error, ChangeError):
        return error.lasting
    return not isinstance(error, NetworkError | AuthenticationError)
