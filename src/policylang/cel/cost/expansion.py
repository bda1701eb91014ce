"""The loops that cel-go makes of macros, whose cost is that of all their parts (parser/macro.go)."""

from __future__ import annotations

from typing import Any

from policylang.cel.syntax.tree import Call, Comprehension, Ident, ListNode, Literal, MapNode, Node
from policylang.cel.types import BOOL, DYN, INT, Type

ACCUMULATOR = "@result"
_Made = tuple[Node, Node, Node, Node]


def type_of(node: Node) -> Type:
    return node.type or DYN


def expanded(node: Comprehension) -> _Made:
    """Start, condition, step and result of the loop that cel-go makes of a macro."""
    of = {"all": BOOL, "exists": BOOL, "exists_one": INT}.get(node.kind, type_of(node))
    accumulated = _made(Ident(ACCUMULATOR, 0, 0), of)
    always = _made(Literal(True, 0, 0), BOOL)
    if node.kind in ("all", "exists"):
        is_all = node.kind == "all"
        test = accumulated if is_all else _made_call("!_", "logical_not", BOOL, accumulated)
        step = _made_call("_&&_" if is_all else "_||_", "logical_and" if is_all else "logical_or", BOOL, accumulated,
                          *_some(node.guard))
        return (_made(Literal(is_all, 0, 0), BOOL),
                _made_call("@not_strictly_false", "not_strictly_false", BOOL, test), step, accumulated)
    if node.kind == "exists_one":
        increment = _made(Literal(1, 0, 0), INT)
        step = _made_call("_?_:_", "conditional", INT, *_some(node.guard),
                          _made_call("_+_", "add_int64", INT, accumulated, increment), accumulated)
        return (_made(Literal(0, 0, 0), INT), always, step,
                _made_call("_==_", "equals", BOOL, accumulated, _made(Literal(1, 0, 0), INT)))
    if node.kind in ("transformMap", "transformMapEntry"):
        start: Node = _made(MapNode([], 0, 0), of)
        overload = "@mapInsert_map_key_value" if node.kind == "transformMap" else "@mapInsert_map_map"
        parts = [_made(Ident(node.var, 0, 0), DYN)] if node.kind == "transformMap" else []
        step = _made_call("cel.@mapInsert", overload, of, accumulated, *parts, *_some(node.step))
    else:
        start = _made(ListNode([], frozenset(), 0, 0), of)
        element = node.step if node.step is not None else _made(Ident(node.var, 0, 0), _element(node))
        step = _made_call("_+_", "add_list", of, accumulated, _made(ListNode([element], frozenset(), 0, 0), of))
    if node.guard is not None:
        step = _made_call("_?_:_", "conditional", of, node.guard, step, accumulated)
    return start, always, step, accumulated


def _element(node: Comprehension) -> Type:
    return type_of(node.source).params[0] if type_of(node.source).kind in ("list", "map") else DYN


def _some(node: Node | None) -> tuple[Node, ...]:
    return () if node is None else (node,)


def _made(node: Any, of: Type) -> Any:
    node.type = of
    return node


def _made_call(function: str, overload: str, of: Type, *args: Node) -> Any:
    call = Call(function, None, list(args), 0, 0, 0)
    call.overloads = (overload,)
    return _made(call, of)
