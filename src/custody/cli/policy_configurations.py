"""`custody policy test --policy` and `custody policy verify --policy`: conftest's way, on any configuration file."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from fnmatch import translate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from custody.cli import conftest_settings
from custody.cli.rego_files import load, read
from custody.errors import CustodyError, UnsupportedError, UsageError
from custody.kit.visible import visible

if TYPE_CHECKING:
    from custody.services.configurations.checking import Checker, CheckResult

OUTPUTS = ("stdout", "json", "tap", "table", "junit", "github", "azuredevops", "sarif")
_REFUSED = {
    "trace": ("--trace", "custody rego eval --explain full"),
    "update": ("--update", "nothing is fetched: custody download, or git clone"),
    "proto_file_dirs": ("--proto-file-dirs", "files of protocol buffers are not read"),
    "report": ("--report", "custody rego test --verbose"),
    "var_values": ("--var-values", "custody rego test --verbose")}


def shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `test` and `verify` have in common."""
    for option in reversed((
            click.option("-p", "--policy", "policies", multiple=True, metavar="DIR", help="Conftest's way: folders and "
                         "files of rules in Rego."),
            click.option("-d", "--data", "data", multiple=True, metavar="DIR", help="With --policy: data for them, "
                         "JSON and YAML."),
            click.option("-n", "--namespace", "namespaces", multiple=True, metavar="NAME", help="With --policy: the "
                         "packages whose rules are asked, * and ? for several; main by default."),
            click.option("-c", "--config-file", metavar="FILE", help="With --policy: settings of conftest's; "
                         f"{conftest_settings.FILE} by default, and CONFTEST_… of the environment."),
            click.option("--rego-version", type=click.Choice(["v0", "v1"], case_sensitive=False), default=None,
                         help="With --policy: the syntax of the rules; v1 by default."),
            click.option("--strict", is_flag=True, help="With --policy: no unused variables and imports."),
            click.option("--capabilities", metavar="FILE", help="With --policy: the only builtins of rules."),
            click.option("--show-builtin-errors", "strict_builtins", is_flag=True, help="With --policy: the first "
                         "error of a builtin ends everything."),
            click.option("--no-color", is_flag=True, help="Accepted; there is none."),
            click.option("--junit-hide-message", "hide_message", is_flag=True, help="With --policy: names of JUnit's "
                         "cases are files alone."),
            click.option("--github-hide-passed", "hide_passed", is_flag=True, help="With --policy: no groups of files "
                         "that passed."),
            click.option("--trace", is_flag=True, default=None, hidden=True, help="Refused by name."),
            click.option("--proto-file-dirs", multiple=True, default=None, hidden=True, help="Refused by name."))):
        command = option(command)
    return command


def run_tests(paths: Sequence[str], options: dict[str, Any]) -> int:
    """`conftest test`. 1 for failures, under --fail-on-warn 2, and 1 for warnings; errors are 1, too."""
    with _as_conftest():
        options = _settled(options)
        _refuse(options)
        results = _check(paths, options)
        failed, warned = (any(getattr(result, name) for result in results) for name in ("failures", "warnings"))
        code = int(failed)
        if options["fail_on_warn"]:
            code = 2 if failed else int(warned)
        _print(results, options, quiet=options["quiet"] and not code)
        if not any(result.tests for result in results):
            print("warning: no rule judged: no deny, violation or warn in the namespaces asked", file=sys.stderr)
        return 0 if options["no_fail"] else code


def run_verify(options: dict[str, Any]) -> int:
    """`conftest verify`: rules that begin with `test_`."""
    with _as_conftest():
        options = _settled(options)
        _refuse(options)
        checker = _checker(options, tested=True)
        asked = _several(options["namespaces"])
        results = checker.verify(_matching(checker.namespaces, asked) if asked else None)
        failed = any(result.failures for result in results)
        _print(results, options, quiet=options["quiet"] and not failed, skipped=True)
        if not results:
            print("warning: no tests", file=sys.stderr)
        return int(failed)


