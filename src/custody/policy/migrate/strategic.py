"""`patchStrategicMerge` as JSON Patches in CEL: conditional and add anchors, merged lists and their order.

What Kyverno does to an object is said step by step: first the lists whose elements are told apart get the elements
that a patch adds, and the order that Kyverno leaves them in; then each value is written where it belongs. Each step
sees what the one before it left.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from custody.errors import UnsupportedError
from custody.policy.kyverno.mutate.anchors import anchored
from custody.policy.kyverno.mutate.merging import Described
from custody.policy.kyverno.mutate.nodes import text
from custody.policy.migrate import patterns, scalars
from custody.policy.migrate.expressions import FALSE, TRUE, every, member, negation, present, some
from custody.policy.migrate.operations import Loop, Operation, index, plain, pointer, step
from custody.policy.migrate.queries import Names, element_names
from custody.policy.migrate.values import typed, written
from policylang.kpattern import anchor
from policylang.kpattern.anchors import ADDITION, CONDITION, GLOBAL
from policylang.variables import has_variables

_ANCHORS = (CONDITION, GLOBAL, ADDITION)
_NOTHING = object()
OBJECT = "object"
_THERE = re.compile(r"\{\{\s*@\s*\}\}")
_ELEMENT = re.compile(r"\{\{\s*element[0-9]*\.name\s*\}\}")


class Merged(NamedTuple):
    conditions: list[str]
    """All of them hold, or nothing is patched."""
    steps: list[list[Operation]]


class Place(NamedTuple):
    """Where a part of a patch belongs."""

    value: str
    """CEL of what is there."""
    soft: str
    """The same, as an optional value where any of it may be missing."""
    steps: tuple[str, ...]
    described: tuple[Described, ...]
    """Of each kind that the patch is for."""
    guard: str = TRUE
    """That all above it is there."""
    loops: tuple[Loop, ...] = ()
    outer: str = TRUE
    """That the list of the first loop is there."""
    first: str = ""
    """Of a place in an element: the same place in the element that settles add anchors."""
    settled: str = TRUE
    """That the place in that element is there."""
    sure: bool = True
    """Whether it is there, wherever anything is asked of it."""

    @property
    def element(self) -> bool:
        """Whether it is an element of a list."""
        return not self.steps or self.steps[-1].startswith("string(")

    def below(self, key: str) -> Place:
        first = member(self.first, key) if self.first else ""
        return self._replace(value=member(self.value, key), soft=member(self.soft, key, optional=True),
                             steps=(*self.steps, step(key)), first=first,
                             described=tuple(known.below(key) for known in self.described))


def merged(patch: dict[str, Any], where: str, names: Names, kinds: Sequence[tuple[str, str]], *,
           around: tuple[Loop, ...] = ()) -> Merged:
    """`kinds`: (apiVersion, kind) of the objects; `around`: elements of foreach. `names.certain` are fields of the
    object that is patched, which is called `object` wherever it is.

    Raises UnsupportedError.
    """
    merge = _Merge(names, bool(around))
    described = tuple(Described.of_kind(*kind) for kind in kinds)
    merge.map(_pruned(patch, where), Place(OBJECT, OBJECT, (), described, loops=around), where, 0)
    steps = [merge.structure[depth] for depth in sorted(merge.structure)]
    return Merged(merge.conditions, [*steps, *([merge.leaves] if merge.leaves else [])])


class _Merge:
    def __init__(self, names: Names, around: bool) -> None:
        """`around`: whether it is done for each element of a foreach."""
        self.names, self.around = names, around
        self.conditions: list[str] = []
        self.structure: dict[int, list[Operation]] = {}
        self.leaves: list[Operation] = []

    def map(self, patch: dict[str, Any], place: Place, where: str, depth: int, *, holding: bool = False) -> None:
        """`holding`: whether conditions were asked about before, as those of an element are."""
        for key, value in patch.items():
            kind, name = anchor(key)
            path = f"{where}.{key}"
            if has_variables(key):
                raise UnsupportedError(path, "a key that is computed has no words in a patch")
            if key.startswith("$"):
                raise UnsupportedError(path, "directives of strategic merges have no words in CEL here")
            if kind in (CONDITION, GLOBAL):
                if not holding:
                    self.conditions.append(every((place.guard, self.condition(value, name, place, path))))
                continue
            if kind is not None and kind != ADDITION:
                raise UnsupportedError(path, "the anchor says nothing in a patch")
            self.key(kind, name, value, place, path, depth, holding=holding)

    def condition(self, pattern: Any, name: str, place: Place, where: str) -> str:
        """Whether an anchor holds; what stands in it is not written, or is what is there."""
        inner = member(place.value, name)
        here = self.there(place, name)
        if anchored(pattern, (ADDITION,)):
            raise UnsupportedError(where, "an add anchor in a condition")
        if isinstance(pattern, dict):
            if _written_in(pattern):
                raise UnsupportedError(where, "what stands in a condition is written, too")
            bare = _unanchored(pattern)
            return every((here, patterns.judged(bare, where, inner, (), typed=self.names.typed).matches))
        if isinstance(pattern, list):
            raise UnsupportedError(where, "a list in a condition has no words in CEL here")
        if has_variables(pattern):
            if isinstance(pattern, str) and _ELEMENT.fullmatch(pattern):
                return every((here, f"{inner} == {written(pattern, where, self.names)}"))
            raise UnsupportedError(where, "a condition that is computed may be a wildcard, which has no words in CEL")
        if pattern in ("*", "?*") and name == "name" and place.element and self.names.typed:
            return TRUE  # elements have names, or the API server refuses them
        if isinstance(pattern, str) and pattern and not pattern.strip("*"):
            return here
        return every((here, scalars.holds(text(pattern), inner, where)))

    def there(self, place: Place, name: str) -> str:
        if self.certain(place, name):
            return TRUE
        return present(place.value, name) if place.sure else f"{member(place.soft, name, optional=True)}.hasValue()"

    def certain(self, place: Place, name: str) -> bool:
        path = f"{place.value}.{name}"
        return path.startswith(f"{OBJECT}.") and path.removeprefix(f"{OBJECT}.") in self.names.certain

    def key(self, kind: str | None, name: str, value: Any, place: Place, where: str, depth: int, *,
            holding: bool) -> None:
        target, here = place.below(name), self.there(place, name)
        if kind == ADDITION:
            if place.first:
                absent = negation(every((place.settled, present(place.first, name))))
                self.leaf("add", target, written(value, where, self.names), every((place.guard, absent)))
                return
            self.whole(value, target, every((place.guard, negation(here))), where)
            return
        if value is None:
            self.leaf("remove", target, "", every((place.guard, here)))
        elif isinstance(value, dict):
            self.inner(value, target, here, place, name, where, depth, holding=holding)
        elif isinstance(value, list):
            self.listed(value, target, here, where, depth)
        else:
            text, kind_of = self.value(value, target, where)
            if kind_of != "dyn":
                self.leaf("add", target, text, place.guard)
                return
            # What a variable gives may be null, which takes away.
            self.leaf("add", target, text, every((place.guard, f"{text} != null")))
            self.leaf("remove", target, "", every((place.guard, f"{text} == null", here)))

    def value(self, value: Any, place: Place, where: str) -> tuple[str, str]:
        """Of one that is no list and no map, with its type; `{{ @ }}` in it is what is there."""
        names = self.names
        if isinstance(value, str) and _THERE.search(value):
            value = _THERE.sub("{{ there }}", value)
            names = element_names(names, there=place.value)
        return typed(value, where, names)

    def inner(self, value: dict[str, Any], target: Place, here: str, place: Place, name: str, where: str, depth: int, *,
              holding: bool) -> None:
        """A map within a map: it is made first, where it is not there and something is written into it."""
        settled = place.first and anchored(value, (ADDITION,))
        if settled:
            target = target._replace(settled=every((place.settled, present(place.first, name))))
        if here != TRUE:
            if not holding and not _in_lists(value):
                self.conditions.append(every((place.guard, here)))
                target = target._replace(sure=True)
            elif _whole(value) is _NOTHING:
                target = target._replace(guard=every((place.guard, here)), sure=True)
            else:
                writes = _remains(value, target) if settled else TRUE
                made = Operation("add", pointer(target.steps), "{}", "", every((place.guard, negation(here), writes)),
                                 place.loops, place.outer)
                # For each element of a foreach: once, before anything is put into it.
                (self.structure.setdefault(-1, []) if self.around else self.leaves).append(made)
                target = target._replace(sure=False)
        self.map(value, target, where, depth, holding=holding)

    def leaf(self, op: str, place: Place, value: str, guard: str) -> None:
        if guard != FALSE:
            self.leaves.append(Operation(op, pointer(place.steps), value, "", guard, place.loops, place.outer))

    def whole(self, value: Any, place: Place, guard: str, where: str) -> None:
        """All of a part, where nothing is."""
        kept = _whole(value)
        if kept is not _NOTHING:
            self.leaf("add", place, written(kept, where, self.names), guard)

    # ── lists ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def listed(self, patch: list[Any], place: Place, here: str, where: str, depth: int) -> None:
        """`place` is the list's."""
        told = {None if known.keys is None else tuple(known.keys) for known in place.described}
        if len(told) != 1:
            raise UnsupportedError(where, "how the list is merged differs between the kinds that the rule speaks of")
        keys, guard = told.pop(), place.guard
        standing = [part for part in patch if isinstance(part, dict) and anchored(part)]
        if keys is None:
            if standing:
                raise UnsupportedError(where, "elements that anchors choose, of a list that Kyverno replaces")
            self.leaf("add", place, written(patch, where, self.names), guard)
            return
        if not keys:
            texts = written(patch, where, self.names)
            self.leaf("add", place, texts, every((guard, negation(here))))
            self.leaf("add", place, f"({texts} + {place.value}).distinct()", every((guard, here)))
            return
        if len(keys) > 1:
            raise UnsupportedError(where, f"a list that is merged by {' and '.join(keys)} has no words in CEL here")
        self.merge(patch, standing, keys[0], place, here, where, depth)

    def merge(self, patch: Sequence[Any], standing: Sequence[dict[str, Any]], key: str, place: Place, here: str,
              where: str, depth: int) -> None:
        """A list of maps that are told apart by one key."""
        of, guard = place.value, place.guard
        if len(standing) > 1 or (standing and key != "name"):
            raise UnsupportedError(where, "several elements that stand for others, or of a list without names")
        added = [part for part in patch if not (isinstance(part, dict) and anchored(part))]
        known: list[str] = []
        for place_in, part in enumerate(added):
            if not isinstance(part, dict) or not isinstance(part.get(key), str):
                raise UnsupportedError(f"{where}[{place_in}]", f"an element without a text at {key}")
            known.append(written(part[key], f"{where}[{place_in}].{key}", self.names))
        element = "element" + (str(depth) if depth else "")
        turn = place.loops[-1] if place.loops and plain(place.loops[-1].of) == of else None
        if turn is not None and (own := self.same(added, standing, known, turn)) is not None:
            self.each(own, key, place, here, element, where, depth)
            return
        if self.around and known:
            raise UnsupportedError(where, "an element that is not named by the element of the loop")
        chosen, test = TRUE, TRUE
        at = f"at{depth or ''}"
        if standing:
            chosen = self.chosen(standing[0], element, where)
            test = self.chosen(standing[0], f"{of}[{at}]", where)
            if chosen == FALSE:
                return
        if any(anchor(name)[0] == GLOBAL for part in standing for name in part):
            held = f"(size({of}) == 0 || {of}.exists({element}, {chosen}))"
            self.conditions.append(every((guard, here, held)))
            standing = []
        if not known and not standing:
            return
        inner = place._replace(loops=_within(place, every((guard, here))), guard=TRUE,
                               outer=place.outer if place.loops else every((place.outer, guard, here)))
        self.order(added, known, key, place, here, chosen if standing else "", element, where, depth)
        for name, part in zip(known, added, strict=True):
            self.element(part, key, inner, Loop(of, at, f"{of}[{at}].{key} == {name}"), where, depth)
        for part in standing:
            if known:
                test = every((test, f"!({of}[{at}].{key} in [{', '.join(known)}])"))
            first = ""
            if anchored(part, (ADDITION,)):
                if known or (any(anchor(name)[0] == ADDITION for name in part) and chosen != TRUE):
                    raise UnsupportedError(where, "an add anchor that elements settle which are not patched")
                first = f"{of}[0]" if chosen == TRUE else f"{of}.filter({element}, {chosen})[0]"
            self.element(part, "", inner, Loop(of, at, test), where, depth, first=first)

    @staticmethod
    def same(added: Sequence[dict[str, Any]], standing: Sequence[dict[str, Any]], known: Sequence[str],
             loop: Loop) -> dict[str, Any] | None:
        """What is said of the very element that a foreach is at, by its name."""
        if len(added) + len(standing) != 1:
            return None
        if added:
            return added[0] if known[0] == f"{plain(loop.of)}[{loop.at}].name" else None
        part = dict(standing[0])
        name = part.pop("(name)", None)
        return part if isinstance(name, str) and _ELEMENT.fullmatch(name) else None

    def each(self, part: dict[str, Any], key: str, place: Place, here: str, element: str, where: str,
             depth: int) -> None:
        """What is said of each element of a foreach, of the list that it goes over."""
        loop, of = place.loops[-1], place.value
        if anchored(part):
            raise UnsupportedError(where, "anchors in an element of a foreach have no words in CEL here")
        around = place.loops[:-1]
        if loop.test != TRUE:
            chosen = loop.test.replace(f"{of}[{loop.at}]", element)
            value = f"{of}.filter({element}, {chosen}) + {of}.filter({element}, {negation(chosen)})"
            self.structure.setdefault(depth, []).append(Operation(
                "replace", pointer(place.steps), value, "", every((place.guard, here)), around, place.outer))
        inner = place._replace(loops=around, guard=TRUE, outer=every((place.outer, place.guard, here)))
        self.element(part, key, inner, loop, where, depth)

    def element(self, part: dict[str, Any], key: str, place: Place, loop: Loop, where: str, depth: int, *,
                first: str = "") -> None:
        value = f"{plain(loop.of)}[{loop.at}]"
        inner = Place(value, value, (*place.steps, index(loop.at)),
                      tuple(known.element for known in place.described), TRUE, (*place.loops, loop), place.outer, first)
        self.map({name: value for name, value in part.items() if name != key}, inner, f"{where}[]", depth + 1,
                 holding=not key)

    def chosen(self, part: dict[str, Any], element: str, where: str) -> str:
        """Whether an element is one that a part of the patch stands for."""
        place = Place(element, element, (), ())
        return every(self.asked(part, place, f"{where}[]"))

    def asked(self, part: dict[str, Any], place: Place, where: str) -> list[str]:
        tests = []
        for key, value in part.items():
            kind, name = anchor(key)
            path = f"{where}.{key}"
            if kind in (CONDITION, GLOBAL):
                if kind == GLOBAL and place.steps:
                    raise UnsupportedError(path, "a global anchor within an element's fields")
                tests.append(every((place.guard, self.condition(value, name, place, path))))
            elif isinstance(value, dict):
                inner = Place(member(place.value, name), member(place.value, name), ("inner",), (),
                              every((place.guard, present(place.value, name))))
                inside = self.asked(value, inner, path)
                if inside and anchored(part, (ADDITION,)):
                    raise UnsupportedError(path, "an add anchor beside conditions of different depth")
                tests += inside
            elif isinstance(value, list) and any(anchored(inner) for inner in value):
                raise UnsupportedError(path, "elements that anchors choose in an element that anchors choose")
        return tests

    def order(self, added: Sequence[dict[str, Any]], known: Sequence[str], key: str, place: Place, here: str,
              chosen: str, element: str, where: str, depth: int) -> None:
        """Adds what a list does not have, and puts those that a patch speaks of before the others, as Kyverno does."""
        guard, of = place.guard, place.value
        operations = self.structure.setdefault(depth, [])
        whole = [written(_whole(part), f"{where}[{at}]", self.names) for at, part in enumerate(added)]
        add = Operation("add", pointer(place.steps), "", "", TRUE, place.loops, place.outer)
        if added:
            operations.append(add._replace(value=f"[{', '.join(whole)}]", guard=every((guard, negation(here)))))
        parts = [f"({of}.exists({element}, {element}.{key} == {name}) ? {of}.filter({element}, {element}.{key} == "
                 f"{name}) : [{value}])" for name, value in zip(known, whole, strict=True)]
        rest = of
        if known:
            among = f"{element}.{key} == {known[0]}" if len(known) == 1 else f"{element}.{key} in [{', '.join(known)}]"
            rest = f"{of}.filter({element}, {negation(among)})"
        if chosen not in ("", TRUE):
            parts.append(f"{rest}.filter({element}, {chosen})")
            rest = f"{rest}.filter({element}, {negation(chosen)})"
        if parts:
            value = " + ".join([*parts, rest])
            operations.append(add._replace(op="replace", value=value, guard=every((guard, here))))
        if not operations:
            del self.structure[depth]


