"""`custody netpol simulate`: what would have been cut of the connections that were observed."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from custody.cli import flow_logs, netpol_documents
from custody.cli.bars import progress
from custody.cli.flow_logs import moment
from custody.cli.netpol_world import world
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.network.ends import End, with_made
from custody.network.simulation import Row, Verdict, guessed_namespaces, simulate

_TOLD = (Verdict.CUT, Verdict.UNANSWERED, Verdict.NEWLY, Verdict.PLUGIN, Verdict.UNKNOWN, Verdict.DENIED,
         Verdict.ALLOWED)
_QUIET = frozenset({Verdict.ALLOWED, Verdict.DENIED})
_SHOWN = 50
_NAMED = 5


@click.command("simulate")
@click.argument("flows", nargs=-1, required=True, metavar="FLOWS…")
@click.option("--policies", "proposed", multiple=True, required=True, metavar="TARGET",
              help="The policies that are to stand: a file, a folder or -; repeatable. All of them; with --kubeconfig "
                   "those that are applied to the cluster's.")
@click.option("--current", "standing", multiple=True, metavar="TARGET",
              help="The policies that stand now; repeatable. Default with --kubeconfig: the cluster's.")
@click.option("--pods", multiple=True, metavar="TARGET",
              help="Manifests of pods, controllers, namespaces, nodes and Services; repeatable. Default: those beside "
                   "--policies.")
@netpol_documents.kubeconfig
@flow_logs.options
@click.option("--all", "everything", is_flag=True, help="Show also what is allowed, and every line of long lists.")
@click.option("-o", "--output", type=click.Choice(("table", "json")), default="table", show_default=True,
              help="What stdout gets.")
def command(flows: tuple[str, ...], proposed: tuple[str, ...], standing: tuple[str, ...], pods: tuple[str, ...],
            kubeconfig: Path | None, form: str | None, fields: str, pod_blocks: tuple[str, ...],
            since: datetime | None, everything: bool, output: str) -> int:
    """What would have been cut: every connection of flow logs of Hubble, Calico, conntrack, AWS or Google Cloud, judged
    by proposed policies.

    Logs may be compressed with gzip; - is standard input. Exit 3 where a connection that worked would be cut, 4 where
    none could be judged, or not all of them.
    """
    known = world(proposed, standing, pods, kubeconfig, pod_blocks)
    observed = flow_logs.read(flows, known.ends, form, fields, since)
    topology = with_made(known.topology, known.ends)
    proposals = known.proposed(topology)
    with progress("Judging connections", None) as advance:
        rows = []
        for row in simulate(observed, proposals, known.standing(topology)):
            rows.append(row)
            if advance is not None:
                advance(1)
    flow_logs.tell(observed)
    if names := guessed_namespaces(observed, proposals):
        print(visible(f"warning: labels of {amount(len(names), 'namespace')} are not known, and policies ask for such: "
                      f"{', '.join(names[:_NAMED])}"), file=sys.stderr)
    if output == "json":
        click.echo(json.dumps({"flows": flow_logs.counts(observed), "summary": _summary(rows),
                               "connections": [_json(row) for row in rows]}, indent=2))
    else:
        _table(rows, everything)
    verdicts = {row.verdict for row in rows}
    if Verdict.CUT in verdicts:
        return 3
    return 4 if observed.over or not verdicts - {Verdict.UNKNOWN} else 0


def _summary(rows: list[Row]) -> dict[str, int]:
    counted = Counter(row.verdict for row in rows)
    return {verdict.value: counted[verdict] for verdict in _TOLD}


def _json(row: Row) -> dict[str, Any]:
    source, destination, protocol, port = row.connection
    return {"verdict": row.verdict.value, "source": _end(source), "destination": _end(destination),
            "protocol": protocol, "port": port, "count": row.tally.count, "firstSeen": moment(row.tally.first),
            "lastSeen": moment(row.tally.last), "directionGuessed": row.tally.guessed,
            "reasons": list(row.judged.reasons), "policies": [str(name) for name in row.judged.policies],
            "contradictsCurrent": row.contradicted}


def _end(end: End) -> dict[str, str]:
    return {"name": end.shown, **({"how": end.how} if end.how else {}), **({"unknown": end.unknown} if end.unknown
                                                                          else {})}


def _table(rows: list[Row], everything: bool) -> None:
    by_verdict: dict[Verdict, list[Row]] = defaultdict(list)
    for row in rows:
        by_verdict[row.verdict].append(row)
    for verdict in _TOLD:
        listed = sorted(by_verdict[verdict], key=lambda row: -row.tally.count)
        if not listed:
            continue
        click.echo(f"{verdict.value}: {amount(len(listed), 'connection')}, "
                   f"{amount(sum(row.tally.count for row in listed), 'time')}")
        if verdict in _QUIET and not everything:
            continue
        for row in listed if everything else listed[:_SHOWN]:
            _row(row)
        if len(listed) > _SHOWN and not everything:
            click.echo(f"  and {len(listed) - _SHOWN} more: --all")


def _row(row: Row) -> None:
    source, destination, protocol, port = row.connection
    wire = f"{port}/{protocol}" if port else protocol
    seen = f", last {moment(row.tally.last)}" if row.tally.last else ""
    click.echo(visible(f"  {source.shown} → {destination.shown} {wire}: {amount(row.tally.count, 'time')}{seen}"))
    for reason in row.judged.reasons[:3]:
        click.echo(visible(f"      {reason}"))
    for end in (source, destination):
        if end.how:
            click.echo(visible(f"      {end.shown}: {end.how}"))
    if row.contradicted:
        click.echo("      the policies that stand deny it too, and it happened: they are newer, or not enforced")
