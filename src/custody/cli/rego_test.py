"""`custody rego test`: run the tests in modules."""

from __future__ import annotations

import base64
import gc
import json
from typing import TYPE_CHECKING, Any

import click

from custody.cli.rego_files import V0, load, refused
from custody.errors import UsageError

if TYPE_CHECKING:
    from policylang.rego.run.testing import Outcome, Test

_RULE = "-" * 80


@click.command("test")
@click.argument("paths", nargs=-1, required=True)
@click.option("-v", "--verbose", is_flag=True, help="Also tests that pass.")
@click.option("-r", "--run", "names", metavar="REGEX", help="Only tests whose names match.")
@click.option("-f", "--format", "output", type=click.Choice(["pretty", "json"]), default="pretty", show_default=True,
              help="What stdout gets.")
@click.option("-c", "--coverage", is_flag=True, help="Print which lines were evaluated, as JSON, instead.")
@click.option("--threshold", type=click.FloatRange(0, 100), default=0.0,
              help="Exit 2 where fewer per cent of the lines were evaluated.")
@click.option("-z", "--exit-zero-on-skipped", is_flag=True, help="Tests that are left out are no failure.")
@click.option("--fail-on-empty", is_flag=True, help="Exit 2 where there is no test.")
@V0
def command(paths: tuple[str, ...], verbose: bool, names: str | None, output: str, coverage: bool, threshold: float,
            exit_zero_on_skipped: bool, fail_on_empty: bool, v0_compatible: bool) -> int:
    """Run the rules that begin with `test_` in files and folders. Exit code 2 where one is not true, as `opa test`."""
    from custody.wiring.local import rego_world
    from policylang.rego import Policy, SourceError
    from policylang.rego.run.coverage import Coverage
    from policylang.rego.run.testing import Runner, tests

    pattern = _pattern(names) if names else None
    gc.disable()  # the trees of modules and code hold no circles, and looking for some takes a third of the time
    loaded = load(paths)
    try:
        policy = Policy(loaded.modules, version=0 if v0_compatible else 1, tests=True)
        policy.check_data(loaded.data)
    except SourceError as wrong:
        return refused(wrong, output)
    lines = Coverage(policy) if coverage or threshold else None
    chosen = [test for test in tests(policy) if pattern is None or pattern.search(test.shown)]
    try:
        runner = Runner(policy, chosen, loaded.data, world=rego_world(), coverage=lines,
                        explained=verbose and output == "pretty")
    except SourceError as wrong:
        return refused(wrong, output)
    results = [(test, None if test.skipped else runner.run(test)) for test in chosen]
    failed = any(outcome is not None and not outcome.passed for _, outcome in results)
    if lines is not None and not failed:
        report = lines.report()
        if coverage:
            click.echo(json.dumps(report, indent=2))
        if report["coverage"] < threshold:
            click.echo(f"Code coverage threshold not met: got {report['coverage']:.2f} instead of {threshold:.2f}",
                       err=True)
            return 2
    elif output == "json":
        click.echo(json.dumps([_json(test, outcome) for test, outcome in results], indent=2, ensure_ascii=False))
    else:
        _pretty(results, verbose)
    if fail_on_empty and not results:
        click.echo("no tests were run", err=True)
    skipped = any(outcome is None for _, outcome in results) and not exit_zero_on_skipped
    return 2 if failed or skipped or (fail_on_empty and not results) else 0


def _pattern(text: str) -> Any:
    from policylang.go.regex import PatternError, compiled
    try:
        return compiled(text)
    except PatternError as wrong:
        raise UsageError(f"--run: {wrong.message}") from None


def _json(test: Test, outcome: Outcome | None) -> dict[str, Any]:
    made: dict[str, Any] = {"location": {"file": test.file, "row": test.row, "col": 1},
                            "package": ".".join(("data", *test.package)), "name": test.name}
    if outcome is None:
        return made | {"skip": True, "duration": 0}
    if outcome.error is not None:
        made["error"] = {"message": outcome.error}
    elif not outcome.passed:
        made["fail"] = True
    made["duration"] = int(outcome.seconds * 1e9)
    if outcome.printed:
        made["output"] = base64.b64encode("".join(f"{line}\n" for line in outcome.printed).encode()).decode()
    if outcome.cases:
        made["sub_results"] = {name: {"name": name} | ({} if passed else {"fail": True})
                               for name, passed in outcome.cases.items()}
    return made


def _state(outcome: Outcome | None) -> str:
    if outcome is None:
        return "SKIPPED"
    state = "PASS" if outcome.passed else "FAIL" if outcome.error is None else "ERROR"
    return f"{state} ({_duration(outcome.seconds)})"


def _duration(seconds: float) -> str:
    """As Go prints a time.Duration."""
    nanoseconds = int(seconds * 1e9)
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if nanoseconds >= size:
            whole, part = divmod(nanoseconds, size)
            return f"{whole}.{part:0{len(str(size)) - 1}}".rstrip("0").rstrip(".") + unit
    return f"{nanoseconds}ns"


def _pretty(results: list[tuple[Test, Outcome | None]], verbose: bool) -> None:
    last = ""
    for test, outcome in results:
        if verbose or outcome is None or not outcome.passed:
            if last not in ("", test.file):
                click.echo()
            last = test.file
            click.echo(f"{test.file}:{test.row}:\n{test.shown}: {_state(outcome)}")
            for name, passed in outcome.cases.items() if outcome is not None else ():
                if verbose or not passed:
                    click.echo(f"  {name}: {'PASS' if passed else 'FAIL'}")
            if outcome is not None and outcome.error is not None:
                click.echo(f"  {outcome.error}")
            if outcome is not None and outcome.printed and (verbose or not outcome.passed):
                click.echo("".join(f"\n  {line}" for line in outcome.printed) + "\n")
    failures = [outcome for _, outcome in results
                if outcome is not None and not outcome.passed and outcome.error is None]
    if verbose and failures:
        click.echo(f"{_RULE}\nFAILURES\n{_RULE}")
        for outcome in failures:
            click.echo(f"{outcome.test.shown}: {_state(outcome)}\n" + "".join(f"\n  {line}" for line in outcome.trace))
            for name, passed in outcome.cases.items():
                if not passed:
                    click.echo(f"\n  {name}: FAIL")
            click.echo()
    if results:
        click.echo(_RULE)
    counts = _counts(results)
    for name, count in counts.items():
        if count:
            click.echo(f"{name}: {count}/{sum(counts.values())}")


def _counts(results: list[tuple[Test, Outcome | None]]) -> dict[str, int]:
    """Tests, and cases where a test has some."""
    counts = {"PASS": 0, "FAIL": 0, "SKIPPED": 0, "ERROR": 0}
    for _, outcome in results:
        if outcome is None:
            counts["SKIPPED"] += 1
        elif outcome.error is not None:
            counts["ERROR"] += 1
        else:
            for passed in outcome.cases.values() or [outcome.passed]:
                counts["PASS" if passed else "FAIL"] += 1
    return counts
