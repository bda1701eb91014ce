"""The operators of Kyverno's conditions: (key, value) → bool (pkg/engine/variables/operator of 1.17)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from policylang import kpattern
from policylang.go import semver
from policylang.go.durations import parse as duration
from policylang.go.printing import read_number, sprint
from policylang.go.quantities import number as quantity
from policylang.go.wildcards import glob
from policylang.jmespath import QueryError, same

Operator = Callable[[Any, Any], bool]
_SECOND = 10**9
_FARTHEST = 2**62
_COMPARED = 1_000_000  # of keys and values with wildcards, in one condition


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _durations(key: Any, value: Any) -> tuple[int, int] | None:
    """Both as nanoseconds where one is a duration and the other a duration or a number of seconds."""
    parsed = [duration(side) if isinstance(side, str) and side != "0" else None for side in (key, value)]
    if parsed == [None, None]:
        return None
    for at, side in enumerate((key, value)):
        if parsed[at] is None:
            if not is_number(side) or not abs(side) < _FARTHEST:
                return None
            parsed[at] = int(side) * _SECOND
    return parsed[0] or 0, parsed[1] or 0


# ── equality ────────────────────────────────────────────────────────────────────────────────────────────────────────

def _equal(key: Any, value: Any) -> bool | None:
    """None where the two cannot be compared: neither Equals nor NotEquals holds for some, both for others."""
    if isinstance(key, bool):
        return key == value if isinstance(value, bool) else False
    if is_number(key):
        if isinstance(value, str):
            return read_number(value) == float(key)
        return float(value) == float(key) if is_number(value) else False
    if isinstance(key, str):
        if (both := _durations(key, value)) is not None:
            return both[0] == both[1]
        if isinstance(value, str):
            if (size := quantity(key)) is not None:
                size_of_value = quantity(value)
                return size == size_of_value if size_of_value is not None else None if value else False
            return glob(value, key)
        return False
    if isinstance(key, (dict, list)):
        return type(key) is type(value) and same(key, value)
    return None


def equals(key: Any, value: Any) -> bool:
    return _equal(key, value) is True


def not_equals(key: Any, value: Any) -> bool:
    return _equal(key, value) is False


def _has_number(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_number, value.values()))
    return any(map(_has_number, value)) if isinstance(value, list) else is_number(value)


def _unlike(operate: Operator, otherwise: bool) -> Operator:
    """A value from a variable beside one that is written in the policy: their numbers, float64 and int64, differ
    inside of lists and maps."""
    def compare(key: Any, value: Any) -> bool:
        if isinstance(key, (dict, list)) and type(key) is type(value) and _has_number(key) and _has_number(value):
            return otherwise
        return operate(key, value)

    return compare


UNLIKE: dict[str, Operator] = {"Equals": _unlike(equals, False), "Equal": _unlike(equals, False),
                               "NotEquals": _unlike(not_equals, True), "NotEqual": _unlike(not_equals, True)}


# ── membership ──────────────────────────────────────────────────────────────────────────────────────────────────────

def _either(left: str, right: str) -> bool:
    return glob(left, right) or glob(right, left)


def _inside(keys: list[str], texts: list[str]) -> list[bool]:
    """Whether each key is among the texts, where either may have wildcards."""
    plain, wild = set(texts), [text for text in texts if "*" in text or "?" in text]
    inside = []
    compared = 0
    for key in keys:
        against = texts if "*" in key or "?" in key else wild
        compared += len(against)
        if compared > _COMPARED:
            raise QueryError(f"lists too long to compare: more than {_COMPARED} comparisons with wildcards")
        inside.append(key in plain or any(_either(key, text) for text in against))
    return inside


def _array(value: str) -> list[str] | None:
    """A text that is a JSON list of texts; null among them is an empty text."""
    try:
        texts = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if texts is None:
        return []
    if not isinstance(texts, list) or not all(text is None or isinstance(text, str) for text in texts):
        return None
    return [text or "" for text in texts]


def _texts(value: str) -> list[str] | None:
    """A text that is JSON must be a list of texts; any other text is a list of itself."""
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return [value]
    return _array(value)


def _one_in(key: str, value: Any) -> bool | None:
    if isinstance(value, list):
        return key in value or any(_either(sprint(element), key) for element in value)
    if not isinstance(value, str):
        return None
    if glob(value, key):
        return True
    if kpattern.operator(value) == "-":
        return kpattern.scalar(value)(key)
    texts = _texts(value)
    return None if texts is None else key in texts


_QUANTIFIERS: dict[str, Callable[[list[bool]], bool]] = {
    "AnyIn": any, "AllIn": all, "AnyNotIn": lambda inside: not all(inside), "AllNotIn": lambda inside: not any(inside)}


def _many_in(keys: list[str], value: Any, quantifier: str) -> bool | None:
    """quantifier: AnyIn, AllIn, AnyNotIn or AllNotIn."""
    judge = _QUANTIFIERS[quantifier]
    if isinstance(value, list):
        texts: list[str] | None = list(map(sprint, value))
    elif isinstance(value, str):
        if keys == [value]:
            return judge([True])
        if kpattern.operator(value) == "-":
            if quantifier == "AnyNotIn":
                return any(map(kpattern.scalar(value.replace("-", "!-", 1)), keys))
            return judge([kpattern.scalar(value)(key) for key in keys])
        texts = _texts(value)
    elif quantifier.startswith("Any") and (is_number(value) or isinstance(value, bool)):
        texts = [sprint(value)]
    else:
        texts = None
    return None if texts is None else judge(_inside(keys, texts))


def fixed(name: str, value: Any) -> Operator | None:
    """The operator for a value that is always this list of texts without wildcards; None for any other."""
    if name not in _SETS or not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        return None
    if any("*" in text or "?" in text for text in value):
        return None
    general, test = OPERATORS[name], _SETS[name](frozenset(value))

    def operate(key: Any, value: Any) -> bool:
        if type(key) is list:
            try:
                joined = "".join(key)
            except TypeError:
                return general(key, value)
            if "*" not in joined and "?" not in joined:
                return test(key)
        return general(key, value)

    return operate


_SETS: dict[str, Callable[[frozenset[str]], Callable[[list[str]], bool]]] = {
    "AnyIn": lambda texts: lambda keys: not texts.isdisjoint(keys), "AllIn": lambda texts: texts.issuperset,
    "AnyNotIn": lambda texts: lambda keys: not texts.issuperset(keys), "AllNotIn": lambda texts: texts.isdisjoint}


def _membership(quantifier: str) -> Operator:
    negative = quantifier.endswith("NotIn")

    def operate(key: Any, value: Any) -> bool:
        if isinstance(key, list):
            return _many_in(list(map(sprint, key)), value, quantifier) is True
        if not isinstance(key, (str, int, float)):
            return False
        inside = _one_in(sprint(key), value)
        return inside is not None and inside != negative

    return operate


def _old_membership(negative: bool) -> Operator:
    """In and NotIn, which are deprecated: wildcards for one key, plain equality for a list of keys."""
    def operate(key: Any, value: Any) -> bool:
        if isinstance(key, list):
            if not all(isinstance(element, str) for element in key):
                raise QueryError("interface conversion: a key of In or NotIn that is no text")
            if isinstance(value, str):
                if key == [value]:
                    return True
                value = _array(value)
            if not isinstance(value, list) or not all(isinstance(element, str) for element in value):
                return False
            return (not set(key) <= set(value)) if negative else set(key) <= set(value)
        if not isinstance(key, (str, int, float)):
            return False
        text = sprint(key)
        if isinstance(value, list):
            return any(_either(sprint(element), text) for element in value) != negative
        if not isinstance(value, str):
            return False
        if glob(value, text):
            return not negative
        texts = _array(value)
        return texts is not None and (text in texts) != negative

    return operate


# ── order ───────────────────────────────────────────────────────────────────────────────────────────────────────────

def _order(key: Any, value: Any) -> float | None:
    """Below, at or above zero as key is below, at or above value; None where they cannot be compared."""
    if isinstance(key, bool) or not isinstance(key, (str, int, float)):
        return None
    if (both := _durations(key, value)) is not None:
        return both[0] - both[1]
    if isinstance(key, str):
        sizes = (quantity(key), quantity(value)) if isinstance(value, str) else (None, None)
        if sizes[0] is not None and sizes[1] is not None:
            return float(sizes[0] > sizes[1]) - float(sizes[0] < sizes[1])
        number = read_number(key)
        return _versions(key, value) if number is None else _order(number, value)
    if isinstance(value, str):
        value = read_number(value)
    return float(key) - float(value) if is_number(value) else None


def _versions(key: str, value: Any) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        return semver.compare(semver.parse(key), semver.parse(value))
    except semver.VersionError:
        return None


def _elapsed(value: Any) -> int | None:
    """A duration, or a number of seconds without its fraction, as nanoseconds."""
    if isinstance(value, str):
        return duration(value)
    return int(value) * _SECOND if is_number(value) and abs(value) < _FARTHEST else None


def _duration_order(key: Any, value: Any) -> float | None:
    left, right = _elapsed(key), _elapsed(value)
    return None if left is None or right is None else left - right


def _ordered(order: Callable[[Any, Any], float | None], test: Callable[[float], bool]) -> Operator:
    def operate(key: Any, value: Any) -> bool:
        difference = order(key, value)
        return difference is not None and test(difference)

    return operate


_TESTS: dict[str, Callable[[float], bool]] = {
    "GreaterThan": lambda order: order > 0, "GreaterThanOrEquals": lambda order: order >= 0,
    "LessThan": lambda order: order < 0, "LessThanOrEquals": lambda order: order <= 0}

OPERATORS: dict[str, Operator] = {
    "Equals": equals, "Equal": equals, "NotEquals": not_equals, "NotEqual": not_equals,
    **{name: _membership(name) for name in ("AnyIn", "AllIn", "AnyNotIn", "AllNotIn")},
    "In": _old_membership(False), "NotIn": _old_membership(True),
    **{name: _ordered(_order, test) for name, test in _TESTS.items()},
    **{f"Duration{name}": _ordered(_duration_order, test) for name, test in _TESTS.items()},
}
