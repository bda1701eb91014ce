"""`custody source`: was it signed by whom it should be, and are its inputs pinned and sane?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from custody import __version__
from custody.cli.bars import progress
from custody.cli.contents import coverage_lines
from custody.cli.run import settings
from custody.cli.source_identities import believed, signer_options
from custody.errors import DeniedError, NetworkError, NotFoundError, UsageError
from custody.formats import sarif
from custody.kit.amount import amount
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.services.released import released
from custody.services.source import scan_locks
from custody.settings.tables import Source
from custody.source.addresses import ASKED
from custody.source.check import SourceReport, check_source
from custody.source.cooldown import Dates, judge, undated
from custody.source.inputs import RULES, Concern, Expectations
from custody.vulns.findings import Finding
from custody.vulns.report import ScanReport
from custody.vulns.severity import Severity
from custody.wiring import command_http
from custody.wiring.local import advisories, git_repository


@click.group("source")
def command() -> None:
    """The source gate."""


@command.command("check")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR")
@click.option("--branch", default="HEAD", show_default=True, help="Branch, tag or commit whose history is checked.")
@signer_options
@click.option("--no-signatures", is_flag=True,
              help="Check lock files, manifests, Dockerfiles and workflows alone, whoever made the commits.")
@click.option("--since", multiple=True, metavar="COMMIT", help="Checked before: leave it and what is behind it out.")
@click.option("--fail-on", "threshold", default="critical", show_default=True,
              type=click.Choice(["never", "low", "medium", "high", "critical"], case_sensitive=False),
              help="Exit 3 where a locked version has a known vulnerability this bad; malicious packages count always.")
@click.option("--allow-unpinned-actions", is_flag=True,
              help="Only warn of actions that workflows name by a tag or branch, not by a commit, instead of exit 3.")
@click.option("--allow-gaps", is_flag=True,
              help="Pass where a lock file is not read or no advisory speaks of its ecosystem too, instead of exit 4.")
@click.option("--allow-empty-db", is_flag=True, help="Check locks without advisories too, instead of exit 4.")
@click.option("--base", metavar="REV", help="The revision before: what appeared since is judged, too.")
@click.option("--allow-registry", "registries", multiple=True, metavar="HOST[/PATH]",
              help="Where packages may be from, beside the ecosystems' registries; repeatable.")
@click.option("--private", multiple=True, metavar="PATTERN",
              help="The team's own names, such as '@myorg/*': no public registry may answer for them; repeatable.")
@click.option("--cooldown", type=click.IntRange(min=1), metavar="DAYS",
              help="Exit 3 where a locked version is younger, as far as the lock file says (uv, pnpm); off by default.")
@click.option("--online", is_flag=True,
              help="With --cooldown, ask npm's and PyPI's registries and Go's proxy for the dates that lock files do "
                   "not say; exit 6 where one does not answer.")
@click.option("--popular", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
              help="Names that others are taken for typosquats of, one a line, beside those that are built in.")
@click.option("--fail-on-warnings", is_flag=True, help="Exit 3 for suspicions too.")
@click.option("-o", "--output", type=click.Choice(["table", "json", "sarif"]), default="table", show_default=True,
              help="What stdout gets.")
def _check(folder: Path, branch: str, no_signatures: bool, since: tuple[str, ...],
           threshold: str, allow_unpinned_actions: bool, allow_gaps: bool,
           allow_empty_db: bool, base: str | None, registries: tuple[str, ...], private: tuple[str, ...],
           cooldown: int | None, online: bool, popular: Path | None, fail_on_warnings: bool, output: str,
           **signers: Any) -> None:
    """Verify the signature of every commit of a branch (SSH's by --allowed-signers, OpenPGP's by --openpgp-keyring,
    gitsign's by --certificate-identity, X.509's by --ca-roots), and the lock files, manifests, Dockerfiles and
    workflows of its head.

    Where --branch names an annotated tag, its signature is verified too.

    Exit 4 where a lock file is of a kind that is not read, or no advisory speaks of its ecosystem.
    """
    now = system_clock()
    allowed = None if no_signatures and not any(signers.values()) else believed(settings(), signers, now)
    if (allowed is None) is not no_signatures:
        raise UsageError(f"source check: got {'nobody who may sign' if allowed is None else 'both'}, expected "
                         "--allowed-signers FILE, --openpgp-keyring FILE, --certificate-identity, --ca-roots FILE or "
                         "--no-signatures", hint="without a list of who may sign, only the inputs can be checked")
    configured = settings().source or Source()
    cooldown = cooldown or configured.cooldown
    if online and cooldown is None:
        raise UsageError("--online: there is no cooldown to ask dates for", hint="--cooldown DAYS")
    if unknown := configured.dates.keys() - ASKED.keys():
        raise UsageError(f"source.dates: got {min(unknown)}, expected {', '.join(ASKED)}")
    known = _names(popular) | _names(Path(configured.popular) if configured.popular else None)
    expected = Expectations(
        registries=frozenset((*registries, *configured.registries)), private=(*private, *configured.private),
        cooldown=timedelta(days=cooldown) if cooldown is not None else None, popular=known)
    repository = git_repository(folder)
    try:
        report = check_source(
            repository, branch, allowed, frozenset(map(repository.resolve, since)), base=base, now=now,
            expected=expected)
    except NotFoundError as error:  # of this machine's repository, not of a network's
        raise UsageError(error.message, hint=error.hint) from None
    finally:
        repository.close()
    unanswered = _ask_dates(report, expected, configured.dates) if online else []
    findings: list[Finding] = []
    scanned: ScanReport | None = None
    locked = any(lock.entries for lock in report.locks) or any(report.inputs.packages.values())
    if report.not_checked or locked:
        store = advisories(settings())
        scanned = scan_locks(report, store, system_clock(),
                             allow_empty=allow_empty_db or not locked)
        findings = [finding for finding in scanned.findings if finding.malicious] if threshold == "never" else (
            scanned.meets(Severity[threshold.upper()]))
    bad = [f"{finding.package} {finding.version}: {finding.severity} {finding.cve}: {finding.summary}"
           for finding in findings]
    problems = [*report.failures, *([] if allow_unpinned_actions else report.unpinned), *bad]
    if fail_on_warnings:
        problems += report.warnings
    click.echo(json.dumps(_json(report, problems, scanned), indent=2) if output == "json"
               else json.dumps(_sarif(report, bad), indent=2) if output == "sarif"
               else "\n".join(_lines(report, bad)))
    for line in coverage_lines(scanned.coverage) if scanned is not None else ():
        click.echo(line, err=True)
    for line in report.unpinned if allow_unpinned_actions else ():
        click.echo(f"warning: {visible(line)}", err=True)
    if report.inputs.undated:
        click.echo(f"warning: --cooldown: of {amount(report.inputs.undated, 'package')} the lock files give no date "
                   "of release", err=True)
    if problems:
        raise DeniedError(f"source: {len(problems)} problem{'s' * (len(problems) > 1)}, first: {visible(problems[0])}",
                          hint=report.hint)
    if unanswered:
        raise NetworkError(f"source: the dates of {amount(len(unanswered), 'package')} could not be asked for, first: "
                           f"{visible(unanswered[0])}")
    unasked = threshold == "never" or allow_gaps
    if scanned is not None and not unasked and not (allow_empty_db and not scanned.database.advisories):
        scanned.require_coverage()


def _ask_dates(report: SourceReport, expected: Expectations, registries: Mapping[str, str]) -> list[str]:
    """Judge the ages that lock files do not say; why some could not be asked for."""
    assert expected.cooldown is not None
    asked = undated(report.inputs, expected.private)

    async def ask() -> tuple[Dates, list[str]]:
        http = command_http(settings())
        try:
            with progress("Asking for dates", len(asked)) as advance:
                return await released(http, asked, registries, advance)
        finally:
            await http.close()

    dates, failures = asyncio.run(ask())
    judge(report.inputs, dates, expected.cooldown, system_clock())
    return failures


def _names(path: Path | None) -> frozenset[str]:
    if path is None:
        return frozenset()
    try:
        return frozenset(line.strip() for line in path.read_text().splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--popular: {path}: {error}") from None


def _sarif(report: SourceReport, bad: list[str]) -> dict[str, object]:
    """Every problem, with the line that it is on."""
    concerns = [*report.inputs.concerns,
                *(Concern("lock", lock.path, problem.reason, line=problem.line)
                  for lock in report.locks for problem in lock.problems),
                *(Concern("action-unpinned", workflow.path, f"uses {problem.reason}", line=problem.line)
                  for workflow in report.workflows for problem in workflow.problems),
                *(Concern("commit", "", f"commit {commit.commit[:12]}: {commit.reason}")
                  for commit in report.commits or () if commit.reason),
                *(Concern("commit", "", f"tag {tag.summary}: {tag.reason}") for tag in report.tags if tag.reason),
                *(Concern("advisory", "", text) for text in bad)]
    rules = {**RULES, "lock": "a lock that does not lock", "action-unpinned": "an action by a tag or branch",
             "commit": "a commit that nobody who is allowed to signed", "advisory": "a known vulnerability"}
    return sarif.lines([sarif.Line(concern.rule, concern.level, concern.message, concern.path, concern.line)
                        for concern in concerns], rules, "custody", __version__)


def _lines(report: SourceReport, bad: list[str]) -> list[str]:
    result = [f"{report.branch} at {report.head}"]
    if report.commits is None:
        result.append("  - signatures of commits: not checked (--no-signatures)")
    else:
        good, count = sum(commit.reason is None for commit in report.commits), len(report.commits)
        result.append(f"  {'✓' if good == count else '✗'} {good} of {count} commits signed by allowed signers")
        result += [f"      {commit.commit[:12]} {commit.summary}: {commit.reason}"
                   for commit in report.commits if commit.reason]
    result += [f"  {'✗' if tag.reason else '✓'} tag {tag.summary}: {tag.reason or f'signed by {tag.signer}'}"
               for tag in report.tags]
    for lock in report.locks:
        pinned = amount(len(lock.entries), "entry", "entries")
        result.append(f"  {'✗' if lock.problems else '✓'} {lock.path}: {pinned} pinned and hashed")
        result += [f"      line {problem.line}: {problem.reason}" for problem in lock.problems]
    for workflow in report.workflows:
        result.append(f"  {'✗' if workflow.problems else '✓'} {workflow.path}: {len(workflow.uses)} actions of others, "
                      f"{len(workflow.problems)} of them not pinned to a commit")
        result += [f"      line {problem.line}: {problem.reason}" for problem in workflow.problems]
    bad_paths = {concern.path for concern in report.inputs.concerns if concern.level == "error"}
    result += [f"  {'✗' if path in bad_paths else '✓'} {path}: {amount(len(entries), 'package')}"
               for path, entries in report.inputs.packages.items()]
    result += [f"  {'✗' if concern.level == 'error' else '!'} {concern}" for concern in report.inputs.concerns]
    result += [f"  - {path}: not checked by custody yet" for path in report.not_checked]
    return [visible(line) for line in [*result, *(f"  ✗ {line}" for line in bad)]]


def _json(report: SourceReport, problems: list[str], scanned: ScanReport | None) -> dict[str, object]:
    return {"branch": report.branch, "head": report.head, "problems": problems, "notChecked": report.not_checked,
            "concerns": [{"rule": concern.rule, "level": concern.level, "path": concern.path, "line": concern.line,
                          "package": concern.package, "message": concern.message}
                         for concern in report.inputs.concerns],
            "inputs": [{"path": path, "packages": [entry.purl for entry in entries]}
                       for path, entries in report.inputs.packages.items()],
            "workflows": [{"path": workflow.path, "uses": workflow.uses, "problems": [
                {"line": problem.line, "reason": problem.reason} for problem in workflow.problems]}
                for workflow in report.workflows],
            "coverage": scanned.coverage.to_json(scanned.finished) if scanned is not None else None,
            "commits": None if report.commits is None else [
                {"commit": commit.commit, "summary": commit.summary, "signer": commit.signer, "reason": commit.reason}
                for commit in report.commits],
            "tags": [{"tag": tag.summary, "id": tag.commit, "signer": tag.signer, "reason": tag.reason}
                     for tag in report.tags],
            "locks": [{"path": lock.path, "entries": [package.purl for package in lock.entries],
                       "problems": [{"line": problem.line, "reason": problem.reason} for problem in lock.problems]}
                      for lock in report.locks]}
