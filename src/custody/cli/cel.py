"""`custody cel`: evaluate and check CEL expressions in the environments of Kubernetes and Kyverno."""

from __future__ import annotations

import base64
import json
import sys
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from custody.errors import MalformedError, UsageError, of_language
from policylang.errors import InputError
from policylang.source import read_source

if TYPE_CHECKING:
    from policylang.cel import CompileError, Env, Program

_ENVIRONMENTS = "standard, kubernetes[:1.34], kyverno[:ValidatingPolicy]"


class _Asked(NamedTuple):
    """What both commands are given."""

    expression: str
    name: str
    env: Env
    variables: dict[str, Any]
    output: str
    cost: bool


def _options(function: Any) -> Any:
    for option in reversed((
        click.argument("expression", required=False),
        click.option("-f", "--file", metavar="FILE", help="Read the expression from FILE, - for stdin."),
        click.option("-i", "--input", "given", metavar="FILE",
                     help="JSON or YAML, - for stdin. Its names become variables, or it is object, if a resource."),
        click.option("--var", "files", multiple=True, metavar="NAME=FILE", help="One variable from JSON or YAML."),
        click.option("--set", "values", multiple=True, metavar="NAME=JSON", help="One variable."),
        click.option("--env", "environment", default="standard", show_default=True, metavar="NAME",
                     help=f"One of {_ENVIRONMENTS}."),
        click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True,
                     help="What stdout gets."),
        click.option("--cost", is_flag=True, help="Also the cost, as Kubernetes counts it."),
    )):
        function = option(function)
    return function


@click.group("cel")
def command() -> None:
    """The Common Expression Language, as Kubernetes and Kyverno speak it."""


@command.command("eval")
@_options
@click.option("--trace", is_flag=True, help="Say on stderr which part gave which value.")
@click.option("--fail", is_flag=True, help="Exit 3 where the value is false.")
def _eval(trace: bool, fail: bool, **options: Any) -> int:
    """Print the value of EXPRESSION.

    Exit codes: 0 a value, 1 the evaluation ended in an error, 2 the expression does not compile.
    """
    from policylang.budget import GENEROUS
    from policylang.cel import CelError, CompileError
    from policylang.cel.kubernetes.costs import COSTS

    asked = _asked(**options)
    report: dict[str, Any] = {}
    try:
        program, priced = (asked.env.compile(asked.expression, name=asked.name, limits=GENEROUS, **how)
                           for how in ({"trace": trace}, {"cost": COSTS if asked.cost else None}))
    except CompileError as wrong:
        return _refuse(wrong)
    value: Any
    if trace:
        value, steps = program.explain(asked.variables)
        for line in steps.lines(lambda part: _text(part, quoted=True)):
            click.echo(line, err=True)
    elif not asked.cost:
        value = program(asked.variables)
    if asked.cost:
        value, report["cost"] = priced.measure(asked.variables)
    if asked.cost and asked.output == "text":
        click.echo(f"cost: {report['cost']}", err=True)
    if isinstance(value, CelError):
        raise value
    if asked.output == "json":
        click.echo(json.dumps({"value": _plain(value), "type": _type(program, value), **report}, ensure_ascii=False))
    else:
        click.echo(_text(value))
    return 3 if fail and value is False else 0


@command.command("check")
@_options
def _check(**options: Any) -> int:
    """Say what type EXPRESSION has, without evaluating it. Exit code 2 where it does not compile."""
    from policylang.cel import CompileError
    from policylang.cel.cost.units import ENDLESS
    from policylang.cel.kubernetes.costs import COSTS

    asked = _asked(**options)
    try:
        ast = asked.env.check(asked.expression, asked.name)
    except CompileError as wrong:
        return _refuse(wrong)
    report: dict[str, Any] = {"type": str(ast.result)}
    if asked.cost:
        cost = asked.env.cost(ast, model=COSTS)
        unknown = cost.most > ENDLESS // 1000  # a factor of a size that is not known
        report["cost"] = {"least": cost.least, "most": None if unknown else cost.most}
    if asked.output == "json":
        click.echo(json.dumps(report))
        return 0
    click.echo(report["type"])
    if asked.cost:
        most = "no limit" if report["cost"]["most"] is None else report["cost"]["most"]
        click.echo(f"estimated cost: {report['cost']['least']} to {most}", err=True)
    return 0


def _refuse(wrong: CompileError) -> int:
    """The message as it is: it begins with ERROR and points at the place."""
    click.echo(wrong.message, err=True)
    return of_language(wrong).exit_code


# ── what was given ──────────────────────────────────────────────────────────────────────────────────────────────────

