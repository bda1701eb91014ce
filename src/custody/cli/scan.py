"""`custody scan TARGET`: known vulnerabilities of what is in an image or a folder."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import datetime, timedelta

import click

from custody.cli import contents, gating, publishing, scanners, waiving
from custody.cli.publishing import Publishing
from custody.cli.run import settings
from custody.errors import DeniedError, UsageError
from custody.kit.amount import amount
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.services.contents import check as check_target
from custody.services.documents import Format, encode
from custody.services.reports import SCANS, csaf
from custody.vulns import explanation
from custody.vulns.gate import Gate
from custody.vulns.report import ScanReport, scan, usable
from custody.vulns.severity import Severity
from custody.wiring.local import advisories

_STALE = timedelta(days=7)


def _table(report: ScanReport, _now: datetime) -> bytes:
    rows = [("SEVERITY", "ID", "PACKAGE", "VERSION", "FIXED IN", "WHERE")]
    rows += [(f.severity + " exploited" * (f.exploited is not None), f.cve, f.package, f.version, ", ".join(f.fixed),
              f.locations[0].path if f.locations else "") for f in report.findings]
    exposed = [("SEVERITY", "ID", "WHAT", "WHERE", "LAYER")]
    exposed += [(e.severity, e.id, e.message, f"{e.path}:{e.line}" if e.line else e.path,
                 e.layer[:19] + (f" taken away in {e.removed_in[:19]}"
                     if e.removed_in else "")) for e in report.exposures]
    tables = [contents.columns(table) for table in (rows, exposed) if len(table) > 1]
    if tables:
        return encode("\n".join(tables))
    if report.ignored:
        return b"no findings but those left out\n"
    if not report.coverage.gaps:
        return b"no findings\n"
    return b"no findings in what was scanned\n" if report.coverage.ecosystems else b"nothing was scanned\n"


_FORMATS = {"table": Format(_table), **SCANS}
_SPELLINGS = {**_FORMATS, "cyclonedx": SCANS["cyclonedx-json"]}
"""As Trivy has it too."""
_SHOWN = (*_FORMATS, "csaf")


@click.command("scan")
@click.argument("target")
@click.option("-o", "--output", "chosen", multiple=True, metavar="FORMAT[=FILE]",
              shell_complete=contents.complete(_SHOWN),
              help=f"One of {', '.join(_SHOWN)}; repeatable, one of them without a FILE. Default: table.")
@click.option("--ignore-unfixed", "--only-fixed", "ignore_unfixed", is_flag=True,
              help="Leave out what no fixed version is known for, unless it is known to be exploited.")
@click.option("--severity", "severities", multiple=True, callback=gating.severities, metavar="LEVEL[,LEVEL…]",
              help="Leave out findings of other severities (unknown, none, low, medium, high, critical), unless they "
                   "are known to be exploited.")
@click.option("--max-age", type=click.IntRange(1, 3650), metavar="DAYS",
              help="Advisories of which the newest is older are a gap. Default: only a warning, after 7.")
@click.option("--allow-empty-db", is_flag=True,
              help="Report on an empty advisory database too, instead of exit 4; --fail-on asks for --allow-gaps too.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which image of an index. Default: linux/amd64.")
@click.option("--keep/--no-keep", default=True, show_default=True,
              help="Keep what is in the image, for `custody affected` and `custody watch`; of an SBOM nothing is kept.")
@click.option("--scanners", "--security-checks", "kinds", multiple=True, default=("vuln",), callback=scanners.parse,
              metavar="KIND[,KIND…]", help="What is looked for: vuln, secret, misconfig. Default: vuln.")
@click.option("--secrets", is_flag=True, help="Look for secrets in every layer too: --scanners …,secret.")
@gating.options
@click.option("--omit", multiple=True, type=click.Choice(["dev", "test", "optional", "build"]),
              help="Leave out findings of packages that a lock file has for this only, unless they are known to be "
                   "exploited; repeatable.")
@click.option("--explain", "question", metavar="CVE[:PACKAGE]",
              help="Say why this is a finding or none: where it lies, which advisories, what was compared. To standard "
                   "output, in place of the table: other formats need a FILE.")
@waiving.options
@publishing.options("-o csaf")
@contents.folder_options
def command(target: str, chosen: tuple[str, ...], ignore_unfixed: bool, severities: frozenset[Severity] | None,
            max_age: int | None, allow_empty_db: bool, platform: str | None, keep: bool, kinds: tuple[str, ...],
            secrets: bool, gate: Gate, exit_code: int | None, folders: contents.Folders,
            words: waiving.Waiving, question: str | None, omit: tuple[str, ...],
            publishing: Publishing) -> None:
    """Match TARGET with the advisories of `custody db import`. TARGET is as for `custody sbom`.

    Exit 4 where one of --fail-on… is given and not everything was scanned: packages that were not catalogued or that no
    advisory in the database could speak of.
    """
    plan = contents.outputs(chosen, (*_SPELLINGS, "csaf"), "table", shown=_SHOWN)
    names = [name for name, _ in plan]
    publishing.check(f"-o {','.join(names)}", csaf="csaf" in names, named=False)
    formats = {**_SPELLINGS, "csaf": csaf(publishing.publisher())}
    if question is not None:
        if "vuln" not in kinds:
            raise UsageError("--explain: this is about vulnerabilities", hint="--scanners vuln")
        if lost := next((name for name, file in plan if file is None and name != "table"), None):
            raise UsageError(f"--explain: its answer goes to standard output, as -o {lost} would",
                             hint=f"-o {lost}=FILE")
        plan = [(name, file) for name, file in plan if file is not None]  # its answer is in place of the table
    if secrets and "secret" not in kinds:
        kinds = tuple(kind for kind in scanners.KINDS if kind in (*kinds, "secret"))
    scanners.check_formats(names, kinds)
    check_target(target)  # a word typed wrong is said first, not the advisories that are missing
    started, exposed = system_clock(), None
    if "vuln" in kinds:
        store = advisories(settings())
        # before minutes are spent on the image
        usable(store, allow_empty=allow_empty_db, place=f"{settings().state()} (data_dir, CUSTODY_DATA_DIR)")
        words.check(settings())
        catalog = contents.open_catalog(settings(), target, platform, folders)
        if keep and catalog.layers:
            contents.keep(settings(), catalog, target)
        if kinds != ("vuln",):
            _, exposed = scanners.look(settings(), target, platform, folders, kinds, catalog.digest)
        report = scan(catalog, store, started, finished=system_clock(), allow_empty=allow_empty_db,
                      max_age=timedelta(days=max_age) if max_age else None, ignore_unfixed=ignore_unfixed,
                      severities=severities, waivers=words.waivers(settings(), catalog, target), omit=omit)
    else:
        catalog, exposed = scanners.look(settings(), target, platform, folders, kinds, None)
        report = scanners.without_packages(catalog, started, system_clock())
    if exposed is not None:
        report = scanners.added(report, exposed, kinds, severities)
    if question is not None:
        reasons = explanation.explain(report, advisories(settings()), question)
        print(visible(explanation.text(reasons, report.catalog), "\n"), end="")
    contents.deliver(plan, formats, report, report.finished)
    if "vuln" in kinds:
        _explain(report)
    if exposed is not None:
        print(visible("\n".join(scanners.lines(report, exposed)), "\n"), file=sys.stderr)
    try:
        gate.judge(report)
    except DeniedError as error:
        if exit_code is None:
            raise
        print(f"error: {error.message}", file=sys.stderr)
        raise click.exceptions.Exit(exit_code) from None


def _explain(report: ScanReport) -> None:
    """All that a person must know to judge the list, on standard error."""
    database = report.database
    said = [f"{contents.title(report.catalog)}: {amount(len(report.catalog.packages), 'package')}, "
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
        said.append(f"left out: {amount(count, 'finding')}: {reason}")
    if report.deferred:
        first = report.deferred[0]
        said.append(visible(f"left to the distribution: {amount(len(report.deferred), 'finding')} in what its packages "
                            f"installed, such as {first.finding.cve} in {first.finding.package} "
                            f"{first.finding.version}, installed by {first.owner} (-o json has them all)"))
    said += waiving.lines(report.waivers, report.ignored)
    print("\n".join([*said, *contents.coverage_lines(report.coverage)]), file=sys.stderr)
