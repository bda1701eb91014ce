"""`custody netpol connectivity`: who can reach whom, as a table, JSON or a picture."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import click

from custody.cli import contents, netpol_documents
from custody.cli.bars import progress
from custody.errors import UsageError
from custody.kit.amount import amount
from custody.kit.clock import system_clock
from custody.network import names, picture
from custody.network.connectivity import Connectivity
from custody.network.intervals import EMPTY
from custody.network.matrix import Connection, connections
from custody.network.model import Pod
from custody.network.ports import ALL, listed, text, typed
from custody.services.documents import Format, encode, json_bytes


class _Answer(NamedTuple):
    workloads: list[str]
    connections: list[Connection]


def _table(answer: _Answer, _now: datetime) -> bytes:
    rows = [("FROM", "TO", "PORTS", "DEPENDS")]
    rows += [(row.source, row.target, text(row.allowed) if row.allowed else "-",
              text(row.depends) if row.depends else "") for row in answer.connections]
    return encode(contents.columns(rows) if len(rows) > 1 else "nobody can reach anybody\n")


def _json(answer: _Answer, _now: datetime) -> bytes:
    return json_bytes({"workloads": answer.workloads, "connections": [_row(row) for row in answer.connections]})


def _row(row: Connection) -> dict[str, Any]:
    return {"from": _end(row.source, outside=row.source_outside), "to": _end(row.target, outside=row.target_outside),
            "allowed": listed(row.allowed), "depends": listed(row.depends)}


def _end(name: str, *, outside: bool) -> dict[str, Any]:
    return {"addresses": name.split(", ")} if outside else {"workload": name}


_FORMATS = {"table": Format(_table), "json": Format(_json),
            "svg": Format(lambda answer, _: encode(picture.draw(answer.workloads, answer.connections)))}


@click.command("connectivity")
@netpol_documents.targets
@click.option("--from", "source", metavar="NAME", help="Only from here: NAMESPACE/POD, NAMESPACE/WORKLOAD, "
              "NAMESPACE/SERVICE, or NAMESPACE/ for all of it.")
@click.option("--to", "target", metavar="NAME", help="Only to there.")
@click.option("--port", "ports", multiple=True, metavar="PORT[/PROTOCOL]", help="Only these: 443/TCP, 8000-8100/UDP; "
              "TCP where no protocol is named; repeatable.")
@click.option("-o", "--output", "chosen", multiple=True, metavar="FORMAT[=FILE]",
              shell_complete=contents.complete(_FORMATS),
              help=f"One of {', '.join(_FORMATS)}; repeatable, one of them without a FILE. Default: table.")
def command(targets: tuple[str, ...], kubeconfig: Path | None, source: str | None, target: str | None,
            ports: tuple[str, ...], chosen: tuple[str, ...]) -> None:
    """Who can reach whom, on which ports, pods and addresses outside: what is not listed is denied.

    DEPENDS are ports of which policies alone do not say: the network plugin decides, or something that is not modelled.
    """
    plan = contents.outputs(chosen, _FORMATS, "table")
    asked = EMPTY
    for word in ports:
        asked |= typed(word)
    engine = netpol_documents.engine(netpol_documents.load(targets, kubeconfig))
    sources, ends = _pods(engine, source, "--from"), _pods(engine, target, "--to")
    with progress("Judging") as advance:
        rows = connections(engine, sources, ends, asked if ports else ALL,
                           advance=None if advance is None else lambda _done, _of: advance(1))
    workloads = sorted({pod.shown for pod in engine.topology.pods})
    contents.deliver(plan, _FORMATS, _Answer(workloads, rows), system_clock())
    print(f"{amount(len(engine.topology.pods), 'pod')} of {amount(len(workloads), 'workload')}", file=sys.stderr)


def _pods(engine: Connectivity, word: str | None, flag: str) -> list[Pod] | None:
    if word is None:
        return None
    pods = [end.pod for end in names.ends(word, engine.topology, flag) if end.pod is not None]
    if not pods:
        raise UsageError(f"{flag} {word}: is the address of no pod",
                         hint="`custody netpol explain` takes addresses outside of the cluster")
    return pods
