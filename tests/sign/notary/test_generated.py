"""A few of the policies and chains that `tests.fuzz.notation_policies` and `notation_chains` make thousands of."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import peer
from tests.fuzz import notation_chains, notation_policies
from tests.sign.notary.materials import directory_in, environment


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer("notation")
    monkeypatch.chdir(tmp_path)
    for name, value in environment(directory_in(tmp_path / "notation")).items():
        if name.startswith("NOTATION_"):
            monkeypatch.setenv(name, value)


def test_policies(tmp_path: Path) -> None:
    directory, tally = directory_in(tmp_path / "notation"), Counter[str]()
    images = notation_policies.world(tmp_path, directory)
    differences = [line for number in range(70_000, 70_025) for line in notation_policies.compared(
        json.dumps(notation_policies.Author(number).document()), tmp_path, directory, images, tally)]
    assert differences == []
    assert tally["taken by both"] > 5
    assert tally["refused by both"] > 5


def test_chains(tmp_path: Path) -> None:
    told = [notation_chains.compared(number, tmp_path / str(number)) for number in range(80_000, 80_025)]
    assert [line for verdict, line in told if verdict == "differ"] == []
    assert {"taken by both", "refused by both"} <= {verdict for verdict, _ in told}
