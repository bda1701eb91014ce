"""Alerts that somebody has explained: suppressed, counted, and told again once the explanation is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from custody.errors import language_errors
from custody.formats.suppressions import Suppression
from custody.runtime.event import Place
from policylang.errors import InvalidError
from policylang.falco import Alert, Rule
from policylang.falco.conditions import Compiled, condition
from policylang.falco.output import MISSING, Token
from policylang.falco.values import fields
from policylang.falco.values.fields import Info, Shape, Type
from policylang.go.wildcards import has_wildcard, wildcard

OURS = "custody."


@dataclass
class Count:
    """What one suppression did since it was loaded; times are of the clock that was asked."""

    suppression: Suppression
    suppressed: int = 0
    last: datetime | None = None
    expired: int = 0
    """Alerts that it would have suppressed, had it not been over."""
    failed: int = 0
    """Alerts of which its condition could not be asked: a value was not of its field's type."""


class _Entry:
    def __init__(self, suppression: Suppression) -> None:
        self.count = Count(suppression)
        self.patterns = [wildcard(rule) for rule in suppression.rules if has_wildcard(rule)]
        self.rules = frozenset(rule for rule in suppression.rules if not has_wildcard(rule))
        with language_errors():
            self.condition: Compiled = condition(suppression.match, f"{suppression.place}.match", lookup)
        self.reads = [_plain(name) for name in self.condition.fields]

    def of(self, rule: str) -> bool:
        return rule in self.rules or any(matches(rule) for matches in self.patterns)

    def matches(self, alert: Alert) -> bool:
        """Never of an alert that lacks one of the fields: what is not told is not explained."""
        suppression = self.count.suppression
        if suppression.source and suppression.source != alert.source:
            return False
        told = alert.output_fields
        if any(told.get(name) in (None, MISSING) for name in self.reads):
            return False
        try:
            return self.condition(getter(told))
        except InvalidError:
            self.count.failed += 1
            return False


class Suppressions:
    """Implements runtime.detecting.Suppressor. `now` tells the time by which they end.

    Raises UsageError where a condition is none, or names no field.
    """

    def __init__(self, suppressions: Sequence[Suppression], now: Callable[[], datetime]) -> None:
        self._entries = [_Entry(suppression) for suppression in suppressions]
        self._now = now
        self._of: dict[str, list[_Entry]] = {}

    def swap(self, read: Suppressions) -> None:
        """Those that were read again take their places; one that is as it was counts on."""
        before = {_anywhere(entry): entry for entry in self._entries}
        self._entries = [before.get(_anywhere(entry), entry) for entry in read._entries]
        self._of = {}

    def __call__(self, alert: Alert, place: Place) -> str | None:  # noqa: ARG002
        entries = self._of.get(alert.rule)
        if entries is None:
            if len(self._of) > 10_000:  # rule names of others' alerts have no bound
                self._of.clear()
            entries = self._of[alert.rule] = [entry for entry in self._entries if entry.of(alert.rule)]
        for entry in entries:
            if not entry.matches(alert):
                continue
            now, count = self._now(), entry.count
            if over(count.suppression, now):
                count.expired += 1
                continue
            count.suppressed += 1
            count.last = now
            return count.suppression.name
        return None

    @property
    def counts(self) -> list[Count]:
        """Of each, in the order of the files."""
        return [entry.count for entry in self._entries]

    def remarks(self, rules: Iterable[Rule]) -> Iterator[tuple[Suppression, str, str]]:
        """What their authors may not mean, beside these rules: which, a code, and words."""
        known, now = list(rules), self._now()
        for entry in self._entries:
            suppression = entry.count.suppression
            if over(suppression, now):
                yield suppression, "suppression-expired", f"it is over since {suppression.until}: it suppresses nothing"
            of = [rule for rule in known if entry.of(rule.name)]
            if not of:
                yield suppression, "suppression-of-no-rule", f"no rule is named {', '.join(suppression.rules)}"
                continue
            lacking = [(rule, missing) for rule in of if (missing := self._lacks(entry, rule))]
            if len(lacking) == len(of):
                rule, missing = lacking[0]
                yield suppression, "suppression-blind", (
                    f"alerts of {rule.name} do not tell {', '.join(missing)}, so it never matches; add "
                    f"{' '.join(f'%{name}' for name in missing)} to the rule's output")

    @staticmethod
    def _lacks(entry: _Entry, rule: Rule) -> list[str]:
        told = {part.name for part in rule.output.parts if isinstance(part, Token)}
        return sorted(name for name in entry.reads if name not in told and not name.startswith(OURS))


def _anywhere(entry: _Entry) -> Suppression:
    return entry.count.suppression._replace(place="")


def over(suppression: Suppression, now: datetime) -> bool:
    return suppression.until is not None and now >= suppression.until


def lookup(name: str, argument: str | None) -> Info | None:
    """Fields of all sources, and those that enrichers put into alerts."""
    if name.startswith(OURS) and argument is None:
        return Info(name, Type.TEXT, Shape.ONE, "none")
    return fields.anywhere(name, argument)


def getter(told: Mapping[str, Any]) -> Callable[[str], Any]:
    """Output fields as a condition asks for them: those of enrichers are texts, whatever they are."""
    def get(name: str) -> Any:
        value = told.get(name)
        if not name.startswith(OURS) or value is None or isinstance(value, str):
            return value
        return str(value).lower() if isinstance(value, bool) else str(value)

    return get


def _plain(name: str) -> str:
    return fields.READ_AS.get(name, name)
