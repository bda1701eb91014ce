"""Objects as the API server could send them: values of the types that the schema of their kind says."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from custody.formats.kubernetes.schema import BOOLEAN, DEDUCED, NUMERIC, STRING, UNTYPED, Type, builtin

_NOTHING = object()


def shaped(document: dict[str, Any], words: Sequence[str] = ()) -> dict[str, Any]:
    """A copy without what its kind does not have, of kinds that are known; elements of lists that are told apart by a
    text have different ones, some of them of `words`."""
    kind = builtin().kind(str(document.get("apiVersion")), str(document.get("kind")))
    if kind is None:
        return document
    value = _value(document, kind, words, 0)
    return value if isinstance(value, dict) else document


def _value(value: Any, kind: Type, words: Sequence[str], salt: int) -> Any:
    if kind in (UNTYPED, DEDUCED):
        return value
    if isinstance(value, dict):
        if not kind.is_map or kind.scalar:
            return _NOTHING
        made = {}
        for key, inner in value.items():
            field = kind.field(key)
            kept = _NOTHING if field is None else _value(inner, field, words, salt + zlib.crc32(key.encode()))
            if kept is not _NOTHING:
                made[key] = kept
        return made
    if kind.is_list and not kind.scalar:
        listed = value if isinstance(value, list) else [value]
        elements = [kept for at, inner in enumerate(listed)
                    if (kept := _value(inner, kind.item, words, salt + at)) is not _NOTHING]
        return _told(elements, kind, words, salt)
    if value is None or isinstance(value, list):
        return _NOTHING
    if kind.is_map and not kind.scalar:
        return {}
    return _scalar(value, kind)


def _told(elements: list[Any], kind: Type, words: Sequence[str], salt: int) -> list[Any]:
    """With the fields by which the elements of a list are told apart."""
    keys = [*dict.fromkeys([*kind.keys, *filter(None, [kind.merge_key])])]
    taken: set[Any] = set()
    for at, element in enumerate(elements):
        for key in keys if isinstance(element, dict) else ():
            field = kind.item.field(key)
            if field is None:
                continue
            if field.scalar == NUMERIC:
                element[key] = 8000 + at
            elif words and (salt + at * 7) % 3 == 0 and (word := words[(salt + at) % len(words)]) not in taken:
                element[key] = word
            elif not isinstance(element.get(key), str) or element[key] in taken or not element[key]:
                element[key] = f"{key.lower()}-{at}"
            taken.add(element[key])
    return elements


def _scalar(value: Any, kind: Type) -> Any:
    if kind.scalar == STRING:
        return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    if kind.scalar == NUMERIC:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else len(str(value))
    if kind.scalar == BOOLEAN:
        return value if isinstance(value, bool) else bool(len(str(value)) % 2)
    return str(value).lower() if isinstance(value, bool) else value  # a quantity, or a number or a text


__all__ = ["shaped"]
