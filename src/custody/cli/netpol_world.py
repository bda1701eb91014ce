"""What commands over flows know of a cluster: pods, Services and policies, of manifests or of an API server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from custody.cli.bars import progress
from custody.cli.run import settings
from custody.errors import UsageError
from custody.formats import yaml
from custody.network import declared, documents
from custody.network.connectivity import Connectivity
from custody.network.declared import Declared
from custody.network.documents import Document, Unread
from custody.network.ends import Ends, blocks
from custody.network.model import Topology
from custody.services import clusternetwork
from custody.services.manifests import from_bytes, from_path
from custody.wiring import cluster_client


@dataclass
class World:
    topology: Topology
    declared: Declared
    ends: Ends
    unread: tuple[Unread, ...]
    _proposed: Sequence[Document]
    _standing: Sequence[Document] | None

    def proposed(self, topology: Topology) -> Connectivity:
        """`topology` may have pods that only flows tell of beside those that were given."""
        return Connectivity(topology, documents.read_policies(self._proposed, topology))

    def standing(self, topology: Topology) -> Connectivity | None:
        """None where nobody said which policies stand."""
        if self._standing is None:
            return None
        return Connectivity(topology, documents.read_policies(self._standing, topology))


def world(proposed: Iterable[str], standing: Iterable[str], pods: Sequence[str], kubeconfig: str | None,
          pod_blocks: Iterable[str]) -> World:
    """Raises UsageError, MalformedError and UnsupportedError, naming the document and the field."""
    if kubeconfig is not None and pods:
        raise UsageError("got both --pods and --kubeconfig, expected one of them")
    new, current, around = (documents_of(targets) for targets in (proposed, standing, pods))
    live = _live(kubeconfig) if kubeconfig is not None else None
    beside = live if live is not None else around or new
    read = documents.read([*(document for document in beside if not documents.is_policy(document[1]))])
    unread = documents.read([*new, *current]).unread if beside is not new else documents.read(new).unread
    known = declared.read(beside)
    stands = current or ([document for document in live if documents.is_policy(document[1])] if live else None)
    return World(read.topology, known, Ends(read.topology, known, blocks(pod_blocks)), unread, new, stands)


def documents_of(targets: Iterable[str]) -> list[Document]:
    """Of files, folders and standard input. Raises UsageError and MalformedError."""
    listed: list[Document] = []
    for target in targets:
        if target == "-":
            manifests = from_bytes(sys.stdin.buffer.read(yaml.MAX_SIZE + 1), "-")
        else:
            manifests = from_path(Path(target)).resources
        listed += [(manifest.where, manifest.resource) for manifest in manifests]
    return listed


def _live(kubeconfig: str) -> list[Document]:
    async def look() -> list[Document]:
        client = cluster_client(settings().replace(kubeconfig=kubeconfig))
        try:
            with progress("Reading the cluster") as advance:
                return await clusternetwork.documents(client, advance)
        finally:
            await client.cluster.close()

    return asyncio.run(look())
