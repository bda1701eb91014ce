"""What a macro builds: nodes, placed where its call is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from policylang.cel.syntax import tree
from policylang.cel.syntax.issues import CompileError
from policylang.source import Source

_HIDDEN = frozenset({"__result__", "@result"})


class Expander:
    """Builds the nodes of the macro call that is being expanded, placed where the call is."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._made = 0
        self._call = tree.Call("", None, [], 0, 0, 0)

    def enter(self, call: tree.Call) -> None:
        self._call = call

    def error(self, message: str, node: tree.Node | None = None) -> CompileError:
        return CompileError.one(self.source, self._call.at if node is None else node.at, message)

    @property
    def _place(self) -> tuple[int, int, int]:
        return self._call.start, self._call.end, self._call.at

    def fresh(self, stem: str) -> str:
        """A name that no program can write."""
        self._made += 1
        return f"@{stem}{self._made}"

    def literal(self, value: Any) -> tree.Literal:
        return tree.Literal(value, self._call.start, self._call.end)

    def ident(self, name: str) -> tree.Ident:
        return tree.Ident(name, self._call.start, self._call.end)

    def call(self, function: str, *args: tree.Node, target: tree.Node | None = None) -> tree.Call:
        return tree.Call(function, target, list(args), *self._place)

    def select(self, operand: tree.Node, field: str) -> tree.Select:
        return tree.Select(operand, field, *self._place)

    def has(self, operand: tree.Node, field: str) -> tree.Select:
        return tree.Select(operand, field, *self._place, test=True)

    def list_of(self, *elements: tree.Node) -> tree.ListNode:
        return tree.ListNode(list(elements), frozenset(), self._call.start, self._call.end)

    def map_of(self, *entries: tuple[tree.Node, tree.Node]) -> tree.MapNode:
        made = [tree.Entry(key, value, False, key.start, value.end, value.at) for key, value in entries]
        return tree.MapNode(made, self._call.start, self._call.end)

    def bind(self, var: str, value: tree.Node, body: tree.Node) -> tree.Bind:
        return tree.Bind(var, value, body, *self._place)

    def loop(self, kind: str, source: tree.Node, var: str, guard: tree.Node | None, step: tree.Node | None = None, *,
             var2: str = "") -> tree.Comprehension:
        """See tree.Comprehension."""
        return tree.Comprehension(kind, source, var, var2, guard, step, *self._place)

    def variable(self, node: tree.Node) -> str:
        """The name that a macro's argument gives to its variable."""
        if not isinstance(node, tree.Ident) or node.name.startswith("."):
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
    expand: Callable[[Expander, tree.Node | None, list[tree.Node]], tree.Node | None]
