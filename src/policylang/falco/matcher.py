"""Rules asked of events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from policylang.errors import InputError, InvalidError
from policylang.falco.check.formula import Formula, Read, reads
from policylang.falco.compiler import Matches, Residuals, compiled, traced
from policylang.falco.output import Alert, Event
from policylang.falco.rendering import rendered
from policylang.falco.rules import Loaded, Rule, Texts, read, sources
from policylang.falco.values import fields
from policylang.falco.values.events import EVENTS, PLUGIN_EVENT
from policylang.falco.values.fields import Shape, Type
from policylang.falco.values.jsonsources import reader
from policylang.source import Source
from policylang.trace import Trace

Match = Literal["first", "all"]
_PYTHON: dict[Type, tuple[type, ...]] = {
    Type.TEXT: (str,), Type.BYTES: (bytes,), Type.BOOL: (bool,), Type.SIGNED: (int,), Type.UNSIGNED: (int,),
    Type.PORT: (int,), Type.DOUBLE: (int, float), Type.ADDRESS: (str,), Type.NETWORK: (str,)}


class Severally(NamedTuple):
    alerts: list[Alert]
    unasked: list[str]
    """Rules that could make nothing of the event."""


class RuleSet:
    """Rule files, loaded. `rules` are in the order in which they were first defined."""

    def __init__(self, files: list[Source], loaded: Loaded) -> None:
        self.files = files
        self.rules, self.macros, self.lists = loaded.rules, loaded.macros, loaded.lists
        self.warnings = loaded.warnings
        self.required_engine_version, self.required_plugin_versions = loaded.engine, loaded.plugins

    def __getitem__(self, name: str) -> Rule:
        for rule in self.rules:
            if rule.name == name:
                return rule
        raise KeyError(name)

    def compile(self, source: str = "syscall", match: Match = "first") -> Matcher:
        """`match`: the first rule of the files that is true of an event (Falco's default), or all of them."""
        if source not in fields.SOURCES:
            raise InputError(f"no event source {source}", hint=f"there are {', '.join(fields.SOURCES)}")
        if match not in ("first", "all"):
            raise InputError(f"match {match}: expected first or all")
        return Matcher(self, source, match)

    def __reduce__(self) -> tuple[Any, ...]:
        return _loaded, ([(file.name, file.text) for file in self.files],)


def load(texts: Texts) -> RuleSet:
    """Rule files in order, later definitions over earlier ones.

    SourceError, whose `kind` is Falco's error code (LOAD_ERR_…), where falco -V would refuse them, and also where a key
    or an item is unknown.
    """
    files = sources(texts)
    return RuleSet(files, read(files))


def _loaded(texts: list[tuple[str, str]]) -> RuleSet:
    return load(texts)


def _compiled(ruleset: RuleSet, source: str, match: Match) -> Matcher:
    return ruleset.compile(source, match)


class Matcher:
    """One source's rules. Functions are made when an event of a type first comes, and kept."""

    def __init__(self, ruleset: RuleSet, source: str, match: Match) -> None:
        self.ruleset, self.source, self.match = ruleset, source, match
        self.rules = [rule for rule in ruleset.rules if rule.source == source and rule.enabled]
        self._functions: dict[str, Matches | None] = {}
        self._single: dict[tuple[int, str], Matches | None] = {}
        self._reader = reader(source)

    def __call__(self, event_type: str, event: Event | Mapping[str, Any], *, hostname: str = "") -> list[Alert]:
        """`event` answers `get(field)`, as a mapping does; of sources other than syscall a dict is the event's JSON.

        InvalidError where a value of the event is not of its field's type.
        """
        if self._reader is not None and isinstance(event, dict):
            event = self._reader(event)
        try:
            function = self._functions[event_type]
        except KeyError:
            function = self._function(event_type)
        if function is None:
            return []
        try:
            matching = function(event.get)
        except (TypeError, AttributeError, ValueError) as wrong:
            raise self._malformed(event, wrong) from None
        if not matching:
            return []
        chosen = (min(matching),) if self.match == "first" else sorted(matching)
        return [self._alert(self.rules[number], event, hostname) for number in chosen]

    def severally(self, event_type: str, event: Event | Mapping[str, Any], *, hostname: str = "") -> Severally:
        """Each rule by itself, of an event of which `__call__` raised: a value that one rule can make nothing of is
        nothing to the others. Slower by far."""
        if self._reader is not None and isinstance(event, dict):
            event = self._reader(event)
        type_ = event_type if event_type in EVENTS else ""

        def get(name: str) -> Any:
            return event_type if name == "evt.type" else event.get(name)

        alerts: list[Alert] = []
        unasked: list[str] = []
        for number, rule in enumerate(self.rules):
            if alerts and self.match == "first":
                break
            try:
                function = self._alone(number, type_)
                if function is None or not function(get):
                    continue
            except Exception:  # whatever it is, it is the event's
                unasked.append(rule.name)
                continue
            try:
                alerts.append(self._alert(rule, event, hostname))
            except Exception:  # it is true: that is told, and nothing of what cannot be
                alerts.append(Alert(rule.name, rule.level, rule.source,
                                    f"{rule.name} (a value of the event is not of its field's type)", {}, rule.tags,
                                    None, hostname))
        return Severally(alerts, unasked)

    def _alone(self, number: int, type_: str) -> Matches | None:
        key = number, type_
        if key not in self._single:
            self._single[key] = compiled([(number, self.rules[number].condition)],
                                         Residuals(self.source, type_ or None))
        return self._single[key]

    def matched(self, event_type: str, event: Event | Mapping[str, Any]) -> list[str]:
        """Names of the rules that are true of `event`, whatever `match` is, in the order of the files."""
        if self._reader is not None and isinstance(event, dict):
            event = self._reader(event)
        function = self._functions[event_type] if event_type in self._functions else self._function(event_type)
        return [] if function is None else [self.rules[number].name for number in sorted(function(event.get))]

    def event_types(self) -> frozenset[str]:
        """Types of which some rule may be true: the others need not be looked at."""
        types = EVENTS if self.source == "syscall" else (PLUGIN_EVENT,)
        return frozenset(name for name in types if any(
            Residuals(self.source, name).formula(rule.condition) is not False for rule in self.rules))

    def explain(self, name: str, event_type: str, event: Event | Mapping[str, Any]) -> tuple[bool, Trace]:
        """Is rule `name` true of `event`, and which comparison gave what: the steps are of the rule's text in full."""
        rule = self.ruleset[name]
        if self._reader is not None and isinstance(event, dict):
            event = self._reader(event)
        text, spans = rendered(rule.condition)
        trace = Trace(Source(text, name))
        get = event.get
        holds = traced(rule.condition, trace.note, iter(spans))

        def typed(field: str) -> Any:
            return event_type if field == "evt.type" else get(field)

        return holds(typed), trace

    def _function(self, event_type: str) -> Matches | None:
        known = event_type in EVENTS
        key = event_type if known else ""  # names that nobody knows share one
        if key not in self._functions:
            formulas = [(number, rule.condition) for number, rule in enumerate(self.rules)]
            self._functions[key] = compiled(formulas, Residuals(self.source, event_type if known else None))
        function = self._functions[key]
        if known or function is None:
            return function
        shared = function
        return lambda get: shared(lambda name: event_type if name == "evt.type" else get(name))

    def _alert(self, rule: Rule, event: Event | Mapping[str, Any], hostname: str) -> Alert:
        time = event.get("evt.rawtime")
        return Alert(rule.name, rule.level, rule.source, rule.output.text(event), rule.output.fields(event), rule.tags,
                     time if isinstance(time, int) else None, hostname)

    def _malformed(self, event: Event | Mapping[str, Any], wrong: Exception) -> InvalidError:
        """Which field it was: looked for only once something went wrong."""
        for asked in {leaf for rule in self.rules for leaf in _reads(rule.condition)}:
            expected = _PYTHON.get(asked.type)
            if asked.kind != "field" or expected is None:
                continue
            value = event.get(fields.READ_AS.get(asked.name, asked.name))
            values = value if asked.shape is not Shape.ONE and isinstance(value, (list, tuple)) else [value]
            for member in values:
                if member is not None and not isinstance(member, expected):
                    return InvalidError(f"event field {asked.name}", got=member, expected=expected[0].__name__)
        return InvalidError("event", got=str(wrong), expected="values of their fields' types")

    def __reduce__(self) -> tuple[Any, ...]:
        return _compiled, (self.ruleset, self.source, self.match)


def _reads(formula: Formula) -> Iterator[Read]:
    if not isinstance(formula, bool):
        for asked in reads(formula):
            yield from _leaves(asked)


def _leaves(asked: Read) -> Iterator[Read]:
    yield asked
    for argument in asked.arguments:
        yield from _leaves(argument)
