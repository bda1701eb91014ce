"""What network policies and pods there are: in files and folders, in a cluster, or in a cluster with files over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from custody.errors import MalformedError, UnsupportedError
from custody.network import calico
from custody.network.documents import KINDS, STORED, Document, group_of, served
from custody.ports.cluster import Listing, Served
from custody.services.manifests import Manifest, from_bytes, from_path

_PODS = (("v1", "Pod"), ("v1", "Namespace"), ("v1", "Node"), ("v1", "Service"), ("v1", "ServiceAccount"))
_VERSIONS = {"networking.k8s.io": ("v1",),
             "policy.networking.k8s.io": ("v1beta1", "v1alpha2", "v1alpha1"),
             "projectcalico.org": ("v3",), "cilium.io": ("v2", "v2alpha1")}


class Objects(Protocol):
    """Of `ports.cluster.ClusterObjects`, what is asked here."""

    @property
    def url(self) -> str: ...

    async def resource(self, api_version: str, kind: str, *, refresh: bool = False) -> Served | None: ...

    async def list(self, resource: Served, namespace: str = "", *, labels: str = "", fields: str = "",
                   most: int | None = None, first: int | None = None) -> Listing: ...


class Given(NamedTuple):
    documents: list[Document]
    passed_over: list[str]
    """Documents of folders that are no resources."""


def from_targets(targets: Sequence[str], standard_input: Callable[[], bytes]) -> Given:
    """Of files, folders and `-`; Lists are taken apart. Raises UsageError, MalformedError."""
    manifests: list[Manifest] = []
    passed_over: list[str] = []
    for target in targets:
        if target == "-":
            manifests += from_bytes(standard_input(), "-")
            continue
        loaded = from_path(Path(target))
        manifests += loaded.resources
        passed_over += loaded.passed_over
    return Given([(manifest.where, served(manifest.resource)) for manifest in manifests], passed_over)


async def from_cluster(cluster: Objects, advance: Callable[[int], None] | None = None) -> list[Document]:
    """Pods, namespaces, nodes and policies of all kinds that the cluster serves. `advance` is told of each object.

    Raises ApiError where something may not be read, and NetworkError: what is not known whole is not judged.
    """
    documents: list[Document] = []
    for version, kind in _PODS:
        resource = await cluster.resource(version, kind)
        if resource is None:
            raise UnsupportedError(cluster.url, f"serves no {kind}")
        documents += await _listed(cluster, resource, version, advance)
    for group, kinds in KINDS.items():
        for kind in kinds:
            for version in _VERSIONS.get(group, ()):
                resource = await cluster.resource(f"{group}/{version}", kind)
                if resource is not None:
                    documents += await _listed(cluster, resource, f"{group}/{version}", advance)
                    break
            else:
                if group == calico.GROUP and (resource := await cluster.resource(STORED, kind)) is not None:
                    documents += await _listed(cluster, resource, STORED, advance)
    return documents


async def _listed(cluster: Objects, resource: Served, version: str, advance: Callable[[int], None] | None
                  ) -> list[Document]:
    documents: list[Document] = []
    for item in (await cluster.list(resource)).items:
        document = served({**item, "apiVersion": version, "kind": resource.kind})
        documents.append((_place(document), document))
        if advance is not None:
            advance(1)
    return documents


def _place(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    namespace, name = metadata.get("namespace"), metadata.get("name")
    return f"{document.get('kind')}/{namespace}/{name}" if namespace else f"{document.get('kind')}/{name}"


def over(below: Iterable[Document], above: Iterable[Document]) -> list[Document]:
    """What a cluster has once files are applied to it: what is in both, by kind and name, is as the files say."""
    listed = list(above)
    replaced = {_identity(document) for _, document in listed}
    return [(where, document) for where, document in below if _identity(document) not in replaced] + listed


def _identity(document: dict[str, Any]) -> tuple[str, str, str, str]:
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        raise MalformedError(f"{document.get('kind')}.metadata", got=metadata, expected="a map")
    namespaced = document.get("kind") not in ("Namespace", "Node")
    return (group_of(document), str(document.get("kind")),
            str(metadata.get("namespace") or "default") if namespaced else "", str(metadata.get("name")))
