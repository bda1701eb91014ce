"""Local names say what they hold: a signer, a wheel, a token. Words that would fit anything stand nowhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

ANYTHING = frozenset({"found", "each", "one", "thing", "things", "what", "wanted", "other", "others", "obj", "tmp"})
ROOMS = ("adapters", "admission", "build", "cli", "demo", "ecosystems.py", "errors.py", "evidence", "formats", "kit",
         "ports", "registry", "server", "services", "settings", "sign", "source", "trust", "versions", "wiring")
"""Of src/custody, those that are through with it."""


COMPARISONS = frozenset({"__eq__", "__lt__", "__le__", "__gt__", "__ge__"})
"""Python's own name for what these compare with is `other`."""


def bound(path: Path) -> Iterator[str]:
    """`line: name` of variables and parameters."""
    tree = ast.parse(path.read_text())
    operands = {argument for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in COMPARISONS
                for argument in node.args.args}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield f"{node.lineno}: {node.id}"
        elif isinstance(node, ast.arg) and node not in operands:
            yield f"{node.lineno}: {node.arg}"


@pytest.mark.parametrize("room", [*(f"custody/{room}" for room in ROOMS), "policylang"])
def test_no_name_fits_anything(room: str) -> None:
    place = ROOT / "src" / room
    paths = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    assert paths
    assert [f"{path.name}:{name}" for path in paths for name in bound(path)
            if name.partition(": ")[2] in ANYTHING] == []
