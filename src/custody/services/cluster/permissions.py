"""Whether custody may read what a policy speaks of, as scans and reports need: asked of the API server, now and then.

Kyverno 1.19 says so in the condition RBACPermissionsGranted of the kinds of policies.kyverno.io
(pkg/controllers/policystatus).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from custody.policy.kinds import Kinds
from custody.policy.resources import ApiResource
from custody.ports.cluster import ClusterObjects

_VERBS = ("get", "list", "watch")
_REVIEWS = ApiResource(group="authorization.k8s.io", version="v1", kind="SelfSubjectAccessReview",
                       plural="selfsubjectaccessreviews", namespaced=False)
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


class Permissions:
    """Of the account as which the cluster is asked."""

    def __init__(self, cluster: ClusterObjects) -> None:
        self._cluster = cluster
        self._known: dict[tuple[str, str, str], tuple[float, bool]] = {}

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
                       if absent or not await self._may(verb, group, plural)]
        return "; ".join(faults)

    async def _may(self, verb: str, group: str, plural: str) -> bool:
        key, now = (verb, group, plural), time.monotonic()
        known = self._known.get(key)
        if known is not None and now - known[0] < _KEPT:
            return known[1]
        answer = await self._cluster.create(_REVIEWS, {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
            "spec": {"resourceAttributes": {"verb": verb, "group": group, "resource": plural}}})
        allowed = bool((answer.get("status") or {}).get("allowed"))
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = now, allowed
        return allowed
