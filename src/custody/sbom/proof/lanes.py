"""Threads that hash large files beside those that read layers: MD5 takes longer than all that is read out of a layer.

A thread asks for the interpreter once a piece, and hashing gives it up, so pieces are handed over many at a time, and
files that are small are hashed where they are read.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import queue
import threading
from collections.abc import Iterator

_LANES = min(4, os.cpu_count() or 1)
_BATCH, _AHEAD = 2 << 20, 2
"""Bytes that are handed over at once, and how often that many may wait."""
_Step = tuple[list["hashlib._Hash"], bytes, list[bytes] | None]


class Lane:
    """One thread. What one file's reader hands over is hashed in order; several readers may share it."""

    def __init__(self) -> None:
        self._batches: queue.Queue[list[_Step] | None] = queue.Queue(_AHEAD)
        self._thread = threading.Thread(target=self._work, name="hashing", daemon=True)
        self._thread.start()

    def put(self, batch: list[_Step]) -> None:
        """Waits while too much is ahead of it."""
        self._batches.put(batch)

    def close(self) -> None:
        """Once all that was handed over is hashed."""
        self._batches.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            for hashers, piece, made in batch:
                for hasher in hashers:
                    hasher.update(piece)
                if made is not None:
                    made += [hasher.digest() for hasher in hashers]
            batch.clear()


class Lanes:
    """Those of one image, which its layers take by turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lanes: list[Lane] = []
        self._turns: Iterator[int] = itertools.cycle(range(_LANES))

    def take(self) -> Lane:
        with self._lock:
            turn = next(self._turns)
            if turn == len(self._lanes):
                self._lanes.append(Lane())
            return self._lanes[turn]

    def close(self) -> None:
        """Wait for all digests; whoever took a lane takes another from here on."""
        with self._lock:
            lanes, self._lanes, self._turns = self._lanes, [], itertools.cycle(range(_LANES))
        for lane in lanes:
            lane.close()


class Handover:
    """What one layer's reader has for a lane and did not hand over yet."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._lane: Lane | None = None
        self._batch: list[_Step] = []
        self._waiting = 0

    def update(self, hashers: list[hashlib._Hash], piece: bytes) -> None:
        self._batch.append((hashers, piece, None))
        self._waiting += len(piece)
        if self._waiting >= _BATCH:
            self.flush()

    def end(self, hashers: list[hashlib._Hash]) -> list[bytes]:
        """A list that has the digests once the lanes are closed."""
        made: list[bytes] = []
        self._batch.append((hashers, b"", made))
        return made

    def flush(self) -> None:
        if self._batch:
            self._lane = self._lane or self._lanes.take()
            self._lane.put(self._batch)
            self._batch, self._waiting = [], 0

    def release(self) -> None:
        """Before the lanes are closed."""
        self.flush()
        self._lane = None
