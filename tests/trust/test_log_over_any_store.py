"""The log over stores that fail in every way: nothing acknowledged is lost, and there is one history."""

from __future__ import annotations

import logging
import random

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from custody.errors import ConflictError
from custody.kit.merkle import leaf_hash, root_hash
from custody.trust.audit import verify_log
from custody.trust.checkpoint import LogSigner
from custody.trust.log import DuplicateError, Logged, LogStoppedError, MerkleLog, Sequencer
from custody.trust.tiles import parse_entries, read_tile
from tests.ports.faults import Fault, Faults
from tests.ports.logs import MemoryCheckpoints, MemoryTiles

SIGNER = LogSigner("log.example", ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))


class Bucket:
    """One log's stores, what anybody was told of it, and what the public ever saw."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.tiles, self.checkpoints = MemoryTiles(self.faults), MemoryCheckpoints(self.faults)
        self.held: dict[int, bytes] = {}
        self.notes: set[bytes] = set()

    def opened(self) -> MerkleLog:
        return MerkleLog(self.tiles, self.checkpoints, SIGNER)

    def send(self, sequencer: Sequencer, entry: bytes) -> bool:
        """Whether it was acknowledged."""
        sequencer._tried = 0.0  # the back-off is over
        try:
            answer = sequencer._commit([entry])[entry]
        except LogStoppedError:
            return False
        finally:
            self.look()
        assert isinstance(answer, Logged | DuplicateError)
        assert self.held.setdefault(answer.index, entry) == entry, "one index, two entries"
        return True

    def look(self) -> None:
        if (note := self.tiles.read("checkpoint")) is not None:
            self.notes.add(note)

    def judge(self) -> int:
        self.look()
        report = verify_log(self.tiles, SIGNER.verifier, held=self.held)
        leaves = [leaf_hash(entry) for bundle in range(-(-report.size // 256)) for entry in parse_entries(
            read_tile(self.tiles, "entries", bundle, min(256, report.size - 256 * bundle)))]
        for note in self.notes:
            checkpoint = SIGNER.verifier.verify(note)
            assert checkpoint.root == root_hash(leaves[:checkpoint.size]), f"a fork at {checkpoint.size}"
        return report.size


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("before", [0, 254, 255])
def test_each_operation_of_an_append_alone(fault: Fault, before: int) -> None:
    for number in range(20):
        bucket = Bucket()
        log = bucket.opened()
        log.append([b"before %d" % entry for entry in range(before)])
        sequencer = Sequencer(log, unique=False)
        bucket.faults.only(number, fault)
        bucket.send(sequencer, b"first")
        if not bucket.faults.met:
            break
        bucket.faults.none()
        assert bucket.send(sequencer, b"second")
        assert bucket.opened().size == bucket.judge()
    assert number == (6 if before == 255 else 4)  # with a full tile its partial ones are discarded


@pytest.mark.parametrize("seed", range(60))
def test_any_faults_and_power_cuts(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "custody.trust.log")
    rng = random.Random(seed)
    bucket = Bucket()
    if seed % 3 == 0:
        bucket.held = dict(enumerate(b"before %d" % number for number in range(rng.choice((250, 255, 256)))))
        bucket.opened().append(list(bucket.held.values()))
    entry = 0
    for _ in range(4):
        sequencer = Sequencer(bucket.opened(), unique=False)
        bucket.faults.some(rng, 0.15)
        for _ in range(12):
            entry += 1
            bucket.send(sequencer, b"%d" % entry)
        bucket.faults.none()
        bucket.tiles.lose_power(rng)
        bucket.tiles.files.pop("checkpoint", None)
    bucket.opened()
    assert bucket.judge() >= len(bucket.held) > 0


@pytest.mark.parametrize("seed", range(30))
def test_two_writers_without_a_lock_make_one_history(seed: int) -> None:
    """As with a bucket: whoever loses the swap stops, and has changed nothing that the other one published."""
    rng = random.Random(seed)
    bucket = Bucket()
    writers = [Sequencer(bucket.opened(), unique=False) for _ in range(2)]
    for number in range(40):
        at = rng.randrange(2)
        if not bucket.send(writers[at], b"%d" % number):
            with pytest.raises(ConflictError, match="not one that this sequencer wrote"):
                writers[at].log.reopen()
            writers[at] = Sequencer(bucket.opened(), unique=False)
        bucket.judge()
    assert len(bucket.held) > 5


def test_a_writer_that_wakes_up_behind_another_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It won the swap, slept, and another one went on from what it had staged."""
    bucket = Bucket()
    asleep = bucket.opened()
    place, late = bucket.tiles.place, []
    monkeypatch.setattr(bucket.tiles, "place", late.append)
    monkeypatch.setattr(bucket.tiles, "publish", lambda _: None)
    asleep.append([b"one"])
    monkeypatch.undo()
    other = Sequencer(bucket.opened(), unique=False)
    assert other.log.size == 1
    for number in range(300):
        assert bucket.send(other, b"%d" % number)
    for name in late:
        place(name)
    assert bucket.judge() == 301
