"""Alerts to all outputs, and what must be known after a crash, in one durable step after another.

An alert is delivered when every output has taken it and that is noted, together with how far the inputs were read: so
whoever ends in between finds the input before the alert, and the output's file is cut back to what was noted. An alert
whose key was delivered before is left out. Those who deliver at once share one step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from custody.errors import CustodyError
from custody.ports.alerting import AlertOutput, Line, Marks, Noted, Notes, Place

_WINDOW = 65_536
"""Keys of alerts that are remembered."""


class _Waiting(NamedTuple):
    lines: Sequence[Line]
    marks: Marks
    folds: bytes | None
    taken: asyncio.Future[frozenset[str]]


class Window:
    """The last keys: bounded, the oldest go first."""

    def __init__(self, size: int = _WINDOW) -> None:
        self._size = size
        self._keys: dict[str, None] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def clear(self) -> None:
        self._keys.clear()

    def add(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._keys[key] = None
        while len(self._keys) > self._size:
            del self._keys[next(iter(self._keys))]


class Delivery:
    """One for a process. `begin` before anything is delivered."""

    def __init__(self, outputs: Sequence[AlertOutput], notes: Notes) -> None:
        self._outputs, self._notes = outputs, notes
        self._delivered = Window()
        self._taken = {output.name: Window() for output in outputs}
        """By outputs of which another failed: those are not given it twice."""
        self._places: dict[str, Place] = {}
        self._ends: dict[str, Place] = {}
        """Of outputs, where they end and it is not noted yet: also of those that took alerts before another failed."""
        self._waiting: list[_Waiting] = []
        self._flushing: asyncio.Task[None] | None = None
        self.failures: dict[str, str] = {}
        """Outputs that do not take alerts now, and why; `notes` is what is noted."""
        self.doubled = 0
        """Alerts that were delivered before."""

    @property
    def waiting(self) -> int:
        """Alerts that are not delivered yet."""
        return sum(len(waiting.lines) for waiting in self._waiting)

    def begin(self, *, again: bool = False) -> tuple[Noted, list[str]]:
        """What was noted, and for people, what could not be put right. `again`: alerts that were delivered before are
        delivered once more. Raises StorageError."""
        noted = self._notes.load()
        said = [text for output in self._outputs if (text := output.recover(noted.places.get(output.name)))]
        if not again:
            self._delivered.add(noted.keys)
        self._places = {name: place for name, place in noted.places.items() if name in self._taken}
        return noted, said

    async def deliver(self, lines: Sequence[Line], marks: Marks | None = None,
                      folds: bytes | None = None) -> frozenset[str]:
        """Keys of those that are new. Raises StorageError, NetworkError: it may be tried again with the same."""
        if not lines and not marks and folds is None:
            return frozenset()
        waiting = _Waiting(lines, marks or {}, folds, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return await waiting.taken

    async def close(self) -> None:
        """When what waits is delivered, or has failed."""
        if self._flushing is not None:
            await asyncio.gather(self._flushing, return_exceptions=True)
        for output in self._outputs:
            output.close()
        self._notes.close()

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failure: BaseException | None = None
            fresh: list[frozenset[str]] = [frozenset()] * len(batch)
            try:
                fresh = await asyncio.to_thread(self._step, batch)
            except BaseException as error:
                failure = error
            for waiting, keys in zip(batch, fresh, strict=True):
                if not waiting.taken.done():
                    if failure is None:
                        waiting.taken.set_result(keys)
                    else:
                        waiting.taken.set_exception(failure)
                        waiting.taken.exception()  # whoever waits may have gone

    def _step(self, batch: Sequence[_Waiting]) -> list[frozenset[str]]:
        fresh: dict[str, Line] = {}
        own: list[frozenset[str]] = []
        for waiting in batch:
            keys = []
            for line in waiting.lines:
                if line.key in self._delivered or line.key in fresh:
                    self.doubled += 1
                else:
                    fresh[line.key] = line
                    keys.append(line.key)
            own.append(frozenset(keys))
        self._written([*fresh.values()])
        marks: dict[str, str] = {}
        folds: bytes | None = None
        for waiting in batch:
            marks.update(waiting.marks)
            folds = waiting.folds if waiting.folds is not None else folds
        self._note(marks, self._ends, [*fresh], folds)
        self._ends = {}
        self._delivered.add([*fresh])
        return own

    def _written(self, lines: Sequence[Line]) -> None:
        wrong: CustodyError | None = None
        for output in self._outputs:
            name, taken = output.name, self._taken[output.name]
            own = [line for line in lines if line.key not in taken]
            if not own:
                continue
            try:
                self._expect(output)
                output.write(own)
                taken.add([line.key for line in own])
                if (place := output.place()) is not None:
                    self._ends[name] = place
                self.failures.pop(name, None)
            except CustodyError as error:  # the others take theirs all the same
                self.failures[name] = error.message
                wrong = error
        if wrong is not None:
            raise wrong

    def _expect(self, output: AlertOutput) -> None:
        """A file that is new is noted before anything is in it: what is in it after a crash is cut off then."""
        place, before = output.place(), self._places.get(output.name)
        if place is not None and (before is None or before[:2] != place[:2]):
            self._note({}, {output.name: place}, (), None)

    def _note(self, marks: Marks, places: Mapping[str, Place], keys: Sequence[str], folds: bytes | None) -> None:
        if not (marks or places or keys or folds is not None):
            return
        try:
            self._notes.note(marks, places, keys, folds)
        except CustodyError as error:
            self.failures["notes"] = error.message
            raise
        self.failures.pop("notes", None)
        self._places.update(places)
