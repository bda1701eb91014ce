"""Values as kyaml's nodes: what is missing, null, a scalar's text, and copies that are changed in place."""

from __future__ import annotations

from typing import Any

from policylang.errors import LanguageError
from policylang.go.printing import marshal


class PatchError(LanguageError):
    """A patch that cannot be applied; the message is Kyverno's."""


class Missing:
    """Where there is no node: not the same as null."""


MISSING = Missing()


def copied(value: Any) -> Any:
    """Deep, for plain JSON."""
    if isinstance(value, dict):
        return {key: copied(member) for key, member in value.items()}
    if isinstance(value, list):
        return [copied(element) for element in value]
    return value


def size(value: Any) -> int:
    """Values in it, a text by its length: about what copying it costs."""
    count, parts = 0, [value]
    while parts:
        part = parts.pop()
        count += 1
        if isinstance(part, dict):
            parts += part.values()
        elif isinstance(part, list):
            parts += part
        elif isinstance(part, str):
            count += len(part) >> 8
    return count


def empty(value: Any) -> bool:
    """Whether there is no value."""
    return value is None or value is MISSING


def text(value: Any) -> str:
    """What a scalar is written as; maps and lists have no text."""
    if isinstance(value, str):
        return value
    return "" if isinstance(value, (dict, list, Missing)) else marshal(value)


def kind(value: Any) -> str:
    return "MappingNode" if isinstance(value, dict) else "SequenceNode" if isinstance(value, list) else "ScalarNode"


def need(expected: str, *values: Any) -> None:
    """Raises PatchError where one that is not null is of another kind."""
    for value in values:
        if not empty(value) and kind(value) != expected:
            shown = text(value) if kind(value) == "ScalarNode" else marshal(value)
            raise PatchError(f"wrong node kind: expected {expected} but got {kind(value)}: node contents:\n{shown}\n")
