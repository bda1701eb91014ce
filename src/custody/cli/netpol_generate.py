"""`custody netpol generate`: policies of what was observed, or of what Services declare."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Literal

import click

from custody.cli import flow_logs, netpol_documents
from custody.cli.moments import Moment
from custody.cli.netpol_world import World, world
from custody.errors import MissingEvidenceError, UsageError
from custody.formats import yaml
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.network import documents
from custody.network.connectivity import Connectivity
from custody.network.ends import with_made
from custody.network.generation import Generated, Generation, Options
from custody.network.observed import Observed
from custody.network.simulation import Verdict, simulate

_SHOWN = 20
_KINDS = ("NetworkPolicy", "CiliumNetworkPolicy")


@click.command("generate")
@click.argument("flows", nargs=-1, metavar="[FLOWS]…")
@click.option("--services", multiple=True, metavar="TARGET",
              help="Instead of flows: what the Services of these manifests declare, with the pods that they select.")
@click.option("--pods", multiple=True, metavar="TARGET",
              help="Manifests of pods, controllers, namespaces, nodes and Services; repeatable.")
@netpol_documents.kubeconfig
@click.option("--kind", type=click.Choice(_KINDS), default="NetworkPolicy", show_default=True,
              help="Of the policies.")
@click.option("-n", "--namespace", "namespaces", multiple=True, metavar="NAME",
              help="Only for pods of this namespace; repeatable. Default: all that were seen.")
@click.option("--widen", multiple=True, metavar="/BITS",
              help="Allow blocks of this width instead of single addresses outside: /24 for IPv4, beyond /32 for IPv6; "
                   "at most once for each. All that this adds is listed.")
@click.option("--open-services", is_flag=True, help="Whoever is outside may reach pods of Services that offer their "
              "ports to the outside (LoadBalancer, NodePort, externalIPs).")
@click.option("--until", type=Moment(), metavar="TIME",
              help="Learn from connections that were first seen until then; later ones are listed, and no part.")
@flow_logs.options
def command(flows: tuple[str, ...], services: tuple[str, ...], pods: tuple[str, ...], kubeconfig: Path | None,
            kind: Literal["NetworkPolicy", "CiliumNetworkPolicy"], namespaces: tuple[str, ...],
            widen: tuple[str, ...], open_services: bool, until: datetime | None, form: str | None, fields: str,
            pod_blocks: tuple[str, ...], since: datetime | None) -> int:
    """Least-privilege policies from flow logs: ingress at the server, egress at the client, DNS always.

    The policies are judged against the same flows before they are printed: exit 3 where one that worked would be cut
    and is not listed as later than --until, 4 where no policy could be made.
    """
    if bool(flows) == bool(services):
        raise UsageError("got both flows and --services, expected one of them" if flows else
                         "got neither flows nor --services, expected one of them")
    options = Options(frozenset(namespaces), *_widths(widen), open_services, kind)
    known = world((), (), (*pods, *services), kubeconfig, pod_blocks)
    if services:
        if until or since or form or fields:
            raise UsageError("--until, --since, --format and --fields: got --services, expected flows")
        generated = Generation(known.topology, known.declared, known.ends, options).of_services()
        _print(generated)
        print("warning: Services say nothing of who calls them, nor of egress: these policies are about ingress alone",
              file=sys.stderr)
        return 0
    observed = flow_logs.read(flows, known.ends, form, fields, since, until)
    topology = with_made(known.topology, known.ends)
    generated = Generation(topology, known.declared, known.ends, options).of_flows(observed)
    flow_logs.tell(observed)
    _print(generated)
    return _prove(known, observed, generated)


def _widths(widen: tuple[str, ...]) -> tuple[int, int]:
    widths: dict[bool, int] = {}
    for word in widen:
        bits = word.removeprefix("/")
        if not (bits.isascii() and bits.isdecimal() and len(bits) <= 3 and int(bits) <= 128):
            raise UsageError(f"--widen: got {word}, expected /0 to /128")
        if (six := int(bits) > 32) in widths:
            raise UsageError(f"--widen: got {word} too, expected one width of IPv{6 if six else 4}")
        widths[six] = int(bits)
    return widths.get(False, 32), widths.get(True, 128)


def _print(generated: Generated) -> None:
    if not generated.policies:
        _tell(generated)
        raise MissingEvidenceError("no policy could be made of these",
                                   hint="--pods, --kubeconfig and --pod-cidr say who has an address")
    for document in generated.policies:
        click.echo("---\n" + yaml.dumped(document), nl=False)
    _tell(generated)


def _tell(generated: Generated) -> None:
    reasons = Counter(left.reason for left in generated.left)
    for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]:
        first = next(left.connection for left in generated.left if left.reason == reason)
        _say(f"warning: {amount(count, 'connection')} not in the policies: {reason}; the first: {first.source.shown} → "
             f"{first.destination.shown} {first.port}/{first.protocol}")
    if len(reasons) > _SHOWN:
        _say(f"warning: and {len(reasons) - _SHOWN} more reasons")
    for connection in generated.undeclared[:_SHOWN]:
        _say(f"undeclared: {connection.source.shown} → {connection.destination.shown} {connection.port}/"
             f"{connection.protocol} is in the policies, and no Service has this port")
    if len(generated.undeclared) > _SHOWN:
        _say(f"undeclared: and {len(generated.undeclared) - _SHOWN} more")
    for block, seen in generated.widened[:_SHOWN]:
        _say(f"widened: {block}, of which {amount(seen, 'address', 'addresses')} were seen")
    if len(generated.widened) > _SHOWN:
        _say(f"widened: and {len(generated.widened) - _SHOWN} more blocks")
    for note in generated.notes:
        _say(f"note: {note}")


def _prove(known: World, observed: Observed, generated: Generated) -> int:
    """By the engine, from the documents that were printed."""
    topology = with_made(known.topology, known.ends)
    listed = [(f"generated[{at}]", document) for at, document in enumerate(generated.policies)]
    engine = Connectivity(topology, documents.read_policies(listed, topology))
    counted: Counter[Verdict] = Counter()
    cut = 0
    for row in simulate(observed, engine):
        counted[row.verdict] += 1
        if row.verdict is Verdict.CUT:
            late = row.tally.late
            cut += not late
            if counted[row.verdict] <= _SHOWN:
                _say(f"{'later: ' if late else ''}would be cut: {row.connection.source.shown} → "
                     f"{row.connection.destination.shown} {row.connection.port}/{row.connection.protocol}"
                     + (", first seen after --until" if late else f": {row.judged.reasons[0]}"))
    _say(f"{amount(len(generated.policies), 'policy', 'policies')}, judged against the same flows: " + ", ".join(
        f"{counted[verdict]} {verdict.value}" for verdict in (Verdict.ALLOWED, Verdict.CUT, Verdict.PLUGIN,
                                                              Verdict.UNKNOWN) if counted[verdict]))
    return 3 if cut else 0


def _say(line: str) -> None:
    print(visible(line), file=sys.stderr)
