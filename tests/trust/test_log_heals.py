"""A log whose disk fails: it says so, goes on by itself, and keeps what it acknowledged, without a fork."""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from custody.adapters.filesystem import tiles
from custody.adapters.filesystem.tiles import DirectoryCheckpoint, DirectoryReader, DirectoryTiles
from custody.adapters.sqlite.leaves import SqliteLeaves
from custody.errors import ConflictError
from custody.kit.merkle import leaf_hash, root_hash
from custody.trust.audit import verify_log
from custody.trust.checkpoint import LogSigner
from custody.trust.log import DuplicateError, Logged, LogStoppedError, MerkleLog, Sequencer
from tests.trust.failing import Disk, errors

SIGNER = LogSigner("log.example", ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))
SCHEDULES = 210


class Witness:
    """Everything that anybody was ever told, and whether it still holds together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reader = DirectoryReader(folder)
        self.notes: set[bytes] = set()
        self.held: dict[int, bytes] = {}

    def look(self) -> None:
        """What the public sees now."""
        with (self._folder / "checkpoint").open("rb") as file:  # on a disk that never fails
            self.notes.add(file.read())

    def judge(self) -> int:
        """Every checkpoint that was ever public is a prefix of the log, and all that was acknowledged is in it."""
        self.look()
        report = verify_log(self._reader, SIGNER.verifier, held=self.held)
        entries = [entry for bundle in range(-(-report.size // 256)) for entry in bundle_of(self._reader, bundle,
                                                                                          report.size)]
        leaves = [leaf_hash(entry) for entry in entries]
        assert len(set(entries)) == len(entries), "one entry has two indexes"
        for note in self.notes:
            checkpoint = SIGNER.verifier.verify(note)
            assert checkpoint.root == root_hash(leaves[:checkpoint.size]), f"a fork at {checkpoint.size}"
        return report.size


def bundle_of(reader: DirectoryReader, index: int, size: int) -> list[bytes]:
    from custody.trust.tiles import parse_entries, read_tile

    width = min(256, size - 256 * index)
    return parse_entries(read_tile(reader, "entries", index, width))[:width]


def schedule(number: int, folder: Path) -> tuple[int, int]:
    """One log, batches of entries, a disk that fails by `number`'s plan. Returns failed operations and acknowledged."""
    rng = random.Random(number)
    disk, witness = Disk(folder), Witness(folder)
    disk.rng = rng
    checkpoints = DirectoryCheckpoint(folder)
    store = DirectoryTiles(checkpoints)
    leaves = SqliteLeaves(folder / "state" / "leaves.db")
    log = MerkleLog(store, checkpoints, SIGNER, leaves)
    if rng.random() < 0.25:  # near the end of a tile, where full tiles and upper levels are written
        first = [f"before {n}".encode() for n in range(rng.choice((250, 255, 256)))]
        witness.held = dict(enumerate(first))
        assert [logged.index for logged in log.append(first)] == list(witness.held)
    sequencer = Sequencer(log)
    entry = 0
    with disk.installed():
        for _ in range(4):
            start, length = disk.count + rng.randrange(12), rng.choice((1, 1, 2, 5, 40))
            code = errors(rng)
            disk.fails = lambda at, _name, start=start, length=length, code=code: (  # type: ignore[misc]
                code if start <= at < start + length else None)
            batch = [f"{number} {entry + n}".encode() for n in range(rng.choice((1, 2, 7)))]
            entry += len(batch)
            for _ in range(3):  # a client that sends again what was not acknowledged
                for data in list(batch):
                    sequencer._tried = 0.0  # the back-off is over
                    try:
                        answer = sequencer._commit([data])[data]
                    except LogStoppedError:
                        witness.look()
                        continue
                    assert isinstance(answer, Logged | DuplicateError)
                    index = answer.index
                    assert witness.held.setdefault(index, data) == data, "one index, two entries"
                    batch.remove(data)
                    witness.look()
        disk.fails = lambda _at, _name: None
        sequencer._tried = 0.0
        final = sequencer._commit([b"the disk has room"])[b"the disk has room"]
        assert isinstance(final, Logged), "it did not go on"
        witness.held[final.index] = b"the disk has room"
    assert not list(folder.rglob(".*")), "half a file was left"
    size = witness.judge()
    leaves.close()
    store.close()
    again = DirectoryTiles(checkpoints)
    assert MerkleLog(again, checkpoints, SIGNER).size == size
    again.close()
    checkpoints.close()
    return len(disk.failed), len(witness.held)


