"""Inputs that are read: files that are followed, standard input, connections to a Unix socket."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from custody.errors import CustodyError
from custody.formats.telemetry.inputs import Decoder
from custody.kit.saidonce import SaidOnce
from custody.ports.following import Followed, Piece
from custody.services.eventwatch import EventWatch, Taken

_LOG = logging.getLogger(__name__)
_PIECE = 1 << 20
_PAUSE = 0.25
_NOTED = 1.0
"""Seconds after which it is noted how far was read, where there was no alert."""
_RETRY = (0.5, 1, 2, 5, 10)
_SLICE = 500
"""Lines that are judged before others have their turn."""
LONGEST = 8 << 20
"""Bytes of one line of a stream."""


class FollowedInput:
    """One file. What was read is noted with its alerts, and no earlier than they are there to stay."""

    def __init__(self, watch: EventWatch, followed: Followed, decoder: Decoder, origin: str) -> None:
        self._watch, self._followed, self._decoder, self._origin = watch, followed, decoder, origin
        self._stopping = False

    def stop(self) -> None:
        """Read no further: `run` ends when what was read is told and noted."""
        self._stopping = True

    def begin(self, mark: str | None) -> str:
        """What is to be said to people of going on there, or ''."""
        return self._followed.begin(mark)

    async def run(self) -> None:
        """Until it is cancelled, or nothing more will come. A failure to read is said, and tried again."""
        try:
            await self._read()
        finally:
            self._followed.close()

    async def _read(self) -> None:
        noted = -_NOTED  # the first is noted at once
        mark = ""
        failures = SaidOnce()
        attempt = 0
        self._watch.heard(self._origin)
        while not (self._stopping or self._followed.finished()):
            try:
                piece = await asyncio.to_thread(self._followed.read, _PIECE)
                failures.over()
                attempt = 0
            except CustodyError as error:
                if failures.changes(error.message):
                    _LOG.warning("%s: %s; it is tried again", self._origin, error.message)
                await asyncio.sleep(_RETRY[min(attempt, len(_RETRY) - 1)])
                attempt += 1
                continue
            if piece is None:
                if mark and time.monotonic() - noted >= _NOTED:
                    await self._tell(Taken([], 0, 0, []), mark)
                    mark, noted = "", time.monotonic()
                elif not self._followed.finished():
                    await asyncio.sleep(_PAUSE)
                continue
            mark = piece.mark
            taken = await self._judged(piece)
            if taken.records or time.monotonic() - noted >= _NOTED:
                await self._tell(taken, mark)
                mark, noted = "", time.monotonic()
        if mark:
            await self._tell(Taken([], 0, 0, []), mark)
        self._watch.ended(self._origin)

    async def _judged(self, piece: Piece) -> Taken:
        if piece.said:
            _LOG.warning("%s", piece.said)
        if piece.lost:
            self._watch.losses.lost(self._origin, "rotated", 0)
        if piece.skipped:
            self._watch.counted.malformed[self._origin] += piece.skipped
            self._watch.losses.unreadable(self._origin, "too-large", piece.skipped)
        taken = Taken([], 0, 0, [])
        for start in range(0, len(piece.lines), _SLICE):
            part = self._watch.take(self._decoder, piece.lines[start:start + _SLICE], self._origin,
                                    f"{self._origin}/{piece.file}/{piece.first}+{start}")
            taken.records.extend(part.records)
            taken.keys.extend(part.keys)
            await asyncio.sleep(0)
        return taken

    async def _tell(self, taken: Taken, mark: str) -> None:
        """Until it is told: what the outputs do not take now, they are given again, and nothing is read meanwhile."""
        told = self._watch.lines(taken.records)
        attempt = 0
        while True:
            try:
                await self._watch.deliver(told, {self._origin: mark})
            except CustodyError as error:
                if attempt == 0:
                    _LOG.warning("%s waits: %s", self._origin, error.message)
                await asyncio.sleep(_RETRY[min(attempt, len(_RETRY) - 1)])
                attempt += 1
            else:
                return


class StreamInput:
    """Lines of a stream, which cannot be read again: judged as they come, and the reader waits for their alerts."""

    def __init__(self, watch: EventWatch, decoder: Decoder, origin: str, *, lasting: bool = False) -> None:
        """`lasting`: others may come when one is at its end, and it is expected that they do."""
        self._watch, self._decoder, self._origin, self._lasting = watch, decoder, origin, lasting
        if lasting:
            watch.heard(origin)
        self._number = 0
        self._begun = f"{time.time_ns()}"

    async def run(self, reader: asyncio.StreamReader, told: Callable[[], None] = lambda: None) -> None:
        """Until its end. `told` is called after each piece."""
        self._watch.heard(self._origin)
        rest = b""
        skipping = False
        while data := await reader.read(_PIECE):
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            if skipping and lines:
                lines, skipping = lines[1:], False
            elif skipping:
                rest = b""
            if len(rest) > LONGEST:
                self._watch.counted.malformed[self._origin] += 1
                self._watch.losses.unreadable(self._origin, "too-large", 1)
                rest, skipping = b"", True
            await self._lines(lines)
            told()
        if rest and not skipping:
            await self._lines([rest])
        if not self._lasting:
            self._watch.ended(self._origin)

    async def _lines(self, lines: list[bytes]) -> None:
        for start in range(0, len(lines), _SLICE):
            part = lines[start:start + _SLICE]
            taken = self._watch.take(self._decoder, part, self._origin, f"{self._origin}/{self._begun}/{self._number}")
            self._number += len(part)
            told = self._watch.lines(taken.records)
            attempt = 0
            while told:
                try:
                    await self._watch.deliver(told)
                except CustodyError as error:
                    if attempt == 0:
                        _LOG.warning("%s waits: %s", self._origin, error.message)
                    await asyncio.sleep(_RETRY[min(attempt, len(_RETRY) - 1)])
                    attempt += 1
                else:
                    break
            await asyncio.sleep(0)
