"""`custody db`: the advisories that `scan` matches with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import msgspec

from custody.cli.bars import progress
from custody.cli.run import settings
from custody.kit.clock import format_rfc3339, system_clock
from custody.kit.visible import visible
from custody.ports.advisories import AdvisoryStore
from custody.vulns.store import import_advisories
from custody.wiring.local import advisories

_SHOWN = 5


@click.group("db")
def command() -> None:
    """The advisory database of this data directory."""


@command.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
def import_(paths: tuple[Path, ...]) -> None:
    """Add OSV records: JSON files, folders of them, or osv.dev's all.zip. Newer records replace older ones.

    CISA's known_exploited_vulnerabilities.json marks what is known to be exploited; a later one replaces it.
    """
    store = _store()
    for path in paths:
        with progress(f"Importing {path}") as advance:
            done = import_advisories(store, path, system_clock(), advance)
        print(f"{visible(str(path))}: {done.read} records, {done.added} new or newer, {done.withdrawn} withdrawn, "
              f"{len(done.refused)} refused", file=sys.stderr)
        if done.errata:
            print(f"{visible(str(path))}: {done.errata} errata that name no vulnerability were not kept",
                  file=sys.stderr)
        for line in done.catalogues:
            print(visible(f"{path}: {line}"), file=sys.stderr)
        for reason in done.refused[:_SHOWN]:
            print(f"warning: {visible(reason)}", file=sys.stderr)


@command.command("status")
@click.option("-o", "--output", "chosen", type=click.Choice(("table", "json")), default="table", show_default=True,
              help="What stdout gets.")
def status(chosen: str) -> None:
    """How many advisories there are, for which ecosystems, and how old."""
    held = _store().status()
    if chosen == "json":
        print(json.dumps(msgspec.to_builtins(held), indent=2))
        return
    print(f"advisories  {held.advisories}")
    print(f"newest      {format_rfc3339(held.newest) if held.newest else 'none: the database is empty'}")
    print(f"imported    {format_rfc3339(held.imported_at) if held.imported_at else 'never'}")
    print("exploited   " + ("none: no catalogue was imported" if held.exploited is None else
                            f"{held.exploited} known, version {visible(held.exploited_version)}"))
    for name, count in held.ecosystems.items():
        print(f"  {visible(name):<20} {count}")


def _store() -> AdvisoryStore:
    return advisories(settings())
