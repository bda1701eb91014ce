"""Writing at a location of an object (Gatekeeper pkg/mutation/mutators/core/mutation_function.go)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from custody.errors import MalformedError
from custody.policy.gatekeeper.location import Item, Location, Member, PathTests
from policylang.errors import Shape

Change = Callable[[dict[str, Any], str], None]
"""Writes the field of an object."""


class Placement:
    """A location, what must hold along it, and what is written there."""

    def __init__(self, location: Location, tests: PathTests, change: Change,
                 item: Callable[[], dict[str, Any]] | None = None) -> None:
        """`item`: what becomes of the item of a list, where the location ends with one."""
        self._location, self._tests, self._change, self._item = location, tests, change, item

    def write(self, document: dict[str, Any]) -> bool:
        """Whether it wrote. Raises MalformedError where the object is of another shape than the location."""
        return self._written(document, 0)[0]

    def _written(self, value: Any, depth: int) -> tuple[bool, Any]:
        """(whether it wrote, what stands there now)."""
        node = self._location[depth]
        if isinstance(node, Member):
            if not isinstance(value, dict):
                raise self._mismatch(depth, value, "an object")
            return self._member(value, node.name, depth), value
        if not isinstance(value, list):
            raise self._mismatch(depth, value, "a list")
        return self._items(value, node, depth)

    def _member(self, value: dict[str, Any], name: str, depth: int) -> bool:
        present = name in value
        if not (self._tests.may_be(depth) if present else self._tests.may_lack(depth)):
            return False
        if depth == len(self._location) - 1:
            self._change(value, name)
            return True
        wrote, inner = self._written(value[name] if present else self._missing(depth), depth + 1)
        if wrote:
            value[name] = inner
        return wrote

    def _items(self, value: list[Any], node: Item, depth: int) -> tuple[bool, Any]:
        items = list(value)
        if depth == len(self._location) - 1:
            return self._last(items, node, depth)
        if node.every and not self._tests.may_be(depth):
            return False, value
        wrote = met = False
        for item in value:
            if not node.every:
                if not (isinstance(item, dict) and node.key in item and same(item[node.key], node.value)):
                    continue
                if not self._tests.may_be(depth):
                    return False, value
            met = True
            wrote = self._written(item, depth + 1)[0] or wrote
        if not (node.every or met):
            if not self._tests.may_lack(depth):
                return False, value
            added = self._missing(depth)
            items.append(added)
            wrote = self._written(added, depth + 1)[0] or wrote
        return wrote, items

    def _last(self, items: list[Any], node: Item, depth: int) -> tuple[bool, Any]:
        if self._item is None:
            raise MalformedError("location", got="an item of a list", expected="a field, for this kind of mutator")
        new = self._item()
        for at, item in enumerate(items):
            if not isinstance(item, dict):
                raise self._mismatch(depth, item, "an object")
            if node.key in item and same(item[node.key], node.value):
                if not self._tests.may_be(depth):
                    return False, items
                items[at] = new
                return True, items
        if not self._tests.may_lack(depth):
            return False, items
        return True, [*items, new]

    def _missing(self, depth: int) -> Any:
        """What is put where nothing is, for what comes behind it."""
        node, behind = self._location[depth], self._location[depth + 1]
        if isinstance(behind, Item):
            return []
        return {node.key: node.value} if isinstance(node, Item) else {}

    def _mismatch(self, depth: int, value: Any, expected: str) -> MalformedError:
        path = "".join(f".{node.name}" if isinstance(node, Member) else f"[{node.key}]"
                       for node in self._location[:depth]).lstrip(".")
        return MalformedError(path or "object", got=Shape(value), expected=f"{expected}, as the location says")


def same(value: Any, other: Any) -> bool:
    """As Go compares: a number is no truth value, and no text."""
    return type(value) is type(other) and bool(value == other)
