"""JSON patches as admission policies mean them: with the leniency of gopkg.in/evanphx/json-patch.v4.

It is RFC 6902, but that a negative index counts from the end, a field that is not there may be replaced, and a `test`
of one is a test of null. Messages are the library's. What is patched is never changed in place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from custody.formats.jsonpatch import MAX_OPERATIONS, equal
from custody.formats.kubernetes.apply import MergeError

_MISSING = "missing value"
_INDEX = "invalid index referenced"
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NOTHING: Any = type("Nothing", (), {"__repr__": lambda _: "nothing"})()

Change = Callable[[Any, str], Any]
"""Given a copy of what holds a place and the key there: changes it, and returns it."""


class TestFailedError(MergeError):
    """A `test` that does not hold."""

    __test__ = False  # for pytest, which takes the name for its own


class Copies:
    """How many values `copy` may still make: one for all patches of a review, since copies of copies double."""

    MOST = 100_000

    def __init__(self) -> None:
        self._left = self.MOST

    def take(self, value: Any) -> None:
        """Raises MergeError where a copy of the value makes too many."""
        left = [value]
        while left:
            part = left.pop()
            self._left -= 1
            if self._left < 0:
                raise MergeError(f"copies of more than {self.MOST} values")
            left += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()


def apply(document: Any, operations: Sequence[Mapping[str, Any]], copies: Copies | None = None) -> Any:
    """The document after all operations. Raises MergeError, TestFailedError."""
    if len(operations) > MAX_OPERATIONS:
        raise MergeError(f"got {len(operations)} operations, expected at most {MAX_OPERATIONS}")
    copies = copies or Copies()
    for operation in operations:
        name, path = operation.get("op"), str(operation.get("path"))
        value = operation.get("value", _NOTHING)
        if name == "add":
            document = _at(document, path, _adding(value, f"error in add for path: '{path}': "),
                           f'add operation does not apply: doc is missing path: "{path}": {_MISSING}')
        elif name == "remove":
            document = _at(document, path, _removing(f"error in remove for path: '{path}': "),
                           f'remove operation does not apply: doc is missing path: "{path}": {_MISSING}')
        elif name == "replace":
            document = _replaced(document, path, value)
        elif name == "test":
            _test(document, path, value)
        elif name in ("move", "copy"):
            source = str(operation.get("from", ""))
            value = _source(document, name, source)
            if name == "copy":
                copies.take(value)
            else:
                document = _at(document, source, _removing(f"error in move for path: '{_last(source)}': "), "")
            words = f"error in move for path: '{path}': " if name == "move" else (
                "error while adding value during copy: ")
            document = _at(document, path, _adding(value, words), f"{name} operation does not apply: doc is missing "
                           f"destination path: {path}: {_MISSING}")
        else:
            raise MergeError(f"Unexpected kind: {name}")
    return document


def _steps(path: str) -> list[str]:
    return [re.sub("~[01]", lambda code: "/" if code[0] == "~1" else "~", step) for step in path.split("/")]


def _last(path: str) -> str:
    return _steps(path)[-1]


def _at(document: Any, path: str, change: Change, missing: str) -> Any:
    """The document with a change of what holds the place that a path leads to. Raises MergeError with `missing`."""
    steps = _steps(path)
    if len(steps) < 2:
        raise MergeError(missing)
    return _changed(document, steps[1:], change, missing)


def _changed(part: Any, steps: list[str], change: Change, missing: str) -> Any:
    if not isinstance(part, (dict, list)):
        raise MergeError(missing)
    copy = part.copy()
    if len(steps) == 1:
        return change(copy, steps[0])
    try:
        key: Any = _index(part, steps[0]) if isinstance(part, list) else steps[0]
        inner = part[key]
    except (MergeError, KeyError):
        raise MergeError(missing) from None
    copy[key] = _changed(inner, steps[1:], change, missing)
    return copy


def _holder(document: Any, path: str) -> tuple[Any, str]:
    """What holds a place, and its key there; _NOTHING where nothing does."""
    steps = _steps(path)
    if len(steps) < 2:
        return _NOTHING, ""
    part = document
    for step in steps[1:-1]:
        try:
            part = part[_index(part, step)] if isinstance(part, list) else part[step]
        except (MergeError, KeyError, TypeError):
            return _NOTHING, ""
    return (part if isinstance(part, (dict, list)) else _NOTHING), steps[-1]


def _get(part: Any, key: str) -> Any:
    """_NOTHING for a field that is not there."""
    return part.get(key, _NOTHING) if isinstance(part, dict) else part[_index(part, key)]


def _adding(value: Any, words: str) -> Change:
    kept = None if value is _NOTHING else value

    def add(part: Any, key: str) -> Any:
        if isinstance(part, dict):
            part[key] = kept
        elif key == "-":
            part.append(kept)
        else:
            if not _INTEGER.fullmatch(key):
                raise MergeError(f"{words}value was not a proper array index: '{key}': strconv.Atoi: parsing "
                                 f'"{key}": invalid syntax')
            at = int(key)
            if at > len(part) or at < -len(part) - 1:
                raise MergeError(f"{words}Unable to access invalid index: {at}: {_INDEX}")
            part.insert(at if at >= 0 else at + len(part) + 1, kept)
        return part

    return add


def _removing(words: str) -> Change:
    def remove(part: Any, key: str) -> Any:
        if isinstance(part, dict):
            if key not in part:
                raise MergeError(f"{words}Unable to remove nonexistent key: {key}: {_MISSING}")
            del part[key]
        else:
            try:
                del part[_index(part, key)]
            except MergeError as error:
                raise MergeError(words + error.message) from None
        return part

    return remove


def _replaced(document: Any, path: str, value: Any) -> Any:
    if path == "":
        if not isinstance(value, (dict, list)):
            raise MergeError("replace operation value must be object or array: %!w(<nil>)")
        return value

    def replace(part: Any, key: str) -> Any:
        try:
            part[key if isinstance(part, dict) else _index(part, key)] = None if value is _NOTHING else value
        except MergeError:
            raise MergeError(f"replace operation does not apply: doc is missing key: {path}: {_MISSING}") from None
        return part

    return _at(document, path, replace, f"replace operation does not apply: doc is missing path: {path}: {_MISSING}")


def _test(document: Any, path: str, value: Any) -> None:
    failed = TestFailedError(f"testing value {path} failed: test failed")
    kept = None if value is _NOTHING else value
    if path == "":
        if not equal(document, kept):
            raise failed
        return
    holder, key = _holder(document, path)
    if holder is _NOTHING:
        raise MergeError(f"test operation does not apply: is missing path: {path}: {_MISSING}")
    try:
        present = _get(holder, key)
    except MergeError as error:
        raise MergeError(f"error in test for path: '{path}': {error.message}") from None
    if not equal(None if present is _NOTHING else present, kept):
        raise failed


def _source(document: Any, name: str, source: str) -> Any:
    holder, key = _holder(document, source)
    if holder is _NOTHING:
        raise MergeError(f"{name} operation does not apply: doc is missing from path: {source}: {_MISSING}")
    try:
        return _get(holder, key)
    except MergeError as error:
        shown = f"error in move for path: '{key}'" if name == "move" else f"error in copy for from: '{source}'"
        raise MergeError(f"{shown}: {error.message}") from None


def _index(part: list[Any], key: str) -> int:
    if not _INTEGER.fullmatch(key):
        raise MergeError(f'strconv.Atoi: parsing "{key}": invalid syntax')
    at = int(key)
    if at >= len(part) or at < -len(part):
        raise MergeError(f"Unable to access invalid index: {at}: {_INDEX}")
    return at
