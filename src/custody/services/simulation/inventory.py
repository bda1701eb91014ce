"""`data.inventory` of documents, as Gatekeeper keeps what lies in a cluster (pkg/target/target.go)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from custody.errors import MalformedError


def inventory_of(documents: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Raises MalformedError for what is no object of Kubernetes."""
    kept: dict[str, Any] = {}
    for document in documents:
        version, kind, metadata = (document.get(name) for name in ("apiVersion", "kind", "metadata"))
        if not version or not kind:
            raise MalformedError("inventory", got=f"{version} {kind}", expected="an apiVersion and a kind")
        metadata = metadata if isinstance(metadata, dict) else {}
        namespace = metadata.get("namespace")
        place = kept.setdefault("namespace", {}).setdefault(namespace, {}) if namespace else (
            kept.setdefault("cluster", {}))
        place.setdefault(version, {}).setdefault(kind, {})[metadata.get("name") or ""] = document
    return kept


def namespaces_of(documents: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The Namespaces among them, by name."""
    return {str((document.get("metadata") or {}).get("name")): document for document in documents
            if document.get("kind") == "Namespace" and document.get("apiVersion") == "v1"}
