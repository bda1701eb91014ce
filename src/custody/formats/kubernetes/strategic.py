"""Strategic merge patches, as `kubectl patch` sends them and the API server applies them.

    $patch: replace | delete             of a map, and of elements of a list of maps
    $retainKeys: [a, b]                  what of a map stays
    $setElementOrder/FIELD: […]          in which order a list is to stand
    $deleteFromPrimitiveList/FIELD: […]  what is taken out of a list of scalars

Where a field's list is merged, and by which key, is in the schema (`Type.strategies`, `Type.merge_key`). As
k8s.io/apimachinery/pkg/util/strategicpatch does it; what is not changed is shared with the original.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from custody.formats.kubernetes.apply import MergeError, go_text
from custody.formats.kubernetes.schema import Type

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_DELETE = "$deleteFromPrimitiveList"
_ORDER = "$setElementOrder"

Map = dict[str, Any]


def merge(kind: Type | None, original: Map, patch: Map) -> Map:
    """The original after the patch. `kind` is of the object; without any, lists are replaced. Raises MergeError."""
    if _PATCH in patch:
        if patch[_PATCH] == "replace":
            return {name: value for name, value in patch.items() if name != _PATCH}
        if patch[_PATCH] == "delete":
            return {}
        raise MergeError(f"unknown patch type: {go_text(patch[_PATCH])} in map: {go_text(patch)}")
    merged, left = _retained(original, patch)
    for name, value in patch.items():
        if name.startswith(_ORDER):
            _ordered(kind, merged, left, name, value)
    for name, value in left.items():
        if not name.startswith(_ORDER):
            _field(kind, merged, name, value)
    return merged


def _retained(original: Map, patch: Map) -> tuple[Map, Map]:
    """What of the original stays, and the patch without what says so."""
    if _RETAIN not in patch:
        return dict(original), dict(patch)
    names, left = patch[_RETAIN], {name: value for name, value in patch.items() if name != _RETAIN}
    said = {name for name, value in left.items() if value is not None and not name.startswith((_DELETE, _ORDER))}
    if not isinstance(names, list) or not said <= {name for name in names if isinstance(name, str)}:
        raise MergeError("invalid patch format of retainKeys")
    return {name: value for name, value in original.items() if name in names}, left


def _field(kind: Type | None, merged: Map, name: str, value: Any) -> None:
    deletes = name.startswith(_DELETE)
    if deletes:
        prefix, slash, name = name.partition("/")
        if prefix != _DELETE or not slash:
            raise MergeError("invalid patch format of primitive list")
    if value is None:
        merged.pop(name, None)
        return
    if name not in merged or type(merged[name]) is not type(value) or not isinstance(value, (dict, list)):
        if not deletes:
            _put(merged, name, value)
        return
    of = kind.field(name) if kind is not None else None
    strategies = [strategy for strategy in of.strategies if strategy != "retainKeys"] if of is not None else []
    if isinstance(value, dict):
        merged[name] = value if "replace" in strategies else merge(of, merged[name], value)
    elif "merge" in strategies or deletes:
        merged[name] = _list(of, merged[name], value, deletes=deletes)
    else:
        merged[name] = value


def _put(merged: Map, name: str, value: Any) -> None:
    """Instead of what is there: without nulls and directives, and not at all where it is one itself."""
    if isinstance(value, dict) and _PATCH in value:
        merged.pop(name, None)
    else:
        merged[name] = _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()
                if inner is not None and not (isinstance(inner, dict) and _PATCH in inner)}
    if isinstance(value, list):
        return [_plain(inner) for inner in value if not (isinstance(inner, dict) and _PATCH in inner)]
    return value


def _list(of: Type | None, original: list[Any], patch: list[Any], *, deletes: bool = False) -> list[Any]:
    if not original and not patch:
        return original
    key = of.merge_key if of is not None else ""
    if not _maps(original, patch):
        if deletes:
            gone = {_identity(value) for value in patch}
            return [value for value in original if _identity(value) not in gone]
        return _sorted([*{_identity(value): value for value in (*original, *patch)}.values()], patch, original, "")
    if not key:
        raise MergeError("cannot merge lists without merge key for")
    original, patch = _special(original, patch, key)
    merged = list(original)
    for element in patch:
        value = _key(element, key)
        at = _find(merged, key, value)
        if at < 0:
            merged.append(element)
        else:
            merged[at] = merge(of.item if of is not None else None, merged[at], element)
    return _sorted(merged, patch, original, key)


def _special(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Without the elements of a patch that are directives, which are obeyed."""
    plain: list[Any] = []
    replaces = False
    for element in patch:
        match element.get(_PATCH, plain):
            case "delete":
                value = _key(element, key)
                _find(original, key, value)
                original = [kept for kept in original if not (key in kept and _same(kept[key], value))]
            case "replace":
                replaces = True
            case "merge":
                raise MergeError("merging lists cannot yet be specified in the patch")
            case directive if directive is plain:
                plain.append(element)
            case directive:
                raise MergeError(f"unknown patch type: {go_text(directive)} in map: {go_text(element)}")
    return (plain, []) if replaces else (original, plain)


