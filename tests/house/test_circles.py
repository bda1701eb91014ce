"""Imports between modules run one way, also inside functions and under TYPE_CHECKING, where no circle ever fails."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT


def modules(package: str) -> dict[str, Path]:
    source = ROOT / "src"
    return {".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
            for path in sorted((source / package).rglob("*.py"))}


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that this one names in any import statement."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    named: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(filter(None, [*package.split(".")[:len(package.split(".")) - node.level + 1], base]))
            # `from package import module` names the module, not what its package has beside it.
            named |= {full if (full := f"{base}.{alias.name}") in known else base for alias in node.names}
    return {module for module in named if module in known and module != name}


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected modules, two or more together (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for target in sorted(edges[module]):
            if target not in order:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], order[target])
        if low[module] == order[module]:
            circle = [stack.pop()]
            while circle[-1] != module:
                circle.append(stack.pop())
            if len(circle) > 1:
                found.append(sorted(circle))

    for module in edges:
        if module not in order:
            visit(module)
    return found


@pytest.mark.parametrize("package", ["custody", "policylang"])
def test_no_modules_import_each_other(package: str) -> None:
    known = modules(package)
    assert len(known) > 50
    assert circles({name: imports(name, path, known) for name, path in known.items()}) == []


def test_a_circle_is_seen_wherever_its_imports_are(tmp_path: Path) -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import b"
    sources = {"x": "from x import a", "x.a": typed, "x.b": "def f():\n    import x.c", "x.c": "from x.a import name",
               "x.d": "from x import a"}
    known = {name: tmp_path / ("__init__.py" if name == "x" else f"{name}.py") for name in sources}
    for name, text in sources.items():
        known[name].write_text(text)
    assert circles({name: imports(name, path, known) for name, path in known.items()}) == [["x.a", "x.b", "x.c"]]
