"""Kyverno's pattern language: a pattern is compiled once into functions and matched against many resources.

Semantics are those of Kyverno 1.17 (pkg/engine/validate, anchor, pattern, wildcards), down to its paths and messages,
with one deliberate difference: whether a mismatch skips a rule is known from where it arose, never from words in its
message, so a resource cannot talk itself out of a rule by containing those words.
"""

# ruff: noqa: ARG001 - all compiled functions have one signature
from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.languages.go.durations import parse as duration
from custody.languages.go.numbers import format_float
from custody.languages.go.printing import read_number as number
from custody.languages.go.printing import sprint
from custody.languages.go.quantities import number as quantity
from custody.languages.go.wildcards import wildcard

_ANCHOR = re.compile(r"([+<=X^])?\((.+)\)\Z", re.DOTALL)
_NUMBER = r"([-|+]?[0-9]+(?:\.[0-9]+)?[A-Za-z]*)"
_RANGE = re.compile(rf"{_NUMBER}-{_NUMBER}\Z")
_NOT_RANGE = re.compile(rf"{_NUMBER}!-{_NUMBER}\Z")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "": lambda a, b: a == b, "!": lambda a, b: a != b, ">": lambda a, b: a > b, "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b}

Scalar = Callable[[Any], bool]


class Mismatch(NamedTuple):
    """Why a resource does not match; `path` is "" where Kyverno calls it an error of the rule."""

    message: str
    path: str
    skip: bool


class _Failure(NamedTuple):
    message: str
    path: str
    kind: str = ""
    """`skip` for conditional and global anchors, `negation`, or "" for all else."""


_Check = Callable[[Any, str, dict[str, bool]], "_Failure | None"]


def anchor(key: str) -> tuple[str | None, str]:
    """`=(image)` is ("=", "image"); a plain key has None for its anchor."""
    found = _ANCHOR.match(key.strip())
    return (found[1] or "", found[2]) if found else (None, key)


def operator(pattern: str) -> str:
    """The operator that a text pattern begins with; `-` and `!-` for ranges."""
    if len(pattern) < 2:
        return ""
    for sign in (">=", "<=", ">", "<", "!"):
        if pattern.startswith(sign):
            return sign
    return "!-" if _NOT_RANGE.match(pattern) else "-" if _RANGE.match(pattern) else ""


def matcher(pattern: Any, where: str = "pattern") -> Callable[[Any], Mismatch | None]:
    """Compile a pattern. Raises MalformedError for one that could never be evaluated."""
    _refuse(pattern, where)
    check = _compile(pattern)

    def match(resource: Any) -> Mismatch | None:
        seen: dict[str, bool] = {}
        failure = check(resource, "/", seen)
        if failure is None:
            return None
        if failure.kind == "skip":
            return Mismatch(failure.message, "", True)
        missing = any(not here and anchor(key)[0] != "X" for key, here in seen.items())
        return Mismatch(failure.message, "" if missing and failure.kind != "negation" else failure.path, False)

    return match


def _refuse(pattern: Any, where: str) -> None:
    if isinstance(pattern, dict):
        for key, value in pattern.items():
            kind = anchor(key)[0]
            if kind == "+":
                raise MalformedError(f"{where}.{key}", got="an add anchor", expected="() =() ^() X() or <()")
            if kind == "^" and not (isinstance(value, list) and value and all(isinstance(e, dict) for e in value)):
                raise MalformedError(f"{where}.{key}", got=sprint(value), expected="a list of maps")
            _refuse(value, f"{where}.{key}")
    elif isinstance(pattern, list):
        if not pattern:
            raise MalformedError(where, got="an empty list", expected="at least one element")
        for position, value in enumerate(pattern):
            _refuse(value, f"{where}[{position}]")


def _compile(pattern: Any) -> _Check:
    if isinstance(pattern, dict):
        return _expanding(pattern) or _map(pattern)
    if isinstance(pattern, list):
        return _array(pattern)
    return _leaf(pattern)


# ── leaves ──────────────────────────────────────────────────────────────────────────────────────────────────────────

def _leaf(pattern: Any) -> _Check:
    matches = scalar(pattern)
    shown = sprint(pattern)

    def check(value: Any, path: str, seen: dict[str, bool]) -> _Failure | None:
        if all(map(matches, value)) if type(value) is list else matches(value):
            return None
        return _Failure(f"resource value '{sprint(value)}' does not match '{shown}' at path {path}", path)

    return check


