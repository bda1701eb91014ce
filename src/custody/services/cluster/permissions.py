"""What the account as which custody asks may do: asked of the API server, and believed for a minute.

What scans and reports may not read Kyverno 1.19 says in the condition RBACPermissionsGranted of the kinds of
policies.kyverno.io (pkg/controllers/policystatus).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from custody.policy.kinds import Kinds
from custody.policy.resources import ApiResource
from custody.ports.cluster import ApiError, ClusterObjects

_VERBS = ("get", "list", "watch")
_REVIEWS = ApiResource(group="authorization.k8s.io", version="v1", kind="SelfSubjectAccessReview",
                       plural="selfsubjectaccessreviews", namespaced=False)
_SELF = ApiResource(group="authentication.k8s.io", version="v1", kind="SelfSubjectReview",
                    plural="selfsubjectreviews", namespaced=False)
_KEPT = 60.0
"""Seconds that an answer is believed."""
_MOST = 1000

Named = tuple[str, str, str]
"""Group, version and plural, as they are written."""


def named(specs: Iterable[Mapping[str, Any]]) -> list[Named]:
    """The resources of policies' matchConstraints, each once."""
    return list(dict.fromkeys(name for spec in specs for name in _of(spec.get("matchConstraints") or {})))


def _of(constraints: Mapping[str, Any]) -> Iterator[Named]:
    for rule in constraints.get("resourceRules") or ():
        for group in rule.get("apiGroups") or ():
            for version in rule.get("apiVersions") or ():
                for resource in rule.get("resources") or ():
                    yield group, version, resource


class Right(NamedTuple):
    """To do one thing; an empty namespace is all of them, an empty name all objects."""

    verb: str
    group: str
    plural: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""


class Permissions:
    """Of the account as which the cluster is asked."""

    def __init__(self, cluster: ClusterObjects) -> None:
        self._cluster = cluster
        self._known: dict[Right, tuple[float, bool]] = {}
        self._account = ""

    async def missing(self, resources: Iterable[Named], kinds: Kinds | None) -> str:
        """What may not be read, in Kyverno's words; empty where all may. What is not served cannot be read either.

        Raises CustodyError.
        """
        served = None if kinds is None else {(kind.group, kind.version, kind.plural) for kind in kinds.resources}
        faults = []
        for group, version, resource in resources:
            plural = resource.partition("/")[0]
            absent = (served is not None and "*" not in (group, version, plural) and
                      (group, version, plural) not in served)
            faults += [f"{verb} {group}/{version}, Resource={resource}: " for verb in _VERBS
                       if absent or not await self.may(Right(verb, group, plural))]
        return "; ".join(faults)

    async def may(self, right: Right, *, fresh: bool = False) -> bool:
        """`fresh`: asked now, and not known of before. Raises CustodyError."""
        now = time.monotonic()
        known = self._known.get(right)
        if known is not None and not fresh and now - known[0] < _KEPT:
            return known[1]
        attributes = {"verb": right.verb, "group": right.group, "resource": right.plural,
                      "subresource": right.subresource, "namespace": right.namespace, "name": right.name}
        answer = await self._cluster.create(_REVIEWS, {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
            "spec": {"resourceAttributes": {name: value for name, value in attributes.items() if value
                                            or name in ("verb", "group", "resource")}}})
        allowed = bool((answer.get("status") or {}).get("allowed"))
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[right] = now, allowed
        return allowed

    async def account(self) -> str:
        """Its name, as the API server knows it; "custody" where it does not tell. Raises CustodyError."""
        if not self._account:
            try:
                answer = await self._cluster.create(_SELF, {
                    "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}})
                self._account = str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "custody")
            except ApiError:  # served since Kubernetes 1.28, and a cluster may take the right away
                self._account = "custody"
        return self._account
