"""`context`: named values that a rule's expressions may speak of (Kyverno pkg/engine/context).

An entry is evaluated when an expression first names it, and one that nobody names is neither evaluated nor looked up.
It sees the entries before it, and an earlier one of its own name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kyverno.contextlookups import LOOKUPS
from custody.policy.kyverno.contextvalues import Variable
from custody.policy.kyverno.simulated import LeftOutError, of_element
from policylang.variables import Deferred, NotMadeError, Roots

MAX_SIZE = 2 * 1024 * 1024
"""Bytes of JSON of all entries of a rule together."""
_MOST = 100  # entries of one list
_RESERVED = ("request", "serviceAccountName", "serviceAccountNamespace", "element", "elementIndex", "@", "images",
             "target")
_ENCODER = msgspec.json.Encoder()
_NOTHING = object()


class Source(Protocol):
    """What an entry's value is made of."""

    replaces: bool
    """Whether the value takes the place of an earlier one of this name; maps are merged otherwise."""

    def value(self, data: dict[str, Any], given: Given) -> Any:
        """Raises NotMadeError; UnansweredError where nobody looked it up yet."""
        ...


class Entry(msgspec.Struct, frozen=True):
    name: str
    source: Source


class Context:
    """The entries of one list, in order. Without any it is false."""

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        self.entries = entries

    def __bool__(self) -> bool:
        return bool(self.entries)

    def opened(self, data: dict[str, Any], given: Given) -> dict[str, Any]:
        """The data with the entries beside it, of which none is evaluated yet."""
        opened = dict(of_element(data, given))
        level: list[_Waiting] = []
        for entry in self.entries:
            waiting = _Waiting(entry, given, level, opened.get(entry.name, _NOTHING))
            level.append(waiting)
            opened[entry.name] = waiting
        return opened


def compile_context(fields: Sequence[Fields], roots: Roots, namespace: str = "") -> tuple[Context, Roots]:
    """The entries, and what expressions beside them may speak of. `namespace` is the policy's own, where it has one.

    Raises MalformedError, UnsupportedError.
    """
    if not fields:
        return Context(), roots
    if len(fields) > _MOST:
        raise MalformedError(fields[0].where, got=f"{len(fields)} entries", expected=f"at most {_MOST}")
    names = [entry.need("name", str) for entry in fields]
    inner = roots.extended((), names)
    return Context([_entry(entry, name, inner, namespace) for entry, name in zip(fields, names, strict=True)]), inner


def _entry(fields: Fields, name: str, roots: Roots, namespace: str) -> Entry:
    if name in _RESERVED:
        raise MalformedError(fields.path("name"), got=name, expected="a name that no variable of Kyverno's has")
    forms = [form for form in (*LOOKUPS, "variable") if fields.has(form)]
    if len(forms) != 1:
        raise MalformedError(fields.where, got=" and ".join(forms) or "none of them",
                             expected=f"one of {', '.join(LOOKUPS)}, variable")
    inner = Fields(fields.any(forms[0]), fields.path(forms[0]))
    fields.done()
    return Entry(name, Variable(inner, name, roots) if forms[0] == "variable" else
                 LOOKUPS[forms[0]](inner, name, roots, namespace))


class _Waiting(Deferred):
    """One entry for one request; its value is kept, whichever expression named it first."""

    def __init__(self, entry: Entry, given: Given, level: list[_Waiting], before: Any) -> None:
        self._entry = entry
        self._given = given
        self._level = level
        self._at = len(level)
        self._before = before
        self._value: Any = _NOTHING

    def made(self, data: dict[str, Any]) -> Any:
        if self._value is _NOTHING:
            before = self._before
            if isinstance(before, Deferred):
                before = before.made(data)
            # It does not see itself, nor what is written after it.
            seen = dict(data)
            for later in reversed(self._level[self._at:]):
                if later._before is _NOTHING:
                    seen.pop(later._entry.name, None)
                else:
                    seen[later._entry.name] = later._before
            try:
                value = _stored(self._entry.source.value(seen, self._given))
            except LeftOutError:
                if before is _NOTHING:
                    raise
                self._value = before
                return before
            _weigh(self._given, value)
            if isinstance(before, dict) and isinstance(value, dict) and not self._entry.source.replaces:
                value = _merged(before, value)
            self._value = value
        return self._value


def _stored(value: Any) -> Any:
    """As it is once Kyverno has stored it, as JSON: lists of maps that a function made are lists like any other."""
    if isinstance(value, dict):
        return {name: _stored(member) for name, member in value.items()} if any(
            isinstance(member, (dict, list)) for member in value.values()) else value
    if isinstance(value, list):
        return [_stored(member) for member in value]
    return value


def _merged(before: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    merged = dict(before)
    for key, member in value.items():
        earlier = merged.get(key)
        merged[key] = _merged(earlier, member) if isinstance(earlier, dict) and isinstance(member, dict) else member
    return merged


def _weigh(given: Given, value: Any) -> None:
    """Raises NotMadeError where the entries of a rule are too large together."""
    added = len(_ENCODER.encode(value))
    size = given.memo.get(_weigh, 0) + added
    if size > MAX_SIZE:
        raise NotMadeError(f"context size limit exceeded: {size} bytes exceeds limit of {MAX_SIZE} bytes")
    given.memo[_weigh] = size
