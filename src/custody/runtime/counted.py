"""What was seen, and what was not: numbers that a scrape reads."""

from __future__ import annotations

from collections import Counter

_NAMES = 1000
OTHERS = "(others)"


class Counted:
    """Of one process, since it began."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        """Events that were read, by input: those of no type that a rule asks about are among them."""
        self.alerts: Counter[tuple[str, str]] = Counter()
        """Alerts that were told, by rule and priority."""
        self.suppressed: Counter[str] = Counter()
        """By the name of the suppression."""
        self.folded: Counter[str] = Counter()
        """Alerts that were told as a number alone, by rule."""
        self.below: Counter[str] = Counter()
        """Alerts of a priority that nobody asked for, by rule."""
        self.lost: Counter[tuple[str, str]] = Counter()
        """Events that whoever saw them could not tell, by input and kind; what had no number counts 1."""
        self.malformed: Counter[str] = Counter()
        """Lines and requests that are no events of their format, by input."""
        self.unjudged: Counter[str] = Counter()
        """Events with a value of which a rule could make nothing, by input."""
        self.repaired: Counter[str] = Counter()
        """Events that were judged after what is no Unicode in them was replaced, by input."""
        self.backwards: Counter[str] = Counter()
        """Events that are older than the one before, by input. They are judged like all."""
        self.doubled: Counter[str] = Counter()
        """Events that came again, by input."""
        self.refused: Counter[str] = Counter()
        """Requests that were refused since there was no room or an output failed, by input."""

    def add(self, series: Counter[str], name: str) -> None:
        """One more. Rules of others' alerts may have any name, and a stranger must not make numbers without end."""
        series[name if name in series or len(series) < _NAMES else OTHERS] += 1

    def told(self, rule: str, priority: str) -> None:
        key = rule, priority
        self.alerts[key if key in self.alerts or len(self.alerts) < _NAMES else (OTHERS, priority)] += 1
