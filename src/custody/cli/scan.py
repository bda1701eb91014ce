"""`custody scan TARGET`: known vulnerabilities of what is in an image."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import click

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.cli import contents
from custody.cli.run import settings
from custody.errors import DeniedError
from custody.kit.clock import system_clock
from custody.vulns.report import ScanReport, scan, usable
from custody.vulns.severity import Severity

_FORMATS = ("table", "json", "cosign-vuln")
_LEVELS = ("never", "low", "medium", "high", "critical")
_STALE = timedelta(days=7)


@click.command("scan")
@click.argument("target")
@click.option("-o", "--output", "chosen", multiple=True, metavar="FORMAT[=FILE]",
              help=f"One of {', '.join(_FORMATS)}; repeatable, one of them without a FILE. Default: table.")
@click.option("--fail-on", "threshold", type=click.Choice(_LEVELS), default="never", show_default=True,
              help="Exit 3 where a finding is at least this bad; low counts those of unknown severity too.")
@click.option("--allow-empty-db", is_flag=True, help="Report on an empty advisory database too, instead of exit 4.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which image of an index. Default: linux/amd64.")
def command(target: str, chosen: tuple[str, ...], threshold: str, allow_empty_db: bool, platform: str | None) -> None:
    """Match TARGET with the advisories of `custody db import`. TARGET is as for `custody sbom`, or sbom:FILE."""
    plan = contents.outputs(chosen, _FORMATS, "table")
    started = system_clock()
    store = SqliteAdvisories(settings().data / "advisories.db")
    usable(store, allow_empty=allow_empty_db)  # before minutes are spent on the image
    found = contents.open_catalog(settings(), target, platform)
    report = scan(found, store, started, finished=system_clock(), allow_empty=allow_empty_db)

    def render(name: str) -> str | dict[str, Any]:
        if name == "json":
            return report.to_json()
        return report.to_cosign_vuln() if name == "cosign-vuln" else _table(report)

    contents.deliver(plan, render)
    _explain(report)
    if threshold != "never" and (met := report.meets(Severity[threshold.upper()])):
        worst = met[0]
        raise DeniedError(f"{len(met)} findings at or above {threshold}, such as {worst.cve} in {worst.package} "
                          f"{worst.version}", hint=f"fixed in {', '.join(worst.fixed)}" if worst.fixed else None)


def _table(report: ScanReport) -> str:
    rows = [("SEVERITY", "ID", "PACKAGE", "VERSION", "FIXED IN", "WHERE")]
    rows += [(f.severity, f.cve, f.package, f.version, ", ".join(f.fixed),
              f.locations[0].path if f.locations else "") for f in report.findings]
    return contents.columns(rows) if report.findings else "no findings\n"


def _explain(report: ScanReport) -> None:
    """All that a person must know to judge the list, on standard error."""
    database = report.database
    said = [f"{contents.title(report.catalog)}: {len(report.catalog.packages)} packages, "
            + ", ".join(f"{count} {level}" for level, count in report.counts().items())]
    if not database.advisories:
        said.append("warning: the advisory database is empty: nothing was matched")
    elif database.newest is not None:
        age = (report.finished - database.newest).days
        note = "warning: " if report.finished - database.newest > _STALE else ""
        said.append(f"{note}advisories: {database.advisories}, the newest is {age} days old")
    said += [f"warning: not scanned: {name}: {count} packages, for which the database has no advisories"
             for name, count in report.uncovered.items()]
    if report.owned:
        said.append(f"{report.owned} packages came with packages of the distribution and are left to its advisories")
    said += [f"warning: undecided: {entry.id} for {entry.purl}: {entry.reason}" for entry in report.undecided]
    said += [f"warning: not catalogued: {unknown.kind}: {unknown.count}" for unknown in report.catalog.unknowns]
    print("\n".join(said), file=sys.stderr)
