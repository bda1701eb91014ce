"""Looks for secrets in texts of any length, a window at a time: which rules may speak, where they match, the proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import re2

from custody.exposure.rules import RULES, Rule

_WINDOW, _OVERLAP = 1 << 20, 20 << 10
_HEAD, _NEAR = 1024, 8192
_MOST = 100
"""Of one file; a list of keys is one mistake."""
_OPTIONS = re2.Options()
_OPTIONS.encoding = re2.Options.Encoding.LATIN1
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 64 << 20


class Hit(NamedTuple):
    rule: Rule
    line: int
    shown: str
    """What of it may be shown."""


def hits(path: str, pieces: Iterable[bytes], spend: Callable[[int], None] = lambda _: None) -> list[Hit]:
    """The secrets in a file of this path, at most a hundred. Files that are no text are held to `exact` rules only.

    `spend` is told of each place that a pattern matches, secret or not, and may raise.
    """
    rules: tuple[Rule, ...] | None = None
    told: dict[tuple[int, int], Hit] = {}
    for place, line, window in _windows(pieces):
        if rules is None:
            rules = _rules_of(path, text=b"\0" not in window[:_HEAD])
        for rule in _speaking(rules, window):
            for match in _matches(rule, window):
                spend(1)
                start, end = match.span(1)
                secret = match.group(1).decode("latin-1")
                if not rule.proof(secret) or (path.endswith(".xml") and _commented(window, start)):
                    continue
                spot = place + start, place + end
                if spot not in told and not any(begin < spot[1] and spot[0] < finish for begin, finish in told):
                    told[spot] = Hit(rule, line + window.count(b"\n", 0, start), _shown(rule, secret))
                if len(told) == _MOST:
                    return _in_order(told)
    return _in_order(told)


def _matches(rule: Rule, window: bytes) -> Iterator[Any]:
    """Each goes on where the secret before it ended: what separates two belongs to both."""
    pattern, place = _pattern(rule), 0
    while match := pattern.search(window, place):
        yield match
        place = max(match.end(1), place + 1)


def _commented(window: bytes, place: int) -> bool:
    """Whether it stands in a comment of XML: nobody reads credentials from there, and settings come with examples."""
    first = max(0, place - _NEAR)
    return window.rfind(b"<!--", first, place) > window.rfind(b"-->", first, place)


def _in_order(told: dict[tuple[int, int], Hit]) -> list[Hit]:
    return [told[spot] for spot in sorted(told)]


def _windows(pieces: Iterable[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Offset, first line and bytes; each piece begins with the end of the piece before it."""
    place, line, held, size = 0, 1, [b""], 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _WINDOW:
            window = b"".join(held)
            yield place, line, window
            keep = window[-_OVERLAP:]
            place += len(window) - len(keep)
            line += window.count(b"\n", 0, len(window) - len(keep))
            held, size = [keep], len(keep)
    if window := b"".join(held):
        yield place, line, window


@cache
def _named() -> tuple[tuple[str, Rule], ...]:
    return tuple((name, rule) for rule in RULES for name in rule.names)


def _rules_of(path: str, *, text: bool) -> tuple[Rule, ...]:
    """The rules for such a file; those that need a name where the path ends so."""
    if not text:
        return _EXACT
    special = tuple(dict.fromkeys(rule for name, rule in _named() if path.endswith(name)))
    return _ANYWHERE + special if special else _ANYWHERE


def _speaking(rules: tuple[Rule, ...], window: bytes) -> list[Rule]:
    """Those of which a sign is there, in one pass over the window."""
    signs, owners = _signs(rules)
    seen = {owners[number] for number in signs.Match(window) or ()}
    return [rule for number, rule in enumerate(rules) if number in seen]


@cache
def _signs(rules: tuple[Rule, ...]) -> tuple[Any, tuple[int, ...]]:
    signs = re2.Set.SearchSet(_OPTIONS)
    owners = []
    for number, rule in enumerate(rules):
        for sign in rule.signs:
            signs.Add(sign)
            owners.append(number)
    signs.Compile()
    return signs, tuple(owners)


@cache
def _pattern(rule: Rule) -> Any:
    return re2.compile(rule.pattern.encode(), _OPTIONS)


def _shown(rule: Rule, secret: str) -> str:
    """The beginning that says whose it is, never what opens anything; of a password only its length."""
    if secret.startswith("-----"):
        return f"{secret.partition(chr(10))[0].strip()[:60]} and {len(secret)} characters"
    return f"{secret[:rule.shown]}…, {len(secret)} characters"


_ANYWHERE = tuple(rule for rule in RULES if not rule.names)
_EXACT = tuple(rule for rule in RULES if rule.exact)
