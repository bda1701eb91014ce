"""Events from any input to the outputs: read, judged, folded, delivered. One for a process, on its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from custody.errors import CustodyError, MalformedError
from custody.formats.telemetry import audit
from custody.formats.telemetry.event import RuntimeEvent
from custody.formats.telemetry.inputs import Decoder
from custody.formats.telemetry.told import Lost, Unread
from custody.ports.alerting import Line, Marks
from custody.runtime.alertlines import line
from custody.runtime.detecting import Responder
from custody.runtime.engine import Engine, Record, identifier
from custody.runtime.event import Place
from custody.runtime.folding import Folding
from custody.runtime.losses import Losses
from custody.services.alertdelivery import Delivery, Window
from policylang.falco import Alert

_LOG = logging.getLogger(__name__)
_TICK = 1.0
_RESPONSES = 1000
"""Responses that wait at once; more are refused, and said."""
_DECIDED = 65_536
_OWED = 50_000
"""Alerts of sensors that wait while an output takes none: those beyond are lost, and said."""
_LAST_RESPONSES = 30.0
"""Seconds that responses have to end in when the watch does."""


class Taken(NamedTuple):
    """What one piece of an input came to."""

    records: list[Record]
    events: int
    malformed: int
    keys: list[str]
    """Of audit events, to be known when they come again."""


class EventWatch:
    """`clock` is seconds since 1970, `steady` seconds that only go forwards."""

    def __init__(self, engine: Engine, folding: Folding, losses: Losses, delivery: Delivery, *,
                 responders: Sequence[Responder] = (), stalled_after: float = 0.0,
                 clock: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        """`stalled_after`: seconds without an event after which an input is said to be stalled; 0: never."""
        self.engine, self.counted = engine, engine.counted
        self.folding, self.losses, self.delivery = folding, losses, delivery
        self._responders, self._stalled_after = responders, stalled_after
        self._clock, self._steady = clock, steady
        self._events = Window()
        self._decided: dict[str, bool] = {}
        """Of alerts that could not be delivered, whether they are told by themselves: they are counted once, however
        often their events come again."""
        self._owed: list[Record] = []
        self._heard: dict[str, float] = {}
        self.stalled: dict[str, float] = {}
        """Inputs from which nothing has come for too long, and since when, by the steady clock."""
        self._responding: set[asyncio.Task[None]] = set()
        self.unanswered = 0
        """Alerts that nobody responded to, since too many waited."""

    # --- judging --------------------------------------------------------------------------------------------------

    def take(self, decoder: Decoder, documents: Sequence[bytes], origin: str, key: str) -> Taken:
        """Judge what is in lines or in a request's body. `key` is the first one's own: it is counted on from there."""
        engine, counted = self.engine, self.counted
        records: list[Record] = []
        keys: list[str] = []
        events = malformed = 0
        repaired = decoder.repairs.count
        unjudged = counted.unjudged[origin]
        judge = engine.judge
        for number, document in enumerate(documents):
            if not document:
                continue
            try:
                told = decoder(document)
            except MalformedError as wrong:
                malformed += 1
                _LOG.debug("%s: %s", origin, wrong.message)
                continue
            except Exception:  # a fault of ours in one event must not end the reading of all that come after it
                malformed += 1
                _LOG.exception("%s: an event cannot be read", origin)
                continue
            for place, item in enumerate(told):
                if type(item) is RuntimeEvent:
                    events += 1
                    if item.source == audit.SOURCE:
                        own = audit.key(item)
                        if own:
                            if own in self._events:
                                counted.doubled[origin] += 1
                                continue
                            keys.append(own)
                        own = own or f"{key}/{number}/{place}"
                        records += engine.records(item, own)
                    elif alerts := judge(item):
                        records += self._told(item, alerts, f"{key}/{number}/{place}")
                elif isinstance(item, Lost):
                    self.losses.lost(origin, item.kind, item.number)
                elif isinstance(item, Unread):
                    malformed += 1
                else:
                    events += 1
                    records += engine.records(item, f"{key}/{number}/{place}")
        if events:
            counted.events[origin] += events
            self._heard[origin] = self._steady()
        if malformed:
            counted.malformed[origin] += malformed
            self.losses.unreadable(origin, "malformed", malformed)
        if decoder.repairs.count != repaired:
            counted.repaired[origin] += decoder.repairs.count - repaired
        if counted.unjudged[origin] != unjudged:
            self.losses.unreadable(origin, "unjudged", counted.unjudged[origin] - unjudged)
        return Taken(records, events, malformed, keys)

    def _told(self, event: RuntimeEvent, alerts: Sequence[Alert], key: str) -> list[Record]:
        place = Place.of(event.fields)
        return [record for number, alert in enumerate(alerts) if (
            record := self.engine.record(alert, place, f"{key}/{number}/{alert.rule}")) is not None]

    def emitted(self, event: RuntimeEvent) -> None:
        """Of a sensor, which cannot be read again: its alerts are delivered as soon as that can be."""
        origin = event.origin
        self.counted.events[origin] += 1
        self._heard[origin] = now = self._steady()
        if alerts := self.engine.judge(event):
            told = [record for record in self._told(
                event, alerts, f"{origin}/{event.at}/{self.counted.events[origin]}/{now}")
                if self.folding.tell(record, now)]
            if len(self._owed) + len(told) > _OWED:
                self.losses.lost(origin, "not-delivered", len(told))
            else:
                self._owed += told

    # --- delivering -----------------------------------------------------------------------------------------------

    async def tell(self, taken: Taken, marks: Marks | None = None) -> None:
        """Returns when the alerts are there to stay. Raises StorageError, NetworkError."""
        lines = self.lines(taken.records)
        try:
            await self.deliver(lines, marks)
        except BaseException:  # whoever told the events tells them again
            told = {record.key for record, _ in lines}
            self._decided |= {record.key: record.key in told for record in taken.records}
            while len(self._decided) > _DECIDED:
                del self._decided[next(iter(self._decided))]
            raise
        self._events.add(taken.keys)

    def lines(self, records: Sequence[Record]) -> list[tuple[Record, Line]]:
        """Those that are told by themselves."""
        now = self._steady()
        return [self._line(record) for record in records if (
            decided if (decided := self._decided.pop(record.key, None)) is not None
            else self.folding.tell(record, now))]

    def _line(self, record: Record) -> tuple[Record, Line]:
        """An alert of an event that says no time has the time at which it is told: whoever takes it expects one."""
        if record.alert.time is None:
            record = record._replace(alert=dataclasses.replace(record.alert, time=int(self._clock() * 1e9)))
        return record, line(record)

    async def deliver(self, told: Sequence[tuple[Record, Line]], marks: Marks | None = None) -> None:
        """Raises StorageError, NetworkError: it may be tried again with the same."""
        folds = self.folding.state() if self.folding.changed else None
        try:
            fresh = await self.delivery.deliver([own for _, own in told], marks, folds)
        except BaseException:
            self.folding.changed = self.folding.changed or folds is not None
            raise
        for record, _ in told:
            if record.key not in fresh:
                continue
            self.counted.told(record.alert.rule, record.alert.priority)
            if self._responders and record.suppressed is None:
                self._respond(record)

    def heard(self, origin: str) -> None:
        """An input that is expected to tell something from now on."""
        self._heard.setdefault(origin, self._steady())

    def ended(self, origin: str) -> None:
        """Nothing more is expected of an input."""
        self._heard.pop(origin, None)
        self.stalled.pop(origin, None)

    async def run(self) -> None:
        """What time brings, once a second until it is cancelled: folded alerts, losses, inputs that stall."""
        while True:
            await asyncio.sleep(_TICK)
            try:
                await self.tick()
            except CustodyError as error:
                _LOG.warning("alerts wait: %s", error.message)

    async def tick(self, *, last: bool = False) -> None:
        """`last`: nothing comes after it, so that all that is folded is told. Raises StorageError, NetworkError."""
        now, steady = self._clock(), self._steady()
        self._owed += self.folding.due(steady, all_of_them=last)
        alerts = self.losses.due(now, all_of_them=last)
        if self._stalled_after:
            alerts += self._stalls(now, steady)
        for alert in alerts:
            self.say(alert)
        owed, self._owed = self._owed, []
        try:
            await self.deliver([self._line(record) for record in owed])
        except BaseException:
            self._owed = [*owed, *self._owed]
            raise

    def say(self, alert: Alert) -> None:
        """An alert of custody's own, with the next tick."""
        key = identifier(f"{alert.rule}/{alert.time}/{alert.output}")
        record = self.engine.record(alert, Place.of(alert.output_fields), key)
        if record is not None:
            self._owed.append(record)

    def _stalls(self, now: float, steady: float) -> list[Alert]:
        alerts = []
        for origin, last in self._heard.items():
            since = self.stalled.get(origin)
            if since is not None and last > since:  # also where nothing has come since: that is the next look's
                del self.stalled[origin]
                alerts.append(self.losses.resumed(origin, last - since, now))
            elif since is None and steady - last >= self._stalled_after:
                self.stalled[origin] = last
                alerts.append(self.losses.stalled(origin, steady - last, now))
        return alerts

    def _respond(self, record: Record) -> None:
        if len(self._responding) >= _RESPONSES:
            self.unanswered += 1
            self.losses.lost("responses", "too-many-wait", 1)
            return
        task = asyncio.create_task(self._answered(record))
        self._responding.add(task)
        task.add_done_callback(self._responding.discard)

    async def _answered(self, record: Record) -> None:
        for responder in self._responders:
            try:
                for alert in await responder(record.alert, record.place):
                    answer = self.engine.record(alert, record.place, f"{record.key}/{alert.rule}/{alert.output}")
                    if answer is not None:
                        own = self._line(answer)[1]
                        await self.delivery.deliver([own])
                        self.counted.told(alert.rule, alert.priority)
            except CustodyError as error:
                _LOG.warning("no response to %s: %s", record.alert.rule, error.message)
            except Exception:
                _LOG.exception("no response to %s", record.alert.rule)

    async def close(self) -> None:
        """Tell what is folded, and close outputs. Raises StorageError, NetworkError, with the outputs closed."""
        if self._responding:  # what was begun is finished, and told
            await asyncio.wait(self._responding, timeout=_LAST_RESPONSES)
        for task in self._responding:
            task.cancel()
        await asyncio.gather(*self._responding, return_exceptions=True)
        try:
            await self.tick(last=True)
        finally:
            with contextlib.suppress(CustodyError):
                await self.delivery.close()
