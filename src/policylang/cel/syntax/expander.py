"""What a macro builds: nodes, placed where its call is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from policylang.cel.syntax.issues import CompileError
from policylang.cel.syntax.tree import (
    Bind,
    Call,
    Comprehension,
    Entry,
    Ident,
    ListNode,
    Literal,
    MapNode,
    Node,
    Select,
)
from policylang.source import Source

_HIDDEN = frozenset({"__result__", "@result"})


class Expander:
    """Builds the nodes of the macro call that is being expanded, placed where the call is."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._made = 0
        self._call = Call("", None, [], 0, 0, 0)

    def enter(self, call: Call) -> None:
        self._call = call

    def error(self, message: str, node: Node | None = None) -> CompileError:
        return CompileError.one(self.source, self._call.at if node is None else node.at, message)

    @property
    def _place(self) -> tuple[int, int, int]:
        return self._call.start, self._call.end, self._call.at

    def fresh(self, stem: str) -> str:
        """A name that no program can write."""
        self._made += 1
        return f"@{stem}{self._made}"

    def literal(self, value: Any) -> Literal:
        return Literal(value, self._call.start, self._call.end)

    def ident(self, name: str) -> Ident:
        return Ident(name, self._call.start, self._call.end)

    def call(self, function: str, *args: Node, target: Node | None = None) -> Call:
        return Call(function, target, list(args), *self._place)

    def select(self, operand: Node, field: str) -> Select:
        return Select(operand, field, *self._place)

    def has(self, operand: Node, field: str) -> Select:
        return Select(operand, field, *self._place, test=True)

    def list_of(self, *elements: Node) -> ListNode:
        return ListNode(list(elements), frozenset(), self._call.start, self._call.end)

    def map_of(self, *entries: tuple[Node, Node]) -> MapNode:
        made = [Entry(key, value, False, key.start, value.end, value.at) for key, value in entries]
        return MapNode(made, self._call.start, self._call.end)

    def bind(self, var: str, value: Node, body: Node) -> Bind:
        return Bind(var, value, body, *self._place)

    def loop(self, kind: str, source: Node, var: str, guard: Node | None, step: Node | None = None, *,
             var2: str = "") -> Comprehension:
        """See tree.Comprehension."""
        return Comprehension(kind, source, var, var2, guard, step, *self._place)

    def variable(self, node: Node) -> str:
        """The name that a macro's argument gives to its variable."""
        if not isinstance(node, Ident) or node.name.startswith("."):
            raise self.error("argument must be a simple name", node)
        if node.name in _HIDDEN:
            raise self.error("iteration variable overwrites accumulator variable", node)
        return node.name


class Macro(NamedTuple):
    """A call that is rewritten while parsing. `arity` -1: any number of arguments.

    `expand` gets the expander (which builds nodes), the part before the dot and the arguments; None: not a macro call
    after all.
    """

    name: str
    arity: int
    member: bool
    expand: Callable[[Expander, Node | None, list[Node]], Node | None]
