"""Documents as the Kyverno CLI reads them: a resource gets the namespace that it would have in a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from custody.errors import MalformedError, UsageError
from custody.formats import yaml
from custody.kit import strictjson
from custody.policy.kinds import Kinds, guessed_plural
from custody.policy.model import Kind
from custody.policy.resources import ApiResource
from policylang.errors import Shape

MAX_FILE = 256 * 1024 * 1024
"""Bytes of a file of resources. Each of its documents is bounded by `formats.yaml`."""
_MAPS = frozenset({"annotations", "labels", "matchLabels", "nodeSelector", "data", "stringData"})
"""Fields that are maps where a chart writes them with nothing in them."""


def read(file: Path) -> list[Any]:
    """The documents of a file, YAML or JSON. Raises UsageError, MalformedError."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    return parsed(data, str(file))


def parsed(data: bytes, where: str) -> list[Any]:
    """Each document is read by itself: a file may have more of them than one document may have values."""
    if len(data) > MAX_FILE:
        raise MalformedError(where, got=f"more than {MAX_FILE} bytes", expected=f"at most {MAX_FILE} bytes")
    if where.lower().endswith(".json"):
        return [strictjson.loads(data, where, max_size=MAX_FILE, max_depth=yaml.MAX_DEPTH)]
    return [document for part in _split(data) for document in yaml.documents(part, where)]


def _split(data: bytes) -> Iterator[bytes]:
    """At lines that begin with `---`, as Kubernetes splits files."""
    start = 0
    while True:
        at = data.find(b"\n---", start)
        if at < 0:
            yield data[start:]
            return
        yield data[start:at + 1]
        start = at + 1


def resources(documents: Iterable[Any], where: str, kinds: Kinds) -> Iterator[dict[str, Any]]:
    """Objects of Kubernetes, Lists taken apart, each as it would lie in a cluster. Raises MalformedError."""
    for document in documents:
        if not isinstance(document, dict):
            raise MalformedError(where, got=Shape(document), expected="a resource")
        items = document.get("items")
        if isinstance(items, list) and document.get("kind") == "List":
            yield from resources(items, where, kinds)
            continue
        kind, version = document.get("kind"), document.get("apiVersion")
        if not isinstance(kind, str) or not kind:
            raise MalformedError(where, got="no kind", expected="a resource with a kind")
        if not isinstance(version, str) or not version:
            raise MalformedError(where, got="no apiVersion", expected="that of the resource, such as v1 or apps/v1")
        yield located(document, kinds)


def located(document: dict[str, Any], kinds: Kinds) -> dict[str, Any]:
    """In the namespace `default` where it names none, unless its kind is known to stand in none."""
    filled: dict[str, Any] = _filled(document)
    metadata = filled.get("metadata")
    if clusterwide(filled, kinds) or (isinstance(metadata, dict) and metadata.get("namespace")):
        return filled
    if isinstance(metadata, dict) or metadata is None:
        filled["metadata"] = {**(metadata or {}), "namespace": "default"}
    return filled


def clusterwide(document: dict[str, Any], kinds: Kinds) -> bool:
    """Whether its kind is known, in whatever version, and stands in no namespace."""
    kind = kind_of(document)
    return next((not resource.namespaced for resource in kinds.resources
                 if (resource.kind, resource.group) == (kind.kind, kind.group)), False)


def kind_of(document: dict[str, Any]) -> Kind:
    group, _, version = str(document.get("apiVersion") or "v1").rpartition("/")
    return Kind(str(document.get("kind") or ""), version, group)


def name_of(document: dict[str, Any]) -> str:
    return _text(document, "name")


def namespace_of(document: dict[str, Any]) -> str:
    return _text(document, "namespace")


def _text(document: dict[str, Any], field: str) -> str:
    metadata = document.get("metadata")
    value = metadata.get(field) if isinstance(metadata, dict) else None
    return value if isinstance(value, str) else ""


def _filled(value: Any, name: str = "") -> Any:
    if value is None and name in _MAPS:
        return {}
    if isinstance(value, dict):
        return {key: _filled(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner) for inner in value]
    return value


def guessed(kind: Kind) -> ApiResource:
    """A resource of which nothing is known but its kind."""
    return ApiResource(group=kind.group, version=kind.version, kind=kind.kind, plural=guessed_plural(kind.kind),
                       singular=kind.kind.lower(), namespaced=True, operations=("CREATE", "UPDATE", "DELETE"))
