"""Kyverno's conditions, `{key, operator, value}` in `any` and `all` blocks (pkg/engine/variables/operator of 1.17)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.languages import kpattern
from custody.languages.go.durations import parse as duration
from custody.languages.go.printing import read_number as number
from custody.languages.go.printing import sprint
from custody.languages.go.quantities import number as quantity
from custody.languages.go.wildcards import glob
from custody.languages.jmespath.values import same
from custody.languages.variables import Roots, compile_value

Conditions = Callable[[Any, datetime], tuple[bool, str]]
"""(context, now) → whether they hold, and the messages of the conditions that decided. Raises QueryError."""

_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?\Z", re.ASCII)


def compile_conditions(block: Any, where: str, roots: Roots, *, explain: bool = False) -> Conditions:
    """Compile `{any: […], all: […]}`, a list of such blocks, or the old plain list of conditions (all of it).

    With `explain`, a condition without a message says what it got and wanted where it does not hold.
    """
    if isinstance(block, list):
        if block and all(isinstance(entry, dict) and "key" in entry for entry in block):
            block = [{"all": block}]
        parts = [compile_conditions(entry, f"{where}[{at}]", roots, explain=explain) for at, entry in enumerate(block)]

        def every(data: Any, now: datetime) -> tuple[bool, str]:
            messages = []
            for part in parts:
                holds, message = part(data, now)
                if not holds:
                    return False, message
                messages.append(message)
            return True, _join(messages)

        return every
    if not isinstance(block, dict) or not block or set(block) - {"any", "all"}:
        raise MalformedError(where, got=_shape(block), expected="`any` and `all`, lists of conditions")
    if any(not isinstance(block[name], list) or not block[name] for name in block):
        raise MalformedError(where, got="an empty list or none", expected="at least one condition in `any` and `all`")
    one_of = [_condition(entry, f"{where}.any[{at}]", roots, explain) for at, entry in enumerate(block.get("any", []))]
    all_of = [_condition(entry, f"{where}.all[{at}]", roots, explain) for at, entry in enumerate(block.get("all", []))]

    def holds(data: Any, now: datetime) -> tuple[bool, str]:
        good: list[str] = []
        bad: list[str] = []
        any_holds = not one_of
        for condition in one_of:
            any_holds, message = condition(data, now)
            (good if any_holds else bad).append(message)
            if any_holds:
                break
        all_hold = True
        for condition in all_of:
            all_hold, message = condition(data, now)
            (good if all_hold else bad).append(message)
            if not all_hold:
                break
        result = any_holds and all_hold
        return result, _join(good if result else bad)

    return holds


def _condition(entry: Any, where: str, roots: Roots, explain: bool) -> Conditions:
    if not isinstance(entry, dict) or "key" not in entry or "operator" not in entry:
        raise MalformedError(where, got=_shape(entry), expected="a condition of key, operator and value")
    if unknown := set(entry) - {"key", "operator", "value", "message"}:
        raise UnsupportedError(f"{where}.{min(unknown)}", "not evaluated by custody yet")
    name = entry["operator"]
    if name not in _OPERATORS:
        raise UnsupportedError(f"{where}.operator", f"operator {name} is not evaluated by custody yet",
                               hint="these are: " + ", ".join(_OPERATORS))
    key, value, operate = entry["key"], entry.get("value"), _OPERATORS[name]
    fill_key = compile_value(key, f"{where}.key", roots)
    fill_value = compile_value(value, f"{where}.value", roots)
    message = entry.get("message") or ""
    fill_message = compile_value(message, f"{where}.message", roots)

    def condition(data: Any, now: datetime) -> tuple[bool, str]:
        got = fill_key(data, now) if fill_key else key
        wanted = fill_value(data, now) if fill_value else value
        holds = operate(got, wanted)
        if explain and not holds:
            stale = "stale: " if isinstance(key, str) and "time_since(" in key else ""
            shown = f"{stale}{sprint(key)} is {sprint(got)[:200]}, expected {name} {sprint(wanted)[:200]}"
            return holds, _join([sprint(fill_message(data, now)) if fill_message else message, shown])
        return holds, sprint(fill_message(data, now)) if fill_message else message

    return condition


def _join(messages: list[str]) -> str:
    return "; ".join(message for message in messages if message)


def _shape(value: Any) -> str:
    return f"keys {', '.join(map(str, value))}" if isinstance(value, dict) else type(value).__name__


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _durations(key: Any, value: Any) -> tuple[int, int] | None:
    """Both as nanoseconds where one is a duration and the other a duration or a number of seconds."""
    parsed = [duration(side) if isinstance(side, str) and side != "0" else None for side in (key, value)]
    if parsed == [None, None]:
        return None
    for at, side in enumerate((key, value)):
        if parsed[at] is None:
            if not _is_number(side) or abs(side) > 2**62:
                return None
            parsed[at] = int(side) * 10**9
    return parsed[0] or 0, parsed[1] or 0


# ── equality ────────────────────────────────────────────────────────────────────────────────────────────────────────

def _equal(key: Any, value: Any) -> bool | None:
    """None where the two cannot be compared: neither Equals nor NotEquals holds for some, both for others."""
    if isinstance(key, bool):
        return key == value if isinstance(value, bool) else False
    if _is_number(key):
        if isinstance(value, str):
            return number(value) == float(key)
        return float(value) == float(key) if _is_number(value) else False
    if isinstance(key, str):
        if (both := _durations(key, value)) is not None:
            return both[0] == both[1]
        if isinstance(value, str):
            if (size := quantity(key)) is not None:
                other = quantity(value)
                return size == other if other is not None else None if value else False
            return glob(value, key)
        return False
    if isinstance(key, (dict, list)):
        return type(key) is type(value) and same(key, value)
    return None


# ── membership ──────────────────────────────────────────────────────────────────────────────────────────────────────

def _either(one: str, other: str) -> bool:
    return glob(one, other) or glob(other, one)


def _texts(value: str) -> list[str] | None:
    """A text that is JSON must be a list of texts; any other text is a list of itself."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return [value]
    return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else None