def _within(place: Place, guard: str) -> tuple[Loop, ...]:
    """The loops around a list, those elements left out that do not have it."""
    if not place.loops or guard == TRUE:
        return place.loops
    last = place.loops[-1]
    return (*place.loops[:-1], last._replace(test=every((last.test, guard))))


def _remains(patch: dict[str, Any], place: Place) -> str:
    """Whether anything is to be written of a part whose add anchors another element settles."""
    parts = []
    for key, value in patch.items():
        kind, name = anchor(key)
        if kind == ADDITION:
            parts.append(negation(every((place.settled, present(place.first, name)))))
        elif isinstance(value, dict):
            inner = place.below(name)._replace(settled=every((place.settled, present(place.first, name))))
            parts.append(_remains(value, inner))
        elif kind is None:
            parts.append(TRUE)
    return some(parts)


def _pruned(patch: Any, where: str) -> Any:
    """Without maps in which nothing stands, which Kyverno takes out."""
    kept = {}
    for key, value in patch.items():
        if isinstance(value, dict) and anchor(key)[0] not in (CONDITION, GLOBAL):
            value = _pruned(value, f"{where}.{key}")
            if not value:
                continue
        elif isinstance(value, list):
            listed = [_pruned(part, f"{where}.{key}[]") if isinstance(part, dict) else part for part in value]
            if any(part == {} for part in listed):
                raise UnsupportedError(f"{where}.{key}", "an empty element, by which Kyverno removes another one")
            value = listed
        kept[key] = value
    return kept


