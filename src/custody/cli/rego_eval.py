"""`custody rego eval`: the solutions of a query."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from custody.cli.rego_files import V0, load, read, refused
from custody.errors import UsageError, of_language

if TYPE_CHECKING:
    from policylang.rego import Query, Result
    from policylang.rego.declare import Context

Place = tuple[str, int, int]  # the text of one of the query's expressions, its row and column
_FORMATS = ["json", "values", "bindings", "raw", "pretty", "discard"]


@click.command("eval")
@click.argument("query", required=False)
@click.option("-d", "--data", "paths", multiple=True, metavar="PATH", help="Modules and data: files and folders.")
@click.option("-i", "--input", "given", metavar="FILE", help="The input document, JSON or YAML; - for stdin.",
              type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("-I", "--stdin-input", is_flag=True, help="Read the input document from stdin.")
@click.option("--stdin", "stdin_query", is_flag=True, help="Read the query from stdin.")
@click.option("-f", "--format", "output", type=click.Choice(_FORMATS), default="json", show_default=True,
              help="What stdout gets.")
@click.option("--package", metavar="NAME", help="The package whose rules the query may name.")
@click.option("--fail", is_flag=True, help="Exit 3 where there is no result.")
@click.option("--fail-defined", is_flag=True, help="Exit 3 where there is a result.")
@click.option("-S", "--strict", is_flag=True, help="Also: no unused variables and imports, no shadowing.")
@click.option("--strict-builtin-errors", is_flag=True, help="The first error of a builtin ends the evaluation.")
@click.option("--explain", type=click.Choice(["off", "notes", "fails", "full"]), default="off", show_default=True,
              help="Say on stderr which expressions were evaluated.")
@click.option("--coverage", is_flag=True, help="Also which lines were evaluated.")
@V0
def command(query: str | None, paths: tuple[str, ...], given: Path | None, stdin_input: bool, stdin_query: bool,
            output: str, package: str | None, fail: bool, fail_defined: bool, strict: bool,
            strict_builtin_errors: bool, explain: str, coverage: bool, v0_compatible: bool) -> int:
    """Print the solutions of QUERY, such as `data.main.deny[x]`."""
    from custody.wiring.local import rego_world
    from policylang.budget import GENEROUS, Meter
    from policylang.rego import UNDEFINED, EvaluationError, Policy, SourceError
    from policylang.rego.declare import Context
    from policylang.rego.run.coverage import Coverage

    if stdin_query == (query is not None):
        raise UsageError("expected a QUERY, or --stdin")
    if given is not None and str(given) == "-":
        given, stdin_input = None, True
    if stdin_input and (given or stdin_query):
        raise UsageError("--stdin-input: stdin or another source of it, not both")
    loaded = load(paths)
    document = read(given) if given or stdin_input else UNDEFINED
    try:
        policy = Policy(loaded.modules, version=0 if v0_compatible else 1, strict=strict)
        policy.check_data(loaded.data)
        text = query if query is not None else sys.stdin.read()
        prepared = policy.query(text, name="query", package=package.removeprefix("data.") if package else None,
                             traced=explain in ("fails", "full") or coverage)
        places = _expressions(text, policy.version)
        if not places:
            raise UsageError("the query is empty, expected such as data.main.deny")
    except SourceError as wrong:
        return refused(wrong, output)
    context = Context(Meter(GENEROUS), rego_world())
    try:
        results = prepared(loaded.data, document, strict=strict_builtin_errors, context=context)
    except EvaluationError as wrong:
        if output != "json":
            raise
        place = re.match(rf"(.+):([0-9]+): {wrong.kind}: ", wrong.message)
        where = {"location": {"file": place[1], "row": int(place[2])}} if place else {}
        click.echo(json.dumps({"errors": [{"message": wrong.reason, "code": wrong.kind} | where]}, indent=2,
                              ensure_ascii=False))
        return of_language(wrong).exit_code
    finally:
        for line in context.printed:
            click.echo(line, err=True)
        for line in _steps(prepared, context, explain):
            click.echo(line, err=True)
    lines = None
    if coverage:
        covered = Coverage(policy)
        covered.add(prepared.places, context.steps)
        lines = covered.report()
    _print(results, places, output, lines)
    return 3 if (fail and not results) or (fail_defined and results) else 0


def _steps(query: Query, context: Context, explain: str) -> Iterator[str]:
    """An expression a line. `Fail`: it did not hold before it, or what is around it, was evaluated again."""
    if explain not in ("fails", "full"):
        return
    from policylang.rego import text
    pending: dict[int, str] = {}
    for place, done, bindings in context.steps:
        source, at, end = query.places[place]
        where = f"{source.name}:{source.place(at)[0]}"
        written = " ".join(source.text[at:end].split())
        if not done:
            if place in pending:
                yield f"{pending[place]}"
            pending[place] = f"{where:<20} Fail {written}"
            if explain == "full":
                yield f"{where:<20} Eval {written}"
        else:
            pending.pop(place, None)
            if explain == "full":
                shown = ", ".join(f"{name} = {text(value)}" for name, value in bindings.items())
                yield f"{where:<20} Exit {written}" + (f"  {{{shown}}}" if shown else "")
    yield from pending.values()


def _print(results: list[Result], places: list[Place], output: str, lines: dict[str, Any] | None) -> None:
    from policylang.rego import to_json
    from policylang.rego.values import compact
    rows = [([to_json(value) for value in result.expressions],
             {name: to_json(value) for name, value in sorted(result.bindings.items())}) for result in results]
    match output:
        case "json":
            shown: dict[str, Any] = {}
            if rows:
                shown["result"] = [_row(values, bindings, places) for values, bindings in rows]
            if lines is not None:
                shown["coverage"] = lines
            click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        case "values":
            for values, _ in rows:
                click.echo(json.dumps(values, indent=2, ensure_ascii=False))
        case "bindings":
            for _, bindings in rows:
                click.echo(json.dumps(bindings, indent=2, ensure_ascii=False))
        case "raw":
            for values, _ in rows:
                click.echo(" ".join(value if isinstance(value, str) else compact(value) for value in values))
        case "pretty":
            _pretty(rows, [place[0] for place in places])
    if lines is not None and output != "json":
        click.echo(json.dumps(lines, indent=2), err=output != "pretty")


def _expressions(query: str, version: int) -> list[Place]:
    from policylang.rego import parse_query
    from policylang.source import Source
    source = Source(query)
    return [(query[expr.at:expr.end], *source.place(expr.at)) for expr in parse_query(source, version)]


def _row(values: list[Any], bindings: dict[str, Any], places: list[Place]) -> dict[str, Any]:
    made: dict[str, Any] = {"expressions": [
        {"value": value, "text": text, "location": {"row": row, "col": column}}
        for value, (text, row, column) in zip(values, places, strict=True)]}
    return made | ({"bindings": bindings} if bindings else {})


def _pretty(rows: list[tuple[list[Any], dict[str, Any]]], texts: list[str]) -> None:
    """One value as it is, several as a table, as `opa eval -f pretty`."""
    from policylang.rego.values import compact
    if not rows:
        click.echo("undefined")
        return
    if len(rows) == 1 and len(texts) == 1 and not rows[0][1]:
        click.echo(json.dumps(rows[0][0][0], indent=2, ensure_ascii=False))
        return
    keep = [at for at in range(len(texts)) if any(values[at] is not True for values, _ in rows)]
    names = [*(texts[at] for at in keep), *sorted(rows[0][1])]
    table = [[*(compact(values[at]) for at in keep), *(compact(bindings[name]) for name in sorted(bindings))]
             for values, bindings in rows]
    widths = [min(80, max(len(cell) for cell in column)) for column in zip(names, *table, strict=True)]

    def border(left: str, middle: str, right: str) -> str:
        return left + middle.join("─" * (width + 2) for width in widths) + right

    def cut(text: str, width: int) -> str:
        return text if len(text) <= width else text[:width - 3] + "..."
    click.echo(border("┌", "┬", "┐"))
    click.echo("│" + "│".join(f" {cut(name, width):^{width}} "
                              for name, width in zip(names, widths, strict=True)) + "│")
    click.echo(border("├", "┼", "┤"))
    for row in table:
        click.echo("│" + "│".join(f" {cut(cell, width):<{width}} "
                                  for cell, width in zip(row, widths, strict=True)) + "│")
    click.echo(border("└", "┴", "┘"))
