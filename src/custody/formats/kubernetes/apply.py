"""Structured merge: what an apply configuration makes of an object (sigs.k8s.io/structured-merge-diff v6, KEP-555).

Maps are merged field by field, lists by the keys of their elements or, where they are sets, by their values; what is
atomic is replaced. An apply configuration takes nothing away: a null that it says stands in the result as null.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from custody.errors import CustodyError
from custody.formats.kubernetes.schema import BOOLEAN, NUMERIC, STRING, Type

_MAX_ERRORS = 20
_ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "absent"})()


class MergeError(CustodyError):
    """An object or a patch that does not fit its schema; the message is the API server's."""


class Null:
    """CEL's null, as it stands in an apply configuration: no value of JSON, and none of any schema."""


NULL = Null()
UNDECLARED = "field not declared in schema"
Error = tuple[str, str]
"""(path, message)."""


def apply(kind: Type, live: dict[str, Any], patch: dict[str, Any], *, atomics: bool = False) -> dict[str, Any]:
    """The object with an apply configuration merged into it. What is not changed is shared with it.

    `atomics`: whether it may change what is atomic, which a MutatingAdmissionPolicy may not. Raises MergeError.
    """
    _raise("failed to convert patch object to typed object: ", validate(kind, patch))
    if not atomics and (changed := atomic_paths(kind, patch)):
        raise MergeError(f"invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
                         f"{', '.join(changed)}")
    _raise("failed to convert original object to typed object: ", validate(kind, live, duplicates=True))
    merge = _Merge()
    merged = merge.value(kind, live, patch, "")
    _raise("failed to merge patch: ", merge.errors)
    return merged if isinstance(merged, dict) else {}


def _raise(prefix: str, errors: Sequence[Error]) -> None:
    if errors:
        lines = [f"{path}: {message}" if path else message for path, message in errors[:_MAX_ERRORS]]
        raise MergeError(prefix + (lines[0] if len(lines) == 1 else "\n  ".join(["errors:", *lines])))


def validate(kind: Type, value: Any, path: str = "", *, duplicates: bool = False) -> list[Error]:
    """What of a value does not fit. `duplicates`: elements of a list may have the same keys."""
    if value is None:
        return []
    if isinstance(value, dict):
        if not kind.is_map:
            return [(path, _mismatch(kind, value))]
        errors: list[Error] = []
        for name, inner in value.items():
            of = kind.field(name)
            if of is None:
                errors.append((f"{path}.{name}", UNDECLARED))
                break  # the API server looks no further either
            if inner is not None:
                errors += validate(of, inner, f"{path}.{name}", duplicates=duplicates)
        return errors
    if isinstance(value, list):
        if not kind.is_list:
            return [(path, _mismatch(kind, value))]
        return _validate_list(kind, value, path, duplicates=duplicates)
    return [] if _is(kind.scalar, value) else [(path, _mismatch(kind, value))]


def _is(scalar: str, value: Any) -> bool:
    if value is NULL:
        return False
    if scalar == STRING:
        return isinstance(value, str)
    if scalar in (BOOLEAN, NUMERIC):
        return isinstance(value, bool if scalar == BOOLEAN else (int, float)) and (
            scalar == BOOLEAN or not isinstance(value, bool))
    return scalar != ""


def _validate_list(kind: Type, value: list[Any], path: str, *, duplicates: bool) -> list[Error]:
    errors: list[Error] = []
    observed: set[Any] = set()
    for at, inner in enumerate(value):
        step = f"[{at}]"
        if kind.associative:
            try:
                key, step = _key(kind, inner)
            except MergeError as error:
                return [*errors, (path, f"element {at}: {error.message}")]
            if key in observed and not duplicates:
                errors.append((path, f"duplicate entries for key {step}"))
            observed.add(key)
        errors += validate(kind.item, inner, path + step, duplicates=duplicates)
    return errors


def _mismatch(kind: Type, value: Any) -> str:
    """The API server prints Go values; here they are JSON, but for the names of types."""
    if kind.is_map:
        return f"expected map, got &{{{go_text(value)}}}"
    if kind.is_list:
        return f"expected list, got &{{{go_text(value)}}}"
    if kind.scalar == NUMERIC:
        return f"expected numeric (int or float), got {_go_type(value)}"
    if kind.scalar == STRING:
        return f"expected string, got &value.valueUnstructured{{Value:{_go_syntax(value)}}}"
    return f"expected {'boolean' if kind.scalar == BOOLEAN else 'any scalar'}, got &{{{go_text(value)}}}"


def go_text(value: Any) -> str:
    """As fmt prints a value with %v, for messages."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_text, value)) + "]"
    return "NULL_VALUE" if value is NULL else "<nil>" if value is None else json.dumps(value)


def _go_syntax(value: Any) -> str:
    """As fmt prints a value with %#v."""
    if isinstance(value, dict):
        return "map[string]interface {}{" + ", ".join(
            f"{json.dumps(key)}:{_go_syntax(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(map(_go_syntax, value)) + "}"
    return "0" if value is NULL else "interface {}(nil)" if value is None else json.dumps(value)


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return {str: "string", dict: "map[string]interface {}", list: "[]interface {}", int: "int64",
            Null: "structpb.NullValue"}.get(
        type(value), "float64")


