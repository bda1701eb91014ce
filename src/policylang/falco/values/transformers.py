"""Transformers: functions of values, null where a value is null."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any

from policylang.budget import DEFAULT, too_large
from policylang.falco.values import patterns
from policylang.falco.values.fields import Shape, Type

Function = Callable[..., Any]


def _decoded(value: str | bytes) -> str | None:
    """Base64, padded or not; bytes that are no UTF-8 stay readable as surrogate escapes."""
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    try:
        return base64.b64decode(data.rstrip(b"=") + b"=" * (-len(data.rstrip(b"=")) % 4), validate=True).decode(
            "utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return None


def _basename(value: str) -> str:
    return value.rpartition("/")[2]


# name -> function of one value, types it takes
_SINGLE: dict[str, tuple[Callable[[Any], Any], tuple[Type, ...]]] = {
    "tolower": (patterns.lowered, (Type.TEXT,)),
    "toupper": (patterns.uppered, (Type.TEXT,)),
    "b64": (_decoded, (Type.TEXT, Type.BYTES)),
    "basename": (_basename, (Type.TEXT,)),
}


def result(name: str, arguments: Sequence[tuple[Type, Shape]]) -> tuple[Type, Shape]:
    """Type and shape of what a transformer gives. ValueError where it does not take such arguments."""
    types = [type_ for type_, _ in arguments]
    if name in _SINGLE:
        if len(arguments) != 1:
            raise ValueError(f"transformer '{name}' takes one argument, {len(arguments)} given")
        if types[0] not in _SINGLE[name][1]:
            raise _unsupported(name, types[0])
        return Type.TEXT, arguments[0][1]
    if name == "len":
        if len(arguments) != 1:
            raise ValueError(f"transformer 'len' takes one argument, {len(arguments)} given")
        if arguments[0][1] is not Shape.LIST and types[0] not in (Type.TEXT, Type.BYTES):
            raise _unsupported(name, types[0])
        return Type.UNSIGNED, Shape.ONE
    for type_ in types:
        if type_ is not Type.TEXT:
            raise _unsupported(name, type_)
    lists = [shape is Shape.LIST for _, shape in arguments]
    if name == "concat":
        if any(lists) or len(arguments) < 2:
            raise ValueError("transformer 'concat' takes two or more strings")
        return Type.TEXT, Shape.ONE
    if name == "join":
        if sorted(lists) != [False, True]:
            raise ValueError("transformer 'join' takes a separator and a list")
        return Type.TEXT, Shape.ONE
    if len(arguments) != 2 or lists[1]:
        raise ValueError("transformer 'getopt' takes arguments and a string of options")
    return Type.TEXT, Shape.LIST


def _unsupported(name: str, type_: Type) -> ValueError:
    return ValueError(f"can't add field transformer: type '{type_}' is not supported by '{name}' transformer")


def function(name: str, index: str | None, shapes: Sequence[Shape]) -> Function:
    """Of as many values as there are arguments, each of which may be None."""
    if name in _SINGLE:
        made = _mapped(_SINGLE[name][0], shapes[0])
    elif name == "len":
        made = _length
    elif name == "concat":
        made = _concatenated
    elif name == "join":
        made = _joined if shapes[1] is Shape.LIST else _joined_backwards
    else:
        return _options if index is None else _option(index)
    return made if index is None else _indexed(made, int(index))


def _mapped(single: Callable[[Any], Any], shape: Shape) -> Function:
    if shape is Shape.ONE:
        return lambda value: None if value is None else single(value)

    def mapped(values: Sequence[Any] | None) -> list[Any] | None:
        if values is None:
            return None
        results = [single(value) for value in values]
        return None if None in results else results

    return mapped


def _indexed(made: Function, index: int) -> Function:
    def at(*values: Any) -> Any:
        result = made(*values)
        return result[index] if result is not None and index < len(result) else None

    return at


def _length(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and not value.isascii():
        return len(value.encode("utf-8", "surrogateescape"))
    return len(value)


def _concatenated(*values: str | None) -> str | None:
    if None in values:
        return None
    return _within("".join(values))  # type: ignore[arg-type]


def _joined(separator: str | None, values: Sequence[str] | None) -> str | None:
    if separator is None or values is None or None in values:
        return None
    if len(separator) * len(values) > DEFAULT.size:
        raise too_large(len(separator) * len(values), DEFAULT.size)
    return _within(separator.join(values))


def _joined_backwards(values: Sequence[str] | None, separator: str | None) -> str | None:
    return _joined(separator, values)


def _within(made: str) -> str:
    if len(made) > DEFAULT.size:
        raise too_large(len(made), DEFAULT.size)
    return made


def _parsed(arguments: str | Sequence[str] | None, options: str | None) -> list[tuple[str, str | None]]:
    """getopt(3) over `arguments`, a list or a command line split at blanks; what is no option is passed over."""
    if arguments is None or options is None:
        return []
    words = arguments.split() if isinstance(arguments, str) else list(arguments)
    takes = {letter: options[at + 1:at + 2] == ":" for at, letter in enumerate(options) if letter != ":"}
    pairs: list[tuple[str, str | None]] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            break
        if len(word) < 2 or word[0] != "-" or word[1] == "-":
            continue
        place = 1
        while place < len(word):
            letter = word[place]
            place += 1
            if letter not in takes:
                continue
            if not takes[letter]:
                pairs.append((letter, None))
                continue
            if place < len(word):
                pairs.append((letter, word[place:]))
            elif at < len(words):
                pairs.append((letter, words[at]))
                at += 1
            break
    return pairs


def _options(arguments: Any, options: str | None) -> list[str] | None:
    """Letters and their values, in the order in which they stand."""
    words = [text for pair in _parsed(arguments, options) for text in pair if text is not None]
    return words or None


def _option(index: str) -> Function:
    def value(arguments: Any, options: str | None) -> str | None:
        if index.isdigit() and len(index) > 1:
            return None
        return next((given if given is not None else letter
                     for letter, given in _parsed(arguments, options) if letter == index), None)

    return value
