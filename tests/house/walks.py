"""Reads the walks of docs/architecture.md: functions in the order of their calls, each below the one that calls it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

DOCUMENT = ROOT / "docs" / "architecture.md"
_CHAPTER = "## Four walks\n"
_STEP = re.compile(r"^(?P<indent> *)- `(?P<name>[\w.]+)`", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    """`custody.` is left out in the document: `policy.decide.decide`, `policylang.cel.compile`."""

    name: str
    module: str
    path: Path
    qualified: str
    """In its module: `decide`, `Gatherer.gather`."""
    caller: Step | None


def walks() -> dict[str, list[Step]]:
    """By title. Raises AssertionError for a name that is none."""
    chapter = DOCUMENT.read_text().partition(_CHAPTER)[2].partition("\n## ")[0]
    return {title: list(_steps(text)) for title, _, text in
            (section.partition("\n") for section in re.split(r"^### ", chapter, flags=re.MULTILINE)[1:])}


def _steps(text: str) -> Iterator[Step]:
    callers: list[tuple[int, Step]] = []
    for match in _STEP.finditer(text):
        indent = len(match["indent"])
        while callers and callers[-1][0] >= indent:
            callers.pop()
        step = _step(match["name"], callers[-1][1] if callers else None)
        callers.append((indent, step))
        yield step


def _step(name: str, caller: Step | None) -> Step:
    parts = name.split(".")
    if parts[0] != "policylang":
        parts = ["custody", *parts]
    for end in range(len(parts) - 1, 0, -1):
        for path in (ROOT.joinpath("src", *parts[:end]).with_suffix(".py"),
                     ROOT.joinpath("src", *parts[:end], "__init__.py")):
            if path.is_file():
                return Step(name, ".".join(parts[:end]), path, ".".join(parts[end:]), caller)
    raise AssertionError(f"{name}: there is no such module")


@cache
def definitions(path: Path) -> dict[str, ast.AST]:
    """Functions and classes of a module, those of classes as `Class.method`."""
    result: dict[str, ast.AST] = {}

    def add(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                result[prefix + node.name] = node
                if isinstance(node, ast.ClassDef):
                    add(node.body, f"{prefix}{node.name}.")

    add(ast.parse(path.read_text()).body, "")
    return result


def mentioned(step: Step) -> set[str]:
    """Names that the function uses, or those of its own module that it uses do."""
    known = definitions(step.path)
    by_name: dict[str, list[ast.AST]] = {}
    for qualified, node in known.items():
        by_name.setdefault(qualified.rpartition(".")[2], []).append(node)
    pending, seen, names = [known[step.qualified]], set[int](), set[str]()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        used = {part.id if isinstance(part, ast.Name) else part.attr for part in ast.walk(node)
                if isinstance(part, (ast.Name, ast.Attribute))}
        names |= used
        pending += [own for name in used for own in by_name.get(name, ())]
    return names


def imported(path: Path) -> set[str]:
    """Modules and their members that a module imports, also where it does so in a function."""
    result: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            result |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            result |= {name.name for name in node.names}
    return result
