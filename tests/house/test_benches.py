"""Benchmarks go on fitting the house: each name that they take from it is there. They are run by hand, and rarely."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

BENCHES = sorted((ROOT / "bench").rglob("*.py"))


def taken(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in (
                "custody", "policylang", "tests", "bench"):
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", BENCHES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_benchmark_takes_is_there(path: Path) -> None:
    missing = []
    for module, name in taken(path):
        try:
            if not hasattr(importlib.import_module(module), name):
                importlib.import_module(f"{module}.{name}")
        except ImportError as error:
            missing.append(str(error))
    assert missing == []


def test_some_take_something() -> None:
    assert sum(len(list(taken(path))) for path in BENCHES) > 50
