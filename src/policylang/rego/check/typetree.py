"""The types of what rules make, as a tree under `data`.

Source: OPA v1/ast/env.go (TypeEnv, typeTreeNode), by behaviour.
"""

from __future__ import annotations

from collections.abc import Iterator

from policylang.rego.check.ruletree import Path
from policylang.rego.check.types import ANY, STRING, Type, either, object_, of_scalar, set_
from policylang.rego.syntax.tree import NOTHING, Term, constant
from policylang.rego.values import Key, key, unkey


class TypeNode:
    """A place; `value` is the type of the rules there, None where there are none."""

    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.children: dict[Key, TypeNode] = {}
        self.value: Type | None = None

    def walk(self, path: list[Term], *, whole: bool = True) -> tuple[TypeNode, int]:
        """The last place on a reference's constant way, and how many parts lead there; without `whole`, the first one
        with rules of its own ends the way.
        """
        node = self
        for at, part in enumerate(path):
            name = constant(part)
            child = None if name is NOTHING else node.children.get(key(name))
            if child is None or (node.value is not None and not whole):
                return node, at
            node = child
        return node, len(path)

    def put(self, path: Path, stated: Type) -> None:
        self._below(path).value = stated

    def _below(self, path: Path) -> TypeNode:
        node = self
        for name in path:
            node = node.children.setdefault(name, TypeNode())
        return node

    def insert(self, path: Path, stated: Type) -> None:
        """Another rule's type at `path`: it becomes part of the objects above it and beneath it too."""
        node = self
        for at, name in enumerate(path):
            child = node.children.setdefault(name, TypeNode())
            if child.value is not None and child.value[0] == "object" and at + 1 < len(path):
                child.value = _within(child.value, path[at + 1:], stated)
            node = child
        node.value = stated if node.value is None else _merged(node.value, stated)
        if stated[0] == "object" and node.value[0] == "object":
            for beneath, value in node._leaves(()):
                node.value = _within(node.value, beneath, value)

    def _leaves(self, path: Path) -> Iterator[tuple[Path, Type]]:
        for name, child in self.children.items():
            if child.value is not None:
                yield (*path, name), child.value
            else:
                yield from child._leaves((*path, name))

    def extent(self) -> Type:
        """The type of all at this place, with base data that may be there too."""
        if self.value is not None:
            return self.value
        known = [(unkey(name), child.extent()) for name, child in self.children.items()
                 if type(unkey(name)) in (str, int, float, bool)]
        return object_(known, (STRING, ANY))


def _within(above: Type, path: Path, stated: Type) -> Type:
    """An object's type, where something under a constant key is now one of its dynamic members."""
    name = of_key(path[0])
    below = stated if len(path) == 1 else _within(object_(), path[1:], stated)
    dynamic = above[2]
    if dynamic is not None:
        name, below = either((dynamic[0], name)), either((dynamic[1], below))
    return object_(above[1], (name, below))


def of_key(name: Key) -> Type:
    value = unkey(name)
    return ANY if isinstance(value, (list, dict)) or type(value).__name__ == "Set" else of_scalar(value)


def _merged(left: Type, right: Type) -> Type:
    """The type of what rules at one place make together: of partial objects and sets, one object or set."""
    if left[0] == right[0] == "object" and not left[1] and not right[1]:
        if left[2] is None or right[2] is None:
            return right if left[2] is None else left
        return object_((), (either((left[2][0], right[2][0])), _merged(left[2][1], right[2][1])))
    if left[0] == right[0] == "set":
        return set_(either((left[1], right[1])))
    for part, union in ((left, right), (right, left)):
        if part[0] == "object" and not part[1] and part[2] is not None and union[0] == "any":
            for branch in union[1]:
                if branch[0] == "object" and not branch[1] and branch[2] is not None:
                    merged = object_((), (either((branch[2][0], part[2][0])), either((branch[2][1], part[2][1]))))
                    return either(merged if kind is branch else kind for kind in union[1])
    return either((left, right))