def test_failures_at_every_operation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "custody.trust.log")
    totals = [schedule(number, tmp_path / str(number)) for number in range(SCHEDULES)]
    failed, held = map(sum, zip(*totals, strict=True))
    assert failed > SCHEDULES
    assert held > 5 * SCHEDULES


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_each_operation_of_an_append_alone(code: int, tmp_path: Path) -> None:
    """Exactly one operation fails, each in turn: the next writer is served, and the entry has one index."""
    at, failures = 0, -1
    while failures != 0:
        folder = tmp_path / str(at)
        disk, witness = Disk(folder), Witness(folder)
        checkpoints = DirectoryCheckpoint(folder)
        store = DirectoryTiles(checkpoints)
        log = MerkleLog(store, checkpoints, SIGNER)
        log.append([b"%d" % n for n in range(255)])
        witness.look()
        sequencer = Sequencer(log, unique=False)
        disk.fails = lambda number, _name, at=at: code if number == at else None  # type: ignore[misc]
        with disk.installed():
            try:
                sequencer._commit([b"a", b"b"])
            except LogStoppedError as error:
                assert error.message.startswith("the log has stopped: ")  # noqa: PT017 - or it was no failure
                assert sequencer.stopped
            failures = len(disk.failed)
            disk.fails = lambda _number, _name: None
            witness.look()
            sequencer._tried = 0.0
            answer = sequencer._commit([b"c"])[b"c"]
            assert answer.index in (255, 257), failures  # type: ignore[union-attr]
            assert sequencer.stopped is None
        witness.judge()
        store.close()
        checkpoints.close()
        at += 1
    assert at > 15


def test_another_writer_s_checkpoint_keeps_the_log_stopped(tmp_path: Path) -> None:
    checkpoints = DirectoryCheckpoint(tmp_path)
    store = DirectoryTiles(checkpoints)
    sequencer = Sequencer(MerkleLog(store, checkpoints, SIGNER))
    sequencer.log.append([b"one"])
    other = SIGNER.sign(7, bytes(32))
    (tmp_path / "state" / "checkpoint").write_bytes(other)
    for _ in range(2):
        sequencer._tried = 0.0
        with pytest.raises(LogStoppedError, match="the stored checkpoint is not"):
            sequencer._commit([b"two"])
    with pytest.raises(ConflictError, match="not one that this sequencer wrote"):
        sequencer.log.reopen()
    store.close()
    checkpoints.close()


def test_it_goes_on_without_being_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        caplog: pytest.LogCaptureFixture) -> None:
    real = asyncio.sleep
    monkeypatch.setattr("custody.trust.log.asyncio.sleep", lambda _seconds: real(0.01))
    disk = Disk(tmp_path)
    checkpoints = DirectoryCheckpoint(tmp_path)
    store = DirectoryTiles(checkpoints)
    sequencer = Sequencer(MerkleLog(store, checkpoints, SIGNER))

    async def main() -> None:
        disk.fails = lambda _number, name: errno.ENOSPC if name == "write" else None
        with disk.installed():
            with pytest.raises(LogStoppedError, match="No space left on device"):
                await sequencer.add(b"one")
            await real(0.05)
            assert sequencer.stopped == "No space left on device"
            disk.fails = lambda _number, _name: None
            async with asyncio.timeout(20):
                while sequencer.stopped:
                    await real(0.01)
            assert (await sequencer.add(b"one")).index == 0

    asyncio.run(main())
    store.close()
    checkpoints.close()
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [f"the log {SIGNER.name} has stopped: No space left on device",
                        f"the log {SIGNER.name} goes on at 0 entries"]


def test_nothing_is_at_work_any_more_when_a_write_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is written late, after another one failed, would take the place of what the next try wrote."""
    held, failed, replace = DirectoryCheckpoint(tmp_path), threading.Event(), tiles._replace
    store = DirectoryTiles(held)

    def slow(target: Path, data: bytes) -> None:
        if target.name == "000":
            failed.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        failed.wait(30)
        time.sleep(0.2)  # long enough for a caller that does not wait
        replace(target, data)

    monkeypatch.setattr(tiles, "_replace", slow)
    with pytest.raises(OSError, match="No space"):
        store.stage("2-b", {"tile/entries/000": b"x", "tile/entries/001": b"old"})
    monkeypatch.undo()
    store.stage("2-b", {"tile/entries/001": b"new"})
    time.sleep(0.4)
    assert store.read("tile/entries/001") == b"new"
    store.close()
    held.close()
