"""TARGETs and --kubeconfig of `custody netpol`: what is read, and what of it is said to people."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from custody.cli.bars import progress
from custody.cli.run import settings
from custody.errors import MissingEvidenceError, UsageError
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.network.connectivity import Connectivity
from custody.network.documents import Document, Documents, read
from custody.services.networking import from_cluster, from_targets, over
from custody.wiring import cluster_client

_NAMED = 3


def targets(command: Callable[..., Any]) -> Callable[..., Any]:
    """TARGET… and --kubeconfig."""
    command = kubeconfig(command)
    return click.argument("targets", nargs=-1, metavar="[TARGET]…")(command)


def kubeconfig(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
                        help="Read pods and policies of this cluster; TARGETs count over it, as if applied.")(command)


def load(names: Sequence[str], cluster: Path | None) -> Documents:
    """Raises UsageError, MalformedError, NetworkError; MissingEvidenceError where there are no pods to judge."""
    return documents(gathered(names, cluster))


def gathered(names: Sequence[str], cluster: Path | None) -> list[Document]:
    """What TARGETs and the cluster hold, before it is understood."""
    if not names and cluster is None:
        raise UsageError("no TARGET", hint="a file or folder with pods and policies, `-`, or --kubeconfig FILE")
    given = from_targets(names, sys.stdin.buffer.read)
    for place in given.passed_over[:_NAMED]:
        print(visible(f"warning: {place}: no resource, and passed over"), file=sys.stderr)
    if len(given.passed_over) > _NAMED:
        print(f"warning: and {amount(len(given.passed_over) - _NAMED, 'more document')} passed over", file=sys.stderr)
    return over(_of_cluster(cluster), given.documents) if cluster is not None else given.documents


def _of_cluster(path: Path) -> list[Document]:
    async def look() -> list[Document]:
        client = cluster_client(settings().replace(kubeconfig=str(path)))
        try:
            with progress("Reading the cluster") as advance:
                return await from_cluster(client, advance)
        finally:
            await client.cluster.close()

    return asyncio.run(look())


def documents(listed: list[Document]) -> Documents:
    """Understood; what is not judged is told."""
    with progress("Reading policies") as advance:
        result = read(listed, advance)
    if not result.topology.pods:
        raise MissingEvidenceError("no pods: nothing is known of who can reach whom",
                                   hint="give manifests of pods or of what makes them, or --kubeconfig FILE")
    for unread in result.unread[:_NAMED]:
        print(visible(f"warning: {unread.where}: {unread.kind}: {unread.reason}"), file=sys.stderr)
    if len(result.unread) > _NAMED:
        print(f"warning: and {amount(len(result.unread) - _NAMED, 'more such document')}", file=sys.stderr)
    return result


def engine(result: Documents) -> Connectivity:
    return Connectivity(result.topology, result.policies)
