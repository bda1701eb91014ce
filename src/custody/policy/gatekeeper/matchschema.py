"""The schema of a constraint's `spec.match` (Gatekeeper pkg/target/matchcrd_constant.go, its words left out)."""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_GLOB = {"type": "string", "pattern": r"^\*?[-:a-z0-9]*\*?$"}
_ATOMIC = {"x-kubernetes-list-type": "atomic"}
_SELECTOR = {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {
    "matchExpressions": {"type": "array", **_ATOMIC, "items": {
        "type": "object", "required": ["key", "operator"],
        "properties": {"key": _TEXT, "operator": _TEXT, "values": {**_TEXTS, **_ATOMIC}}}},
    "matchLabels": {"type": "object", "additionalProperties": _TEXT}}}
MATCH: dict[str, Any] = {"type": "object", "properties": {
    "excludedNamespaces": {"type": "array", "items": _GLOB},
    "kinds": {"type": "array", "items": {"type": "object", "properties": {"apiGroups": _TEXTS, "kinds": _TEXTS}}},
    "labelSelector": _SELECTOR,
    "name": _GLOB,
    "namespaceSelector": _SELECTOR,
    "namespaces": {"type": "array", "items": _GLOB},
    "scope": _TEXT,
    "source": {"type": "string", "enum": ["All", "Generated", "Original"]}}}
