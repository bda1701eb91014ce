"""`custody policy verify`: suites of tests for Gatekeeper's templates and constraints, as `gator verify` runs them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from custody.errors import CustodyError, UnsupportedError
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.services.simulation import suites
from custody.services.simulation.suites import Result


@click.command("verify")
@click.argument("path")
@click.option("-r", "--run", "chosen", default="", metavar="REGEXP",
              help="Tests and cases with such a name; TEST//CASE for both.")
@click.option("-v", "--verbose", is_flag=True, help="Each test and case, and what Rego prints.")
@click.option("--enable-k8s-native-validation", "native", type=bool, is_flag=False, flag_value="true", default=True,
              show_default=True, help="CEL judges where a template has both it and Rego.")
@click.option("--default-k8s-native-validation-failure-policy", "failing", type=click.Choice(["Fail", "Ignore"]),
              default="Fail", show_default=True, help="Of CEL that names none.")
@click.option("-t", "--trace", is_flag=True, help="Refused: see custody rego eval --explain.")
def command(path: str, chosen: str, verbose: bool, native: bool, failing: str, trace: bool) -> int:
    """Run the suites (test.gatekeeper.sh) of a file or folder, unchanged; PATH/... for all folders below.

    stdout gets the lines that `gator verify` prints. Exit 1 where an assertion does not hold or a test cannot be run.
    """
    if trace:
        raise UnsupportedError("--trace", "suites are not traced", hint="custody rego eval --explain full")
    if failing != "Fail":
        raise UnsupportedError("--default-k8s-native-validation-failure-policy", f"{failing} is not evaluated",
                               hint="write failurePolicy into the template")
    runner = suites.Runner(system_clock(), suites.Filter(chosen), native=native)
    results = [runner.run(suite) for suite in suites.find(path)]
    if not results:
        raise CustodyError(f"{path}: no suites", hint="a folder is looked into by itself: PATH/... for all below")
    for result in results:
        for line in _suite(result, verbose=verbose):
            click.echo(visible(line, keep="\t"))
    failed = [result for result in results if result.failed]
    click.echo("FAIL" if failed else "PASS")
    if failed:
        raise CustodyError(f"{len(failed)} of {len(results)} suites failed")
    return 0


def _suite(result: Result, *, verbose: bool) -> Iterator[str]:
    for test in result.inner:
        yield from _test(test, verbose=verbose)
    yield f"{'FAIL' if result.failed else 'ok'}\t{result.name}\t{result.seconds:.3f}s"
    if result.error:
        yield f"  {result.error}"


def _test(result: Result, *, verbose: bool) -> Iterator[str]:
    if verbose:
        yield f"=== {'SKIP' if result.skipped else 'RUN '}  {result.name}"
    if result.skipped:
        return
    for case in result.inner:
        yield from _case(case, verbose=verbose)
    if result.failed or verbose:
        yield f"--- {'FAIL' if result.failed else 'PASS'}: {result.name}\t({result.seconds:.3f}s)"
    if result.error:
        yield f"  {result.error}"


def _case(result: Result, *, verbose: bool) -> Iterator[str]:
    if verbose:
        yield f"    === {'SKIP' if result.skipped else 'RUN '}  {result.name}"
    if result.skipped:
        return
    if verbose and result.printed:
        yield "        === PRINT ==="
        yield from (f"        {line}" for text in result.printed for line in text.rstrip("\n").split("\n"))
    if result.failed or verbose:
        yield f"    --- {'FAIL' if result.failed else 'PASS'}: {result.name}\t({result.seconds:.3f}s)"
    if result.error:
        yield f"        {result.error}"
