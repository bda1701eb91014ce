"""Reports of policy results as Kubernetes objects: wgpolicyk8s.io/v1alpha2 and openreports.io/v1alpha1.

The two differ in their names alone: PolicyReport and Report lie in a namespace, ClusterPolicyReport and ClusterReport
in none. Sources: sigs.k8s.io/wg-policy-prototypes, github.com/openreports/reports-api.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

OUTCOMES = ("pass", "fail", "warn", "error", "skip")
SEVERITIES = ("critical", "high", "medium", "low", "info")
WGPOLICY = "wgpolicyk8s.io/v1alpha2"
OPENREPORTS = "openreports.io/v1alpha1"
_KINDS = {WGPOLICY: ("PolicyReport", "ClusterPolicyReport"), OPENREPORTS: ("Report", "ClusterReport")}


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """core/v1 ObjectReference: what a result, or a whole report, is about."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: str = ""

    @classmethod
    def of(cls, resource: Mapping[str, Any]) -> Subject:
        """Of an object of Kubernetes; what has another type than it should is left out."""
        metadata = resource.get("metadata")
        fields = metadata if isinstance(metadata, dict) else {}

        def text(value: Any) -> str:
            return value if isinstance(value, str) else ""

        return cls(api_version=text(resource.get("apiVersion")), kind=text(resource.get("kind")),
                   namespace=text(fields.get("namespace")), name=text(fields.get("name")), uid=text(fields.get("uid")),
                   resource_version=text(fields.get("resourceVersion")))

    def to_json(self) -> dict[str, str]:
        fields = {"apiVersion": self.api_version, "kind": self.kind, "name": self.name, "namespace": self.namespace,
                  "resourceVersion": self.resource_version, "uid": self.uid}
        return {name: value for name, value in fields.items() if value}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule says of one resource."""

    source: str
    """Of which engine the policy is: kyverno, KyvernoValidatingPolicy, ValidatingAdmissionPolicy."""
    policy: str
    """`namespace/name` for one that lies in a namespace."""
    rule: str = ""
    result: str
    """One of OUTCOMES."""
    message: str = ""
    category: str = ""
    severity: str = ""
    """One of SEVERITIES, or empty."""
    scored: bool = True
    subjects: tuple[Subject, ...] = ()
    """Empty where the report's scope says it."""
    properties: Mapping[str, str] = {}
    seconds: int = 0
    """Since 1970: when it was judged."""

    def to_json(self) -> dict[str, Any]:
        written: dict[str, Any] = msgspec.to_builtins(Row(
            category=self.category, message=self.message, policy=self.policy,
            properties=dict(sorted(self.properties.items())),
            resources=[subject.to_json() for subject in self.subjects], result=self.result, rule=self.rule,
            scored=self.scored, severity=self.severity, source=self.source,
            timestamp={"nanos": 0, "seconds": self.seconds}))
        return written


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A result as reports write it: what msgspec encodes as JSON. Its fields and properties stand in order."""

    category: str = ""
    message: str = ""
    policy: str
    properties: Mapping[str, str] = {}
    resources: list[dict[str, str]] = []
    result: str = ""
    rule: str = ""
    scored: bool = False
    severity: str = ""
    source: str
    timestamp: Mapping[str, int]


def in_order(results: Iterable[Result]) -> list[Result]:
    """As reports in a cluster have them, so that the same results always make the same report."""
    return sorted(results, key=lambda result: (result.policy, result.rule, result.source, len(result.subjects),
                                               tuple(subject.uid for subject in result.subjects), result.seconds))


def summary(results: Iterable[Result | Row]) -> dict[str, int]:
    """How many results there are of each of OUTCOMES."""
    counts = dict.fromkeys(OUTCOMES, 0)
    for result in results:
        if result.result in counts:
            counts[result.result] += 1
    return counts


def report(results: Sequence[Result | Row], *, name: str, namespace: str = "", api_version: str = WGPOLICY,
           scope: Subject | None = None, source: str | None = None,
           labels: Mapping[str, str] = {}, owners: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """One report; of the kind for namespaces where `namespace` is given. Results stay in their order.

    `api_version` is WGPOLICY or OPENREPORTS; `source` is of the second alone, whose reports always have one. `owners`
    are ownerReferences. Rows stay rows in what is returned.
    """
    namespaced, clusterwide = _KINDS[api_version]
    metadata: dict[str, Any] = {"name": name}
    if labels:
        metadata["labels"] = dict(sorted(labels.items()))
    if namespace:
        metadata["namespace"] = namespace
    if owners:
        metadata["ownerReferences"] = [dict(owner) for owner in owners]
    document: dict[str, Any] = {"apiVersion": api_version, "kind": namespaced if namespace else clusterwide,
                                "metadata": metadata}
    if results:
        document["results"] = [result if isinstance(result, Row) else result.to_json() for result in results]
    if scope is not None:
        document["scope"] = scope.to_json()
    if api_version == OPENREPORTS:
        document["source"] = source or ""
    document["summary"] = summary(results)
    return document
