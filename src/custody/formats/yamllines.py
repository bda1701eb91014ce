"""YAML of the plain sort, as tools write Kubernetes' objects, read a line at a time: several times as fast as events.

What is read here is read exactly as `formats.yaml` would. Anything but keys, list items, plain and simply quoted
scalars on lines of their own, in ASCII, is not read: anchors, tags, flow style, block scalars, trailing comments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isfinite
from typing import Any

from policylang.go.yamltext import plain_scalar

_LINE = re.compile(r"^( *)(?:(- +)?(?:([A-Za-z_][\w./-]{0,200}):(?: +(.+))?|(.+)))?$", re.MULTILINE | re.ASCII)
"""Indent, dash, key, the key's value, and what else a line has."""
_STRANGE = re.compile(r"[^\n -~]")
_PLAIN = re.compile(r"(?:[A-Za-z0-9_./]|-[0-9.])(?:[^ :#]|:(?! |$)|(?<! )#| +(?![ #]))*", re.ASCII)
_QUOTED = re.compile(r"'[^']*'|\"[^\"\\]*\"")
_MOST = 20_000  # lines, each of which makes three values at the most
_DEEPEST = 24
_KNOWN = 4096  # scalars whose value is remembered
_LONGEST = 100  # characters of such a scalar
_UNKNOWN = object()
_SCALARS: dict[str, Any] = {}
_KEYS: set[str] = set()


def _value(text: str) -> dict[str, Any]:
    """The one document of a text. Raises _OtherError."""
    known, keys = _SCALARS, _KEYS
    root: dict[str, Any] = {}
    stack: list[tuple[int, Any]] = [(0, root)]  # column, map or list
    column = 0
    top: Any = root
    open_map: dict[str, Any] | None = None  # whose last key has no value yet, on a line at `open_column`
    open_key, open_column = "", 0
    for spaces, dash, key, text_of_key, rest in _LINE.findall(text):
        if not (key or dash):
            if rest and rest[0] != "#":
                raise _OtherError
            continue
        indent = len(spaces)
        if dash:
            if open_map is not None and indent >= open_column:
                column, top = indent, []
                open_map[open_key] = top
                stack.append((column, top))
            else:
                while indent < column or (indent == column and type(top) is dict and len(stack) > 1):
                    stack.pop()
                    if not stack:
                        raise _OtherError
                    column, top = stack[-1]
                if indent != column or type(top) is not list:
                    raise _OtherError
            open_map = None
            if not key:
                value = known.get(rest, _UNKNOWN)
                top.append(_scalar(rest) if value is _UNKNOWN else value)
                continue
            inner: dict[str, Any] = {}
            top.append(inner)
            column, top = indent + len(dash), inner
            stack.append((column, top))
            if len(stack) > _DEEPEST:
                raise _OtherError
        elif open_map is not None and indent > open_column:
            column, top = indent, {}
            open_map[open_key] = top
            stack.append((column, top))
            if len(stack) > _DEEPEST:
                raise _OtherError
        elif indent != column or type(top) is not dict:
            while indent < column or (indent == column and type(top) is list):
                stack.pop()
                if not stack:
                    raise _OtherError
                column, top = stack[-1]
            if indent != column or type(top) is not dict:
                raise _OtherError
        if key in top or (key not in keys and not _named(key)):
            raise _OtherError
        if text_of_key:
            value = known.get(text_of_key, _UNKNOWN)
            top[key] = _scalar(text_of_key) if value is _UNKNOWN else value
            open_map = None
        else:
            top[key] = None
            open_map, open_key, open_column = top, key, column
    if not root:
        raise _OtherError
    return root


def _named(text: str) -> bool:
    """Whether a key stands for itself."""
    if plain_scalar(text) != text:
        return False
    if len(_KEYS) < _KNOWN and len(text) <= _LONGEST:
        _KEYS.add(text)
    return True


def _scalar(written: str) -> Any:
    text = written.rstrip(" ")
    value: Any
    if not text:
        raise _OtherError
    if text == "[]":
        return []
    if text == "{}":
        return {}
    if _PLAIN.fullmatch(text):
        value = plain_scalar(text)
        if type(value) is float and not isfinite(value):
            raise _OtherError
    elif _QUOTED.fullmatch(text):
        value = text[1:-1]
    else:
        raise _OtherError
    if len(_SCALARS) < _KNOWN and len(written) <= _LONGEST:
        _SCALARS[written] = value
    return value


class _OtherError(Exception):
    """It is not of the plain sort."""


def documents(text: str) -> Sequence[dict[str, Any]]:
    """The documents of a text; none where one is not plain enough, or is wrong: `formats.yaml` says which."""
    if _STRANGE.search(text) is not None or text.count("\n") > _MOST:
        return ()
    try:
        return [_value(part) for part in text.removeprefix("---\n").split("\n---\n")]
    except _OtherError:
        return ()
