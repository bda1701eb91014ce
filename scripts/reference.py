"""Writes docs/reference from the code: commands, settings, errors. `--check` only compares."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import click

from custody import errors
from custody.cli.main import help_text
from custody.cli.table import COMMANDS
from custody.settings import Settings
from custody.settings.tables import (
    Advisories,
    Auth,
    AuthIssuer,
    Counting,
    Grant,
    Issuer,
    Rescan,
    Source,
    SourceIdentity,
    Summaries,
)
from custody.sign import steps

FOLDER = Path(__file__).parent.parent / "docs" / "reference"


def commands() -> str:
    parts = ["# Commands\n", "Written from the code by `make docs`.\n", f"```\n{help_text()}\n```\n"]
    for name, (module, _, _) in COMMANDS.items():
        parts += _command(importlib.import_module(module).command, f"custody {name}")
    return "\n".join(parts)


def _command(command: click.Command, path: str) -> list[str]:
    with click.Context(command, info_name=path, terminal_width=100, max_content_width=100) as context:
        parts = [f"## {path}\n", f"```\n{command.get_help(context).rstrip()}\n```\n"]
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                if inner is not None:
                    parts += _command(inner, f"{path} {name}")
    return parts


def settings() -> str:
    parts = ["# Settings\n",
             "Written from the code by `make docs`. Flags count over `CUSTODY_*` variables, those over\n"
             "`custody.toml`, which is `--config FILE`, else `CUSTODY_CONFIG`, else `./custody.toml`.\n"
             "Every key that is no table has a variable: `CUSTODY_` and the key in capitals. What is no\n"
             "setting is refused by name.\n"]
    for struct, title in ((Settings, "custody.toml"), (Issuer, "[[issuers]]"), (Auth, "[auth]"),
                          (AuthIssuer, "[[auth.issuers]]"), (Grant, "[[auth.allow]]"), (Summaries, "[summaries]"),
                          (Advisories, "[advisories]"), (Source, "[source]"),
                          (SourceIdentity, "[[source.identities]]"), (Counting, "[counting]"),
                          (Rescan, "[rescan]")):
        parts += [f"## {title}\n", "| key | type | default | what |", "|---|---|---|---|"]
        parts += [f"| `{name}` | `{kind}` | {default} | {doc} |" for name, kind, default, doc in _fields(struct)]
        parts.append("")
    return "\n".join(parts)


def _fields(struct: type) -> list[tuple[str, str, str, str]]:
    """Name, type, default and the string below each field."""
    tree = ast.parse(inspect.getsource(struct)).body[0]
    assert isinstance(tree, ast.ClassDef)
    rows = []
    for at, node in enumerate(tree.body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            after = tree.body[at + 1] if at + 1 < len(tree.body) else None
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            default = f"`{ast.unparse(node.value)}`" if node.value is not None else "required"
            rows.append((node.target.id, ast.unparse(node.annotation).replace("|", "\\|"), default,
                         " ".join(str(text).split())))
    return rows


def error_codes() -> str:
    parts = ["# Errors\n", "Written from the code by `make docs`.\n", "| error | code | exit | HTTP | when |",
             "|---|---|---|---|---|"]
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and issubclass(kind, errors.CustodyError):
            parts.append(f"| {name} | {kind.code} | {kind.exit_code} | {kind.http_status} | "
                         f"{(kind.__doc__ or '').splitlines()[0]} |")
    return "\n".join(parts) + "\n"


def verification() -> str:
    """The steps of verifiers, how each can come out, and the codes of reasons."""
    parts = ["# Verification\n", "Written from the code by `make docs`. What `--explain -o json` says of a signature:"
             "\n`steps`, in this order, each with a `result`; of one that failed, `code` is `STEP.FAULT`, and\n"
             "`check` the check that it is of.\n"]
    for title, kind in (("step", steps.Step), ("result", steps.StepResult), ("fault", steps.Fault),
                        ("check", errors.Check)):
        parts += [f"| {title} | what |", "|---|---|"]
        parts += [f"| `{value}` | {text} |" for value, text in _members(kind)]
        parts.append("")
    return "\n".join(parts)


def _members(kind: type[enum.StrEnum]) -> Iterator[tuple[str, str]]:
    """Each value, and the string below it; of a result that needs no words, none."""
    tree = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(tree, ast.ClassDef)
    for at, node in enumerate(tree.body):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            after = tree.body[at + 1] if at + 1 < len(tree.body) else None
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            yield str(node.value.value), " ".join(str(text).split())


LANGUAGES = ("cel", "rego", "jmespath", "kpattern", "conditions", "variables", "falco", "budget", "errors", "source",
             "trace")


def languages() -> str:
    """What policylang offers: the names of `__all__`, or, where there is none, those that a module defines."""
    parts = ["# policylang\n", "Written from the code by `make docs`. What it is and how it is used: "
             "[src/policylang/README.md](../../src/policylang/README.md).\n"]
    for name in LANGUAGES:
        module = importlib.import_module(f"policylang.{name}")
        parts += [f"## policylang.{name}\n", f"{_first_line(module)}\n", "| name | what |", "|---|---|"]
        public = getattr(module, "__all__", None) or [
            word for word, value in vars(module).items()
            if not word.startswith("_") and getattr(value, "__module__", "") == module.__name__]
        for word in sorted(public, key=str.lower):
            for shown, value in ((word, getattr(module, word)), *_methods(word, getattr(module, word))):
                parts.append(f"| `{_shown(shown, value)}` | {_described(value)} |")
        parts.append("")
    return "\n".join(parts)


def _methods(name: str, kind: object) -> Iterator[tuple[str, object]]:
    """What an object of a class is asked for, and that it can be called; of methods those that say what they do."""
    if not inspect.isclass(kind) or issubclass(kind, enum.Enum):
        return
    own = {word: base for base in reversed(kind.__mro__) if base.__module__.startswith("policylang")
           for word in vars(base)}
    for word in own:
        method = getattr(kind, word)
        if inspect.isroutine(method) and (word == "__call__" or (not word.startswith("_") and method.__doc__)):
            yield f"{name}.{word}", method


def _shown(name: str, value: object) -> str:
    """A function or class with its parameters, as they are written."""
    if not callable(value) or typing.get_origin(value) is not None or getattr(value, "_is_protocol", False):
        return name
    if value is typing.Any or (inspect.isclass(value) and issubclass(value, enum.Enum)):
        return name
    try:
        signature = inspect.signature(value)
    except ValueError:  # a class that C makes
        return name
    shown: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        shown.append(f"{stars}{parameter.name}: {_annotation(parameter.annotation)}{default}")
    result = _annotation(signature.return_annotation)
    arrow = "" if inspect.isclass(value) or result == "None" else f" -> {result}"
    return f"{name}({', '.join(shown)}){arrow}".replace("|", "\\|")


def _annotation(value: object) -> str:
    if isinstance(value, typing.ForwardRef):
        return value.__forward_arg__
    return value if isinstance(value, str) else getattr(value, "__name__", repr(value))


def _default(value: object) -> str:
    shown = repr(value)
    return "…" if len(shown) > 60 or shown.startswith("<") else shown


def _described(value: object) -> str:
    own = inspect.isclass(value) or inspect.isroutine(value)
    return _first_line(value) if own else f"a constant, {type(value).__name__}" if not callable(value) else ""


def _first_line(value: object) -> str:
    text = inspect.getdoc(value) if getattr(value, "__doc__", None) else ""  # not what `object` says of a method
    lines = (text or "").split("\n\n")[0].splitlines()
    return " ".join(lines).replace("|", "\\|")


def main() -> int:
    pages = {"commands.md": commands(), "settings.md": settings(), "errors.md": error_codes(),
             "policylang.md": languages(), "verification.md": verification()}
    stale = [name for name, text in pages.items()
             if not (FOLDER / name).is_file() or (FOLDER / name).read_text() != text]
    if "--check" in sys.argv:
        print(f"docs/reference: {', '.join(stale) + ' out of date: make docs' if stale else 'up to date'}")
        return bool(stale)
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
