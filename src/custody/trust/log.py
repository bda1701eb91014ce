"""A transparency log on tiles: entries in, checkpoints and inclusion proofs out.

One `MerkleLog` writes to its store. `append` is the whole protocol, and that of sunlight:
    1. hash the entries into copies of the right-hand edge;
    2. sign the new checkpoint, and stage its files, durable, under a name that its size and root give;
    3. swap the checkpoint in (compare and swap): from here on the entries are logged;
    4. put the files in their places, publish the checkpoint, index the leaves, drop partial tiles that a full one
       replaced;
    5. prove each entry against the new checkpoint.
A crash before 3 leaves what no checkpoint names, and the next start begins from the old checkpoint. A crash after it
loses nothing: what is staged for the stored checkpoint is put in its places whenever the log is opened. A writer that
loses the swap has changed nothing of the other's, whether or not a lock would have kept it away.

An error leaves the outcome unknown, so the log stops, and `reopen` settles it: the stored checkpoint is the old one or
the one that was being swapped in, and that is the truth which is made durable again, with whatever is in the tiles
proved against it. Anything else there is another writer's, and the log stays stopped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from custody.errors import ConflictError, CustodyError, MalformedError, VerificationError
from custody.kit.merkle import leaf_hash, root_hash
from custody.ports.tiles import CheckpointStore, LeafIndex, TileReader, TileStore
from custody.trust.checkpoint import LogSigner, parse_checkpoint
from custody.trust.tiles import (
    MAX_ENTRY,
    WIDTH,
    StagedReader,
    TileTree,
    encode_entries,
    parse_entries,
    read_tile,
    staging_name,
    tile_path,
)

_LOG = logging.getLogger(__name__)
_BACK_OFF = 0.5
"""Seconds between two attempts to open a stopped log that writers cause."""
_SLOWEST = 5.0


@dataclass(frozen=True, slots=True)
class Logged:
    """Where an entry stands, and the proof of it."""

    index: int
    size: int
    root: bytes
    proof: tuple[bytes, ...]
    checkpoint: bytes
    """The signed note that the proof leads to."""


class DuplicateError(ConflictError):
    """The log holds this entry already."""

    code = "duplicate"

    def __init__(self, index: int) -> None:
        super().__init__(f"an equivalent entry already exists in the transparency log with index {index}")
        self.index = index


class LogStoppedError(CustodyError):
    """The log met an error after which its state is unknown, and takes nothing until that is settled."""

    code = "log_stopped"
    http_status = 503

    def __init__(self, why: str) -> None:
        super().__init__(f"the log has stopped: {why}", hint="it goes on by itself when the cause is gone; what was "
                                                             "sent may be in it already, and can be sent again")


class BusyError(CustodyError):
    """More writers wait than the log lets wait."""

    code = "busy"
    http_status = 503


class MerkleLog:
    """The sequencer's state. Not thread-safe: one caller at a time, which `Sequencer` sees to."""

    def __init__(self, store: TileStore, checkpoints: CheckpointStore, signer: LogSigner,
                 leaves: LeafIndex | None = None) -> None:
        """Open a log, or begin one. Raises VerificationError where what is stored is not what the checkpoint says."""
        self.signer = signer
        self._store = store
        self._checkpoints = checkpoints
        self._reader = StagedReader(store)
        self._leaves = leaves
        self.stopped: str | None = None
        """Why nothing is taken."""
        self._attempt: bytes | None = None
        """The checkpoint that a failed `append` may have stored."""
        stored = checkpoints.load()
        if stored is None:
            stored = signer.sign(0, TileTree(store, 0).root())
            checkpoints.swap(None, stored)
        if (origin := parse_checkpoint(stored).origin) != signer.name:
            raise VerificationError(
                f"log: it was begun as {origin!r}, and would go on as {signer.name!r}",
                hint="a log keeps its name, wherever it listens: `urls` in custody.toml says by which URLs services "
                     "are known")
        self._open(stored)

    def _open(self, note: bytes) -> None:
        """Go on from a stored checkpoint. Raises VerificationError, OSError, and then nothing is changed."""
        # 1. The truth is the stored checkpoint, which this key must have signed.
        checkpoint = self.signer.verifier.verify(note)
        # 2. The right-hand edge of each level, and the last entries, in their places by now; nothing that is
        #    remembered counts.
        self._store.place(staging_name(checkpoint.size, checkpoint.root))
        self._reader.files = {}
        size, tree = checkpoint.size, TileTree(self._reader, checkpoint.size)
        edge, last = _read_edge(tree), size % WIDTH
        entries = _bundle(self._reader, size // WIDTH, last)
        # 3. Together they must give the signed root.
        if tree.root() != checkpoint.root:
            raise VerificationError(f"log: the tiles of {size} entries give root {tree.root().hex()}, "
                                    f"the checkpoint says {checkpoint.root.hex()}",
                                    hint="restore the log's directory from a copy; do not delete the checkpoint")
        for offset, entry in enumerate(entries):
            if leaf_hash(entry) != edge[0][offset]:
                raise VerificationError(f"log: entry {size - last + offset} is not the one in its tile")
        # 4. The writer before may have died between its swap and this.
        if self._store.read("checkpoint") != note:
            self._store.publish(note)
        self._index_rest(tree)
        self._note, self.size, self._tree, self._edge, self._entries = note, size, tree, edge, entries

    def reopen(self) -> None:
        """After an error, go on from what is stored. What failed is in the log, or is not, and never half.

        Raises ConflictError where that is not this log's, VerificationError, OSError: the log is stopped still.
        """
        stored = self._checkpoints.load()
        if stored is None or stored not in (self._note, self._attempt):
            raise ConflictError("the stored checkpoint is not one that this sequencer wrote",
                                hint="something else writes to the log's directory: end that, then restart this")
        # What an error left may be in the system's memory only: it is made durable before anything speaks of it.
        self._checkpoints.swap(stored, stored)
        self._open(stored)
        self._attempt, self.stopped = None, None

    @property
    def checkpoint(self) -> bytes:
        return self._note

    @property
    def reader(self) -> TileReader:
        """The store, for who serves its files."""
        return self._store

    def find(self, entry: bytes) -> int | None:
        """The index of an equal entry."""
        return self._leaves.find(leaf_hash(entry)) if self._leaves else None

    def append(self, entries: Sequence[bytes]) -> list[Logged]:
        """Log all entries under one new checkpoint. Raises LogStoppedError, MalformedError (nothing is logged)."""
        if self.stopped is not None:
            raise LogStoppedError(self.stopped)
        for entry in entries:
            check_entry(entry)
        if not entries:
            return []
        try:
            return self._append(entries)
        except Exception as error:
            self.stopped = reason(error)
            raise LogStoppedError(self.stopped) from error

    def _append(self, entries: Sequence[bytes]) -> list[Logged]:
        # 1. Leaves into level 0; each full tile's root into the level above.
        files: dict[str, bytes] = {}
        full: list[str] = []
        leaves = [leaf_hash(entry) for entry in entries]
        edge = [list(level) for level in self._edge]
        pending = list(self._entries)
        for position, entry in enumerate(entries, self.size):
            pending.append(entry)
            if len(pending) == WIDTH:
                files[tile_path("entries", position // WIDTH)] = encode_entries(pending)
                full.append(tile_path("entries", position // WIDTH, 0)[:-2])
                pending = []
        size = self.size + len(entries)
        if pending:
            files[tile_path("entries", size // WIDTH, len(pending))] = encode_entries(pending)
        rising, level = leaves, 0
        while rising:
            if level == len(edge):
                edge.append([])
            index = (self.size >> 8 * level) // WIDTH
            row, above = edge[level], []
            for node in rising:
                row.append(node)
                if len(row) == WIDTH:
                    files[tile_path(level, index)] = b"".join(row)
                    full.append(tile_path(level, index, 0)[:-2])
                    above.append(root_hash(row))
                    row, index = [], index + 1
            edge[level] = row
            if row:
                files[tile_path(level, index, len(row))] = b"".join(row)
            rising, level = above, level + 1
        # 2. The root is that of the files as they will be; they are durable before anything speaks of them.
        self._reader.files = files
        self._tree.size = size
        root = self._tree.root()
        note = self.signer.sign(size, root)
        if self._checkpoints.load() != self._note:  # where a lock failed, too: nothing is put over another's files
            raise ConflictError("the stored checkpoint is not the one that this sequencer wrote last")
        name = staging_name(size, root)
        self._store.stage(name, files)
        # 3.
        self._attempt = note
        self._checkpoints.swap(self._note, note)
        first, self.size, self._note, self._edge, self._entries = self.size, size, note, edge, pending
        # 4. None of it is needed to restart.
        self._store.place(name)
        self._reader.files = {}
        self._store.publish(note)
        if self._leaves:
            self._leaves.add(first, leaves)
        for folder in full:
            self._store.discard(folder)
        # 5.
        return [Logged(index, size, root, tuple(self._tree.inclusion(index)), note) for index in range(first, size)]

    def _index_rest(self, tree: TileTree) -> None:
        """Catch the leaf index up with the log: it is written after the checkpoint."""
        if self._leaves is None:
            return
        if self._leaves.size() > tree.size:
            self._leaves.clear()
        while (start := self._leaves.size()) < tree.size:
            rest = tree.tile(0, start // WIDTH)[32 * (start % WIDTH):]
            self._leaves.add(start, [rest[at:at + 32] for at in range(0, len(rest), 32)])


def _read_edge(tree: TileTree) -> list[list[bytes]]:
    edge: list[list[bytes]] = []
    while tree.size >> 8 * len(edge):
        level = len(edge)
        index, width = divmod(tree.size >> 8 * level, WIDTH)
        tile = tree.tile(level, index) if width else b""
        edge.append([tile[at:at + 32] for at in range(0, 32 * width, 32)])
    return edge or [[]]


def _bundle(reader: TileReader, index: int, width: int) -> list[bytes]:
    entries = parse_entries(read_tile(reader, "entries", index, width))[:width] if width else []
    if len(entries) != width:
        raise VerificationError(f"log: entry bundle {index} has {len(entries)} entries, expected {width}")
    return entries


class Sequencer:
    """Group commit: writers that arrive while one batch is being written form the next.

    `add` returns when its entry is durable and covered by a published checkpoint. A log that has stopped is opened
    again by the next writer, and by a task that tries at growing intervals.
    """

    def __init__(self, log: MerkleLog, *, unique: bool = True, max_batch: int = 1024, max_waiting: int = 4096) -> None:
        self.log = log
        self._unique = unique
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._waiting: list[tuple[bytes, asyncio.Future[Logged]]] = []
        self._running: asyncio.Task[None] | None = None
        self._healing: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._tried = 0.0

    @property
    def stopped(self) -> str | None:
        """Why the log takes nothing, if it does not."""
        return self.log.stopped

    async def add(self, entry: bytes) -> Logged:
        """Raises DuplicateError (only where `unique`), BusyError, LogStoppedError, MalformedError."""
        check_entry(entry)
        if len(self._waiting) >= self._max_waiting:
            raise BusyError(f"the log has {len(self._waiting)} writers waiting", hint="try again in a second")
        future: asyncio.Future[Logged] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:self._max_batch], self._waiting[self._max_batch:]
            results: dict[bytes, Logged | CustodyError]
            try:
                async with self._turn:
                    results = await asyncio.to_thread(self._commit, list(dict.fromkeys(entry for entry, _ in batch))
                                                      if self._unique else [entry for entry, _ in batch])
            except Exception as error:  # whatever it was, nobody may be left waiting
                if not isinstance(error, CustodyError):  # of the index: it is part of what must open again
                    self.log.stopped = reason(error)
                known = error if isinstance(error, CustodyError) else LogStoppedError(reason(error))
                results = dict.fromkeys((entry for entry, _ in batch), known)
            answered: set[bytes] = set()
            for entry, future in batch:
                result = results[entry]
                if self._unique and entry in answered and isinstance(result, Logged):
                    result = DuplicateError(result.index)
                answered.add(entry)
                if future.done():  # its writer went away; the entry stays logged
                    continue
                if isinstance(result, Logged):
                    future.set_result(result)
                else:
                    future.set_exception(result)
            if self.log.stopped is not None and (self._healing is None or self._healing.done()):
                _LOG.error("the log %s has stopped: %s", self.log.signer.name, self.log.stopped)
                self._healing = asyncio.create_task(self._heal())

    async def _heal(self) -> None:
        """Until the log is open: a second after the error, then at doubled intervals up to `_SLOWEST`."""
        pause = 1.0
        while self.log.stopped is not None:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _SLOWEST)
            async with self._turn:
                await asyncio.to_thread(self._reopen)

    def _reopen(self) -> None:
        if self.log.stopped is None:
            return
        self._tried = time.monotonic()
        try:
            self.log.reopen()
        except Exception as error:  # it stays stopped, for this reason now
            self.log.stopped = reason(error)
        else:
            _LOG.warning("the log %s goes on at %d entries", self.log.signer.name, self.log.size)

    def _commit(self, entries: list[bytes]) -> dict[bytes, Logged | CustodyError]:
        if self.log.stopped is not None and time.monotonic() - self._tried >= _BACK_OFF:
            self._reopen()
        results: dict[bytes, Logged | CustodyError] = {}
        if self._unique:
            for entry in entries:
                known = self.log.find(entry)
                if known is not None:
                    results[entry] = DuplicateError(known)
        fresh = [entry for entry in entries if entry not in results]
        open_ = self.log.stopped is None
        try:
            if fresh:
                results.update(zip(fresh, self.log.append(fresh), strict=True))
        finally:
            if open_ and self.log.stopped is not None:
                self._tried = time.monotonic()
        return results


def reason(error: Exception) -> str:
    """What an operator must know of it: the system's words for an OSError, and the file."""
    if isinstance(error, CustodyError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def check_entry(entry: bytes) -> None:
    """An entry bundle gives an entry's length 16 bits. Raises MalformedError."""
    if not 0 < len(entry) <= MAX_ENTRY:
        raise MalformedError("log entry", got=f"{len(entry)} bytes", expected=f"1 to {MAX_ENTRY} bytes")
