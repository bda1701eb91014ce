"""The log: tiles and proofs against the plain Merkle tree, one sequencer, and what survives a crash."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from custody.adapters.filesystem.tiles import DirectoryCheckpoint, DirectoryReader, DirectoryTiles
from custody.adapters.sqlite.leaves import SqliteLeaves
from custody.errors import MalformedError, UsageError, VerificationError
from custody.kit import merkle
from custody.trust.audit import verify_log
from custody.trust.checkpoint import LogSigner
from custody.trust.log import BusyError, DuplicateError, LogStoppedError, MerkleLog, Sequencer
from custody.trust.tiles import encode_entries, parse_entries, tile_path
from tests.ports.faults import Fault
from tests.ports.logs import MemoryCheckpoints, MemoryTiles

SIGNER = LogSigner("log.example", ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))


class MemoryLog(MemoryTiles, MemoryCheckpoints):
    """Both stores of a log in one, where the truth is what is public."""

    def __init__(self) -> None:
        MemoryTiles.__init__(self)
        MemoryCheckpoints.__init__(self, self.faults)

    def read(self, path: str) -> bytes | None:
        return self.truth if path == "checkpoint" else super().read(path)


def opened(store: MemoryLog, signer: LogSigner = SIGNER, leaves: SqliteLeaves | None = None) -> MerkleLog:
    return MerkleLog(store, store, signer, leaves)


@pytest.mark.parametrize(("index", "width", "path"), [
    (0, 256, "tile/0/000"), (5, 3, "tile/0/005.p/3"), (1234067, 256, "tile/0/x001/x234/067"),
    (1000, 1, "tile/0/x001/000.p/1")])
def test_tile_paths_are_those_of_tlog_tiles(index: int, width: int, path: str) -> None:
    assert tile_path(0, index, width) == path


@given(st.lists(st.binary(max_size=40), max_size=256))
def test_entry_bundles_round_trip(entries: list[bytes]) -> None:
    assert parse_entries(encode_entries(entries)) == entries


@given(st.binary(max_size=200))
def test_random_bytes_are_entries_or_refused(data: bytes) -> None:
    try:
        assert encode_entries(parse_entries(data)) == data
    except MalformedError as error:
        message = error.message
    else:
        message = "entry bundle"
    assert message.startswith("entry bundle")


@given(st.lists(st.integers(1, 700), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_roots_and_proofs_are_the_plain_tree_s(batches: list[int], rng: random.Random) -> None:
    log = opened(MemoryLog())
    leaves: list[bytes] = []
    for batch in batches:
        entries = [f"{len(leaves) + position}".encode() for position in range(batch)]
        results = log.append(entries)
        leaves += [merkle.leaf_hash(entry) for entry in entries]
        assert results[-1].root == merkle.root_hash(leaves)
        one = rng.choice(results)
        assert list(one.proof) == merkle.inclusion_proof(leaves, one.index)
    assert verify_log(log._store, SIGNER.verifier).size == len(leaves)


def test_partial_tiles_give_way_to_the_full_one(tmp_path: Path) -> None:
    checkpoints = DirectoryCheckpoint(tmp_path)
    store = DirectoryTiles(checkpoints)
    log = MerkleLog(store, checkpoints, SIGNER)
    log.append([b"first"])
    old = store.read("checkpoint")
    assert (tmp_path / "tile/0/000.p/1").is_file()
    log.append([f"{number}".encode() for number in range(300)])
    assert (tmp_path / "tile/0/000").is_file()
    assert not (tmp_path / "tile/0/000.p").exists()
    assert verify_log(DirectoryReader(tmp_path), SIGNER.verifier, old=old).old_size == 1
    store.close()
    checkpoints.close()


def test_paths_outside_the_log_are_refused(tmp_path: Path) -> None:
    reader = DirectoryReader(tmp_path)
    for path in ("../secret", "state/lock", "tile/0/../../state/lock", "/etc/passwd", "tile/0/0000", ""):
        with pytest.raises(UsageError, match="expected checkpoint or tile"):
            reader.read(path)


def test_a_swapped_checkpoint_stops_the_log() -> None:
    store = MemoryLog()
    log = opened(store)
    log.append([b"one"])
    opened(store).append([b"two"])  # a second sequencer, which the lock of a real store prevents
    with pytest.raises(LogStoppedError, match="the stored checkpoint is not the one"):
        log.append([b"three"])
    with pytest.raises(LogStoppedError, match="has stopped"):
        log.append([b"four"])
    assert opened(store).size == 2


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER, Fault.HALF])
@pytest.mark.parametrize("fail_in", range(6))
def test_a_write_that_fails_anywhere_loses_nothing_acknowledged(fail_in: int, fault: Fault) -> None:
    store = MemoryLog()
    log = opened(store)
    log.append([f"{number}".encode() for number in range(255)])
    before, start = store.truth, store.faults.count
    store.faults.plan = lambda number, _name: fault if number >= start + fail_in else None
    with pytest.raises(LogStoppedError, match=r"No space left|Input/output error"):
        log.append([b"a", b"b"])
    assert store.faults.met[0][0] == ("stage", "swap", "place", "publish", "discard", "discard")[fail_in]
    store.faults.none()
    again = opened(store)
    assert again.size == (257 if fail_in > 1 or (fail_in, fault) == (1, Fault.AFTER) else 255)
    again.append([b"c"])
    assert verify_log(store, SIGNER.verifier, old=before).size == again.size


def test_an_entry_that_is_too_long_is_refused_and_the_log_goes_on() -> None:
    log = opened(MemoryLog())
    for entry in (b"", b"x" * 65_536):
        with pytest.raises(MalformedError, match="expected 1 to 65535 bytes"):
            log.append([b"fine", entry])
    assert log.append([b"x" * 65_535])[0].index == 0


def test_a_changed_tile_or_another_key_keeps_the_log_closed() -> None:
    store = MemoryLog()
    opened(store).append([b"one", b"two"])
    with pytest.raises(VerificationError, match=r"no signature of log\.example with key hash"):
        opened(store, LogSigner("log.example", ed25519.Ed25519PrivateKey.generate()))
    with pytest.raises(VerificationError, match=r"it was begun as 'log\.example', and would go on") as caught:
        opened(store, LogSigner("other.example", SIGNER.key))
    assert "`urls` in custody.toml" in (caught.value.hint or "")
    store.set_aside.clear()  # with it the tiles would be whole again
    good = dict(store.files)
    store.files["tile/0/000.p/2"] = bytes(64)
    with pytest.raises(VerificationError, match="the tiles of 2 entries give root"):
        opened(store)
    store.files = good | {"tile/entries/000.p/2": encode_entries([b"one", b"zwei"])}
    with pytest.raises(VerificationError, match="entry 1 is not the one in its tile"):
        opened(store)
    store.files = {"tile/0/000.p/2": good["tile/0/000.p/2"]}
    with pytest.raises(VerificationError, match=r"tile/entries/000\.p/2 is missing"):
        opened(store)


def test_writers_that_arrive_together_share_one_checkpoint() -> None:
    sequencer = Sequencer(opened(MemoryLog()))

    async def write() -> list[int]:
        results = await asyncio.gather(*(sequencer.add(f"{number}".encode()) for number in range(50)))
        return [result.size for result in results]

    assert asyncio.run(write()) == [50] * 50


def test_duplicates_are_named_by_index_after_a_restart_too(tmp_path: Path) -> None:
    leaves = SqliteLeaves(tmp_path / "leaves.db")
    store = MemoryLog()

    async def add(sequencer: Sequencer, *entries: bytes) -> list[object]:
        return await asyncio.gather(*(sequencer.add(entry) for entry in entries), return_exceptions=True)

    _first, twin, other = asyncio.run(add(Sequencer(opened(store, leaves=leaves)), b"one", b"one", b"two"))
    assert isinstance(twin, DuplicateError)
    assert (twin.index, other.index) == (0, 1)  # type: ignore[attr-defined]
    leaves.close()
    for path in (tmp_path / "leaves.db", tmp_path / "lost.db"):  # the index, and a new one that must catch up
        leaves = SqliteLeaves(path)
        [again] = asyncio.run(add(Sequencer(opened(store, leaves=leaves)), b"two"))
        assert isinstance(again, DuplicateError)
        assert again.index == 1
        assert "already exists in the transparency log with index 1" in again.message
        leaves.close()


def test_an_index_that_is_ahead_of_its_log_is_made_anew(tmp_path: Path) -> None:
    leaves = SqliteLeaves(tmp_path / "leaves.db")
    leaves.add(0, [bytes(32), bytes([1] * 32)])
    opened(MemoryLog(), leaves=leaves)
    assert (leaves.size(), leaves.find(bytes(32))) == (0, None)
    leaves.close()


def test_a_full_waiting_room_is_said_so() -> None:
    sequencer = Sequencer(opened(MemoryLog()), max_waiting=2)

    async def write() -> list[object]:
        return await asyncio.gather(*(sequencer.add(f"{n}".encode()) for n in range(5)), return_exceptions=True)

    outcomes = asyncio.run(write())
    assert sum(isinstance(outcome, BusyError) for outcome in outcomes) == 3


def test_an_index_that_breaks_leaves_nobody_waiting(tmp_path: Path) -> None:
    leaves = SqliteLeaves(tmp_path / "leaves.db")
    sequencer = Sequencer(opened(MemoryLog(), leaves=leaves))
    leaves.close()
    with pytest.raises(LogStoppedError, match="the log has stopped: Cannot operate on a closed database"):
        asyncio.run(sequencer.add(b"one"))


_WRITER = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric import ed25519
from custody.adapters.filesystem.tiles import DirectoryCheckpoint, DirectoryTiles
from custody.adapters.sqlite.leaves import SqliteLeaves
from custody.trust.checkpoint import LogSigner
from custody.trust.log import MerkleLog
folder = Path(sys.argv[1])
signer = LogSigner("log.example", ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))
checkpoints = DirectoryCheckpoint(folder)
log = MerkleLog(DirectoryTiles(checkpoints), checkpoints, signer, SqliteLeaves(folder / "state" / "leaves.db"))
number = 0
while True:
    batch = [f"{sys.argv[2]} {number + offset}".encode() for offset in range(1 + number % 40)]
    number += len(batch)
    for entry, logged in zip(batch, log.append(batch)):
        print(logged.index, entry.decode(), flush=False)
    print("note", logged.checkpoint.hex(), flush=True)
"""


def test_kill_9_at_any_moment_loses_nothing_acknowledged_and_never_forks(tmp_path: Path) -> None:
    rng = random.Random(9)
    held: dict[int, bytes] = {}
    old: bytes | None = None
    for round_ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), str(round_)], stdout=subprocess.PIPE,
                                  text=True)
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(1 + 12 * round_)]  # it is up, on a slow machine too
        time.sleep(rng.uniform(0, 0.15))
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.read().splitlines()
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
        fresh: dict[int, bytes] = {}
        for line in lines:
            first, _, rest = line.strip().partition(" ")
            if first == "note":
                try:
                    note = bytes.fromhex(rest)
                    SIGNER.verifier.verify(note)
                except (ValueError, MalformedError):
                    break  # the line that the kill cut
                held |= fresh
                old, fresh = note, {}
            elif first.isdigit():
                fresh[int(first)] = rest.encode()
        report = verify_log(DirectoryReader(tmp_path), SIGNER.verifier, old=old, held=held)
        assert report.size >= len(held)
    assert len(held) > 100
