"""The kinds of policies that a cluster keeps, and CustomResourceDefinitions of them for one that has no Kyverno, or no
Gatekeeper.

Groups, kinds, versions and columns are those of Kyverno 1.19 and Gatekeeper 3.23, so that their policies are applied
unchanged and their own definitions do as well. Schemas keep every field and write their defaults: what is evaluated is
said by the webhook, by name, and not by a schema that would drop what it does not know.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from custody.admission.defaults import PRESERVED, spec_schema

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
    category: str = "kyverno"
    """Whose kind it is: kyverno or gatekeeper."""

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
                 "singular": self.kind.lower(), "categories": [self.category]}
        if self.short:
            names["shortNames"] = [self.short]
        columns = [{"name": name, "jsonPath": path, "type": kind} for name, path, kind in self._columns()]
        versions = [{"name": version, "served": True, "storage": version == self.stored,
                     "schema": {"openAPIV3Schema": self._schema(version)}, "additionalPrinterColumns": columns,
                     **({"subresources": {"status": {}}} if self.status else {})} for version in self.versions]
        return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": self.name, "labels": {"app.kubernetes.io/part-of": "custody"}},
                "spec": {"group": self.group, "names": names,
                         "scope": "Namespaced" if self.namespaced else "Cluster", "versions": versions}}

    def _schema(self, version: str) -> dict[str, Any]:
        properties = {"spec": spec_schema(self.group, self.kind, version),
                      **({"status": PRESERVED} if self.status else {})}
        return {**PRESERVED, "properties": properties, **({"required": ["spec"]} if self.category == "kyverno" else {})}

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


def _gatekeepers(group: str, kind: str, plural: str, versions: tuple[str, ...], stored: str, *,
                 namespaced: bool = False, status: bool = True) -> Definition:
    return Definition(f"{group}.gatekeeper.sh", kind, plural, "", namespaced, versions, stored, policy=False,
                      status=status, category=GATEKEEPER)


KYVERNO, GATEKEEPER = "kyverno", "gatekeeper"
CONSTRAINTS = "constraints.gatekeeper.sh"
"""The group whose kinds templates make."""
_THREE = ("v1", "v1beta1", "v1alpha1")
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
    _gatekeepers("templates", "ConstraintTemplate", "constrainttemplates", _THREE, "v1"),
    _gatekeepers("mutations", "Assign", "assign", _THREE, "v1"),
    _gatekeepers("mutations", "AssignMetadata", "assignmetadata", _THREE, "v1"),
    _gatekeepers("mutations", "ModifySet", "modifyset", _THREE, "v1"),
    _gatekeepers("mutations", "AssignImage", "assignimage", ("v1alpha1",), "v1alpha1"),
    _gatekeepers("expansion", "ExpansionTemplate", "expansiontemplate", ("v1beta1", "v1alpha1"), "v1alpha1"),
    _gatekeepers("externaldata", "Provider", "providers", ("v1beta1", "v1alpha1"), "v1beta1"),
    _gatekeepers("config", "Config", "configs", ("v1alpha1",), "v1alpha1", namespaced=True),
    _gatekeepers("syncset", "SyncSet", "syncsets", ("v1alpha1",), "v1alpha1", status=False),
    _gatekeepers("connection", "Connection", "connections", ("v1alpha1",), "v1alpha1", namespaced=True),
)
"""In the order in which a cluster's policies are loaded."""
SCHEDULED = frozenset(definition.kind for definition in DEFINITIONS
                      if definition.kind.endswith(("CleanupPolicy", "DeletingPolicy")))
"""Kinds of policies that are due by a schedule, and asked about no request."""
BY_KIND = {(definition.group, definition.kind): definition for definition in DEFINITIONS}


def of_constraints(kind: str) -> Definition:
    """Of a kind that a template makes; its own definition is written by whoever follows the template."""
    return Definition(CONSTRAINTS, kind, kind.lower(), "", False, ("v1beta1", "v1alpha1"), "v1beta1", policy=False,
                      category=GATEKEEPER)


def documents(*categories: str) -> list[dict[str, Any]]:
    """Those of Kyverno's kinds with what controllers write, those of Gatekeeper's, or all: for `kubectl apply
    --server-side -f -`."""
    chosen = categories or (KYVERNO, GATEKEEPER)
    return [*(definition.document() for definition in DEFINITIONS if definition.category in chosen),
            *(_WRITTEN if KYVERNO in chosen else ())]


def _written(group: str, version: str, kind: str, plural: str, short: str, columns: tuple[tuple[str, str, str], ...], *,
             namespaced: bool = True, status: bool = False) -> dict[str, Any]:
    listed = [{"name": name, "jsonPath": path, "type": type_} for name, path, type_ in columns]
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}", "labels": {"app.kubernetes.io/part-of": "custody"}},
            "spec": {"group": group, "scope": "Namespaced" if namespaced else "Cluster",
                     "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower(),
                               "shortNames": [short]},
                     "versions": [{"name": version, "served": True, "storage": True,
                                   "schema": {"openAPIV3Schema": PRESERVED}, "additionalPrinterColumns": listed,
                                   **({"subresources": {"status": {}}} if status else {})}]}}


_OF_REPORT = (("KIND", ".scope.kind", "string"), ("NAME", ".scope.name", "string"), *(
    (outcome.upper(), f".summary.{outcome}", "integer") for outcome in ("pass", "fail", "warn", "error", "skip")), _AGE)
_WRITTEN = (
    _written("kyverno.io", "v2", "UpdateRequest", "updaterequests", "ur", (
        ("POLICY", ".spec.policy", "string"), ("STATUS", ".status.state", "string"), _AGE), status=True),
    _written("wgpolicyk8s.io", "v1alpha2", "PolicyReport", "policyreports", "polr", _OF_REPORT),
    _written("wgpolicyk8s.io", "v1alpha2", "ClusterPolicyReport", "clusterpolicyreports", "cpolr", _OF_REPORT,
             namespaced=False),
)
"""Requests to change other objects, which replicas leave to the one that leads, and reports."""