def atomic_paths(kind: Type, value: Any, path: str = "") -> list[str]:
    """Paths of what a value says of atomic lists, maps and structs."""
    paths: list[str] = []
    if isinstance(value, dict) and kind.is_map:
        if kind.atomic_map:
            paths.append(path)
        for name, inner in value.items():
            of = kind.fields.get(name)
            if of is not None:
                paths += atomic_paths(of, inner, f"{path}.{name}")
    elif isinstance(value, list) and kind.is_list:
        if not kind.associative:
            paths.append(path)
        for at, inner in enumerate(value):
            paths += atomic_paths(kind.item, inner, f"{path}[{at}]")
    return paths


def _key(kind: Type, element: Any) -> tuple[Any, str]:
    """By what an element of a list is told apart, and how that is written in a path. Raises MergeError."""
    if not kind.keys:
        match element:
            case dict():
                raise MergeError("associative list without keys has an element that's a map type")
            case list():
                raise MergeError("not supported: associative list with lists as elements")
            case None:
                raise MergeError("associative list without keys has an element that's an explicit null")
        return _identity(element), f"[={_quoted(element)}]"
    if element is None:
        raise MergeError("associative list with keys may not have a null element")
    if not isinstance(element, dict):
        raise MergeError("associative list with keys may not have non-map elements")
    fields: list[tuple[str, Any]] = []
    for name in kind.keys:
        if name in element:
            fields.append((name, element[name]))
            continue
        of = kind.item.fields.get(name)
        if of is not None and of.default is not None:
            fields.append((name, of.default))
    if not fields:
        names = " ".join(f'"{name}"' for name in kind.keys)
        raise MergeError(f"associative list with keys has an element that omits all key fields [{names}] (and doesn't "
                         "have default values for any key fields)")
    fields.sort(key=lambda field: field[0])
    return (tuple((name, _identity(value)) for name, value in fields),
            "[" + ",".join(f"{name}={_quoted(value)}" for name, value in fields) + "]")


def _identity(value: Any) -> Any:
    """Values that are equal for the API server have equal ones, which can be hashed: true is not 1."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, sort_keys=True)
    return type(value) is bool, value


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class _Merge:
    def __init__(self) -> None:
        self.errors: list[Error] = []

    def value(self, kind: Type, live: Any, patch: Any, path: str) -> Any:
        """Merged; `live` may be _ABSENT."""
        if isinstance(patch, dict) and kind.is_map and not kind.atomic_map:
            if isinstance(live, dict) and live:
                return self._map(kind, live, patch, path)
        elif isinstance(patch, list) and kind.is_list and kind.associative:
            if isinstance(live, list) and live:
                return self._list(kind, live, patch, path)
        elif patch is None:
            return self._null(kind, live)
        return patch

    @staticmethod
    def _null(kind: Type, live: Any) -> Any:
        """Null says nothing of what is merged, and replaces what is not."""
        if isinstance(live, dict) and live and kind.is_map and not kind.atomic_map:
            return live
        if isinstance(live, list) and live and kind.is_list and kind.associative:
            return live
        return None

    def _map(self, kind: Type, live: dict[str, Any], patch: dict[str, Any], path: str) -> Any:
        merged = dict(live)
        for name, value in patch.items():
            of = kind.field(name)
            if of is None:
                self.errors.append((f"{path}.{name}", UNDECLARED))
                continue
            merged[name] = self.value(of, live.get(name, _ABSENT), value, f"{path}.{name}")
        return merged

    def _list(self, kind: Type, live: list[Any], patch: list[Any], path: str) -> Any:
        """Elements of both, those of the patch in its order, and those of the object about where they stood."""
        try:
            old = [_key(kind, element)[0] for element in live]
            new = [_key(kind, element)[0] for element in patch]
            steps = [_key(kind, element)[1] for element in patch]
        except MergeError as error:
            self.errors.append((path, error.message))
            return live
        by_old: dict[Any, Any] = {}
        for key, element in zip(old, live, strict=True):
            by_old[key] = None if key in by_old else element  # of what stands there twice, none is merged
        by_new = dict(zip(new, range(len(new)), strict=True))
        shared = [key for key in new if key in by_old]
        following = 0  # of `shared`: the one that must come next
        merged: list[Any] = []
        taken: set[Any] = set()

        def take(at: int) -> None:
            taken.add(new[at])
            merged.append(self.value(kind.item, by_old.get(new[at], _ABSENT), patch[at], path + steps[at]))

        left, right = 0, 0
        while left < len(live) or right < len(patch):
            if left < len(live) and right < len(patch):
                if old[left] == new[right]:
                    take(right)
                    left, right, following = left + 1, right + 1, following + 1
                    continue
                if old[left] in by_new and following < len(shared) and shared[following] != old[left]:
                    left += 1
                    continue
            if left < len(live):
                if old[left] not in by_new:
                    merged.append(live[left])
                    left += 1
                    continue
                if old[left] in taken:
                    left += 1
            if right < len(patch):
                take(right)
                if following < len(shared) and shared[following] == new[right]:
                    following += 1
                right += 1
        return merged
