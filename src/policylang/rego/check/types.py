"""Types of Rego values, as OPA's checker has them: what they are called, whether two can meet, what is inside.

Source: OPA v1/types and v1/ast/check.go, by their behaviour. A type is a tuple: `("number",)`, `("array", static,
dynamic, weight)`, `("object", static, dynamic, weight)`, `("set", of, weight)`, `("any", alternatives, weight)`; no
alternatives mean anything at all. None stands for a type that is not known yet. The weight is the number of types
inside, and what gets too heavy forgets them, so that `x := [y, y]` sixty times over stays small.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from policylang.rego.values import type_name

Type = tuple[Any, ...]
ANY: Type = ("any", (), 1)
_HEAVIEST = 500
NULL, BOOLEAN, NUMBER, STRING = ("null",), ("boolean",), ("number",), ("string",)
_SIMPLE = {"null": NULL, "boolean": BOOLEAN, "number": NUMBER, "string": STRING, "any": ANY}
_WORD = re.compile(r"[a-z]+|[<>\[\](){},:]|[^\s]")


def array(static: Iterable[Type] = (), dynamic: Type | None = None) -> Type:
    inside = tuple(static)
    weight = _weight(inside) + _weight((dynamic,))
    return ("array", inside, dynamic, weight) if weight < _HEAVIEST else ("array", (), ANY, 2)


def object_(static: Iterable[tuple[Any, Type]] = (), dynamic: tuple[Type, Type] | None = None) -> Type:
    inside = tuple(static)
    weight = _weight(each for _, each in inside) + _weight(dynamic or ())
    return ("object", inside, dynamic, weight) if weight < _HEAVIEST else ("object", (), (ANY, ANY), 3)


def set_(of: Type) -> Type:
    return "set", of, _weight((of,))


def _weight(inside: Iterable[Type | None]) -> int:
    """One, and those of the types inside."""
    return 1 + sum(1 if each is None or len(each) == 1 else each[-1] for each in inside)


def either(types: Iterable[Type]) -> Type:
    """A value of any of the types."""
    found: dict[Type, None] = {}
    for each in types:
        if each[0] == "any":
            if not each[1]:
                return ANY
            found.update(dict.fromkeys(each[1]))
        else:
            found[each] = None
    if len(found) == 1:
        return next(iter(found))
    weight = _weight(found)
    return ("any", tuple(found), weight) if found and weight < _HEAVIEST else ANY


def of_scalar(value: Any) -> Type:
    return _SIMPLE[type_name(value)]


@lru_cache(1024)
def declared(written: str) -> Type:
    """A type in OPA's notation, such as `any<array[any], set[string]>` or `object[string: any]`."""
    words = _WORD.findall(written)
    found, end = _read(words, 0)
    return found if end == len(words) else ANY


def _read(words: list[str], at: int) -> tuple[Type, int]:
    if at >= len(words):
        return ANY, at
    name, following = words[at], words[at + 1] if at + 1 < len(words) else ""
    at += 1
    if following not in ("[", "<") or name not in ("array", "set", "object", "any"):
        return _SIMPLE.get(name, ANY if name != "array" else array((), ANY)), at
    closing = "]" if following == "[" else ">"
    parts: list[Type] = []
    at += 1
    while at < len(words) and words[at] != closing:
        if words[at] in (",", ":"):
            at += 1
            continue
        part, after = _read(words, at)
        if after == at:
            return ANY, len(words)
        parts.append(part)
        at = after
    at += 1
    if name == "any":
        return either(parts), at
    if name == "set":
        return set_(parts[0] if parts else ANY), at
    if name == "array":
        return array(parts) if following == "<" else array((), parts[0] if parts else ANY), at
    return (object_((), (parts[0], parts[1])) if following == "[" and len(parts) == 2 else object_((), (ANY, ANY))), at


def shown(found: Type | None) -> str:
    """A type as OPA prints it."""
    if found is None:
        return "???"
    kind = found[0]
    if kind == "any":
        return f"any<{', '.join(map(shown, found[1]))}>" if found[1] else "any"
    if kind == "set":
        return f"set[{shown(found[1])}]"
    if kind == "array":
        static = f"<{', '.join(map(shown, found[1]))}>" if found[1] else ""
        return "array" + static + (f"[{shown(found[2])}]" if found[2] is not None else "" if static else "<>")
    if kind == "object":
        static = f"<{', '.join(f'{name}: {shown(each)}' for name, each in found[1])}>" if found[1] else ""
        return "object" + static + (f"[{shown(found[2][0])}: {shown(found[2][1])}]" if found[2] is not None else "")
    return str(kind)


def meet(one: Type | None, other: Type | None) -> bool:
    """Whether some value can be of both types."""
    if one is None or other is None:
        return False
    if one[0] == "any":
        return not one[1] or any(meet(each, other) for each in one[1])
    if other[0] == "any":
        return meet(other, one)
    if one[0] != other[0]:
        return False
    if one[0] == "set":
        return meet(one[1], other[1])
    if one[0] == "array":
        return (_static_arrays(one, other) and _static_arrays(other, one)
                and (one[2] is None or other[2] is None or meet(one[2], other[2])))
    if one[0] == "object":
        return (_static_objects(one, other) and _static_objects(other, one)
                and (one[2] is None or other[2] is None or meet(one[2][1], other[2][1])))
    return True


def _static_objects(one: Type, other: Type) -> bool:
    """What only one of two objects names may be missing, where either may have other members."""
    for name, each in one[1]:
        there = member(other, name)
        if there is None:
            if one[2] is None and other[2] is None:
                return False
        elif not meet(each, there):
            return False
    return True


def _static_arrays(one: Type, other: Type) -> bool:
    return all(meet(each, member(other, at)) for at, each in enumerate(one[1]))


def member(found: Type, name: Any) -> Type | None:
    """The type of what is under a constant key; None where nothing can be."""
    kind = found[0]
    if kind == "any":
        if not found[1]:
            return ANY
        below = [each for each in (member(each, name) for each in found[1]) if each is not None]
        return either(below) if below else None
    if kind == "array":
        if type(name) is not int or name < 0:
            return None
        at: Type | None = found[1][name] if name < len(found[1]) else found[2]
        return at
    if kind == "object":
        for key, each in found[1]:
            if key == name and (type(key) is type(name) or of_scalar(key) == of_scalar(name)):
                value: Type = each
                return value
        return found[2][1] if found[2] is not None and meet(found[2][0], of_scalar(name)) else None
    if kind == "set":
        return found[1] if meet(found[1], of_scalar(name)) else None
    return None


def keys(found: Type) -> Type | None:
    """The type of the keys; None for what has none."""
    kind = found[0]
    if kind == "any":
        if not found[1]:
            return ANY
        below = [each for each in map(keys, found[1]) if each is not None]
        return either(below) if below else None
    if kind == "array":
        return NUMBER
    if kind == "object":
        return either([of_scalar(name) for name, _ in found[1]] + ([found[2][0]] if found[2] is not None else []))
    return found[1] if kind == "set" else None


def members(found: Type) -> Type | None:
    """The type of what is inside; None for what has nothing inside."""
    kind = found[0]
    if kind == "any":
        if not found[1]:
            return ANY
        below = [each for each in map(members, found[1]) if each is not None]
        return either(below) if below else None
    if kind == "array":
        return either([*found[1], *([found[2]] if found[2] is not None else [])])
    if kind == "object":
        return either([each for _, each in found[1]] + ([found[2][1]] if found[2] is not None else []))
    return found[1] if kind == "set" else None
