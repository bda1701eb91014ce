"""`custody policy exceptions`: who is excused from what, until when, and whether anybody still needs it."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime
from pathlib import Path

import click

from custody.cli.moments import Moment
from custody.cli.run import settings
from custody.errors import UsageError
from custody.evidence.model import facts
from custody.kit.clock import format_rfc3339, system_clock
from custody.kit.visible import visible
from custody.policy.load import PolicySet
from custody.ports.decisions import DecisionSearch
from custody.services.exceptionlist import Listed, Use, listed, used_in
from custody.wiring import kinds
from custody.wiring.admission import exceptions
from custody.wiring.local import decisions


@click.command("exceptions")
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[FILE|DIR…]")
@click.option("--since", type=Moment(), metavar="WHEN", help="Count the webhook's decisions from then on: 7d, 90m, a "
              "day or an RFC 3339 time. Default: all that are kept.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
def command(files: tuple[Path, ...], since: datetime | None, output: str) -> None:
    """Exceptions from policies: from which rules, until when, why and by whom, and how often they were used.

    FILEs have policies and exceptions, such as `kubectl get cpol,vpol,polex -A -o yaml` writes; default: custody.toml's
    policies. Uses are counted in the decisions that the webhook of this data directory kept.
    """
    sources = files or settings().policies
    if not sources:
        raise UsageError("policy exceptions: no policies", hint="FILE, or `policies` in custody.toml")
    policies = PolicySet.load(sources, kinds(settings()))
    rows = list(listed(policies, exceptions(settings()), system_clock(), _uses(since)))
    if output == "json":
        click.echo(json.dumps([facts(row) for row in rows], indent=2))
        return
    for row in rows:
        click.echo("\n".join(map(visible, _words(row))))
    if not rows:
        click.echo("no exceptions", err=True)


def _uses(since: datetime | None) -> dict[Use, int] | None:
    if not (settings().data / "decisions.db").is_file():
        return None
    with closing(decisions(settings())) as store:
        return used_in(store.search(DecisionSearch(since=since)))


def _words(row: Listed) -> list[str]:
    ends = "without an end" if row.expires is None else f"until {format_rfc3339(row.expires)}"
    used = "" if row.used is None else f", used in {row.used} decision{'' if row.used == 1 else 's'}"
    lines = [f"{row.name}  {row.state}, {ends}{used}"]
    lines += [f"    from {rule}" for rule in row.rules]
    return lines + [f"    {key}: {value}" for key, value in row.why.items()]