def _one_in(key: str, value: Any) -> bool | None:
    if isinstance(value, list):
        return any(_either(sprint(one), key) for one in value)
    if not isinstance(value, str):
        return None
    if glob(value, key):
        return True
    if kpattern.operator(value) == "-":
        return kpattern.scalar(value)(key)
    texts = _texts(value)
    return None if texts is None else key in texts


def _many_in(keys: list[str], value: Any, quantifier: str) -> bool | None:
    """quantifier: AnyIn, AllIn, AnyNotIn or AllNotIn."""
    def judge(found: list[bool]) -> bool:
        return {"AnyIn": any(found), "AllIn": all(found),
                "AnyNotIn": not all(found), "AllNotIn": not any(found)}[quantifier]

    if isinstance(value, list):
        texts: list[str] | None = [sprint(one) for one in value]
    elif isinstance(value, str):
        if keys == [value]:
            return judge([True])
        if kpattern.operator(value) == "-":
            if quantifier == "AnyNotIn":
                return any(map(kpattern.scalar(value.replace("-", "!-", 1)), keys))
            return judge([kpattern.scalar(value)(key) for key in keys])
        texts = _texts(value)
    elif quantifier.startswith("Any") and (_is_number(value) or isinstance(value, bool)):
        texts = [sprint(value)]
    else:
        texts = None
    return None if texts is None else judge([any(_either(key, text) for text in texts) for key in keys])


def _membership(quantifier: str) -> Callable[[Any, Any], bool]:
    negative = quantifier.endswith("NotIn")

    def operate(key: Any, value: Any) -> bool:
        if isinstance(key, list):
            return _many_in([sprint(one) for one in key], value, quantifier) is True
        if not isinstance(key, (str, int, float)):
            return False
        found = _one_in(sprint(key), value)
        return found is not None and found != negative

    return operate


# ── order ───────────────────────────────────────────────────────────────────────────────────────────────────────────

def _order(key: Any, value: Any) -> float | None:
    """Below, at or above zero as key is below, at or above value; None where they cannot be compared."""
    if isinstance(key, bool) or not isinstance(key, (str, int, float)):
        return None
    if (both := _durations(key, value)) is not None:
        return both[0] - both[1]
    if isinstance(key, str):
        if isinstance(value, str) and (one := quantity(key)) is not None and (other := quantity(value)) is not None:
            return float(one > other) - float(one < other)
        read = number(key)
        if read is None:
            return _versions(key, value)
        return _order(read, value)
    if isinstance(value, str):
        value = number(value)
    return float(key) - float(value) if _is_number(value) else None


def _versions(key: str, value: Any) -> float | None:
    one, other = (_SEMVER.match(text) if isinstance(text, str) else None for text in (key, value))
    if one is None or other is None:
        return None
    left, right = _precedence(one), _precedence(other)
    return float(left > right) - float(left < right)


def _precedence(found: re.Match[str]) -> tuple[Any, ...]:
    numbers = tuple(int(found[at]) for at in (1, 2, 3))
    if found[4] is None:
        return (*numbers, (1,))
    return (*numbers, (0, *((0, int(part), "") if part.isdigit() else (1, 0, part) for part in found[4].split("."))))


def _ordered(test: Callable[[float], bool]) -> Callable[[Any, Any], bool]:
    def operate(key: Any, value: Any) -> bool:
        order = _order(key, value)
        return order is not None and test(order)

    return operate


def _not_equals(key: Any, value: Any) -> bool:
    return _equal(key, value) is False


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": lambda key, value: _equal(key, value) is True,
    "Equal": lambda key, value: _equal(key, value) is True,
    "NotEquals": _not_equals,
    "NotEqual": _not_equals,
    **{name: _membership(name) for name in ("AnyIn", "AllIn", "AnyNotIn", "AllNotIn")},
    "GreaterThan": _ordered(lambda order: order > 0),
    "GreaterThanOrEquals": _ordered(lambda order: order >= 0),
    "LessThan": _ordered(lambda order: order < 0),
    "LessThanOrEquals": _ordered(lambda order: order <= 0),
}