class _as_conftest:  # noqa: N801 - read as a clause
    """Whatever goes wrong is exit code 1 there: 2 says that something failed under --fail-on-warn."""

    def __enter__(self) -> None:
        gc.disable()  # trees of modules and code hold no circles

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        from custody.services.configurations.checking import reason
        from policylang.errors import LanguageError

        gc.enable()
        if isinstance(error, CustodyError):
            raise CustodyError(error.message, hint=error.hint) from None
        if isinstance(error, LanguageError):
            raise CustodyError(reason(error)) from None


def _settled(options: dict[str, Any]) -> dict[str, Any]:
    context = click.get_current_context()
    given = {name for name in options if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    return conftest_settings.settled(options, given, options["config_file"], os.environ, OUTPUTS)


def _refuse(options: dict[str, Any]) -> None:
    for name, (flag, hint) in _REFUSED.items():
        if options.get(name):
            raise UnsupportedError(flag, "not obeyed by custody", hint=hint)


def _several(texts: Sequence[str]) -> list[str]:
    return [part for text in texts for part in text.split(",") if part]


def _checker(options: dict[str, Any], *, tested: bool = False) -> Checker:
    from custody.services.configurations.checking import Checker
    from custody.wiring.local import rego_world

    loaded = load(tuple(_several(options["policies"])), modules_only=True)
    data = load(tuple(_several(options["data"]))).data
    return Checker(loaded.modules, data, version=0 if (options["rego_version"] or "").lower() == "v0" else 1,
                   strict=options["strict"], capabilities=_capabilities(options["capabilities"]),
                   strict_builtins=options["strict_builtins"], world=rego_world(environment=True),
                   environment=os.environ, tested=tested)


def _capabilities(path: str | None) -> list[str] | None:
    """The builtins that OPA's capabilities file names. Raises UsageError."""
    if path is None:
        return None
    document = read(Path(path))
    listed = document.get("builtins") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not all(
            isinstance(builtin, dict) and isinstance(builtin.get("name"), str) for builtin in listed):
        raise UsageError(f"{path}: expected OPA's capabilities: builtins, a list of objects with a name")
    return [builtin["name"] for builtin in listed]


def _check(paths: Sequence[str], options: dict[str, Any]) -> list[CheckResult]:
    from custody.services.configurations import reading

    files = reading.files(paths, options["ignore"] or "")
    given = sys.stdin.buffer.read(reading.MAX_SIZE + 1) if reading.STDIN in files else b""
    configurations = reading.read(files, options["parser"] or "", given, os.environ, _warn)
    if options["stdin_filename"] and reading.STDIN in configurations:
        configurations[options["stdin_filename"]] = configurations.pop(reading.STDIN)
    checker = _checker(options)
    asked = _several(options["namespaces"]) or ["main"]
    namespaces = checker.namespaces if options["all_namespaces"] else _matching(checker.namespaces, asked)
    results: list[CheckResult] = []
    for namespace in namespaces:
        if options["combine"]:
            results.append(checker.check_combined(configurations, namespace))
        else:
            results += checker.check(configurations, namespace)
    return results


def _warn(reason: str) -> None:
    print(visible(f"warning: {reason}"), file=sys.stderr)


def _matching(namespaces: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Names as they are, unless one has a wildcard: then those that match any."""
    import re

    if not any(sign in name for name in asked for sign in "*?["):
        return [*asked]
    patterns = [re.compile(translate(name.replace("[^", "[!"))) for name in asked]
    return [namespace for namespace in namespaces
            if namespace in asked or any(pattern.match(namespace) for pattern in patterns)]


def _print(results: Sequence[CheckResult], options: dict[str, Any], *, quiet: bool, skipped: bool = False) -> None:
    from custody.cli.configuration_results import shown

    for result in results:
        if result.unread:
            _warn(f"{result.filename}: {result.unread} results of {result.namespace} are neither texts nor objects, "
                  "and count for nothing")
        for query, value in result.complete.items():
            _warn(f"{result.filename}: {query} is {value}, neither a set nor a list, and counts for nothing")
    if quiet:
        return
    text = shown(results, options["output"] or "stdout", suppress_exceptions=bool(options.get("suppress_exceptions")),
                 skipped=skipped, hide_message=options["hide_message"], hide_passed=options["hide_passed"])
    if text:
        click.echo(text)
