"""`data.inventory`: objects of a cluster for referential templates, each kept as JSON and read when it is asked for.

    {"cluster": {GROUP/VERSION: {KIND: {NAME: object}}},
     "namespace": {NAMESPACE: {GROUP/VERSION: {KIND: {NAME: object}}}}}

(Gatekeeper pkg/target ProcessData.) A `View` is all of it at one moment: nothing that comes later is in it, whoever
reads it and how slowly. It notes what was read, so that a decision is kept with that part, and is the same again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from custody.ports.lookup import Partial
from policylang.rego.declare import BuiltinError, Halt
from policylang.rego.values import UNDEFINED, Lazy

READ = 16 * 1024 * 1024
"""Bytes of JSON of the objects that one request may read."""
_Node = dict[str, Any]
"""What is below a place: nodes, and at last objects as bytes."""


class Kept:
    """The objects as they are now. A change copies what a view may have, and no more."""

    def __init__(self) -> None:
        self._root: _Node = {"cluster": {}, "namespace": {}}
        self._own: set[int] = set()
        """Identities of the nodes that came into being since the last view, which nobody else has."""
        self.count = 0
        self.size = 0
        """Bytes of all objects."""

    def put(self, api_version: str, kind: str, namespace: str, name: str, data: bytes) -> None:
        node = self._root = self._mine(self._root)
        for step in _path(api_version, kind, namespace):
            below = node.get(step)
            below = node[step] = self._fresh() if below is None else self._mine(below)
            node = below
        before = node.get(name)
        node[name] = data
        self.count += before is None
        self.size += len(data) - len(before or b"")

    def drop(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        """What is not there needs not be dropped. Places in which nothing is left are gone too."""
        path = _path(api_version, kind, namespace)
        at = self._root
        for step in path:
            at = at.get(step, {})
        if name not in at:
            return
        node = self._root = self._mine(self._root)
        nodes = [node]
        for step in path:
            node[step] = node = self._mine(node[step])
            nodes.append(node)
        self.size -= len(node.pop(name))
        self.count -= 1
        for above, step, below in zip(reversed(nodes[1:-1]), reversed(path[1:]), reversed(nodes), strict=False):
            if below:
                break
            self._own.discard(id(above.pop(step)))

    def view(self) -> View:
        self._own.clear()
        return View(self._root)

    def _fresh(self) -> _Node:
        node: _Node = {}
        self._own.add(id(node))
        return node

    def _mine(self, node: _Node) -> _Node:
        if id(node) in self._own:
            return node
        copied = node.copy()
        self._own.add(id(copied))
        return copied


def _path(api_version: str, kind: str, namespace: str) -> tuple[str, ...]:
    return ("namespace", namespace, api_version, kind) if namespace else ("cluster", api_version, kind)


class _Budget:
    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise Halt(BuiltinError(f"it reads more than {READ} bytes of the inventory for one request"))


class Shelf(Lazy):
    """A place in a view."""

    __slots__ = ("_budget", "_every", "_node", "_read")

    def __init__(self, node: Mapping[str, Any], budget: _Budget) -> None:
        self._node, self._budget = node, budget
        self._read: dict[str, Shelf | Item] = {}
        self._every = False

    def get(self, name: str) -> Any:
        known = self._read.get(name)
        if known is None:
            there = self._node.get(name)
            if there is None:
                return UNDEFINED
            known = self._read[name] = (Item if type(there) is bytes else Shelf)(there, self._budget)
        return known

    def names(self) -> list[str]:
        self._every = True
        return [*self._node]

    def whole(self) -> dict[str, Any]:
        return {name: self.get(name).whole() for name in self.names()}

    def read(self) -> dict[str, Any]:
        """What was asked for: where keys were, all of them, and empty objects where no more was."""
        names = self._node if self._every else self._read
        return {name: self._read[name].read() if name in self._read else {} for name in sorted(names)}


class Item(Lazy):
    """An object in a view."""

    __slots__ = ("_budget", "_data", "_object")

    def __init__(self, data: bytes, budget: _Budget) -> None:
        self._data, self._budget = data, budget
        self._object: dict[str, Any] | None = None

    def get(self, name: str) -> Any:
        return self.whole().get(name, UNDEFINED)

    def names(self) -> list[str]:
        return [*self.whole()]

    def whole(self) -> dict[str, Any]:
        known = self._object
        if known is None:
            self._budget.spend(len(self._data))
            known = self._object = msgspec.json.decode(self._data)
        return known

    def read(self) -> dict[str, Any]:
        return self._object or {}


class View(Shelf, Partial):
    """The inventory at one moment, for one request."""

    __slots__ = ()

    def __init__(self, root: Mapping[str, Any]) -> None:
        super().__init__(root, _Budget(READ))
