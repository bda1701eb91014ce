"""Resources as people keep them: files of several documents, folders of files, and Lists of all kinds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from custody.errors import MalformedError, UsageError
from custody.formats import yaml
from custody.policy.load import manifest_files, read
from custody.ports.lookup import (
    Answer,
    Answered,
    ExternalData,
    Failed,
    Lookup,
    NamespaceLabels,
    PublicKeyAt,
    Question,
)
from policylang.errors import Shape

MAX_DEPTH = 8
"""Lists within Lists."""


class Manifest(NamedTuple):
    """One resource and where it stands: `deploy/web.yaml[1].items[0]`."""

    where: str
    resource: dict[str, Any]


class Manifests(NamedTuple):
    resources: list[Manifest]
    passed_over: list[str]
    """Documents of a folder that are no resources, such as a chart's values."""


class Namespaces(Lookup):
    """Knows the Namespaces among some resources, and asks a cluster, where there is one, for the rest.

    What is given comes first: it is what the cluster is about to have.
    """

    def __init__(self, manifests: Iterable[Manifest], cluster: Lookup | None = None,
                 labels: Mapping[str, str] | None = None, outside: Lookup | None = None) -> None:
        """`labels` are those of every other namespace, where they are known; `outside` is asked what no cluster knows:
        public keys, and what Gatekeeper's providers say."""
        self._outside = outside
        self._cluster = cluster
        self._usual = labels
        self._labels: dict[str, dict[str, str]] = {}
        for manifest in manifests:
            metadata = manifest.resource.get("metadata")
            if (manifest.resource["apiVersion"], manifest.resource["kind"]) == ("v1", "Namespace") and isinstance(
                    metadata, dict) and isinstance(name := metadata.get("name"), str):
                labels = metadata.get("labels")
                self._labels[name] = {**(labels if isinstance(labels, dict) else {}),
                                      "kubernetes.io/metadata.name": name}  # as the API server puts it there

    async def answer(self, question: Question) -> Answer:
        if isinstance(question, NamespaceLabels) and question.namespace in self._labels:
            return Answered(self._labels[question.namespace])
        if isinstance(question, NamespaceLabels) and self._usual is not None:
            return Answered({**self._usual, "kubernetes.io/metadata.name": question.namespace})
        if self._outside is not None and isinstance(question, (PublicKeyAt, ExternalData)):
            return await self._outside.answer(question)
        if self._cluster is not None:
            return await self._cluster.answer(question)
        return Failed("there is no cluster to ask" + (
            f", and no Namespace {question.namespace} among the resources" if isinstance(question, NamespaceLabels)
            else ""))


def from_bytes(data: bytes, where: str) -> list[Manifest]:
    """The resources of one YAML or JSON stream. Raises MalformedError, also where there is none."""
    return _some(where, yaml.documents(data, where))


def from_path(path: Path) -> Manifests:
    """The resources of a file, or of all *.yaml, *.yml and *.json below a folder.

    Raises UsageError where there is none, MalformedError for what cannot be read. A document without a kind is an
    error in a file that was named, and is passed over by name in a folder; so is an empty file there.
    """
    if not path.is_dir():
        return Manifests(_some(str(path), read(path)), [])
    resources: list[Manifest] = []
    passed_over: list[str] = []
    for file in manifest_files(path):
        documents = read(file)
        if not documents:
            passed_over.append(str(file))
        for at, document in enumerate(documents):
            where = f"{file}[{at}]"
            if isinstance(document, dict) and isinstance(document.get("kind"), str):
                resources += _items(document, where, 0)
            else:
                passed_over.append(where)
    if not resources:
        raise UsageError(f"{path}: no resource in this folder", hint="it has no *.yaml, *.yml or *.json with a kind")
    return Manifests(resources, passed_over)


def _some(where: str, documents: list[Any]) -> list[Manifest]:
    resources: list[Manifest] = []
    for at, document in enumerate(documents):
        resources += _items(document, f"{where}[{at}]", 0)
    if not resources:
        raise MalformedError(where, got="no resource" if not documents else "only empty Lists",
                             expected="at least one resource")
    return resources


def _items(document: Any, where: str, depth: int) -> Iterator[Manifest]:
    """The resource itself, or the items of a List, a PodList and the like."""
    if not isinstance(document, dict) or not isinstance(kind := document.get("kind"), str) or not kind:
        raise MalformedError(where, got=Shape(document) if not isinstance(document, dict) else "no kind",
                             expected="a resource with a kind")
    if not (kind.endswith("List") and "items" in document):
        version = document.get("apiVersion")
        if not isinstance(version, str) or not version:
            raise MalformedError(f"{where}: apiVersion", got=version if isinstance(version, (int, float)) else
                                 "nothing" if version is None else Shape(version),
                                 expected="that of the resource, such as v1 or apps/v1")
        yield Manifest(where, document)
        return
    items = document.get("items")
    if items is not None and not isinstance(items, list):
        raise MalformedError(f"{where}: items", got=Shape(items), expected="a list of resources")
    if depth >= MAX_DEPTH:
        raise MalformedError(where, got="Lists within Lists without end", expected=f"at most {MAX_DEPTH} levels")
    for at, item in enumerate(items or []):
        if isinstance(item, dict) and kind != "List":  # a typed list need not repeat its items' kind
            item = {"apiVersion": document.get("apiVersion"), "kind": kind.removesuffix("List"), **item}
        yield from _items(item, f"{where}.items[{at}]", depth + 1)
