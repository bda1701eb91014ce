"""The kind that a template makes: the CustomResourceDefinition of its constraints, as Gatekeeper writes it.

frameworks/constraint pkg/client/crds: group constraints.gatekeeper.sh, versions v1beta1 and v1alpha1, one schema of the
template's parameters, of `match` and of enforcement actions.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from custody.policy.gatekeeper.constraint import VERSIONS
from custody.policy.gatekeeper.template import constraint_schema

GROUP = "constraints.gatekeeper.sh"
LABEL = "gatekeeper.sh/constraint"
_OWNER = "templates.gatekeeper.sh/v1beta1"
"""The version in which Gatekeeper names a template as owner."""
_COLUMNS = (
    {"name": "enforcement-action", "type": "string", "jsonPath": ".spec.enforcementAction",
     "description": "Type of enforcement action"},
    {"name": "total-violations", "type": "integer", "jsonPath": ".status.totalViolations",
     "description": "Total number of violations"})


def name_of(kind: str) -> str:
    """Of the definition."""
    return f"{kind.lower()}.{GROUP}"


def definition(template: Mapping[str, Any]) -> dict[str, Any]:
    """apiextensions.k8s.io/v1, of a ConstraintTemplate that compiles and lies in a cluster: it is the owner."""
    metadata, crd = template["metadata"], template["spec"]["crd"]["spec"]
    kind = str(crd["names"]["kind"])
    names = {"kind": kind, "listKind": f"{kind}List", "plural": kind.lower(), "singular": kind.lower(),
             "categories": ["constraint", "constraints"]}
    if short := crd["names"].get("shortNames"):
        names["shortNames"] = [*short]
    schema = {"openAPIV3Schema": _schema(template)}
    versions = [{"name": version, "served": True, "storage": version == VERSIONS[0], "schema": schema,
                 "subresources": {"status": {}}, "additionalPrinterColumns": [dict(column) for column in _COLUMNS]}
                for version in VERSIONS]
    owner = {"apiVersion": _OWNER, "kind": template["kind"], "name": metadata["name"],
             "uid": metadata.get("uid") or "", "controller": True, "blockOwnerDeletion": True}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name_of(kind), "labels": {LABEL: "yes"}, "ownerReferences": [owner]},
            "spec": {"group": GROUP, "names": names, "scope": "Cluster", "versions": versions}}


def _schema(template: Mapping[str, Any]) -> dict[str, Any]:
    schema = copy.deepcopy(constraint_schema())
    del schema["properties"]["apiVersion"], schema["properties"]["kind"]
    del schema["properties"]["metadata"]["x-kubernetes-preserve-unknown-fields"]
    validation = template["spec"]["crd"]["spec"].get("validation") or {}
    legacy = validation.get("legacySchema")
    if legacy is None:
        legacy = not str(template["apiVersion"]).endswith("/v1")
    written = validation.get("openAPIV3Schema")
    if written is None and legacy:
        written = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    if written is not None:
        schema["properties"]["spec"]["properties"]["parameters"] = _widened(written) if legacy else written
    return schema


def _widened(schema: Any) -> Any:
    """As `legacySchema` takes it (frameworks/constraint pkg/apis/templates AddPreserveUnknownFields): whatever is not
    described may be there too."""
    if not isinstance(schema, dict):
        return schema
    wide = dict(schema)
    if wide.get("type") in (None, "", "object"):
        wide["x-kubernetes-preserve-unknown-fields"] = True
        if isinstance(wide.get("properties"), dict):
            wide["properties"] = {name: _widened(part) for name, part in wide["properties"].items()}
        if isinstance(wide.get("additionalProperties"), dict):
            wide["additionalProperties"] = _widened(wide["additionalProperties"])
    elif wide.get("type") == "array":
        items = wide.get("items")
        wide["items"] = _widened(items) if items is not None else {"x-kubernetes-preserve-unknown-fields": True}
    return wide
