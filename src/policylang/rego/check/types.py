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
    weight = _weight(type_ for _, type_ in inside) + _weight(dynamic or ())
    return ("object", inside, dynamic, weight) if weight < _HEAVIEST else ("object", (), (ANY, ANY), 3)


def set_(of: Type) -> Type:
    return "set", of, _weight((of,))


def _weight(inside: Iterable[Type | None]) -> int:
    """One, and those of the types inside."""
    return 1 + sum(1 if type_ is None or len(type_) == 1 else type_[-1] for type_ in inside)


def either(types: Iterable[Type]) -> Type:
    """A value of any of the types."""
    kept: dict[Type, None] = {}
    for type_ in types:
        if type_[0] == "any":
            if not type_[1]:
                return ANY
            kept.update(dict.fromkeys(type_[1]))
        else:
            kept[type_] = None
    if len(kept) == 1:
        return next(iter(kept))
    weight = _weight(kept)
    return ("any", tuple(kept), weight) if kept and weight < _HEAVIEST else ANY


def of_scalar(value: Any) -> Type:
    return _SIMPLE[type_name(value)]


@lru_cache(1024)
def declared(written: str) -> Type:
    """A type in OPA's notation, such as `any<array[any], set[string]>` or `object[string: any]`."""
    words = _WORD.findall(written)
    type_, end = _read(words, 0)
    return type_ if end == len(words) else ANY


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


def shown(type_: Type | None) -> str:
    """A type as OPA prints it."""
    if type_ is None:
        return "???"
    kind = type_[0]
    if kind == "any":
        return f"any<{', '.join(map(shown, type_[1]))}>" if type_[1] else "any"
    if kind == "set":
        return f"set[{shown(type_[1])}]"
    if kind == "array":
        static = f"<{', '.join(map(shown, type_[1]))}>" if type_[1] else ""
        return "array" + static + (f"[{shown(type_[2])}]" if type_[2] is not None else "" if static else "<>")
    if kind == "object":
        static = f"<{', '.join(f'{name}: {shown(below)}' for name, below in type_[1])}>" if type_[1] else ""
        return "object" + static + (f"[{shown(type_[2][0])}: {shown(type_[2][1])}]" if type_[2] is not None else "")
    return str(kind)


def meet(left: Type | None, right: Type | None) -> bool:
    """Whether some value can be of both types."""
    if left is None or right is None:
        return False
    if left[0] == "any":
        return not left[1] or any(meet(choice, right) for choice in left[1])
    if right[0] == "any":
        return meet(right, left)
    if left[0] != right[0]:
        return False
    if left[0] == "set":
        return meet(left[1], right[1])
    if left[0] == "array":
        return (_static_arrays(left, right) and _static_arrays(right, left)
                and (left[2] is None or right[2] is None or meet(left[2], right[2])))
    if left[0] == "object":
        return (_static_objects(left, right) and _static_objects(right, left)
                and (left[2] is None or right[2] is None or meet(left[2][1], right[2][1])))
    return True


def _static_objects(left: Type, right: Type) -> bool:
    """What only one of two objects names may be missing, where either may have other members."""
    for name, below in left[1]:
        there = member(right, name)
        if there is None:
            if left[2] is None and right[2] is None:
                return False
        elif not meet(below, there):
            return False
    return True


def _static_arrays(left: Type, right: Type) -> bool:
    return all(meet(below, member(right, at)) for at, below in enumerate(left[1]))


def member(type_: Type, name: Any) -> Type | None:
    """The type of what is under a constant key; None where nothing can be."""
    kind = type_[0]
    if kind == "any":
        if not type_[1]:
            return ANY
        below = [choice for choice in (member(choice, name) for choice in type_[1]) if choice is not None]
        return either(below) if below else None
    if kind == "array":
        if type(name) is not int or name < 0:
            return None
        at: Type | None = type_[1][name] if name < len(type_[1]) else type_[2]
        return at
    if kind == "object":
        for key, choice in type_[1]:
            if key == name and (type(key) is type(name) or of_scalar(key) == of_scalar(name)):
                value: Type = choice
                return value
        return type_[2][1] if type_[2] is not None and meet(type_[2][0], of_scalar(name)) else None
    if kind == "set":
        return type_[1] if meet(type_[1], of_scalar(name)) else None
    return None


def keys(type_: Type) -> Type | None:
    """The type of the keys; None for what has none."""
    kind = type_[0]
    if kind == "any":
        if not type_[1]:
            return ANY
        below = [choice for choice in map(keys, type_[1]) if choice is not None]
        return either(below) if below else None
    if kind == "array":
        return NUMBER
    if kind == "object":
        return either([of_scalar(name) for name, _ in type_[1]] + ([type_[2][0]] if type_[2] is not None else []))
    return type_[1] if kind == "set" else None


def members(type_: Type) -> Type | None:
    """The type of what is inside; None for what has nothing inside."""
    kind = type_[0]
    if kind == "any":
        if not type_[1]:
            return ANY
        below = [choice for choice in map(members, type_[1]) if choice is not None]
        return either(below) if below else None
    if kind == "array":
        return either([*type_[1], *([type_[2]] if type_[2] is not None else [])])
    if kind == "object":
        return either([choice for _, choice in type_[1]] + ([type_[2][1]] if type_[2] is not None else []))
    return type_[1] if kind == "set" else None
