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


@pytest.fixture(params=["directory", "memory"])
def tiles(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TileStore]:
    if request.param == "memory":
        yield MemoryTiles()
        return
    held = DirectoryCheckpoint(tmp_path)
    store = DirectoryTiles(held)
    yield store
    store.close()
    held.close()


@pytest.fixture(params=[DirectoryCheckpoint, lambda _: MemoryCheckpoints()], ids=["directory", "memory"])
def checkpoints(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CheckpointStore]:
    make: Callable[[Path], CheckpointStore] = request.param
    store = make(tmp_path)
    yield store
    store.close()


def test_files_are_read_as_they_were_staged_once_they_are_in_their_places(tiles: TileStore) -> None:
    assert tiles.read("tile/0/000") is None
    tiles.stage(A, {"tile/0/000.p/3": b"abc", "tile/0/x001/067": b"", "tile/entries/000": bytes(70_000)})
    tiles.place(A)
    assert [tiles.read(path) for path in ("tile/0/000.p/3", "tile/0/x001/067", "tile/entries/000", "tile/0/001")] == [
        b"abc", b"", bytes(70_000), None]
    tiles.stage(B, {"tile/0/000.p/3": b"xyz"})
    tiles.place(B)
    tiles.place(B)
    assert tiles.read("tile/0/000.p/3") == b"xyz"


def test_what_was_never_staged_changes_nothing(tiles: TileStore) -> None:
    tiles.stage(A, {"tile/0/000.p/3": b"abc"})
    tiles.place(A)
    tiles.place(B)
    assert tiles.read("tile/0/000.p/3") == b"abc"


def test_the_last_checkpoint_that_was_published_is_read(tiles: TileStore) -> None:
    assert tiles.read("checkpoint") is None
    for note in (b"one", b"two, longer", b"3"):
        tiles.publish(note)
        assert tiles.read("checkpoint") == note


def test_a_folder_of_tiles_is_none(tiles: TileStore) -> None:
    tiles.stage(A, {"tile/0/000.p/3": b"abc"})
    tiles.place(A)
    assert tiles.read("tile/0/000.p") is None


def test_partial_tiles_go_and_no_others(tiles: TileStore) -> None:
    tiles.stage(A, {"tile/0/000.p/1": b"a", "tile/0/000.p/2": b"b", "tile/0/000": b"full", "tile/0/001.p/1": b"c"})
    tiles.place(A)
    tiles.discard("tile/0/000.p")
    tiles.discard("tile/0/007.p")
    assert [tiles.read(f"tile/0/{name}") for name in ("000.p/1", "000.p/2", "000", "001.p/1")] == [
        None, None, b"full", b"c"]
    tiles.stage(B, {"tile/0/000.p/1": b"a"})
    tiles.place(B)
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
