"""Rules asked of recorded events: how often each would alert, why, and what another set of rules would have told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from custody.errors import language_errors
from custody.formats.falcotests import Expected
from custody.formats.telemetry.event import RuntimeEvent
from custody.runtime.detecting import Suppressor
from custody.runtime.event import Place
from policylang.errors import LanguageError
from policylang.falco import Alert, Matcher, Rule, RuleSet
from policylang.falco.analysis import event_types, field_names

MOST_KEPT = 10_000
"""Alerts that are kept to be shown."""


class Step(NamedTuple):
    """One comparison of a condition, and what it gave."""

    text: str
    held: bool


@dataclass
class RuleCount:
    alerts: int = 0
    suppressed: int = 0
    first: tuple[int, RuntimeEvent] | None = None
    """The number of the first event of which it was true, from 1, and the event."""


@dataclass
class Trial:
    """One set of rules over events."""

    ruleset: RuleSet
    match: Literal["first", "all"]
    suppressor: Suppressor | None = None
    counts: dict[str, RuleCount] = field(default_factory=dict)
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Events by source and type."""
    failed: list[tuple[int, str]] = field(default_factory=list)
    """Events that could not be judged, by number: a field had another type."""
    kept: list[tuple[int, Alert, str | None]] = field(default_factory=list)
    """Alerts with the number of the event, and the suppression that they fall under."""
    events: int = 0

    def __post_init__(self) -> None:
        self._matchers: dict[str, Matcher] = {}
        self._told: set[str] | None = set()

    def __call__(self, event: RuntimeEvent) -> list[Alert]:
        """The alerts that are told: without those that are suppressed."""
        self.events += 1
        self.seen[event.source, event.type] += 1
        self._note(event)
        try:
            alerts = self._matcher(event.source)(event.type, event.fields)
        except LanguageError as wrong:
            self.failed.append((self.events, wrong.message))
            return []
        told = []
        for alert in alerts:
            count = self.counts.setdefault(alert.rule, RuleCount())
            if count.first is None:
                count.first = self.events, event
            name = self.suppressor(alert, Place.of(event.fields)) if self.suppressor is not None else None
            if name is None:
                count.alerts += 1
                told.append(alert)
            else:
                count.suppressed += 1
            if len(self.kept) < MOST_KEPT:
                self.kept.append((self.events, alert, name))
        return told

    def steps(self, rule: str, event: RuntimeEvent) -> tuple[bool, list[Step]]:
        """Is it true of the event, and what each comparison that was made gave."""
        with language_errors():
            held, trace = self._matcher(event.source).explain(rule, event.type, event.fields)
        return held, [Step(trace.source.text[start:end], bool(value)) for start, end, value in trace.steps]

    def not_asked(self) -> list[Rule]:
        """Enabled rules none of whose event types is in the events: nothing is said of them."""
        return [rule for rule in self.ruleset.rules if rule.enabled and not any(
            source == rule.source and name in types for types in [event_types(rule)] for source, name in self.seen)]

    def not_told(self) -> dict[str, list[str]]:
        """Fields that rules read and that none of the events has, where events are recordings of fields: of these rules
        "no alert" says little."""
        if self._told is None:
            return {}
        told, missing = self._told, {}
        asked = {rule.name for rule in self.not_asked()}
        for rule in self.ruleset.rules:
            lacking = sorted(name for name in field_names(rule.condition) if name not in told and name not in (
                "evt.num", "evt.type", "evt.dir", "evt.source"))
            if rule.enabled and rule.name not in asked and lacking:
                missing[rule.name] = lacking
        return missing

    def _note(self, event: RuntimeEvent) -> None:
        if self._told is not None:
            if isinstance(event.fields, Mapping):
                self._told.update(event.fields)
            else:
                self._told = None

    def _matcher(self, source: str) -> Matcher:
        if source not in self._matchers:
            with language_errors():
                self._matchers[source] = self.ruleset.compile(source, self.match)
        return self._matchers[source]


class Difference(NamedTuple):
    """A rule whose alerts are not the same under two sets of rules."""

    rule: str
    before: int
    after: int
    appeared: list[int]
    """Numbers of events that alert now and did not."""
    vanished: list[int]


class Comparison:
    """The same events under the rules that run today and under others."""

    def __init__(self, old: Trial, new: Trial) -> None:
        self.old, self.new = old, new
        self._appeared: dict[str, list[int]] = {}
        self._vanished: dict[str, list[int]] = {}

    def __call__(self, event: RuntimeEvent) -> None:
        before = {alert.rule for alert in self.old(event)}
        after = {alert.rule for alert in self.new(event)}
        for kept, names in ((self._appeared, after - before), (self._vanished, before - after)):
            for name in names:
                kept.setdefault(name, []).append(self.new.events)

    def differences(self) -> list[Difference]:
        names = sorted({*self._appeared, *self._vanished})
        return [Difference(name, self.old.counts.get(name, RuleCount()).alerts,
                           self.new.counts.get(name, RuleCount()).alerts, self._appeared.get(name, []),
                           self._vanished.get(name, [])) for name in names]


def unmet(expected: Sequence[Expected], alerts: Sequence[Alert], rules: Sequence[str]) -> list[str]:
    """How alerts differ from those that a test expects; of `rules` alone, where they are given."""
    reasons = []
    counted = Counter(alert.rule for alert in alerts if not rules or alert.rule in rules)
    for wish in expected:
        got = counted.pop(wish.rule, 0)
        if got != wish.times:
            reasons.append(f"{wish.rule}: {got} alert{'s' if got != 1 else ''}, expected {wish.times}")
        for alert in alerts:
            if alert.rule == wish.rule:
                reasons += _differs(wish, alert)
    reasons += [f"{name}: {got} alert{'s' if got != 1 else ''}, expected none" for name, got in sorted(counted.items())]
    return reasons


def _differs(wish: Expected, alert: Alert) -> list[str]:
    reasons = []
    if wish.priority is not None and wish.priority.lower() != alert.priority.lower():
        reasons.append(f"{wish.rule}: priority {alert.priority}, expected {wish.priority}")
    for name, value in wish.output_fields.items():
        got: Any = alert.output_fields.get(name, "not told")
        if got != value:
            reasons.append(f"{wish.rule}: {name} is {got!r}, expected {value!r}")
    return reasons
