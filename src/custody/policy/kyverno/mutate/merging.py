"""A strategic merge patch, as Kyverno has kustomize apply it (kyaml yaml/merge2, yaml/walk).

Lists are merged where kyaml knows their merge key: those of the kinds of Kubernetes 1.21, whose OpenAPI it carries
(`mergekeys.json`). Other lists are replaced. Elements that a patch adds come first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from custody.policy.kyverno.mutate.nodes import MISSING, PatchError, copied, empty, kind, need, text

_DIRECTIVE = "$patch"
_ANY = object()  # a patch that may speak of everything
_KEPT = object()  # a null of the object that the patch does not speak of
_MOST = 5_000_000  # comparisons of list elements in one patch
_Info = dict[str, Any]


def merge(patch: Any, resource: Any) -> Any:
    """The resource with the patch merged into it. Raises PatchError.

    The patch is changed; the resource is not, and what the patch does not speak of is shared with it.
    """
    merging = _Merge()
    return merging.walk(merging.own(resource, patch, None), patch, None)


class Described:
    """What is known of a place by the kind that it is in: which lists are merged, and by which keys."""

    def __init__(self, info: dict[str, Any] | None) -> None:
        self._info = info

    @classmethod
    def of_kind(cls, api_version: str, kind: str) -> Described:
        name = _table()["kinds"].get(f"{api_version}/{kind}")
        return cls(None if name is None else {"type": name})

    def below(self, key: str) -> Described:
        """Of a field."""
        if self._info is None or not self._info.get("type"):
            return Described(None)
        return Described(_table()["types"].get(self._info["type"], {}).get(key, {}))

    @property
    def element(self) -> Described:
        """Of the elements of a list that is merged."""
        return Described({"type": self._info["type"]} if self._info and "type" in self._info else {})

    @property
    def keys(self) -> Sequence[str] | None:
        """Of a list: the fields by which its elements are told apart, none of them for scalars; None where a patch
        replaces the list."""
        return None if self._info is None else self._info.get("keys")


@cache
def _table() -> dict[str, Any]:
    data = files("custody.policy.kyverno.mutate").joinpath("mergekeys.json").read_bytes()
    table: dict[str, Any] = json.loads(data)
    return table


class _Merge:
    def __init__(self) -> None:
        self._types: dict[str, dict[str, _Info]] = _table()["types"]
        self._kinds: dict[str, str] = _table()["kinds"]
        self._left = _MOST
        self._settled: set[int] = set()
        """ids of parts of the resource that stay as they are."""

    # ── what may be changed in place ────────────────────────────────────────────────────────────────────────────

    def own(self, dest: Any, patch: Any, info: _Info | None) -> Any:
        """A copy of all that a merge may change; what it leaves as it is, is not copied."""
        if not isinstance(dest, (dict, list)):
            return dest
        if patch is MISSING:
            if self._stays(dest, info):
                self._settled.add(id(dest))
                return dest
            return copied(dest)
        if isinstance(dest, dict) and isinstance(patch, dict):
            fields, within = self._fields(dest, patch, info)
            return {key: self.own(value, patch.get(key, MISSING), fields.get(key, within))
                    for key, value in dest.items()}
        if isinstance(dest, list) and isinstance(patch, list) and info is not None and info.get("keys"):
            inner = {"type": info["type"]} if "type" in info else {}
            union = _union(patch)
            return [self.own(element, union, inner) for element in dest]
        return copied(dest)

    def _stays(self, dest: Any, info: _Info | None) -> bool:
        """Whether a merge leaves a part as it is that its patch does not speak of."""
        if isinstance(dest, dict):
            fields, within = self._fields(dest, MISSING, info)
            for key, value in dest.items():
                if isinstance(value, (dict, list)) and not self._stays(value, fields.get(key, within)):
                    return False
            return True
        if not isinstance(dest, list) or info is None or "keys" not in info:
            return True
        keys = info["keys"]
        if not keys:
            return all(isinstance(element, str) and element for element in dest) and len({*dest}) == len(dest)
        if not all(isinstance(element, dict) for element in dest):
            return False
        known = [key for key in keys if any(key in element for element in dest)]
        values = [tuple(element.get(key) for key in known) for element in dest]
        if (not known and dest) or not all(isinstance(value, (str, int)) and value
                                           for said in values for value in said):
            return False
        if len({tuple(map(text, said)) for said in values}) < len(dest):
            return False
        inner = {"type": info["type"]} if "type" in info else {}
        return all(self._stays(element, inner) for element in dest)

    def _fields(self, dest: Any, patch: Any, info: _Info | None) -> tuple[dict[str, _Info], _Info | None]:
        """What is known of a map's fields by their names, and of any other."""
        if info is None:
            info = next((known for node in (dest, patch) if (known := self._known(node)) is not None), None)
        fields = self._types.get(info.get("type", ""), {}) if info is not None else {}
        return fields, None if info is None or not info.get("type") else {}

    # ── walking both ────────────────────────────────────────────────────────────────────────────────────────────

    def walk(self, dest: Any, patch: Any, info: _Info | None) -> Any:
        """What becomes of a value: MISSING or null where it is removed."""
        if patch is MISSING and id(dest) in self._settled:
            return dest
        first = patch if empty(dest) else dest
        if not empty(first):
            expected = kind(first)
            need(expected, dest, patch)
            if expected == "SequenceNode":
                if info is None or "keys" not in info:
                    return dest if patch is MISSING else patch
                return self._list(dest, patch, info)
            if expected == "ScalarNode":
                return dest if patch is MISSING else patch
        return self._map(dest, patch, info)

    # ── maps ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _map(self, dest: Any, patch: Any, info: _Info | None) -> Any:
        fields, within = self._fields(dest, patch, info)
        if empty(dest):
            if isinstance(patch, dict) and _of_map(patch) == "delete":
                return MISSING
            if patch is MISSING:
                return MISSING if dest is MISSING else _KEPT
            dest = patch
        elif patch is None:
            return MISSING
        elif patch is not MISSING:
            directive = _of_map(patch)
            if directive == "delete":
                return MISSING
            if directive == "replace":
                dest = patch
        if dest is None:
            return None
        for key in sorted({*dest, *patch} if isinstance(patch, dict) else dest):
            value = self.walk(dest.get(key, MISSING), patch.get(key, MISSING) if isinstance(patch, dict) else MISSING,
                              fields.get(key, within))
            if value is _KEPT:
                dest[key] = None
            elif empty(value):
                dest.pop(key, None)
            else:
                # A text stays one: kyaml keeps the quotes that are there.
                dest[key] = text(value) if isinstance(dest.get(key), str) and not isinstance(
                    value, (str, dict, list)) else value
        return dest

    def _known(self, node: Any) -> _Info | None:
        if not isinstance(node, dict) or "kind" not in node:
            return None
        name = self._kinds.get(f"{node.get('apiVersion')}/{node.get('kind')}")
        return None if name is None else {"type": name}

    # ── lists with a merge key ──────────────────────────────────────────────────────────────────────────────────

    def _list(self, dest: Any, patch: Any, info: _Info) -> Any:
        if empty(dest):
            dest = patch
        elif patch is None:
            return MISSING
        elif patch is not MISSING:
            directive = self._of_list(patch)
            if directive == "delete":
                return MISSING
            if directive == "replace":
                dest = patch
        if dest is None:
            return None
        keys: list[str] = info["keys"]
        sources = [source for source in (patch, dest) if isinstance(source, list)]
        if keys:
            values = _distinct([_values(element, keys) for source in sources for element in source])
        else:
            keys, values = [""], _distinct([[text(element)] for source in sources for element in source])
        return self._elements(values, keys, dest, patch, {"type": info["type"]} if "type" in info else {})

    def _elements(self, listed: list[list[str]], keys: list[str], dest: list[Any], patch: Any, info: _Info) -> Any:
        added: list[Any] = []
        if len(keys) > 1:
            self._align(listed)
        sure = keys
        for values in listed:
            sure, said = _sure(listed, values, keys)
            value = self.walk(self._element(dest, sure, said), self._element(patch, sure, said), info)
            if value is _KEPT:
                value = None
            if empty(value) or value == {}:
                self._set(dest, MISSING, sure, said)
                continue
            if isinstance(value, dict):
                for key, written in zip(sure, said, strict=True):
                    if key not in value and written:
                        value[key] = _scalar(written)
            self._set(added, value, sure, said)
        return self._appended(added, dest, sure) if listed else dest

    def _appended(self, into: list[Any], elements: list[Any], keys: list[str]) -> list[Any]:
        """What was there, behind what is added."""
        for element in list(elements):
            if keys[0] == "":
                self._set(into, element, [""], [text(element)])
                continue
            values = []
            for key in keys:
                need("MappingNode", element)
                if element is None or key not in element:
                    into.append(element)
                else:
                    values.append(text(element[key]))
            if len(keys) > 1:
                self._set(into, MISSING, keys, values)
            self._set(into, element, keys, values)
        return into

    def _set(self, elements: list[Any], element: Any, keys: Sequence[str], values: Sequence[str]) -> None:
        """The element takes the place of those with these values, or the end; MISSING removes them."""
        self._spend(len(elements))
        kept: list[Any] = []
        matched = False
        of_maps = bool(keys[0]) and bool(values) and bool(values[0])
        for present in elements:
            if present is None or present == {}:
                continue
            if not isinstance(present, dict) and of_maps:
                kept.append(present)
                continue
            if not _matches(present, keys, values):
                if values:
                    kept.append(present)
                continue
            matched = True
            if element is not MISSING:
                kept.append(element)
        elements[:] = kept
        if not matched and not empty(element):
            elements.append(element)

    def _element(self, elements: Any, keys: list[str], values: list[str]) -> Any:
        """The first element with these values."""
        if not isinstance(elements, list):
            return MISSING
        self._spend(len(elements))
        keys, values = _sure([values], values, keys)
        if not keys[0]:
            return next((element for element in elements if text(element) == values[0]
                         and not isinstance(element, (dict, list))), MISSING)
        return next((element for element in elements if isinstance(element, dict) and all(
            key in element and text(element[key]) == value for key, value in zip(keys, values, strict=True))), MISSING)

    def _align(self, listed: list[list[str]]) -> None:
        """Values that differ only where one of them says nothing are the same."""
        self._spend(len(listed) ** 2)
        for at in range(len(listed)):
            values = listed[at]
            for other in range(len(listed)):
                if (same := _aligned(values, listed[other])) is not None:
                    listed[at] = listed[other] = same

    def _of_list(self, patch: list[Any]) -> str:
        """The directive in a list, which is taken out of it. Raises PatchError."""
        element = next((element for element in patch if isinstance(element, dict) and _DIRECTIVE in element), None)
        if element is None or len(element) > 1:
            return "merge"
        said = text(element[_DIRECTIVE])
        if said not in ("delete", "replace", "merge"):
            raise PatchError(f"unknown patch strategy '{said}'")
        self._set(patch, MISSING, [_DIRECTIVE], [said])
        return said

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise PatchError(f"lists too long to merge: more than {_MOST} comparisons of elements")


