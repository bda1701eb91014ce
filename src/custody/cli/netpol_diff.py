"""`custody netpol diff`: which connections appear and vanish between two sets of policies."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from custody.cli import contents, netpol_documents
from custody.cli.bars import progress
from custody.errors import DeniedError, UsageError
from custody.kit.amount import amount
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.network.connectivity import Connectivity
from custody.network.differences import Change, Comparison, compare
from custody.network.documents import Document, is_policy
from custody.network.ports import listed, text
from custody.services.documents import Format, encode, json_bytes
from custody.services.networking import over

_NAMED = 5
_SIGNS = (("+", "appeared"), ("-", "vanished"), ("~", "unsure"))


def _table(comparison: Comparison, _now: datetime) -> bytes:
    if comparison.equivalent:
        return encode("no connection differs\n")
    rows = [("", "FROM", "TO", "PORTS", "BECAUSE")]
    for change in comparison.changes:
        for sign, name in _SIGNS:
            ports = getattr(change.delta, name)
            if ports:
                rows.append((sign, change.source, change.target, text(ports), _because(change)))
    return encode(contents.columns(rows))


def _because(change: Change) -> str:
    return "; ".join(f"{now} (before: {was.partition(': ')[2]})"
                     for was, now in zip(change.before, change.after, strict=True))


def _json(comparison: Comparison, _now: datetime) -> bytes:
    return json_bytes({"equivalent": comparison.equivalent, "total": comparison.total, "added": comparison.added,
                       "removed": comparison.removed, "changes": [_change(change) for change in comparison.changes]})


def _change(change: Change) -> dict[str, Any]:
    return {"from": change.source, "to": change.target, "before": list(change.before), "after": list(change.after),
            **{name: listed(getattr(change.delta, name)) for _, name in _SIGNS}}


_FORMATS = {"table": Format(_table), "json": Format(_json)}


@click.command("diff")
@click.argument("sides", nargs=-1, metavar="[OLD] NEW")
@click.option("--pods", "places", multiple=True, metavar="TARGET", help="Where pods and namespaces are that OLD and "
              "NEW do not have; repeatable.")
@netpol_documents.kubeconfig
@click.option("-o", "--output", "chosen", multiple=True, metavar="FORMAT[=FILE]",
              shell_complete=contents.complete(_FORMATS),
              help=f"One of {', '.join(_FORMATS)}; repeatable, one of them without a FILE. Default: table.")
@click.option("--exit-code", is_flag=True, help="Exit 3 where a connection differs.")
def command(sides: tuple[str, ...], places: tuple[str, ...], kubeconfig: Path | None, chosen: tuple[str, ...],
            exit_code: bool) -> None:
    """The connections that appear (+), vanish (-) or are certain in one alone (~) between the policies of OLD and NEW,
    and the rules that make them so; exact for all pods, ports and addresses.

    With --kubeconfig and NEW alone: what applying NEW would change in that cluster. Exit 0 also where something
    differs, unless --exit-code is given, as with `git diff`.
    """
    plan = contents.outputs(chosen, _FORMATS, "table")
    old, new = _sides(sides, places, kubeconfig)
    with progress("Comparing") as advance:
        comparison = compare(old, new, advance=advance)
    contents.deliver(plan, _FORMATS, comparison, system_clock())
    for names, word in ((comparison.added, "only in NEW"), (comparison.removed, "only in OLD")):
        if names:
            more = " and more" if len(names) > _NAMED else ""
            print(visible(f"note: {', '.join(names[:_NAMED])}{more}: {word}, and not compared"), file=sys.stderr)
    if comparison.total > len(comparison.changes):
        print(f"note: the first {len(comparison.changes)} of {comparison.total} differences", file=sys.stderr)
    print("equivalent" if comparison.equivalent else f"{amount(comparison.total, 'connection')} differ"
          f"{'s' * (comparison.total == 1)}", file=sys.stderr)
    if exit_code and not comparison.equivalent:
        raise DeniedError(f"{amount(comparison.total, 'connection')} differ{'s' * (comparison.total == 1)}")


def _sides(sides: tuple[str, ...], places: tuple[str, ...],
           kubeconfig: Path | None) -> tuple[Connectivity, Connectivity]:
    if len(sides) not in (1, 2) or (len(sides) == 1 and kubeconfig is None):
        raise UsageError(f"got {amount(len(sides), 'argument')}, expected OLD and NEW",
                         hint="or NEW alone with --kubeconfig, to compare it with the cluster")
    if sides.count("-") + places.count("-") > 1:
        raise UsageError("-: standard input can be read once")
    around = netpol_documents.gathered(places, kubeconfig) if places or kubeconfig is not None else []
    if len(sides) == 1:
        return _engine(around), _engine(over(around, netpol_documents.gathered(sides, None)))
    pods = [(where, document) for where, document in around if not is_policy(document)]
    old, new = (netpol_documents.gathered((side,), None) for side in sides)
    # A pod that only one of them has is one of both: two sets of policies are compared, beside the same pods.
    return (_engine(over(over(pods, _without_policies(new)), old)),
            _engine(over(over(pods, _without_policies(old)), new)))


def _without_policies(documents: list[Document]) -> list[Document]:
    return [(where, document) for where, document in documents if not is_policy(document)]


def _engine(documents: list[Document]) -> Connectivity:
    return netpol_documents.engine(netpol_documents.documents(documents))
