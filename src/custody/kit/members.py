"""Members of JSON objects (RFC 8259, 4): as they are, or empty; and checked, with a name for what is wrong.

The `…_of` read documents of others, of which only what is understood counts: a member that is not there, or is of
another kind, is empty. The rest raise MalformedError with the member's place behind `where`.
"""

from __future__ import annotations

from typing import Any

from custody.errors import MalformedError


def text_of(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def object_of(entry: dict[str, Any], key: str) -> dict[str, Any]:
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def list_of(entry: dict[str, Any], key: str) -> list[Any]:
    value = entry.get(key)
    return value if isinstance(value, list) else []


def objects_of(entry: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects of a list."""
    return [value for value in list_of(entry, key) if isinstance(value, dict)]


def mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(where, got=value, expected="a JSON object")
    return value


def text(entry: dict[str, Any], key: str, where: str, longest: int) -> str:
    """One that must be there, of 1 to `longest` characters."""
    value = entry.get(key)
    if not isinstance(value, str) or not value or len(value) > longest:
        raise MalformedError(f"{where}.{key}", got=value, expected=f"text of 1 to {longest} characters")
    return value


def items(entry: dict[str, Any], key: str, where: str, most: int) -> list[Any]:
    """A list of at most `most`; empty where there is none."""
    value = entry.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > most:
        raise MalformedError(f"{where}.{key}", got=value, expected=f"a list of at most {most}")
    return value
