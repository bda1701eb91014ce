"""What an API server would answer in which some documents stand, and nothing else; namespaces are made up."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from custody.errors import MalformedError
from custody.policy.kinds import Kinds, guessed_plural
from custody.policy.model import Kind
from custody.ports.lookup import (
    Absent,
    Answer,
    Answered,
    ApiCall,
    ConfigMap,
    Failed,
    Inventory,
    NamespaceLabels,
    Question,
)
from custody.services.simulation.inventory import inventory_of
from policylang.errors import Shape

_CONSTRAINTS = "constraints.gatekeeper.sh"


class Standing:
    """Answers of documents. Other namespaces have `labels`, with values that belong to them or not.

    Raises MalformedError for metadata that is no mapping.
    """

    def __init__(self, documents: Iterable[dict[str, Any]], kinds: Kinds, labels: Mapping[str, Sequence[str]] = {},
                 values: Sequence[str] = ()) -> None:
        self._documents = [*documents]
        self._kinds, self._labels, self._values = kinds, labels, values or ["x"]
        self._at: dict[str, dict[str, Any]] = {}
        self._served: dict[str, dict[str, dict[str, Any]]] = {}
        for document in self._documents:
            self._put(document)

    def _put(self, document: dict[str, Any]) -> None:
        version, metadata = str(document.get("apiVersion") or ""), document.get("metadata") or {}
        if not isinstance(metadata, dict):
            raise MalformedError(f"{document.get('kind')}: metadata", got=Shape(metadata), expected="a mapping")
        group, _, bare = version.rpartition("/")
        kind = Kind(str(document.get("kind") or ""), bare, group)
        served = next((resource for resource in self._kinds.resources if resource.group == group
                       and resource.kind == kind.kind), None)
        plural = served.plural if served else kind.kind.lower() if group == _CONSTRAINTS else guessed_plural(kind.kind)
        namespaced = self._kinds.namespaced(kind) is True
        place = f"namespaces/{metadata.get('namespace') or 'default'}/" if namespaced else ""
        root = f"/apis/{version}" if group else f"/api/{version}"
        self._at[f"{root}/{place}{plural}/{metadata.get('name')}"] = document
        self._served.setdefault(root, {})[kind.kind] = {"name": plural, "kind": kind.kind, "namespaced": namespaced}

    def __call__(self, question: Question) -> Answer:
        if isinstance(question, Inventory):
            return Answered(inventory_of(self._documents))
        if isinstance(question, NamespaceLabels):
            return Answered(self._namespace(question.namespace)["metadata"]["labels"])
        if isinstance(question, ConfigMap):
            return self._object(f"/api/v1/namespaces/{question.namespace}/configmaps/{question.name}")
        if isinstance(question, ApiCall):
            return self._object(unquote(urlsplit(question.path).path))
        return Failed("it is not made up")

    def _object(self, path: str) -> Answer:
        if (known := self._at.get(path)) is not None:
            return Answered(known)
        if path in self._served:
            return Answered({"resources": [*self._served[path].values()]})
        parts = path.split("/")
        if parts[:4] == ["", "api", "v1", "namespaces"] and len(parts) == 5:
            return Answered(self._namespace(parts[4]))
        items = [document for place, document in self._at.items() if place.rpartition("/")[0] == path]
        return Answered({"items": items}) if items else Absent()

    def _namespace(self, name: str) -> dict[str, Any]:
        """Its labels are the same each time."""
        if (known := self._at.get(f"/api/v1/namespaces/{name}")) is not None:
            return {**known, "metadata": {**known["metadata"], "labels": known["metadata"].get("labels") or {}}}
        labels = {"kubernetes.io/metadata.name": name}
        salt = zlib.crc32(name.encode())
        for at, label in enumerate(self._labels):
            if (salt >> (at % 16)) & 1:
                own = self._labels[label] if (salt >> (at % 13)) & 2 else ()
                choice = own or self._values
                labels[label] = choice[(salt + at * 7) % len(choice)]
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
