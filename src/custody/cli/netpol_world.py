"""What commands over flows know of a cluster: pods, Services and policies, of manifests or of an API server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from custody.cli.bars import progress
from custody.cli.netpol_documents import gathered
from custody.cli.run import settings
from custody.errors import UsageError
from custody.kit.visible import visible
from custody.network import declared, documents
from custody.network.connectivity import Connectivity
from custody.network.declared import Declared
from custody.network.documents import Document, is_policy
from custody.network.ends import Ends, blocks
from custody.network.model import Topology
from custody.services.networking import from_cluster, over
from custody.services.workloads import workloads
from custody.wiring import cluster_client


@dataclass
class World:
    topology: Topology
    declared: Declared
    ends: Ends
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


def world(proposed: Sequence[str], standing: Sequence[str], pods: Sequence[str], kubeconfig: Path | None,
          pod_blocks: Sequence[str]) -> World:
    """With a cluster, `proposed` and `pods` count over it, as if they were applied.

    Raises UsageError, MalformedError and UnsupportedError, naming the document and the field; NetworkError.
    """
    if [*proposed, *standing, *pods].count("-") > 1:
        raise UsageError("-: standard input can be read once")
    new, current, manifests = (gathered(names, None) if names else [] for names in (proposed, standing, pods))
    live = of_cluster(kubeconfig, controllers=True) if kubeconfig is not None else []
    beside = over(live, manifests) if live or manifests else new
    around = [document for document in beside if not is_policy(document[1])]
    for listed in (new, current):
        for where, kind, reason in documents.read(listed).unread:
            print(visible(f"warning: {where}: {kind}: {reason}"), file=sys.stderr)
    read, known = documents.read(around), declared.read(around)
    stands = [document for document in live if is_policy(document[1])]
    proposals, current = over(stands, new), current or stands
    policies = [policy for listed in (proposals, current) for policy in documents.read_policies(listed, read.topology)]
    return World(read.topology, known, Ends(read.topology, known, blocks(pod_blocks), policies), proposals,
                 current if standing or kubeconfig is not None else None)


def of_cluster(kubeconfig: Path, *, controllers: bool = False) -> list[Document]:
    """Of the cluster of a kubeconfig, with `controllers` also what makes pods."""
    async def look() -> list[Document]:
        client = cluster_client(settings().replace(kubeconfig=str(kubeconfig)))
        try:
            with progress("Reading the cluster") as advance:
                listed = await from_cluster(client, advance)
                return listed + (await workloads(client) if controllers else [])
        finally:
            await client.cluster.close()

    return asyncio.run(look())
