"""Which versions are affected, as other scanners' databases state it: `>=1.0, <1.4 || =2.0`, `~> 1.4.2`, `^2.0`.

Constraints become intervals, by the order of the ecosystem, and those become ranges of advisories. What cannot be put
in order stays in its range as it was written, for the comparison to say that it cannot be decided.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from custody.errors import CustodyError, UnsupportedError
from custody.formats.advisories.fields import EVERY
from custody.formats.osv import Range
from custody.versions import key

_LONGEST = 64 << 10
_DIGITS = 18
_TERM = re.compile(r"\s*(?P<operator>===?|!=|>=|=>|<=|=<|~>|~=|[=<>~^]?)\s*"
                   r"(?P<version>[^\s,|<>=~^!()\[\]][^\s,|<>=!()\[\]]*)\s*,?")
_SPELLINGS = {"": "=", "==": "=", "===": "=", "=>": ">=", "=<": "<="}
_NUMBERS = re.compile(r"[vV]?([0-9]+(?:\.[0-9]+)*)(.*)\Z")
_ANY = ("*", "x", "X")


class _Interval(NamedTuple):
    """From `low` (empty: from the first) to `high` (empty: without end)."""

    low: str
    without_low: bool
    high: str
    with_high: bool


def ranges(ecosystem: str, vulnerable: Sequence[str], secure: Sequence[str] = ()) -> tuple[Range, ...]:
    """What any of `vulnerable` allows, or everything where there is none, but for what any of `secure` allows.

    Raises UnsupportedError for what is no constraint.
    """
    affected, safe = ([interval for text in texts for interval in _alternatives(ecosystem, text)]
                      for texts in (vulnerable or ["*"], secure))
    try:
        return tuple(map(_range, _without(ecosystem, affected, safe)))
    except CustodyError:
        if safe:
            raise UnsupportedError(" || ".join(secure)[:200], "versions that have no order") from None
        return tuple(map(_range, affected))


def with_fixes(ecosystem: str, spans: Sequence[Range], fixes: Iterable[str]) -> tuple[Range, ...]:
    """Ranges up to a last affected version, each with the first fix behind it."""
    if all(span.events[-1][0] != "last_affected" for span in spans):
        return tuple(spans)
    ordered = []
    for fix in fixes:
        with contextlib.suppress(CustodyError):  # what has no place in the order is no next version
            ordered.append((key(ecosystem, fix), fix))
    result = []
    for span in spans:
        kind, last = span.events[-1]
        if kind == "last_affected":
            with contextlib.suppress(CustodyError):
                behind = [pair for pair in ordered if pair[0] > key(ecosystem, last)]
                span = Range(span.kind, (*span.events, ("fixed", min(behind)[1]))) if behind else span
        result.append(span)
    return tuple(result)


def undecidable(text: str) -> tuple[Range, ...]:
    """A range of which nothing can be said but that it is there."""
    return (Range("UNREAD", (("introduced", text[:200]),)),)


def _alternatives(ecosystem: str, text: str) -> list[_Interval]:
    if len(text) > _LONGEST:
        raise UnsupportedError("constraint", f"{len(text)} characters")
    # With runs of white space, a term would be looked for from each place of a run to its end.
    return [interval for part in re.split(r"\|\|?", re.sub(r"\s+", " ", text))
            for interval in _conjunction(ecosystem, part)]


def _conjunction(ecosystem: str, text: str) -> list[_Interval]:
    """An interval, or what is left of an interval around versions that are left out (`!=`)."""
    if text.strip() in ("", *_ANY):
        return [_ALL]
    if match := re.fullmatch(r"\s*(\S+)\s+-\s+(\S+)\s*", text):  # npm: `1.0 - 2.0`
        return [_Interval(match[1], False, match[2], True)]
    lows: list[tuple[str, bool]] = []
    highs: list[tuple[str, bool]] = []
    apart: list[_Interval] = []
    place = 0
    while place < len(text):
        match = _TERM.match(text, place)
        if match is None or match.end() == place:
            if not text[place:].strip():
                break
            raise UnsupportedError(text[:200], "no constraint on versions")
        place = match.end()
        operator, version = _SPELLINGS.get(match["operator"], match["operator"]), match["version"]
        if operator == "!=":
            apart.append(_term("=", version, text))
            continue
        interval = _term(operator, version, text)
        if interval.low:
            lows.append((interval.low, interval.without_low))
        if interval.high:
            highs.append((interval.high, interval.with_high))
    if len(set(lows)) > 1 or len(set(highs)) > 1:
        raise UnsupportedError(text[:200], "several limits on one side")
    low, without_low = lows[0] if lows else ("", False)
    high, with_high = highs[0] if highs else ("", False)
    around = _Interval(low, without_low, high, with_high)
    if not apart:
        return [around]
    try:
        return _without(ecosystem, [around], apart)
    except CustodyError:
        raise UnsupportedError(text[:200], "!= of versions that have no order") from None


def _term(operator: str, version: str, text: str) -> _Interval:
    parts = version.split(".")
    while len(parts) > 1 and parts[-1] in _ANY:
        parts.pop()
    wild, version = len(parts) <= version.count("."), ".".join(parts)
    if operator in ("~", "^", "~>", "~=") or (operator == "=" and wild):
        return _family(operator, version, text)
    if wild and operator in ("<=", ">"):  # all of 1.x are on one side: `<=1.x` is `<2`, `>1.x` is `>=2`
        operator, version = {"<=": "<", ">": ">="}[operator], _family("=", version, text).high
    if operator == "=":
        return _Interval(version, False, version, True)
    if operator in (">", ">="):
        return _Interval(version, operator == ">", "", False)
    return _Interval("", False, version, operator == "<=")


def _family(operator: str, version: str, text: str) -> _Interval:
    """From a version to the next that is not compatible.

    `~> 1.4.2` (RubyGems) and `~=` (PEP 440): below 1.5, the last number but one; `~1.4.2`: below 1.5; `^1.4.2`: below
    2, by the first number that is not 0 (node-semver); `=1.4.*`: below 1.5.
    """
    match = _NUMBERS.match(version)
    if match is None:
        raise UnsupportedError(text[:200], f"{version} has no numbers to count on")
    texts = match[1].split(".")
    if max(map(len, texts)) > _DIGITS:
        raise UnsupportedError(text[:200], f"a number of more than {_DIGITS} digits")
    numbers = [int(number) for number in texts]
    if operator in ("~>", "~="):
        kept = max(len(numbers) - 1, 1)
    elif operator == "~":
        kept = min(len(numbers), 2)
    elif operator == "^":
        kept = next((place for place, number in enumerate(numbers, 1) if number), len(numbers))
    else:
        kept = len(numbers)
    above = [*numbers[:kept - 1], numbers[kept - 1] + 1]
    return _Interval(version, False, ".".join(map(str, above)), False)


_ALL = _Interval("", False, "", False)


class _Bound(NamedTuple):
    """A place between versions. Smaller is further down: before a version, then behind it."""

    kind: int
    """0 before all, 1 at a version, 2 behind all."""
    place: Any
    behind: bool
    version: str


_FIRST, _LAST = _Bound(0, 0, False, ""), _Bound(2, 0, False, "")


def _without(ecosystem: str, affected: Iterable[_Interval], safe: Iterable[_Interval]) -> list[_Interval]:
    """Intervals that do not meet each other, in order. Raises MalformedError where versions have none."""
    spans = _joined(ecosystem, affected)
    for low, high in _joined(ecosystem, safe):
        left = []
        for begin, end in spans:
            if begin < low:
                left.append((begin, min(end, low)))
            if high < end:
                left.append((max(begin, high), end))
        spans = left
    return [_Interval(low.version, low.behind, high.version, high.behind) for low, high in spans if low < high]


def _joined(ecosystem: str, intervals: Iterable[_Interval]) -> list[tuple[_Bound, _Bound]]:
    bounds = []
    for interval in intervals:
        low = _FIRST if interval.low in ("", "0") and not interval.without_low else _Bound(
            1, key(ecosystem, interval.low), interval.without_low, interval.low)
        high = _LAST if not interval.high else _Bound(1, key(ecosystem, interval.high), interval.with_high,
                                                      interval.high)
        if low < high:
            bounds.append((low, high))
    joined: list[tuple[_Bound, _Bound]] = []
    for low, high in sorted(bounds):
        if joined and low <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], high)
        else:
            joined.append((low, high))
    return joined


def _range(interval: _Interval) -> Range:
    if interval == _ALL:
        return EVERY
    begin = ("after", interval.low) if interval.without_low else ("introduced", interval.low or "0")
    if not interval.high:
        return Range("ECOSYSTEM", (begin,))
    return Range("ECOSYSTEM", (begin, ("last_affected" if interval.with_high else "fixed", interval.high)))
