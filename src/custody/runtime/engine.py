"""Events judged: rules of all sources, detectors beside them, and what is told of an alert. No I/O, and no clock."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from custody.formats.telemetry.told import Foreign, Lost, Told
from custody.runtime.counted import Counted
from custody.runtime.detecting import Detector, Enricher, Suppressor
from custody.runtime.event import Place, RuntimeEvent
from policylang.falco import Alert, Matcher, RuleSet
from policylang.falco.matcher import Match
from policylang.falco.output import PRIORITIES
from policylang.falco.values.fields import SOURCES

_LOG = logging.getLogger(__name__)
LEVELS = {level: number for number, level in enumerate(PRIORITIES)}


class Record(NamedTuple):
    """An alert on its way to the outputs."""

    key: str
    """A UUID: the same where the same event comes again."""
    alert: Alert
    place: Place
    suppressed: str | None = None
    """By which suppression, where those are shown."""


class Rules:
    """One rule set, compiled for the sources that were asked for."""

    def __init__(self, ruleset: RuleSet, match: Match = "first", sources: Iterable[str] = SOURCES) -> None:
        self.ruleset = ruleset
        self.matchers: dict[str, Matcher] = {}
        for source in sources:
            matcher = ruleset.compile(source, match)
            if matcher.rules:
                self.matchers[source] = matcher
        syscall = self.matchers.get("syscall")
        self.types: frozenset[str] = syscall.event_types() if syscall is not None else frozenset()
        """Event types of syscall of which a rule may be true."""

    @property
    def count(self) -> int:
        return sum(len(matcher.rules) for matcher in self.matchers.values())


class Engine:
    """Judges events one after another. `rules` may be swapped between two of them."""

    def __init__(self, rules: Rules, counted: Counted, *, priority: int = 7, detectors: Sequence[Detector] = (),
                 enrichers: Sequence[Enricher] = (), suppressors: Sequence[Suppressor] = (),
                 hostname: str = "", show_suppressed: bool = False) -> None:
        """`priority`: alerts of a higher number are counted and not told. `hostname` where an event says none."""
        self.counted = counted
        self._priority, self._hostname, self._show = priority, hostname, show_suppressed
        self._enrichers, self._suppressors = tuple(enrichers), tuple(suppressors)
        self._detectors: dict[str, tuple[Detector, ...]] = {}
        for detector in detectors:
            for name in detector.types:
                self._detectors[name] = (*self._detectors.get(name, ()), detector)
        self._last: dict[str, int] = {}
        self.types: set[str] = set()
        """Event types of syscall that a rule or a detector looks at: the same set, whatever the rules are."""
        self.swap(rules)

    def swap(self, rules: Rules) -> None:
        """From the next event on."""
        self.rules = rules
        self._matchers = rules.matchers
        self.types |= rules.types | self._detectors.keys()
        self.types &= rules.types | self._detectors.keys()

    def judge(self, event: RuntimeEvent) -> Sequence[Alert]:
        """The alerts of one event, before anything is known of its place. An event that cannot be judged is counted."""
        at = event.at
        if at is not None:
            origin = event.origin
            last = self._last.get(origin)
            if last is not None and at < last:
                self.counted.backwards[origin] += 1
            self._last[origin] = at
        alerts: list[Alert] | None = None
        matcher = self._matchers.get(event.source)
        if matcher is not None:
            try:
                alerts = matcher(event.type, event.fields)
            except Exception:  # whatever it is
                # One event with a value that nobody thought of must not end the watching of all others, and one field
                # of it must not silence the rules that do not look at it.
                self.counted.unjudged[event.origin] += 1
                alerts = matcher.severally(event.type, event.fields).alerts
        detectors = self._detectors.get(event.type)
        if detectors is not None and event.source == "syscall":
            alerts = [*(alerts or ()), *(alert for detector in detectors for alert in detector(event))]
        return alerts or ()

    def records(self, told: Told, key: str) -> list[Record]:
        """All that becomes of one event or foreign alert. `key` is its own, and the same when it comes again."""
        if isinstance(told, RuntimeEvent):
            alerts = self.judge(told)
            if not alerts:
                return []
            place = Place.of(told.fields)
            return [record for number, alert in enumerate(alerts)
                    if (record := self.record(alert, place, f"{key}/{number}/{alert.rule}")) is not None]
        if isinstance(told, Foreign):
            alert = told.alert
            record = self.record(alert, Place.of(alert.output_fields), told.key or key)
            return [record] if record is not None else []
        return []

    def record(self, alert: Alert, place: Place, key: str) -> Record | None:
        """One alert with what is known of its place; None where it is not told."""
        counted = self.counted
        if LEVELS.get(alert.priority, 0) > self._priority:
            counted.add(counted.below, alert.rule)
            return None
        known: dict[str, Any] = {}
        for enrich in self._enrichers:
            known.update(enrich(place))
        if known or not alert.hostname:
            alert = dataclasses.replace(alert, hostname=alert.hostname or place.node or self._hostname,
                                        output_fields={**alert.output_fields, **known})
        for suppress in self._suppressors:
            try:
                name = suppress(alert, place)
            except Exception:  # what cannot be asked explains nothing
                _LOG.exception("suppressions of %s", alert.rule)
                continue
            if name is not None:
                counted.add(counted.suppressed, name)
                return Record(identifier(key), alert, place, name) if self._show else None
        return Record(identifier(key), alert, place)


def identifier(key: str) -> str:
    """A UUID (version 8, RFC 9562) of a text: a UUID stays what it is."""
    try:
        return str(uuid.UUID(key)) if len(key) == 36 else _hashed(key)
    except ValueError:
        return _hashed(key)


def _hashed(key: str) -> str:
    digest = bytearray(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))


def own(rule: str, priority: str, output: str, fields: Mapping[str, Any], at: int, hostname: str = "",
        tags: tuple[str, ...] = ("custody",)) -> Alert:
    """An alert of custody's own, in Falco's form."""
    return Alert(rule, priority, "custody", output, dict(fields), tags, at, hostname)


__all__ = ["LEVELS", "Engine", "Lost", "Record", "Rules", "identifier", "own"]
