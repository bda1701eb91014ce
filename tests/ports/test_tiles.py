"""What every store of a log's files, and of its checkpoint, must do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from custody.adapters.filesystem.tiles import DirectoryCheckpoint, DirectoryTiles
from custody.errors import ConflictError
from custody.ports.tiles import CheckpointStore, TileStore
from tests.ports.logs import MemoryCheckpoints, MemoryTiles

A, B = f"1-{'a' * 64}", f"20-{'b' * 64}"


@pytest.fixture(params=[DirectoryTiles, lambda _: MemoryTiles()], ids=["directory", "memory"])
def tiles(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TileStore]:
    make: Callable[[Path], TileStore] = request.param
    store = make(tmp_path)
    yield store
    store.close()


@pytest.fixture(params=[DirectoryCheckpoint, lambda _: MemoryCheckpoints()], ids=["directory", "memory"])
def checkpoints(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CheckpointStore]:
    make: Callable[[Path], CheckpointStore] = request.param
    store = make(tmp_path)
    yield store
    store.close()


def test_files_are_read_as_they_were_written(tiles: TileStore) -> None:
    assert tiles.read("tile/0/000") is None
    tiles.write({"tile/0/000.p/3": b"abc", "tile/0/x001/067": b"", "tile/entries/000": bytes(70_000)})
    assert [tiles.read(path) for path in ("tile/0/000.p/3", "tile/0/x001/067", "tile/entries/000", "tile/0/001")] == [
        b"abc", b"", bytes(70_000), None]
    tiles.write({"tile/0/000.p/3": b"xyz", "checkpoint": b"note"})
    assert (tiles.read("tile/0/000.p/3"), tiles.read("checkpoint")) == (b"xyz", b"note")


def test_a_folder_of_tiles_is_none(tiles: TileStore) -> None:
    tiles.write({"tile/0/000.p/3": b"abc"})
    assert tiles.read("tile/0/000.p") is None


def test_what_is_staged_is_there_until_its_size_is_passed(tiles: TileStore) -> None:
    assert tiles.staged(A) is None
    tiles.stage(A, b"one")
    tiles.write({"tile/0/000.p/1": b"x"})
    tiles.stage(B, b"two")
    assert (tiles.staged(A), tiles.staged(B), tiles.read("checkpoint")) == (b"one", b"two", None)
    tiles.stage(B, b"again")
    tiles.unstage(19)
    assert (tiles.staged(A), tiles.staged(B)) == (None, b"again")
    tiles.unstage(20)
    assert tiles.staged(B) is None
    assert tiles.read("tile/0/000.p/1") == b"x"


def test_partial_tiles_go_and_no_others(tiles: TileStore) -> None:
    tiles.write({"tile/0/000.p/1": b"a", "tile/0/000.p/2": b"b", "tile/0/000": b"full", "tile/0/001.p/1": b"c"})
    tiles.discard("tile/0/000.p")
    tiles.discard("tile/0/007.p")
    assert [tiles.read(f"tile/0/{name}") for name in ("000.p/1", "000.p/2", "000", "001.p/1")] == [
        None, None, b"full", b"c"]
    tiles.write({"tile/0/000.p/1": b"a"})
    tiles.stage(A, b"")
    assert tiles.read("tile/0/000.p/1") == b"a"


def test_of_two_who_swap_one_does(checkpoints: CheckpointStore) -> None:
    assert checkpoints.load() is None
    with pytest.raises(ConflictError):
        checkpoints.swap(b"one", b"two")
    checkpoints.swap(None, b"one")
    with pytest.raises(ConflictError):
        checkpoints.swap(None, b"other")
    checkpoints.swap(b"one", b"two")
    with pytest.raises(ConflictError):
        checkpoints.swap(b"one", b"other")
    checkpoints.swap(b"two", b"two")
    assert checkpoints.load() == b"two"


def test_another_process_is_told_who_holds_a_directory(tmp_path: Path) -> None:
    held = DirectoryCheckpoint(tmp_path)
    with pytest.raises(ConflictError, match=r"another sequencer has it \(process \d+\)"):
        DirectoryCheckpoint(tmp_path)
    held.close()
    DirectoryCheckpoint(tmp_path).close()
