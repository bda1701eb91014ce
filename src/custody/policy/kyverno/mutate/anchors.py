"""Anchors in a strategic merge patch: what of a patch is left for one object (Kyverno pkg/engine/mutate/patch).

`(k)` and `<(k)` are conditions: of their map, or of the whole patch. `+(k)` is written only where the object has no k.
The elements of a list with anchors stand for all elements of the object's list that meet them.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from custody.policy.kyverno.mutate.nodes import MISSING, PatchError, copied, kind, need, text
from policylang.errors import LanguageError
from policylang.kpattern import Matcher, anchor, matcher
from policylang.kpattern.anchors import ADDITION, CONDITION, GLOBAL

_CONDITIONS = (CONDITION, GLOBAL)


class ConditionError(PatchError):
    """An anchor does not hold: what it stands beside is not patched."""


class GlobalConditionError(PatchError):
    """A global anchor does not hold: nothing is patched."""


def prepared(patch: Any, resource: Any) -> Any:
    """What of a patch is to be merged into a resource; {} where a condition of all of it does not hold.

    The patch is changed. Raises PatchError.
    """
    try:
        _walk(patch, resource)
        return _without_anchors(patch)
    except (ConditionError, GlobalConditionError):
        return {}
    except PatchError as error:
        raise PatchError(f"failed to preProcess rule: {error.message}") from None


def anchored(part: Any, kinds: tuple[str, ...] = (*_CONDITIONS, ADDITION)) -> bool:
    """Whether there is an anchor in it, at any depth; texts that look like one count, as with Kyverno."""
    if isinstance(part, dict):
        return any(anchor(key)[0] in kinds or (value not in (None, {}, []) and anchored(value, kinds))
                   for key, value in part.items())
    if isinstance(part, list):
        return any(anchored(element, kinds) for element in part)
    return isinstance(part, str) and anchor(part)[0] in _CONDITIONS


def _walk(patch: Any, resource: Any) -> None:
    if isinstance(patch, dict):
        _additions(patch, resource)
        _conditions(patch, resource)
        for key in list(patch):
            if anchor(key)[0] not in (*_CONDITIONS, ADDITION):
                _walk(patch[key], _field(resource, key))
    elif isinstance(patch, list) and patch and isinstance(patch[0], dict):
        _elements(patch, resource)


def _elements(patch: list[Any], resource: Any) -> None:
    need("SequenceNode", resource)
    present = resource if isinstance(resource, list) else []
    for element in list(patch):
        if not anchored(element):
            continue
        everywhere = anchored(element, (GLOBAL,))
        held, failed = False, None
        # One copy for all elements: what the first one settles is settled, as with Kyverno.
        meant = copied(element)
        for other in [*present, *([MISSING] if resource is MISSING else [])]:
            try:
                _walk(meant, other)
            except ConditionError:
                continue
            except GlobalConditionError as error:
                if other is MISSING:
                    raise
                failed = error
                continue
            if everywhere:
                held = True
            elif other is not MISSING:
                _for_element(patch, meant, other)
        if failed is not None and not held:
            raise failed


def _for_element(patch: list[Any], meant: Any, element: Any) -> None:
    """Adds what is meant for one element of the object, by its name; without one it cannot be said which."""
    name = _field(element, "name")
    if name in (MISSING, None, {}, []):
        return
    own = copied(meant)
    if not _deleted(own, conditional=True):
        own["name"] = name
        patch.append(own)


def _additions(patch: Any, resource: Any) -> int:
    """`+(k)`: without its anchor where the object has no k, not at all where it has."""
    if not isinstance(patch, dict):
        return 0
    keys = [key for key in patch if anchor(key)[0] == ADDITION]
    for key in keys:
        name = anchor(key)[1]
        if _field(resource, name) is not MISSING:
            del patch[key]
        else:
            _rename(patch, key, name)
    return len(keys)


def _conditions(patch: dict[str, Any], resource: Any) -> None:
    for kinds, error in (((GLOBAL,), GlobalConditionError), ((CONDITION,), ConditionError)):
        for key in [key for key in patch if anchor(key)[0] in kinds]:
            name = anchor(key)[1]
            value = _field(resource, name)
            if value is MISSING:
                raise error(f'could not found "{name}" key in the resource')
            if _additions(patch[key], value):
                continue
            if not _holds(patch[key], value):
                raise error(f"{key} does not hold")


def _holds(pattern: Any, value: Any) -> bool:
    """Whether a value fits a pattern; scalars are compared as texts."""
    if kind(pattern) == "ScalarNode":
        pattern = text(pattern)
    if kind(value) == "ScalarNode":
        value = text(value)
    try:
        return _matcher(json.dumps(pattern))(value) is None
    except LanguageError:  # what is no pattern fits nothing: an empty list, `+(k)`
        return False


@lru_cache(1024)
def _matcher(pattern: str) -> Matcher:
    return matcher(json.loads(pattern), "mutate.patchStrategicMerge")


# ── taking anchors out ──────────────────────────────────────────────────────────────────────────────────────────────

def _without_anchors(patch: Any) -> Any:
    need("MappingNode", patch)
    for key in list(patch):
        if _deleted(patch[key], conditional=anchor(key)[0] in _CONDITIONS):
            del patch[key]
    return patch


def _deleted(part: Any, *, conditional: bool) -> bool:
    """Takes the anchors out. Whether nothing is left; `conditional`: the part stands below one."""
    if isinstance(part, dict):
        return _deleted_map(part)
    return _deleted_list(part) if isinstance(part, list) else conditional


def _deleted_map(part: dict[str, Any]) -> bool:
    left = False
    for key in [key for key in part if anchor(key)[0] in _CONDITIONS]:
        if _deleted(part[key], conditional=True):
            del part[key]
        else:
            left = True
    if left:
        for key in [key for key in part if anchor(key)[0] in _CONDITIONS]:
            _rename(part, key, anchor(key)[1])
    nothing = True
    for key in list(part):
        if _deleted(part[key], conditional=False):
            del part[key]
        else:
            nothing = False
    return nothing


def _deleted_list(part: list[Any]) -> bool:
    elements = list(part)
    for at, element in enumerate(elements):
        # Kyverno removes by the place that the element had at first.
        if anchored(element) or _deleted(element, conditional=False):
            if at >= len(part):
                raise PatchError("slice bounds out of range")
            del part[at]
    return bool(elements) and not part


def _field(part: Any, key: str) -> Any:
    return part.get(key, MISSING) if isinstance(part, dict) else MISSING


def _rename(part: dict[str, Any], key: str, name: str) -> None:
    """In its place."""
    entries = [(name if old == key else old, value) for old, value in part.items()]
    part.clear()
    part.update(entries)
