"""JSON Patch (RFC 6902) and JSON Pointer (RFC 6901) on plain JSON data. What is patched is never changed in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from custody.errors import MalformedError
from policylang.errors import Shape

MAX_OPERATIONS = 10_000
MAX_SIZE = 3 * 1024 * 1024
"""Of a patch: the API server takes no larger object."""
MAX_COPIED = 1_000_000
"""Values that all copies of a patch may make together: copies of copies double with each."""

_ADDED = ("add", "replace", "test")
_MOVED = ("move", "copy")


def apply(document: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """The document after all operations, or no document at all: what is not on the way to a change is shared.

    Raises MalformedError, which names the operation, for one that is malformed or does not fit, also a `test` that
    does not hold (RFC 6902, section 5).
    """
    if len(operations) > MAX_OPERATIONS:
        raise MalformedError("patch", got=f"{len(operations)} operations", expected=f"at most {MAX_OPERATIONS}")
    copied = 0
    for at, operation in enumerate(operations):
        where = f"patch[{at}]"
        try:
            if not isinstance(operation, dict):
                raise MalformedError(where, got=Shape(operation), expected="an operation: a map")
            if operation.get("op") == "copy" and "from" in operation:
                copied += _copied(document, operation, where, MAX_COPIED - copied)
            document = _applied(document, operation, where)
        except MalformedError as error:
            error.message += _named(operation)
            error.args = (error.message,)
            raise
    return document


def diff(before: Any, after: Any, pointer: str = "") -> list[dict[str, Any]]:
    """A patch that makes the one of the other. Lists are compared element by element, from their beginning."""
    if before is after:
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        patch = [{"op": "remove", "path": f"{pointer}/{escaped(key)}"} for key in before if key not in after]
        for key, value in after.items():
            if key not in before:
                patch.append({"op": "add", "path": f"{pointer}/{escaped(key)}", "value": value})
            elif before[key] is not value:  # most is shared
                patch += diff(before[key], value, f"{pointer}/{escaped(key)}")
        return patch
    if isinstance(before, list) and isinstance(after, list):
        common = min(len(before), len(after))
        patch = [operation for at in range(common) for operation in diff(before[at], after[at], f"{pointer}/{at}")]
        patch += [{"op": "remove", "path": f"{pointer}/{at}"} for at in reversed(range(common, len(before)))]
        return patch + [{"op": "add", "path": f"{pointer}/-", "value": value} for value in after[common:]]
    return [] if equal(before, after) else [{"op": "replace", "path": pointer, "value": after}]


def fits(patch: Sequence[Mapping[str, Any]], most: int = MAX_SIZE) -> bool:
    """Whether a patch, written as JSON, is of about `most` characters or fewer: values that it shares are counted each
    time that they come, and not written to find out."""
    left: list[Any] = [*patch]
    while left:
        part = left.pop()
        if isinstance(part, str):
            most -= len(part) + 3
        elif isinstance(part, Mapping):
            most -= sum(map(len, part)) + 4 * len(part) + 2
            left += part.values()
        elif isinstance(part, (list, tuple)):
            most -= len(part) + 2
            left += part
        else:
            most -= 1
        if most < 0:
            return False
    return True


def steps(pointer: Any, where: str = "pointer") -> list[str]:
    """The reference tokens of a JSON Pointer, unescaped; [] for the whole document. Raises MalformedError."""
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise MalformedError(where, got=pointer if isinstance(pointer, str) else Shape(pointer),
                             expected="a JSON Pointer: empty, or beginning with /")
    tokens = pointer.split("/")[1:]
    if "~" not in pointer:
        return tokens
    for step in tokens:
        if "~" in step.replace("~0", "").replace("~1", ""):
            raise MalformedError(where, got=pointer, expected="~0 or ~1 wherever there is a ~")
    return [step.replace("~1", "/").replace("~0", "~") for step in tokens]


def escaped(step: Any) -> str:
    """One reference step of a pointer (RFC 6901, section 3)."""
    return str(step).replace("~", "~0").replace("/", "~1")


def resolve(document: Any, pointer: str) -> Any:
    """The value that a pointer points at. Raises MalformedError where there is none."""
    return _value(document, steps(pointer), pointer)


def equal(left: Any, right: Any) -> bool:
    """Equality of JSON values (RFC 6902, section 4.6): true is not 1, and 1 is 1.0."""
    if left is right:
        return True
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


def _named(operation: Any) -> str:
    """For messages: ` (remove /spec/containers/0)`."""
    path = operation.get("path") if isinstance(operation, dict) else None
    return f" ({operation.get('op')} {path[:200]})" if isinstance(path, str) else ""


def _copied(document: Any, operation: dict[str, Any], where: str, most: int) -> int:
    """How many values a copy makes. Raises MalformedError for more than `most`."""
    source = f"{where}.from"
    count, left = 0, [_value(document, steps(operation["from"], source), source)]
    while left:
        part = left.pop()
        count += 1
        if count > most:
            raise MalformedError(where, got="copies of copies", expected=f"at most {MAX_COPIED} values copied")
        left += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return count


def _applied(document: Any, operation: dict[str, Any], where: str) -> Any:
    name = operation.get("op")
    if name not in (*_ADDED, *_MOVED, "remove"):
        raise MalformedError(f"{where}.op", got=name if isinstance(name, str) else Shape(name),
                             expected="add, remove, replace, move, copy or test")
    if "path" not in operation:
        raise MalformedError(f"{where}.path", got="nothing", expected="a JSON Pointer")
    path = steps(operation["path"], f"{where}.path")
    if name in _ADDED and "value" not in operation:
        raise MalformedError(f"{where}.value", got="nothing", expected="a value")
    value = operation.get("value")
    if name in _MOVED:
        if "from" not in operation:
            raise MalformedError(f"{where}.from", got="nothing", expected="a JSON Pointer")
        source = steps(operation["from"], f"{where}.from")
        value = _value(document, source, f"{where}.from")
        if name == "move":
            if path[:len(source)] == source and path != source:
                raise MalformedError(f"{where}.path", got=operation["path"], expected="a place outside what is moved")
            document = _changed(document, source, "remove", None, f"{where}.from") if source else document
        name = "add"
    if name == "test":
        if not equal(_value(document, path, f"{where}.path"), value):
            raise MalformedError(f"{where}.value", got="another value there", expected="the value that is tested for")
        return document
    return _changed(document, path, name, value, f"{where}.path")


def _value(part: Any, path: list[str], where: str) -> Any:
    for step in path:
        part = part[_key(part, step, where)]
    return part


def _changed(part: Any, path: list[str], name: str, value: Any, where: str) -> Any:
    """A copy with one place changed, by way of copies of what holds it."""
    if not path:
        if name == "remove":
            raise MalformedError(where, got="the whole document", expected="a part of it")
        return value
    step, *rest = path
    key = _key(part, step, where, new=name == "add" and not rest)
    changed = part.copy()
    if rest:
        changed[key] = _changed(part[key], rest, name, value, where)
    elif name == "remove":
        del changed[key]
    elif name == "add" and isinstance(changed, list):
        changed.insert(key, value)
    else:
        changed[key] = value
    return changed


def _key(part: Any, step: str, where: str, *, new: bool = False) -> Any:
    """The key or index that a step means in a map or list, where it is there; `new`: where it may be put."""
    if isinstance(part, dict):
        if step in part or new:
            return step
        raise MalformedError(where, got=f"no {step[:100]!r}", expected="a field that is there")
    if not isinstance(part, list):
        raise MalformedError(where, got=f"{step[:100]!r} of {Shape(part)}", expected="a map or a list")
    if step == "-" and new:
        return len(part)
    most = len(part) - (0 if new else 1)
    # Without leading zeros, and ASCII digits alone (RFC 6901, section 4).
    if not (step.isascii() and step.isdecimal()) or (step[0] == "0" and step != "0") or len(step) > 9 or (
            int(step) > most):
        raise MalformedError(where, got=step[:100], expected=f"an index up to {most}" if most >= 0 else
                             "no index: the list is empty")
    return int(step)
