"""`custody policy test`: what policies say of resources beside what a `kyverno-test.yaml` expects, or conftest's."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from custody.cli import policy_configurations
from custody.cli.grid import grid
from custody.cli.run import settings
from custody.errors import CustodyError, UnsupportedError, UsageError
from custody.formats import junit, yaml
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.services.simulation import selector, testfile, testing
from custody.services.simulation.policies import reason
from custody.services.simulation.rows import Row
from custody.services.simulation.testfile import Broken, TestFile
from custody.wiring import others

_FORMATS = ("json", "yaml", "markdown", "junit")
_TITLES = ("ID", "POLICY", "RULE", "RESOURCE", "RESULT", "REASON")


_KYVERNO = {"name": "--file-name", "selected": "--test-case-selector", "fail_only": "--fail-only",
            "detailed": "--detailed-results", "require_tests": "--require-tests", "registry": "--registry",
            "remove_color": "--remove-color", "warnings_as_errors": "--warnings-as-errors",
            "git_branch": "--git-branch"}
_CONFTEST = {"data": "--data", "namespaces": "--namespace", "rego_version": "--rego-version", "strict": "--strict",
             "capabilities": "--capabilities", "config_file": "--config-file",
             "strict_builtins": "--show-builtin-errors", "no_color": "--no-color",
             "hide_message": "--junit-hide-message", "hide_passed": "--github-hide-passed", "trace": "--trace",
             "proto_file_dirs": "--proto-file-dirs", "all_namespaces": "--all-namespaces", "combine": "--combine",
             "parser": "--parser", "fail_on_warn": "--fail-on-warn", "no_fail": "--no-fail", "ignore": "--ignore",
             "suppress_exceptions": "--suppress-exceptions", "stdin_filename": "--stdin-filename", "update": "--update"}
"""Options of one way alone, by their names as parameters."""


@click.command("test")
@click.argument("paths", nargs=-1, required=True, metavar="DIR|FILE…")
@click.option("-f", "--file-name", "name", default=None, metavar="NAME", help="Name of the files of tests; "
              f"{testfile.FILE} by default.")
@click.option("-t", "--test-case-selector", "selected", default=None, metavar="SELECTOR",
              help="Which results are checked; policy=*,rule=*,resource=* by default.")
@click.option("-o", "--output", "--output-format", "output", metavar="FORMAT", help="What stdout gets: "
              f"{', '.join(_FORMATS)}, else a table; with --policy {', '.join(policy_configurations.OUTPUTS)}.")
@click.option("--fail-only", is_flag=True, help="Only rows that fail, all of them at the end.")
@click.option("--detailed-results", "detailed", is_flag=True, help="With the messages.")
@click.option("--require-tests", is_flag=True, help="Exit 1 where there is no test.")
@click.option("--registry", is_flag=True, help="Ask registries about images.")
@click.option("--remove-color", is_flag=True, help="Accepted; there is none.")
@click.option("--warnings-as-errors", is_flag=True, help="Exit 1 for policies of kinds that Kyverno is to drop.")
@click.option("-b", "--git-branch", help="Refused: clone the repository, and give its folder.")
@policy_configurations.shared
@click.option("--all-namespaces", is_flag=True, help="With --policy: the rules of all packages.")
@click.option("--combine", is_flag=True, help="With --policy: all files as one input.")
@click.option("--parser", metavar="NAME", help="With --policy: read all files as cyclonedx, dockerfile, dotenv, "
              "ignore, ini, json, properties, toml, xml or yaml.")
@click.option("--fail-on-warn", is_flag=True, help="With --policy: exit 1 for warnings, 2 for failures.")
@click.option("--no-fail", is_flag=True, help="With --policy: exit 0 for failures.")
@click.option("--ignore", metavar="REGEXP", help="With --policy: paths that are left out.")
@click.option("--quiet", is_flag=True, help="Of what standard error gets, only warnings and errors; with --policy, "
              "nothing where all passed.")
@click.option("--suppress-exceptions", is_flag=True, help="With --policy: no exceptions on stdout.")
@click.option("--stdin-filename", metavar="NAME", help="With --policy: what standard input (-) is called.")
@click.option("-u", "--update", multiple=True, default=None, hidden=True, help="Refused by name.")
def command(paths: tuple[str, ...], **options: Any) -> int:
    """Run tests as `kyverno test` does, or with --policy, rules in Rego on configuration files, as `conftest test`.

    Kyverno's way takes every kyverno-test.yaml below folders; stdout gets its rows and counts, stderr what is being
    done, and 1 is for a row that fails. Conftest's way takes files of any format, and 1 is for what a rule denies.
    """
    conftest = bool(options["policies"])
    for key, flag in (_KYVERNO if conftest else _CONFTEST).items():
        if options[key]:
            raise UsageError(f"{flag}: it is of tests {'without' if conftest else 'with'} --policy")
    formats = policy_configurations.OUTPUTS if conftest else _FORMATS
    if options["output"] not in (None, *formats):
        raise UsageError(f"--output: got {options['output']}, expected one of {', '.join(formats)}")
    if conftest:
        return policy_configurations.run_tests(paths, options)
    return _kyverno(paths, **{key: options[key] for key in (*_KYVERNO, "output") if key != "remove_color"})


def _kyverno(folders: Sequence[str], *, name: str | None, selected: str | None, output: str | None, fail_only: bool,
             detailed: bool, require_tests: bool, registry: bool, warnings_as_errors: bool,
             git_branch: str | None) -> int:
    if git_branch is not None or (remote := next((folder for folder in folders if "://" in folder), None)):
        raise UnsupportedError("--git-branch" if git_branch is not None else str(remote),
                               "tests are not fetched from git", hint="git clone, then custody policy test DIR")
    chosen = selector.parse(selected or "policy=*,rule=*,resource=*")
    for wrong in chosen.wrong:
        print(f"error: {visible(wrong)}", file=sys.stderr)
    files = [file for folder in folders for file in _files(Path(folder), name or testfile.FILE)]
    tests = [test for file in files for test in testfile.read(file)]
    broken = [test for test in tests if isinstance(test, Broken)]
    if broken:
        for unread in broken:
            print(visible(f"{unread.path}: {reason(unread.error, str(unread.path))}"), file=sys.stderr)
        raise CustodyError(f"found {len(broken)} errors after loading tests")
    if not tests:
        click.echo("\nNo test yamls available")
        if require_tests:
            raise CustodyError("no tests found")
        return 2 if chosen.wrong else 0
    every: list[Row] = []
    for test in tests:
        assert isinstance(test, TestFile)
        expected = [replace(result, resources=chosen.resources or result.resources) for result in test.results
                    if chosen.chosen(result)]
        if expected:
            rows = asyncio.run(_run(test, expected, registry=registry, warnings_as_errors=warnings_as_errors))
            every += rows
            if not fail_only:
                click.echo(f"\n{shown(rows, output, detailed=detailed)}\n")
    return _conclude(every, output, fail_only=fail_only, detailed=detailed)


async def _run(test: TestFile, expected: Sequence[testfile.Expected], *, registry: bool,
               warnings_as_errors: bool) -> list[Row]:
    async with others(settings(), registry=registry) as asked:
        try:
            return await testing.run(test, expected, asked, system_clock(), _say,
                                     warnings_as_errors=warnings_as_errors)
        except CustodyError as error:
            error.message = f"failed to run test {test.path} ({error.message})"
            error.args = (error.message,)
            raise


def _say(line: str) -> None:
    print(visible(line), file=sys.stderr)


def _files(folder: Path, name: str) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such file or directory")
    return [*testfile.find(folder, name)]


def _conclude(rows: Sequence[Row], output: str | None, *, fail_only: bool, detailed: bool) -> int:
    failed = [row for row in rows if not row.passed]
    if fail_only:
        click.echo(f"\nTest Summary: {len(failed)} out of {len(rows)} tests failed\n")
        if failed:
            table = shown(failed, output, detailed=detailed)
            click.echo(f"\n{table}\n" if output else f"Aggregated Failed Test Cases : \n{table}")
    else:
        click.echo(f"\nTest Summary: {len(rows) - len(failed)} tests passed and {len(failed)} tests failed\n")
    if failed:
        raise CustodyError(f"{len(failed)} tests failed")
    return 0


def shown(rows: Sequence[Row], output: str | None, *, detailed: bool) -> str:
    """The rows in one of the formats, or as a table."""
    cells = [(str(at), row.policy, row.rule, placed(row.resource), "Pass" if row.passed else "Fail", row.reason)
             for at, row in enumerate(rows, 1)]
    if output == "junit":
        return _junit(rows, detailed=detailed)
    if output in ("json", "yaml"):
        documents: list[dict[str, Any]] = [
            {"ID": at, **dict(zip(_TITLES[1:], cell[1:], strict=True))} | ({"Message": row.message} if detailed else {})
            for at, (row, cell) in enumerate(zip(rows, cells, strict=True), 1)]
        if output == "json":
            return json.dumps(documents, indent=2, sort_keys=True, ensure_ascii=False)
        return yaml.dumped(documents).rstrip("\n")
    titles = (*_TITLES, "MESSAGE") if detailed else _TITLES
    table = [(*cell, row.message) if detailed else cell for row, cell in zip(rows, cells, strict=True)]
    if output == "markdown":
        lines = [f"| {' | '.join(titles)} | ", "|" + "----|" * len(titles)]
        return "\n".join([*lines, *(f"| {' | '.join(visible(part) for part in row)} |" for row in table)])
    return grid(titles, table)


def placed(resource: str) -> str:
    """As the Kyverno CLI writes it: what is no object of a cluster begins with a slash."""
    return resource if "/" in resource else f"/{resource}"


def _junit(rows: Sequence[Row], *, detailed: bool) -> str:
    suites: dict[str, list[junit.Case]] = {}
    for row in rows:
        facts = [("Policy", row.policy), ("Rule", row.rule), ("Resource", placed(row.resource))]
        facts = [("Reason", row.reason), *facts] if row.passed else [*facts, ("Result", "Fail")]
        facts += [("Message", row.message)] if detailed else []
        suites.setdefault(row.policy, []).append(junit.Case(
            row.rule, placed(row.resource), None if row.passed else row.reason,
            "\n".join(f"    {name}: {value}" for name, value in facts)))
    return junit.document([*suites.items()])
