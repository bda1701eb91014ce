"""The kinds of policies that a cluster keeps, and CustomResourceDefinitions of them for one that has no Kyverno.

Groups, kinds, versions and columns are those of Kyverno 1.19, so that its policies are applied unchanged and its own
definitions do as well. Schemas keep every field: which are evaluated is said by the webhook, by name, and not by a
schema that would drop what it does not know.
"""

from __future__ import annotations

from typing import Any, NamedTuple

_PRESERVED = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_AGE = ("AGE", ".metadata.creationTimestamp", "date")
_READY = '.status.conditions[?(@.type == "Ready")].'


class Definition(NamedTuple):
    group: str
    kind: str
    plural: str
    short: str
    namespaced: bool
    versions: tuple[str, ...]
    """Those that are served, the one that is read first."""
    stored: str
    """Which of them etcd holds."""
    policy: bool = True
    """Whether it judges or changes something by itself; exceptions and entries do not."""
    cel: bool = False
    """Whether its status has `conditionStatus`, as the kinds of policies.kyverno.io; the others have conditions."""
    status: bool = True

    @property
    def name(self) -> str:
        return f"{self.plural}.{self.group}"

    @property
    def api_versions(self) -> tuple[str, ...]:
        """The best first."""
        return tuple(f"{self.group}/{version}" for version in self.versions)

    def document(self) -> dict[str, Any]:
        """apiextensions.k8s.io/v1."""
        names = {"kind": self.kind, "listKind": f"{self.kind}List", "plural": self.plural,
                 "singular": self.kind.lower(), "categories": ["kyverno"]}
        if self.short:
            names["shortNames"] = [self.short]
        properties = {"spec": _PRESERVED, **({"status": _PRESERVED} if self.status else {})}
        schema = {**_PRESERVED, "properties": properties, "required": ["spec"]}
        columns = [{"name": name, "jsonPath": path, "type": kind} for name, path, kind in self._columns()]
        versions = [{"name": version, "served": True, "storage": version == self.stored,
                     "schema": {"openAPIV3Schema": schema}, "additionalPrinterColumns": columns,
                     **({"subresources": {"status": {}}} if self.status else {})} for version in self.versions]
        return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": self.name, "labels": {"app.kubernetes.io/part-of": "custody"}},
                "spec": {"group": self.group, "names": names,
                         "scope": "Namespaced" if self.namespaced else "Cluster", "versions": versions}}

    def _columns(self) -> list[tuple[str, str, str]]:
        if self.cel:
            return [_AGE, ("READY", ".status.conditionStatus.ready", "string"),
                    ("MESSAGE", ".status.conditionStatus.message", "string")]
        if self.kind in ("ClusterPolicy", "Policy"):
            return [("ADMISSION", ".spec.admission", "boolean"), ("BACKGROUND", ".spec.background", "boolean"),
                    ("READY", f"{_READY}status", "string"), _AGE, ("MESSAGE", f"{_READY}message", "string")]
        if self.kind.endswith("CleanupPolicy"):
            return [("SCHEDULE", ".spec.schedule", "string"), _AGE]
        return [_AGE]


_OLD, _NEW = "kyverno.io", "policies.kyverno.io"


def _both(kind: str, plural: str, short: str) -> list[Definition]:
    """A kind of policies.kyverno.io, for the cluster and for one namespace."""
    return [Definition(_NEW, kind, plural, short, False, ("v1", "v1beta1", "v1alpha1"), "v1beta1", cel=True),
            Definition(_NEW, f"Namespaced{kind}", f"namespaced{plural}", f"n{short}", True, ("v1", "v1beta1"),
                       "v1beta1", cel=True)]


DEFINITIONS: tuple[Definition, ...] = (
    Definition(_OLD, "ClusterPolicy", "clusterpolicies", "cpol", False, ("v1", "v2beta1"), "v1"),
    Definition(_OLD, "Policy", "policies", "pol", True, ("v1", "v2beta1"), "v1"),
    Definition(_OLD, "PolicyException", "policyexceptions", "polex", True, ("v2", "v2beta1"), "v2", policy=False,
               status=False),
    Definition(_OLD, "ClusterCleanupPolicy", "clustercleanuppolicies", "ccleanpol", False, ("v2", "v2beta1"), "v2"),
    Definition(_OLD, "CleanupPolicy", "cleanuppolicies", "cleanpol", True, ("v2", "v2beta1"), "v2"),
    Definition(_OLD, "GlobalContextEntry", "globalcontextentries", "gctxentry", False, ("v2", "v2beta1", "v2alpha1"),
               "v2beta1", policy=False),
    *_both("ValidatingPolicy", "validatingpolicies", "vpol"),
    *_both("MutatingPolicy", "mutatingpolicies", "mpol"),
    *_both("GeneratingPolicy", "generatingpolicies", "gpol"),
    *_both("DeletingPolicy", "deletingpolicies", "dpol"),
    *_both("ImageValidatingPolicy", "imagevalidatingpolicies", "ivpol"),
    Definition(_NEW, "PolicyException", "policyexceptions", "", True, ("v1", "v1beta1", "v1alpha1"), "v1beta1",
               policy=False, status=False),
)
"""In the order in which a cluster's policies are loaded."""
BY_KIND = {(definition.group, definition.kind): definition for definition in DEFINITIONS}


def documents() -> list[dict[str, Any]]:
    """All of them, for `kubectl apply --server-side -f -`."""
    return [definition.document() for definition in DEFINITIONS]
