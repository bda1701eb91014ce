"""`custody policy verify`: tests of Gatekeeper's templates and constraints as `gator verify`, or conftest's of Rego."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from custody.cli import policy_configurations
from custody.errors import CustodyError, UnsupportedError, UsageError
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.services.simulation import suites
from custody.services.simulation.suites import Result

_CONFTEST = {"data": "--data", "namespaces": "--namespace", "rego_version": "--rego-version", "strict": "--strict",
             "capabilities": "--capabilities", "config_file": "--config-file",
             "strict_builtins": "--show-builtin-errors", "no_color": "--no-color",
             "hide_message": "--junit-hide-message", "hide_passed": "--github-hide-passed", "output": "--output",
             "proto_file_dirs": "--proto-file-dirs", "report": "--report", "var_values": "--var-values"}


@click.command("verify")
@click.argument("path", required=False)
@click.option("-r", "--run", "chosen", default="", metavar="REGEXP",
              help="Tests and cases with such a name; TEST//CASE for both.")
@click.option("-v", "--verbose", is_flag=True, help="Each test and case, and what Rego prints.")
@click.option("--enable-k8s-native-validation", "native", type=bool, is_flag=False, flag_value="true", default=True,
              show_default=True, help="CEL judges where a template has both it and Rego.")
@click.option("--default-k8s-native-validation-failure-policy", "failing", type=click.Choice(["Fail", "Ignore"]),
              default="Fail", show_default=True, help="Of CEL that names none.")
@click.option("-t", "traced", is_flag=True, hidden=True, help="Refused by name.")
@policy_configurations.shared
@click.option("-o", "--output", type=click.Choice(policy_configurations.OUTPUTS),
              help="With --policy: what stdout gets.")
@click.option("--quiet", is_flag=True, help="Of what standard error gets, only warnings and errors; with --policy, "
              "nothing where all passed.")
@click.option("--report", hidden=True, help="Refused by name.")
@click.option("--var-values", is_flag=True, default=None, hidden=True, help="Refused by name.")
def command(path: str | None, chosen: str, native: bool, failing: str, traced: bool, **options: Any) -> int:
    """Run the suites (test.gatekeeper.sh) of PATH, unchanged; PATH/... for all folders below. Or tests in Rego.

    stdout gets the lines that `gator verify` prints. With --policy and no PATH, those of `conftest verify`, which runs
    rules that begin with test_. Exit 1 where something does not hold or a test cannot be run.
    """
    if options["policies"]:
        if path or chosen or options["verbose"]:
            raise UsageError("--policy: with it there is no PATH, --run or --verbose")
        return policy_configurations.run_verify(options)
    if path is None:
        raise UsageError("expected a PATH of suites, or --policy")
    for key, flag in _CONFTEST.items():
        if options[key]:
            raise UsageError(f"{flag}: it is of verify with --policy")
    if traced or options["trace"]:
        raise UnsupportedError("--trace", "suites are not traced", hint="custody rego eval --explain full")
    if failing != "Fail":
        raise UnsupportedError("--default-k8s-native-validation-failure-policy", f"{failing} is not evaluated",
                               hint="write failurePolicy into the template")
    return _gator(path, chosen, native=native, verbose=options["verbose"])


def _gator(path: str, chosen: str, *, native: bool, verbose: bool) -> int:
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