def _ordered(kind: Type | None, merged: Map, left: Map, directive: str, order: Any) -> None:
    """Obey a `$setElementOrder`, together with what the patch says of the same list, which is then done."""
    prefix, slash, name = directive.partition("/")
    if prefix != _ORDER or not slash:
        raise MergeError("invalid patch format of setElementOrder list")
    del left[directive]
    lists = [merged.get(name, []), left.get(name, []), order]
    if not all(isinstance(part, list) for part in lists):
        raise MergeError("expected a []interface {}, but received another type")
    original, patch = lists[0], lists[1]
    of = kind.field(name) if kind is not None else None
    key = of.merge_key if of is not None else ""
    _check_order(patch, order, key)
    if name not in merged and name not in left:
        return
    if name not in left:
        together = original
    elif name not in merged:
        together = _plain(patch)
    elif of is not None and "merge" in of.strategies:
        together = _list(of, original, patch)
    else:
        together = patch
    _maps(original, patch)
    if not original and not patch:
        raise MergeError("no elements in any of the given slices")
    merged[name] = _sorted(together, order, original, key)
    left.pop(name, None)


def _check_order(patch: list[Any], order: list[Any], key: str) -> None:
    """What a patch says of a list must stand in the order that it gives."""
    said = [element for element in patch if not (key and isinstance(element, dict) and _PATCH in element)]
    if not said or not order:
        return
    names = iter(_key(element, key) for element in order)
    for element in said:
        value = _key(element, key)
        if not any(_same(value, name) for name in names):
            raise MergeError(f"The order in patch list:\n{go_text(patch)}\n doesn't match {_ORDER} list:\n"
                             f"{go_text(order)}\n")


def _sorted(merged: list[Any], order: Sequence[Any], server: Sequence[Any], key: str) -> list[Any]:
    """Those that `order` names in its order, and the rest between them as they stood."""
    ordered = _positions(order, key)
    stood = _positions(server, key)
    ours = sorted((element for element in merged if _identity(_key(element, key)) in ordered),
                  key=lambda element: ordered[_identity(_key(element, key))])
    rest = [element for element in merged if _identity(_key(element, key)) not in ordered]
    rest.sort(key=lambda element: stood.get(_identity(_key(element, key)), -1))
    result: list[Any] = []
    left, right = 0, 0
    while left < len(rest) and right < len(ours):
        at = stood.get(_identity(_key(rest[left], key)), -1)
        before = stood.get(_identity(_key(ours[right], key)), -1)
        if 0 <= at < before:
            result.append(rest[left])
            left += 1
        else:
            result.append(ours[right])
            right += 1
    return result + rest[left:] + ours[right:]


def _positions(elements: Iterable[Any], key: str) -> dict[Any, int]:
    positions: dict[Any, int] = {}
    for at, element in enumerate(elements):
        positions.setdefault(_identity(_key(element, key)), at)
    return positions


def _maps(*lists: list[Any]) -> bool:
    """Whether the elements are maps. Raises MergeError where they are of several types, or lists."""
    types = {type(element) for part in lists for element in part}
    if list in types:
        raise MergeError("lists of lists are not supported")
    if len(types) > 1:
        raise MergeError(f"list element types are not identical: {go_text(list(lists))}")
    return dict in types


def _key(element: Any, key: str) -> Any:
    if not key:
        return element
    if not isinstance(element, dict):
        raise MergeError("expected a map[string]interface {}, but received another type")
    if key not in element:
        raise MergeError(f"map: {go_text(element)} does not contain declared merge key: {key}")
    return element[key]


def _find(elements: list[Any], key: str, value: Any) -> int:
    for at, element in enumerate(elements):
        if not isinstance(element, dict):
            raise MergeError(f"value for key {at} is not a map")
        if key in element and _same(element[key], value):
            return at
    return -1


def _same(left: Any, right: Any) -> bool:
    return bool(_identity(left) == _identity(right))


def _identity(value: Any) -> Any:
    return go_text(value) if isinstance(value, (dict, list)) else (type(value), value)
