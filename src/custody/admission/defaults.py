"""What the API server writes into a policy where it says nothing, by the schema of its definition: Kyverno's and
Gatekeeper's defaults.

Schemas keep every field all the same. A path names fields from `spec` on; `[]` stands for each of a list.
"""

from __future__ import annotations

import copy
from typing import Any

Schema = dict[str, Any]
PRESERVED: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_ENTRIES = ("validate.manifests.attestors[].entries[]", "verifyImages[].attestations[].attestors[].entries[]",
            "verifyImages[].attestors[].entries[]")
_CONTEXTS = ("context[]", "generate.foreach[].context[]", "mutate.foreach[].context[]", "mutate.targets[].context[]",
             "validate.foreach[].context[]")
_RULE: dict[str, Any] = {
    **{f"{context}.apiCall.method": "GET" for context in _CONTEXTS},
    **{f"{entry}.{field}signatureAlgorithm": "sha256" for entry in _ENTRIES for field in ("", "keys.")},
    "skipBackgroundRequests": True, "validate.cel.generate": False,
    **{f"verifyImages[].{field}": True for field in ("mutateDigest", "required", "useCache", "verifyDigest")}}
_POLICY: dict[str, Any] = {"admission": True, "background": True, "emitWarning": False,
                           "validationFailureAction": "Audit",
                           **{f"rules[].{path}": value for path, value in _RULE.items()}}
_V1 = {**_POLICY, "rules[].validate.allowExistingViolations": True}
_JUDGED = {"evaluation.admission.enabled": True, "evaluation.background.enabled": True}
_KINDS: dict[str, dict[str, Any]] = {
    "ClusterPolicy": _POLICY, "Policy": _POLICY,
    "CleanupPolicy": {"context[].apiCall.method": "GET"}, "ClusterCleanupPolicy": {"context[].apiCall.method": "GET"},
    "GlobalContextEntry": {"apiCall.method": "GET", "apiCall.refreshInterval": "10m", "apiCall.retryLimit": 3},
    "ValidatingPolicy": _JUDGED,
    "MutatingPolicy": {**_JUDGED, "evaluation.mutateExisting.enabled": False,
                       "evaluation.skipBackgroundRequests": True},
    "GeneratingPolicy": {"evaluation.admission.enabled": True, "evaluation.skipBackgroundRequests": True,
                         **{f"evaluation.{part}.enabled": False for part in (
                             "generateExisting", "orphanDownstreamOnPolicyDelete", "synchronize")},
                         "generate[].template.interpolate": "none"},
    "ImageValidatingPolicy": {**_JUDGED, "validationConfigurations": {},
                              **{f"validationConfigurations.{field}": True
                                 for field in ("mutateDigest", "required", "verifyDigest")}}}
_TYPES = {bool: "boolean", int: "integer", str: "string", dict: "object"}


def defaults(group: str, kind: str, version: str) -> dict[str, Any]:
    """Values by their paths."""
    if kind == "PolicyException":
        return {"reportResult": "skip"} if group == "policies.kyverno.io" else {}
    if kind == "ConstraintTemplate":  # of what stands in an older version it must be known when it is read as v1
        return {"crd.spec.validation": {}, "crd.spec.validation.legacySchema": version != "v1"}
    if kind in ("ClusterPolicy", "Policy") and version == "v1":
        return _V1
    return _KINDS.get(kind.removeprefix("Namespaced"), {})


def spec_schema(group: str, kind: str, version: str) -> Schema:
    """openAPIV3Schema of a `spec`: any fields, with these defaults."""
    schema = copy.deepcopy(PRESERVED)
    for path, value in defaults(group, kind, version).items():
        at = schema
        for step in path.replace("[]", ".[]").split("."):
            if step == "[]":
                at.pop("x-kubernetes-preserve-unknown-fields", None)
                at["type"] = "array"
                at = at.setdefault("items", copy.deepcopy(PRESERVED))
            else:
                at = at.setdefault("properties", {}).setdefault(step, copy.deepcopy(PRESERVED))
        if not isinstance(value, dict):
            del at["x-kubernetes-preserve-unknown-fields"]
        at |= {"type": _TYPES[type(value)], "default": value}
    return schema