@lru_cache(4096, typed=True)
def scalar(pattern: str | int | float | bool | None) -> Scalar:
    """Whether a value matches a pattern that is no map and no list."""
    if isinstance(pattern, str):
        choices = [[_condition(part.strip(" ")) for part in choice.strip(" ").split("&")]
                   for choice in pattern.split("|")]
        if len(choices) == 1 and len(choices[0]) == 1:
            only = choices[0][0]
            return lambda value: value == pattern or only(value)
        return lambda value: value == pattern or any(all(one(value) for one in choice) for choice in choices)
    if isinstance(pattern, bool):
        return lambda value: value is pattern
    if pattern is None:
        return lambda value: not isinstance(value, (dict, list)) and not value
    text = _integer if isinstance(pattern, int) else number

    def by_number(value: Any) -> bool:
        if isinstance(value, bool):
            return False
        if isinstance(value, str):
            return text(value) == pattern
        return isinstance(value, (int, float)) and value == pattern

    return by_number


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,19}", text) else None


def _condition(pattern: str) -> Scalar:
    sign = operator(pattern)
    if sign in ("-", "!-"):
        low, high = pattern.split(sign)[:2]
        above, below = (">=", "<=") if sign == "-" else ("<", ">")
        left, right = _condition(f"{above} {low}"), _condition(f"{below} {high}")
        if sign == "-":
            return lambda value: left(value) and right(value)
        return lambda value: left(value) or right(value)
    operand = pattern[len(sign):].strip()
    compare = _COMPARE[sign]
    as_duration, as_quantity = duration(operand), quantity(operand)
    match = wildcard(operand)

    def check(value: Any) -> bool:
        if as_duration is not None or as_quantity is not None:
            text = _number_text(value)
            if text is not None:
                if as_duration is not None and (got := duration(text)) is not None:
                    return compare(got, as_duration)
                if as_quantity is not None and (size := quantity(text)) is not None:
                    return compare(size, as_quantity)
        if sign not in ("", "!"):
            return False
        text = value if type(value) is str else _value_text(value)
        return text is not None and match(text) == (sign == "")

    return check


def _number_text(value: Any) -> str | None:
    if value is None:
        return "0"
    if isinstance(value, float):
        return f"{value:f}"
    return value if isinstance(value, str) else str(value) if type(value) is int else None


def _value_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return format_float(value, "E") if isinstance(value, float) else str(value) if isinstance(value, int) else None


# ── lists ───────────────────────────────────────────────────────────────────────────────────────────────────────────

def _array(pattern: list[Any]) -> _Check:
    if isinstance(pattern[0], list):
        checks = [_compile(part) for part in pattern]
    elif isinstance(pattern[0], dict):
        checks = []
        each = _compile(pattern[0])
    else:
        return _array_of(_leaf(pattern[0]))

    def check(value: Any, path: str, seen: dict[str, bool]) -> _Failure | None:
        if type(value) is not list:
            return _Failure(f"validation rule failed at path {path}, "
                            f"resource does not satisfy the expected overlay pattern", path)
        if checks and len(value) < len(checks):
            return _Failure(f"validate Array failed, array length mismatch, resource Array len is {len(value)} "
                            f"and pattern Array len is {len(checks)}", "")
        skipped: list[str] = []
        for position, element in enumerate(value[:len(checks)] if checks else value):
            one = checks[position] if checks else each
            failure = one(element, f"{path}{position}/", seen)
            if failure is None:
                continue
            if failure.kind != "skip":
                return failure
            skipped.append(failure.message)
        if skipped and len(skipped) == len(value[:len(checks)] if checks else value):
            return _Failure("; ".join(skipped), path, "skip")
        return None

    return check


def _array_of(leaf: _Check) -> _Check:
    def check(value: Any, path: str, seen: dict[str, bool]) -> _Failure | None:
        if type(value) is not list:
            return _Failure(f"validation rule failed at path {path}, "
                            f"resource does not satisfy the expected overlay pattern", path)
        return leaf(value, path, seen)

    return check


# ── maps ────────────────────────────────────────────────────────────────────────────────────────────────────────────

def _map(pattern: dict[str, Any]) -> _Check:
    # 1. All anchors but the global one, then the plain keys: sorted, those with anchors below them first.
    kinds = {key: anchor(key) for key in pattern}
    first = [key for key in sorted(pattern) if kinds[key][0] in ("", "^", "=", "X")]
    rest: list[str] = []
    for key in sorted(key for key in pattern if kinds[key][0] not in ("", "^", "=", "X")):
        front = kinds[key][0] == "<" or _anchored(pattern[key])
        rest.insert(0, key) if front else rest.append(key)
    handlers = [_handler(key, *kinds[key], pattern[key]) for key in (*first, *rest)]
    tracked = [(key, kinds[key][1]) for key in pattern if kinds[key][0] in ("", "^", "X")]

    def check(value: Any, path: str, seen: dict[str, bool]) -> _Failure | None:
        if type(value) is not dict:
            return _Failure(f"pattern and resource have different structures. Path: {path}. "
                            f"Expected map[string]interface {{}}, found {_type(value)}", path)
        for key, name in tracked:
            if not seen.get(key):
                seen[key] = name in value
        for handle in handlers:
            if (failure := handle(value, path, seen)) is not None:
                return failure
        return None

    return check


