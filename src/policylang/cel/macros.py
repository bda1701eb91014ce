"""Macros: calls that are rewritten while parsing. Loops stay one node each, so that they compile to one loop."""

from __future__ import annotations

from typing import Any

from policylang.cel.declare import Macro
from policylang.cel.issues import CompileError
from policylang.cel.tree import (
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


def _has(build: Expander, _: Node | None, args: list[Node]) -> Node:
    operand = args[0]
    if isinstance(operand, Select) and not operand.test:
        return build.has(operand.operand, operand.field)
    raise build.error("invalid argument to has() macro", operand)


def _quantifier(kind: str) -> Any:
    def expand(build: Expander, target: Node | None, args: list[Node]) -> Node:
        assert target is not None
        return build.loop(kind, target, build.variable(args[0]), args[1])

    return expand


def _map(build: Expander, target: Node | None, args: list[Node]) -> Node:
    assert target is not None
    guard = args[1] if len(args) == 3 else None
    return build.loop("map", target, build.variable(args[0]), guard, args[-1])


def _two(kind: str) -> Any:
    def expand(build: Expander, target: Node | None, args: list[Node]) -> Node:
        assert target is not None
        first, second = build.variable(args[0]), build.variable(args[1])
        if first == second:
            raise build.error(f"duplicate variable name: {second}", args[1])
        if kind.startswith("transform"):
            return build.loop(kind, target, first, args[2] if len(args) == 4 else None, args[-1], var2=second)
        return build.loop(kind, target, first, args[2], var2=second)

    return expand


def _bind(build: Expander, target: Node | None, args: list[Node]) -> Node | None:
    if not isinstance(target, Ident) or target.name != "cel":
        return None
    if not isinstance(args[0], Ident):
        raise build.error("cel.bind() variable names must be simple identifiers", args[0])
    return build.bind(args[0].name, args[1], args[2])


def _opt_map(build: Expander, target: Node | None, args: list[Node]) -> Node:
    return _on_value(build, target, args, build.call("of", target=build.ident("optional")))


def _opt_flat_map(build: Expander, target: Node | None, args: list[Node]) -> Node:
    return _on_value(build, target, args, None)


def _on_value(build: Expander, target: Node | None, args: list[Node], around: Call | None) -> Node:
    assert target is not None
    name = "optMap" if around else "optFlatMap"
    if not isinstance(args[0], Ident):
        raise build.error(f"{name}() variable name must be a simple identifier", args[0])
    held = build.fresh("target")
    value: Node = build.bind(args[0].name, build.call("value", target=build.ident(held)), args[1])
    if around is not None:
        value = build.call("of", value, target=build.ident("optional"))
    none = build.call("none", target=build.ident("optional"))
    return build.bind(held, target, build.call("_?_:_", build.call("hasValue", target=build.ident(held)), value, none))


STANDARD = (
    Macro("has", 1, False, _has),
    Macro("all", 2, True, _quantifier("all")),
    Macro("exists", 2, True, _quantifier("exists")),
    Macro("exists_one", 2, True, _quantifier("exists_one")),
    Macro("existsOne", 2, True, _quantifier("exists_one")),
    Macro("filter", 2, True, _quantifier("filter")),
    Macro("map", 2, True, _map),
    Macro("map", 3, True, _map),
)
TWO_VARIABLES = (
    Macro("all", 3, True, _two("all")),
    Macro("exists", 3, True, _two("exists")),
    Macro("exists_one", 3, True, _two("exists_one")),
    Macro("existsOne", 3, True, _two("exists_one")),
    *(Macro(name, arity, True, _two(name))
      for name in ("transformList", "transformMap", "transformMapEntry") for arity in (3, 4)),
)
BINDINGS = (Macro("bind", 3, True, _bind),)
OPTIONALS = (Macro("optMap", 2, True, _opt_map), Macro("optFlatMap", 2, True, _opt_flat_map))
