"""What every index of a log's leaves must do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from custody.adapters.sqlite.leaves import SqliteLeaves
from custody.ports.tiles import LeafIndex

LEAVES = [bytes([number] * 32) for number in range(5)]


@pytest.fixture(params=[SqliteLeaves], ids=["sqlite"])
def leaves(request: pytest.FixtureRequest, tmp_path: Path) -> LeafIndex:
    make: Callable[[Path], LeafIndex] = request.param
    return make(tmp_path / "leaves.db")


def test_leaves_are_found_by_their_hash_and_the_first_of_equals_counts(leaves: LeafIndex) -> None:
    assert (leaves.size(), leaves.find(LEAVES[0])) == (0, None)
    leaves.add(0, LEAVES[:3])
    leaves.add(3, [LEAVES[1], LEAVES[4]])
    assert (leaves.size(), [leaves.find(leaf) for leaf in LEAVES]) == (5, [0, 1, 2, None, 4])
    leaves.clear()
    assert (leaves.size(), leaves.find(LEAVES[0])) == (0, None)
    leaves.close()