def _asked(expression: str | None, file: str | None, given: str | None, files: tuple[str, ...],
           values: tuple[str, ...], environment: str, output: str, cost: bool) -> _Asked:
    if (expression is None) == (file is None):
        raise UsageError("got no expression or two, expected one, as an argument or with --file")
    if [file, given, *(pair.partition("=")[2] for pair in files)].count("-") > 1:
        raise UsageError("got - more than once, expected stdin to be one of --file, --input and --var")
    text, name = expression or "", "<input>"
    if file is not None:
        name = "<stdin>" if file == "-" else file
        text = read_source(_read(file), name).text.rstrip("\n")
    kind, _, version = environment.partition(":")
    variables: dict[str, Any] = {}
    if given is not None:
        document = _document(given)
        if not isinstance(document, dict):
            raise MalformedError(_named(given), got="nothing" if document is None else _text(document)[:80],
                                 expected="a map of variables, or a resource")
        resource = kind != "standard" and "kind" in document and "apiVersion" in document
        variables = {"object": document} if resource else document
    for pair in files:
        key, value = _pair(pair, "--var NAME=FILE")
        variables[key] = _document(value)
    for pair in values:
        key, value = _pair(pair, "--set NAME=JSON")
        try:
            variables[key] = json.loads(value)
        except ValueError as wrong:
            raise MalformedError(f"--set {key}", got=value, expected=f"JSON ({wrong})") from None
    return _Asked(text, name, _environment(kind, version, variables), variables, output, cost)


def _environment(kind: str, version: str, variables: dict[str, Any]) -> Env:
    from policylang import cel

    free = dict.fromkeys(variables, cel.DYN)
    if kind == "kubernetes":
        from policylang.cel import kubernetes

        env = kubernetes.admission(version or kubernetes.MINORS[-1], params=True, authorized=True, patch=True)
        return env.extended({name: of for name, of in free.items() if name not in env.variables})
    if kind == "kyverno":
        from policylang.cel import kyverno

        env = kyverno.env(version or kyverno.KINDS[0])
        for name in variables.get("variables") or ():
            env.declare(name, cel.DYN)
        return env.extended({name: of for name, of in free.items() if name not in env.variables})
    if kind != "standard" or version:
        raise UsageError(f"got --env {kind}{version and ':'}{version}, expected one of {_ENVIRONMENTS}")
    from policylang.cel.kubernetes.costs import STANDARD
    from policylang.cel.libraries import ext
    from policylang.cel.libraries.kubernetes.prices import priced

    return cel.Env(tuple(map(priced, ext.everything())), free, standard=STANDARD)


def _pair(text: str, expected: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"got {text!r}, expected {expected}")
    return key, value


def _named(file: str) -> str:
    return "stdin" if file == "-" else file


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as wrong:
        raise UsageError(f"{file}: {wrong.strerror}") from None


def _document(file: str) -> Any:
    from policylang.go.jsontext import without_surrogates
    from policylang.go.yamltext import YAMLError, decode_yaml

    data = _read(file)
    try:
        text = data.decode()
    except UnicodeDecodeError as wrong:
        raise MalformedError(_named(file), got=f"byte 0x{data[wrong.start]:02x}", expected="UTF-8") from None
    try:
        document = json.loads(text, parse_int=_integer, parse_float=_floating, parse_constant=_floating)
        return without_surrogates(document) if "\\u" in text else document
    except (UsageError, InputError) as wrong:
        raise MalformedError(_named(file), got=wrong.message, expected="numbers that a double holds") from None
    except (ValueError, RecursionError):  # YAML, or YAML's message says it
        pass
    try:
        return decode_yaml(text)
    except YAMLError as wrong:
        raise MalformedError(_named(file), got=str(wrong), expected="JSON or YAML") from None


def _integer(text: str) -> int | float:
    """Whole numbers beyond 64 bits are floating, as in Kubernetes."""
    return int(text) if len(text) < 19 or (len(text) < 21 and -(2**63) <= int(text) < 2**63) else _floating(text)


def _floating(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise UsageError(text[:40])
    return number


# ── what is printed ─────────────────────────────────────────────────────────────────────────────────────────────────

def _plain(value: Any) -> Any:
    """A value as JSON data: bytes as base64; times, durations and what JSON has no number for as texts; an empty
    optional as null."""
    from policylang.cel import Duration, Optional, Timestamp
    from policylang.cel.values.times import show_duration, show_timestamp

    if isinstance(value, float) and not isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, (bool, str, float)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _text(key): _plain(element) for key, element in value.items()}
    if isinstance(value, list):
        return [_plain(element) for element in value]
    if isinstance(value, Optional):
        return _plain(value.value) if value.present else None
    if isinstance(value, Timestamp):
        return show_timestamp(value)
    if isinstance(value, Duration):
        return show_duration(value)
    return str(value)


def _text(value: Any, *, quoted: bool = False) -> str:
    if isinstance(value, str) and not quoted:
        return value
    if isinstance(value, (str, bool, dict, list, float, int)) or value is None:
        return json.dumps(_plain(value), ensure_ascii=False)
    return str(_plain(value))


def _type(program: Program, value: Any) -> str:
    """The checked type, the value's own where that is not known."""
    from policylang.cel.values.values import type_name

    known = program.result
    return type_name(value) if known is None or known.is_dyn else str(known)
