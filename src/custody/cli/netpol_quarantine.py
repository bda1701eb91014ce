"""`custody netpol quarantine`: cut one pod off the network, proved before it is done; and let it back."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import click

from custody.cli.bars import progress
from custody.cli.netpol_documents import gathered
from custody.cli.run import settings
from custody.errors import UsageError
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.network.isolation import Isolation
from custody.services.isolating import NotIsolatedError, Quarantine, cut_off, let_back, planned, planned_release
from custody.services.quarantine import METHODS, Method
from custody.settings import Settings
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
        listed = gathered(pods, None)
        return _print(planned_release(listed, pod) if released else planned(listed, pod, method), output, "planned")
    configured = settings() if kubeconfig is None else settings().replace(kubeconfig=str(kubeconfig))
    try:
        done = asyncio.run(_asked(configured, pod, method, released, applied, partial))
    except NotIsolatedError as error:
        _print(error.plan, output, "planned")
        raise
    return _print(done, output, "done" if done.done else "planned, and the API server would take it")


async def _asked(configured: Settings, place: str, method: Method, released: bool, applied: bool, partial: bool
                 ) -> Quarantine:
    client = cluster_client(configured)
    try:
        with progress("Reading the cluster") as advance:
            if released:
                return await let_back(client, place, dry_run=not applied, advance=advance)
            return await cut_off(client, place, method, dry_run=not applied, partial=partial, advance=advance)
    finally:
        await client.cluster.close()


def _print(done: Quarantine, output: str, state: str) -> int:
    """The exit code."""
    proof = done.proof
    notes = [*done.notes, *([] if proof is None else [_PROBED, _ENFORCED])]
    for where, kind, reason in done.unread:
        print(visible(f"warning: {where}: {kind}: {reason}"), file=sys.stderr)
    if output == "json":
        click.echo(json.dumps({
            "pod": done.place, "state": state, "notes": notes, "changes": [{
                "verb": change.verb, "apiVersion": change.api_version, "kind": change.kind, "why": change.why,
                "namespace": change.namespace, "name": change.name, "body": change.body} for change in done.changes],
            "isolated": None if proof is None else proof.whole, "reason": "" if proof is None else proof.reason,
            "left": [] if proof is None else [leak.told for leak in proof.leaks],
            "leftCount": 0 if proof is None else proof.count}, indent=2))
        return _status(proof)
    for change in done.changes:
        click.echo(visible(f"{change.told}: {change.why}"))
    click.echo(state)
    if proof is not None and proof.whole:
        click.echo(visible(f"{done.place} is cut off: by the policies, nobody reaches it and it reaches nobody"))
    elif proof is not None:
        left = proof.reason or f"{amount(proof.count, 'way is', 'ways are')} left"
        click.echo(visible(f"{done.place} is not cut off: {left}"))
        for leak in proof.leaks:
            click.echo(visible(f"  {leak.told}"))
    for note in notes:
        print(visible(f"note: {note}"), file=sys.stderr)
    return _status(proof)


def _status(proof: Isolation | None) -> int:
    return 0 if proof is None or proof.whole else 3
