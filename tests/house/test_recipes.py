"""CONTRIBUTING's recipes: that each works as it is written, and touches no file that it does not name."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.house.recipes import Copy, Edit, recipes

RECIPES = recipes()


def test_what_can_be_added() -> None:
    assert set(RECIPES) == {"A cataloger", "An advisory source", "A CEL function", "A Rego builtin", "A policy kind",
                            "A service", "An adapter", "A command"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_works(tmp_path: Path, name: str) -> None:
    recipe = RECIPES[name]
    assert {edit.path for edit in recipe.edits} == set(recipe.paths)
    assert recipe.steps
    with contextlib.closing(Copy(tmp_path)) as copy:
        copy.apply(recipe)
        assert copy.changed() == set(recipe.paths)
        copy.follow(recipe)
        python = " ".join({path for path in recipe.paths if path.endswith(".py")})
        assert copy.type(f"ruff check {python}").strip() == "All checks passed!"


def test_a_recipe_that_is_out_of_date(tmp_path: Path) -> None:
    (tmp_path / "table.py").write_text("A = {\n    1: 2,\n}\n")
    Edit("table.py", " A = {\n+    0: 1,\n     1: 2,\n", is_diff=True).apply(tmp_path)
    assert (tmp_path / "table.py").read_text() == "A = {\n    0: 1,\n    1: 2,\n}\n"
    with pytest.raises(AssertionError, match=r"table.py: these lines are in it 0 times"):
        Edit("table.py", " B = {\n+    0: 1,\n", is_diff=True).apply(tmp_path)
    with pytest.raises(AssertionError, match=r"table.py: is there already"):
        Edit("table.py", "A = {}\n", is_diff=False).apply(tmp_path)
