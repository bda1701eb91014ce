"""`custody netpol quarantine`: cut one pod off the network, proved before it is done; and let it back."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from custody.cli.bars import progress
from custody.cli.netpol_documents import gathered
from custody.cli.run import settings
from custody.errors import DeniedError, UsageError
from custody.kit.amount import amount
from custody.kit.near import near
from custody.kit.visible import visible
from custody.network import documents
from custody.network.connectivity import Connectivity
from custody.network.documents import Document
from custody.network.isolation import Isolation, isolation
from custody.ports.cluster import Object
from custody.services import quarantine
from custody.services.networking import Objects, from_cluster
from custody.services.quarantine import METHODS, Change, Method
from custody.wiring import cluster_client

_ENFORCED = "whether the cluster's network plugin enforces these policies is not known from here"
_PROBED = "the pod's node reaches it all the same, for its probes"


@click.command("quarantine")
@click.argument("pod", metavar="NAMESPACE/POD")
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="The cluster. Default: the setting `kubeconfig`.")
@click.option("--pods", multiple=True, metavar="TARGET",
              help="Instead of a cluster: manifests of pods, namespaces and policies; nothing can be applied to them.")
@click.option("--method", type=click.Choice(METHODS), default="labels", show_default=True,
              help="labels: the pod loses its labels and gets one that a policy without rules selects; cluster-policy: "
                   "an Admin ClusterNetworkPolicy denies; cilium, calico: a policy of theirs denies.")
@click.option("--apply/--dry-run", "applied", default=False, show_default="dry run",
              help="Do it. A dry run proves it, and asks the API server whether it would take it.")
@click.option("--partial", is_flag=True, help="With --apply: do it also where ways in or out are left.")
@click.option("--release", "released", is_flag=True,
              help="Let the pod back: its labels as before, and what was made for it goes.")
@click.option("-o", "--output", type=click.Choice(("table", "json")), default="table", show_default=True,
              help="What stdout gets.")
def command(pod: str, kubeconfig: Path | None, pods: tuple[str, ...], method: Method, applied: bool, partial: bool,
            released: bool, output: str) -> int:
    """Cut one pod off: nobody reaches it and it reaches nobody, proved by the engine on all policies that stand there.

    A policy that only isolates takes nothing away that another policy allows, so the pod leaves those first.
    Connections that are open now may survive. Exit 3 where the pod is not cut off after it: each way that is left is
    told with the policy that leaves it.
    """
    namespace, slash, name = pod.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise UsageError(f"got {pod}, expected NAMESPACE/POD")
    if pods and (kubeconfig is not None or applied):
        raise UsageError("--pods: got --kubeconfig or --apply too, expected a plan for manifests alone")
    if partial and not applied:
        raise UsageError("--partial: got a dry run, expected --apply")
    if pods:
        return _offline(gathered(pods, None), pod, method, released, output)
    return asyncio.run(_live(kubeconfig, pod, method, released, applied, partial, output))


def _offline(listed: Sequence[Document], place: str, method: Method, released: bool, output: str) -> int:
    changes = _changes(listed, place, method, released)
    proof = None if released else _proof(listed, place, changes)
    _print(place, changes, proof, output, "planned")
    return 0 if proof is None or proof.whole else 3


async def _live(kubeconfig: Path | None, place: str, method: Method, released: bool, applied: bool, partial: bool,
                output: str) -> int:
    configured = settings() if kubeconfig is None else settings().replace(kubeconfig=str(kubeconfig))
    client = cluster_client(configured)
    try:
        listed = await _documents(client)
        changes = _changes(listed, place, method, released)
        proof = None if released else _proof(listed, place, changes)
        if applied and proof is not None and not proof.whole and not partial:
            _print(place, changes, proof, output, "planned")
            raise DeniedError(f"pod {place} would not be cut off, and nothing was done",
                              hint="another --method; or --partial does it all the same")
        await quarantine.apply(client, changes, dry_run=not applied)
        if applied and not released:
            proof = _proof(await _documents(client), place, ())
        _print(place, changes, proof, output, "done" if applied else "planned, and the API server would take it")
    finally:
        await client.cluster.close()
    return 0 if proof is None or proof.whole else 3


async def _documents(client: Objects) -> list[Document]:
    with progress("Reading the cluster") as advance:
        return await from_cluster(client, advance)


def _changes(listed: Sequence[Document], place: str, method: Method, released: bool) -> list[Change]:
    pods = {f"{metadata.get('namespace') or 'default'}/{metadata.get('name')}": document for _, document in listed
            if (document.get("apiVersion"), document.get("kind")) == ("v1", "Pod")
            and isinstance(metadata := document.get("metadata"), dict)}
    if place not in pods:
        raise UsageError(f"there is no pod {place}", hint=near(place, pods))
    pod: Object = pods[place]
    policies = [document for _, document in listed if documents.is_policy(document)]
    return quarantine.release(pod, policies) if released else quarantine.plan(pod, policies, method)


def _proof(listed: Sequence[Document], place: str, changes: Sequence[Change]) -> Isolation:
    after = quarantine.carried_out([document for _, document in listed], changes)
    places = [where for where, _ in listed] + [f"{change.kind} {change.name}" for change in changes]
    read = documents.read(list(zip(places, after, strict=False)))
    proof = isolation(Connectivity(read.topology, read.policies), place)
    for where, kind, reason in read.unread:
        print(visible(f"warning: {kind} {where}: {reason}"), file=sys.stderr)
    return proof


def _print(place: str, changes: Sequence[Change], proof: Isolation | None, output: str, state: str) -> None:
    notes = [] if proof is None else [quarantine.OPEN, _PROBED, _ENFORCED]
    if output == "json":
        click.echo(json.dumps({
            "pod": place, "state": state, "notes": notes, "changes": [{
                "verb": change.verb, "apiVersion": change.api_version, "kind": change.kind, "why": change.why,
                "namespace": change.namespace, "name": change.name, "body": change.body} for change in changes],
            "isolated": None if proof is None else proof.whole, "reason": "" if proof is None else proof.reason,
            "left": [] if proof is None else [leak.told for leak in proof.leaks],
            "leftCount": 0 if proof is None else proof.count}, indent=2))
        return
    for change in changes:
        click.echo(visible(f"{change.told}: {change.why}"))
    click.echo(state)
    if proof is None:
        return
    if proof.whole:
        click.echo(visible(f"{place} is cut off: by the policies, nobody reaches it and it reaches nobody"))
    else:
        left = proof.reason or f"{amount(proof.count, 'way is', 'ways are')} left"
        click.echo(visible(f"{place} is not cut off: {left}"))
        for leak in proof.leaks:
            click.echo(visible(f"  {leak.told}"))
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
