"""`custody scan TARGET`: known vulnerabilities of what is in an image or a folder."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import datetime, timedelta

import click

from custody.cli import contents, waiving
from custody.cli.run import settings
from custody.errors import DeniedError, UsageError
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.services.contents import SCANS
from custody.services.documents import Format, encode
from custody.vulns.findings import Finding
from custody.vulns.report import ScanReport, scan, usable
from custody.vulns.severity import Severity
from custody.wiring.local import advisories

_LEVELS = ("never", "low", "medium", "high", "critical")
_STALE = timedelta(days=7)


def _table(report: ScanReport, _now: datetime) -> bytes:
    rows = [("SEVERITY", "ID", "PACKAGE", "VERSION", "FIXED IN", "WHERE")]
    rows += [(f.severity + " exploited" * (f.exploited is not None), f.cve, f.package, f.version, ", ".join(f.fixed),
              f.locations[0].path if f.locations else "") for f in report.findings]
    if report.findings:
        return encode(contents.columns(rows))
    if report.ignored:
        return b"no findings but those left out\n"
    if not report.coverage.gaps:
        return b"no findings\n"
    return b"no findings in what was scanned\n" if report.coverage.ecosystems else b"nothing was scanned\n"


_FORMATS = {"table": Format(_table), **SCANS}


def _severities(_context: click.Context, _parameter: click.Parameter,
                given: tuple[str, ...]) -> frozenset[Severity] | None:
    """`HIGH,critical`, as Trivy takes it; all of them where it is given several times."""
    if not given:
        return None
    names = [name.strip().upper() for text in given for name in text.split(",")]
    if wrong := [name for name in names if name not in Severity.__members__]:
        raise UsageError(f"--severity: got {wrong[0].lower()!r}, expected {', '.join(map(str, Severity))}")
    return frozenset(Severity[name] for name in names)


@click.command("scan")
@click.argument("target")
@click.option("-o", "--output", "chosen", multiple=True, metavar="FORMAT[=FILE]",
              shell_complete=contents.complete(_FORMATS),
              help=f"One of {', '.join(_FORMATS)}; repeatable, one of them without a FILE. Default: table.")
@click.option("--fail-on", "threshold", type=click.Choice(_LEVELS, case_sensitive=False), default="never",
              show_default=True,
              help="Exit 3 where a finding is at least this bad; low counts those of unknown severity too.")
@click.option("--fail-on-unknown", is_flag=True,
              help="Exit 3 where nobody says how bad a finding is, too.")
@click.option("--fail-on-exploited", is_flag=True,
              help="Exit 3 where a finding is in CISA's catalogue of known exploited vulnerabilities; exit 4 where "
                   "that was not imported.")
@click.option("--ignore-unfixed", "--only-fixed", "ignore_unfixed", is_flag=True,
              help="Leave out what no fixed version is known for, unless it is known to be exploited.")
@click.option("--severity", "severities", multiple=True, callback=_severities, metavar="LEVEL[,LEVEL…]",
              help="Leave out findings of other severities (unknown, none, low, medium, high, critical), unless they "
                   "are known to be exploited.")
@click.option("--allow-gaps", is_flag=True,
              help="With --fail-on…, exit 0 where something was not scanned too, instead of exit 4.")
@click.option("--max-age", type=click.IntRange(1, 3650), metavar="DAYS",
              help="Advisories of which the newest is older are a gap. Default: only a warning, after 7.")
@click.option("--allow-empty-db", is_flag=True,
              help="Report on an empty advisory database too, instead of exit 4; --fail-on asks for --allow-gaps too.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which image of an index. Default: linux/amd64.")
@click.option("--keep/--no-keep", default=True, show_default=True,
              help="Keep what is in the image, for `custody affected` and `custody watch`; of an SBOM nothing is kept.")
@waiving.options
@contents.folder_options
def command(target: str, chosen: tuple[str, ...], threshold: str, fail_on_unknown: bool, fail_on_exploited: bool,
            ignore_unfixed: bool, severities: frozenset[Severity] | None, allow_gaps: bool, max_age: int | None,
            allow_empty_db: bool, platform: str | None, keep: bool, folders: contents.Folders,
            words: waiving.Waiving) -> None:
    """Match TARGET with the advisories of `custody db import`. TARGET is as for `custody sbom`, or sbom:FILE.

    Exit 4 where one of --fail-on… is given and not everything was scanned: packages that were not catalogued or that no
    advisory in the database could speak of.
    """
    plan = contents.outputs(chosen, _FORMATS, "table")
    started = system_clock()
    store = advisories(settings())
    usable(store, allow_empty=allow_empty_db)  # before minutes are spent on the image
    words.check(settings())
    catalog = contents.open_catalog(settings(), target, platform, folders)
    if keep and catalog.layers:
        contents.keep(settings(), catalog, target)
    report = scan(catalog, store, started, finished=system_clock(), allow_empty=allow_empty_db,
                  max_age=timedelta(days=max_age) if max_age else None, ignore_unfixed=ignore_unfixed,
                  severities=severities, waivers=words.waivers(settings(), catalog, target))
    contents.deliver(plan, _FORMATS, report, report.finished)
    _explain(report)
    if threshold != "never":
        _deny(report.meets(Severity[threshold.upper()]), f"at or above {threshold}")
    if fail_on_unknown:
        _deny(report.unrated(), "of unknown severity")
    if fail_on_exploited:
        _deny(report.exploited(), "known to be exploited")
    if (threshold != "never" or fail_on_unknown or fail_on_exploited) and not allow_gaps:
        report.require_coverage()


def _deny(findings: list[Finding], kind: str) -> None:
    if findings:
        worst, count = findings[0], f"{len(findings)} finding{'s' * (len(findings) > 1)}"
        raise DeniedError(visible(f"{count} {kind}, such as {worst.cve} in {worst.package} {worst.version}"),
                          hint=visible(f"fixed in {', '.join(worst.fixed)}") if worst.fixed else None)


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
    if database.exploited is not None:
        said.append(f"known exploited vulnerabilities: {database.exploited}, version {database.exploited_version}; "
                    f"{sum(f.exploited is not None for f in report.findings)} findings are among them")
    for reason, count in Counter(ignored.reason for ignored in report.ignored if not ignored.source).items():
        said.append(f"left out: {count} findings: {reason}")
    said += waiving.lines(report.waivers, report.ignored)
    print("\n".join([*said, *contents.coverage_lines(report.coverage)]), file=sys.stderr)