def _handler(key: str, kind: str | None, name: str, pattern: Any) -> _Check:
    if kind == "X":
        def negation(value: Any, path: str, seen: dict[str, bool]) -> _Failure | None:
            here = f"{path}{name}/"
            return _Failure(f"negation anchor matched in resource: {here} is not allowed", here,
                            "negation") if name in value else None
        return negation
    if kind == "^":
        return _existence(name, [_compile(part) for part in pattern])
    below = _compile(pattern)
    if kind == "=":
        def equality(value: Any, path: str, seen: dict[str, bool]) -> _Failure | None:
            return below(value[name], f"{path}{name}/", seen) if name in value else None
        return equality
    if kind in ("", "<"):
        word = "conditional" if kind == "" else "global"

        def condition(value: Any, path: str, seen: dict[str, bool]) -> _Failure | None:
            if name not in value:
                return _Failure("conditional anchor mismatch: conditional anchor key doesn't exist in the resource",
                                f"{path}{name}/", "skip") if kind == "" else None
            failure = below(value[name], f"{path}{name}/", seen)
            return failure and _Failure(f"{word} anchor mismatch: {failure.message}", failure.path, "skip")

        return condition
    if pattern == "*":
        def present(value: Any, path: str, seen: dict[str, bool]) -> _Failure | None:
            return _Failure(f"{path}/{key} not found", path) if value.get(key) is None else None
        return present

    def plain(value: Any, path: str, seen: dict[str, bool]) -> _Failure | None:
        return below(value.get(key), f"{path}{key}/", seen)

    return plain


def _existence(name: str, checks: list[_Check]) -> _Check:
    def existence(value: Any, path: str, seen: dict[str, bool]) -> _Failure | None:
        if name not in value:
            return None
        here = f"{path}{name}/"
        elements = value[name]
        if type(elements) is not list:
            return _Failure(f"invalid resource type {_type(elements)}: Existence ^ () anchor can be used only on "
                            "list/array type resource", here)
        for check in checks:
            if all(check(element, f"{here}{position}/", seen) for position, element in enumerate(elements)):
                return _Failure(f"existence anchor validation failed at path {here}", here)
        return None

    return existence


def _anchored(pattern: Any) -> bool:
    if isinstance(pattern, dict):
        return any(anchor(key)[0] not in (None, "+") or _anchored(value) for key, value in pattern.items())
    return isinstance(pattern, list) and any(map(_anchored, pattern))


def _type(value: Any) -> str:
    return {type(None): "<nil>", str: "string", bool: "bool", int: "int64", float: "float64",
            list: "[]interface {}"}.get(type(value), "map[string]interface {}")


# ── wildcards in the keys of labels and annotations ─────────────────────────────────────────────────────────────────

def _expanding(pattern: dict[str, Any]) -> _Check | None:
    """A map whose `metadata` has labels or annotations with wildcard keys: which keys is known with the resource."""
    key = next((key for key in pattern if anchor(key)[1] == "metadata"), None)
    metadata = pattern[key] if key else None
    if not isinstance(metadata, dict):
        return None
    tags = [tag for tag in metadata if anchor(tag)[1] in ("labels", "annotations") and isinstance(metadata[tag], dict)
            and any("*" in name or "?" in name for name in metadata[tag])]
    if not tags:
        return None
    fixed = _map(pattern)

    def check(value: Any, path: str, seen: dict[str, bool]) -> _Failure | None:
        found = value.get("metadata") if isinstance(value, dict) else None
        if not isinstance(found, dict):
            return fixed(value, path, seen)
        changed = dict(metadata)
        for tag in tags:
            names = found.get(anchor(tag)[1])
            if isinstance(names, dict):
                wanted = metadata[tag].items()
                changed[tag] = {_expand(name, names): text for name, text in wanted if isinstance(text, str)}
        return _expanded(json.dumps({**pattern, key: changed}, sort_keys=True))(value, path, seen)

    return check


def _expand(name: str, resource: dict[str, Any]) -> str:
    kind, bare = anchor(name)
    matches = wildcard(bare)
    found = next((key for key in sorted(resource) if isinstance(resource[key], str) and matches(key)), bare)
    return found if kind is None else f"{kind}({found})"


@lru_cache(256)
def _expanded(text: str) -> _Check:
    return _map(json.loads(text))