def _whole(value: Any) -> Any:
    """What a part becomes where nothing is: add anchors are written, elements that stand for others are not."""
    if isinstance(value, dict):
        kept = {anchor(key)[1] if anchor(key)[0] == ADDITION else key: inner for key, part in value.items()
                if part is not None and (inner := _whole(part)) is not _NOTHING}
        return kept or _NOTHING
    if isinstance(value, list):
        listed = [_whole(part) for part in value if not (isinstance(part, dict) and anchored(part))]
        return _NOTHING if value and not listed else listed
    return value


def _in_lists(value: dict[str, Any]) -> bool:
    """Whether conditions stand in elements of lists alone."""
    return all(anchor(key)[0] not in (CONDITION, GLOBAL) and (not isinstance(part, dict) or _in_lists(part))
               for key, part in value.items())


def _written_in(pattern: dict[str, Any]) -> bool:
    """Whether a condition's map has what is written into the object and may not be there already."""
    for key, value in pattern.items():
        if isinstance(value, dict):
            if _written_in(value):
                return True
        elif anchor(key)[0] is None and not (isinstance(value, str) and value.isalnum() and not value.isdigit()):
            return True
    return False


def _unanchored(pattern: dict[str, Any]) -> dict[str, Any]:
    return {anchor(key)[1] if anchor(key)[0] in _ANCHORS else key:
            _unanchored(value) if isinstance(value, dict) else value for key, value in pattern.items()}


__all__ = ["Merged", "merged"]
