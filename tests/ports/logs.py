"""A log's stores in memory, which misbehave on demand and may lose their power."""

from __future__ import annotations

import random
from collections.abc import Mapping

from custody.errors import ConflictError
from tests.ports.faults import Fault, Faults


class MemoryTiles:
    """Implements ports.tiles.TileStore as a bucket does that anybody may write to."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.files: dict[str, bytes] = {}
        self.set_aside: dict[str, dict[str, bytes]] = {}
        self._durable: dict[str, bytes] = {}

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def stage(self, name: str, files: Mapping[str, bytes]) -> None:
        with self.faults.at("stage") as fault:
            if fault is not Fault.HALF:
                self.set_aside[name] = dict(files)

    def place(self, name: str) -> None:
        with self.faults.at("place") as fault:
            staged = self.set_aside.get(name, {})
            for path in list(staged)[:len(staged) // 2 if fault is Fault.HALF else None]:
                self.files[path] = staged[path]
            if fault is not Fault.HALF:
                self._durable = dict(self.files)

    def publish(self, checkpoint: bytes) -> None:
        with self.faults.at("publish") as fault:
            if fault is not Fault.HALF:
                self.files["checkpoint"] = checkpoint

    def discard(self, folder: str) -> None:
        with self.faults.at("discard"):
            self.files = {path: data for path, data in self.files.items() if not path.startswith(folder + "/")}

    def close(self) -> None:
        """Nothing is held."""

    def lose_power(self, rng: random.Random) -> None:
        """Of what was not durable (the public checkpoint, what was placed in part), each file may be as it was, as it
        is, half of that, or gone."""
        for path, data in list(self.files.items()):
            if (before := self._durable.get(path)) == data:
                continue
            left = rng.choice((before, data, data[:len(data) // 2], None))
            self.files.pop(path)
            if left is not None:
                self.files[path] = left


class MemoryCheckpoints:
    """Implements ports.tiles.CheckpointStore."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.truth: bytes | None = None

    def load(self) -> bytes | None:
        return self.truth

    def swap(self, old: bytes | None, new: bytes) -> None:
        with self.faults.at("swap") as fault:
            if self.truth != old or fault is Fault.LOST:
                raise ConflictError("the stored checkpoint is not the one that was expected")
            if fault is not Fault.HALF:
                self.truth = new

    def close(self) -> None:
        """Nothing is held."""
