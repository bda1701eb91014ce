"""`custody policy jp`: JMESPath as policies have it, tried out on data; like `kyverno jp`."""

from __future__ import annotations

import secrets
import socket
import sys
from pathlib import Path
from typing import Any

import click

from custody.cli.run import settings
from custody.errors import NetworkError, OfflineError, UsageError
from custody.kit.clock import system_clock

_FILES = click.Path(path_type=Path)


@click.group("jp")
def command() -> None:
    """JMESPath of policies: evaluate it, see how it is read, list its functions."""


class _World:
    """What a person at a terminal lets an expression ask."""

    def __init__(self, offline: bool) -> None:
        self.offline = offline

    def addresses(self, host: str) -> list[str]:
        if self.offline:
            raise OfflineError(f"is_external_url: {host} is not looked up off line")
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as wrong:
            raise NetworkError(f"lookup {host}: {wrong.strerror or wrong}") from None
        return [str(answer[4][0]) for answer in answers]

    def random(self, below: int) -> int:
        return secrets.randbelow(below)


@command.command("query")
@click.argument("expressions", nargs=-1)
@click.option("-i", "--input", "data", type=_FILES, metavar="FILE",
              help="JSON or YAML to evaluate on. Without it, or for -, stdin.")
@click.option("-q", "--query", "files", type=_FILES, multiple=True, metavar="FILE",
              help="An expression in a file; repeatable.")
@click.option("-c", "--compact", is_flag=True, help="JSON on one line.")
@click.option("-u", "--unquoted", is_flag=True, help="A text without quotes.")
def _query(expressions: tuple[str, ...], data: Path | None, files: tuple[Path, ...], compact: bool,
           unquoted: bool) -> None:
    """Evaluate expressions on a document. What is not given as argument or file is read from stdin."""
    from policylang import jmespath
    from policylang.budget import GENEROUS
    from policylang.go.printing import indented, marshal
    from policylang.source import SourceError

    unnamed = not expressions and not files
    if unnamed and data is None:
        raise UsageError("at least one query or input object is required")
    if [str(file) for file in files].count("-") + (data is None or str(data) == "-") + unnamed > 1:
        raise UsageError("got stdin for the input and for an expression, expected it to be one of them")
    queries = [*expressions, *map(_read, files)]
    document = _document(_read(data)) if data is not None else None
    if not queries:
        queries = [_stdin("a jmespath expression")]
    if data is None:
        document = _document(_stdin("input object"))
    env = jmespath.Env(system_clock(), limits=GENEROUS, world=_World(settings().offline))
    for query in queries:
        try:
            program = jmespath.compile(query)
        except SourceError as wrong:
            shown = query if len(query) <= 200 else f"{query[:200]}…"
            raise UsageError(f"failed to compile JMESPath: {shown}, error: {wrong.reason}\n{_pointed(wrong)}") from None
        try:
            value = program(document, env)
        except jmespath.QueryError as wrong:
            raise jmespath.QueryError(f"error evaluating JMESPath expression: {wrong.message}") from None
        try:
            shown = value if unquoted and isinstance(value, str) else marshal(value) if compact else indented(value)
        except ValueError as wrong:
            raise jmespath.QueryError(f"error marshalling result to JSON: {wrong}") from None
        click.echo(f"# {query}\n{shown}")


@command.command("parse")
@click.argument("expressions", nargs=-1)
@click.option("-f", "--file", "files", type=_FILES, multiple=True, metavar="FILE",
              help="An expression in a file; repeatable.")
def _parse(expressions: tuple[str, ...], files: tuple[Path, ...]) -> None:
    """Show the syntax tree of expressions. Without any, of the one on stdin."""
    from policylang import jmespath
    from policylang.source import SourceError

    for expression in [*expressions, *map(_read, files)] or [_stdin("a jmespath expression")]:
        try:
            tree = jmespath.parse(expression)
        except SourceError as wrong:
            raise UsageError(f"{wrong.reason}\n{_pointed(wrong)}") from None
        click.echo(f"# {expression}\n{jmespath.show(tree)}")


@command.command("function")
@click.argument("names", nargs=-1)
def _function(names: tuple[str, ...]) -> None:
    """List functions: those that are Kyverno's own, or those that are named."""
    from policylang.jmespath import FUNCTIONS, KYVERNO

    unknown = [name for name in names if all(function.name != name for function in FUNCTIONS.values())]
    if unknown:
        raise UsageError(f"got {', '.join(unknown)}, expected names of functions", hint="custody policy jp function")
    for function in sorted((FUNCTIONS if names else KYVERNO).values(), key=lambda function: function.signature):
        if not names or function.name in names:
            click.echo(f"Name: {function.name}\n  Signature: {function.signature}")
            click.echo(f"  Note:      {function.note}\n" if function.note else "")


def _read(file: Path) -> str:
    try:
        return _text(sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes(), f"file {file}")
    except OSError as wrong:
        raise UsageError(f"failed open file {file}: {(wrong.strerror or str(wrong)).lower()}") from None


def _stdin(expected: str) -> str:
    if sys.stdin.isatty():
        click.echo(f"Reading from terminal input.\nEnter {expected} and hit Ctrl+D.", err=True)
    return _text(sys.stdin.buffer.read(), "stdin")


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as wrong:
        raise UsageError(f"failed to read {name}: byte 0x{data[wrong.start]:02x} is not UTF-8") from None


def _document(text: str) -> Any:
    from policylang.go.jsontext import JSONError, decode
    from policylang.go.yamltext import YAMLError, decode_yaml
    try:
        return decode(text) if text.lstrip()[:1] in ("{", "[") else decode_yaml(text)
    except JSONError:
        pass
    except YAMLError as wrong:
        raise UsageError(f"error parsing input json: {wrong}") from None
    try:
        return decode_yaml(text)  # `{a: 1}` is YAML
    except YAMLError as wrong:
        raise UsageError(f"error parsing input json: {wrong}") from None


def _pointed(wrong: Any) -> str:
    """The expression's line, or what is around the place in a long one, and a caret below where it is wrong."""
    start = max(0, wrong.column - 80)
    return f"{wrong.source.line(wrong.line)[start:start + 120]}\n{' ' * (wrong.column - 1 - start)}^"
