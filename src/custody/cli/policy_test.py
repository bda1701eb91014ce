"""`custody policy test`: what policies say of resources, beside what a `kyverno-test.yaml` expects."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

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


@click.command("test")
@click.argument("folders", nargs=-1, required=True, metavar="DIR…")
@click.option("-f", "--file-name", "name", default=testfile.FILE, show_default=True, help="Name of the files of tests.")
@click.option("-t", "--test-case-selector", "selected", default="policy=*,rule=*,resource=*", show_default=True,
              help="Which results are checked.")
@click.option("-o", "--output-format", "output", type=click.Choice(_FORMATS), help="What stdout gets, but for a table.")
@click.option("--fail-only", is_flag=True, help="Only rows that fail, all of them at the end.")
@click.option("--detailed-results", "detailed", is_flag=True, help="With the messages.")
@click.option("--require-tests", is_flag=True, help="Exit 1 where there is no test.")
@click.option("--registry", is_flag=True, help="Ask registries about images.")
@click.option("--remove-color", is_flag=True, help="Accepted; there is none.")
@click.option("--warnings-as-errors", is_flag=True, help="Exit 1 for policies of kinds that Kyverno is to drop.")
@click.option("-b", "--git-branch", help="Refused: clone the repository, and give its folder.")
def command(folders: tuple[str, ...], name: str, selected: str, output: str | None, fail_only: bool, detailed: bool,
            require_tests: bool, registry: bool, remove_color: bool, warnings_as_errors: bool,  # noqa: ARG001
            git_branch: str | None) -> int:
    """Run every kyverno-test.yaml below the folders, unchanged, with rows and counts as `kyverno test` has them.

    stdout gets the rows and the summary, stderr what is being done. Exit 1 where a row fails or a test cannot be run.
    """
    if git_branch is not None or (remote := next((folder for folder in folders if "://" in folder), None)):
        raise UnsupportedError("--git-branch" if git_branch is not None else str(remote),
                               "tests are not fetched from git", hint="git clone, then custody policy test DIR")
    chosen = selector.parse(selected)
    for wrong in chosen.wrong:
        print(f"error: {visible(wrong)}", file=sys.stderr)
    files = [file for folder in folders for file in _files(Path(folder), name)]
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