def _union(patches: Sequence[Any]) -> Any:
    """A patch that speaks of all that any of these does."""
    if not all(isinstance(patch, dict) for patch in patches):
        return _ANY
    spoken: dict[str, list[Any]] = {}
    for patch in patches:
        for key, value in patch.items():
            spoken.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else _union(values) for key, values in spoken.items()}


def _of_map(patch: dict[str, Any]) -> str:
    """The directive of a map, which is taken out of it. Raises PatchError."""
    if _DIRECTIVE not in patch:
        return "merge"
    said = text(patch[_DIRECTIVE])
    if said not in ("delete", "replace", "merge"):
        raise PatchError(f"unknown patch strategy '{said}'")
    del patch[_DIRECTIVE]
    return said


def _values(element: Any, keys: list[str]) -> list[str]:
    """An element's values for the keys; "" for what it does not have."""
    if not isinstance(element, dict):
        return [""] * len(keys)
    return ["" if element.get(key) in (None, {}, []) else text(element[key]) for key in keys]


def _distinct(listed: list[list[str]]) -> list[list[str]]:
    return list(map(list, dict.fromkeys(map(tuple, listed))))


def _sure(listed: list[list[str]], values: list[str], keys: list[str]) -> tuple[list[str], list[str]]:
    """The keys that some element has a value for, and the values for these; all where none has any."""
    known = {keys[at] for other in listed for at, value in enumerate(other) if value}
    if not known:
        return keys, values
    return ([key for key in keys if key in known],
            [value for key, value in zip(keys, values, strict=True) if value or key in known])


def _aligned(values: list[str], others: list[str]) -> list[str] | None:
    if any(value and other and value != other for value, other in zip(values, others, strict=True)):
        return None
    if not any(value == other for value, other in zip(values, others, strict=True)):
        return None
    return [value or other for value, other in zip(values, others, strict=True)]


def _matches(present: Any, keys: Sequence[str], values: Sequence[str]) -> bool:
    if not values:
        return False
    for key, value in zip(keys, values, strict=False):
        if key == "":
            need("ScalarNode", present)
            if text(present) != value:
                return False
        else:
            need("MappingNode", present)
            if key not in present or (value and text(present[key]) != value):
                return False
    return True


def _scalar(written: str) -> Any:
    """What a plain scalar of YAML means."""
    try:
        value = json.loads(written)
    except ValueError:
        return written
    return value if isinstance(value, (bool, int, float)) else written
