"""Comparisons: the frequent ones are written out in place, for the others the operator's predicate is called."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from policylang.code import attribute, both, call, compare, either, negate
from policylang.falco.check.formula import Node, Read
from policylang.falco.compiler.costs import ordered
from policylang.falco.compiler.emitter import Emit, Emitter, Known
from policylang.falco.values import operators
from policylang.falco.values.fields import Shape, Type

_NONE = ast.Constant(None)
_ORDERS: dict[str, ast.cmpop] = {"<": ast.Lt(), "<=": ast.LtE(), ">": ast.Gt(), ">=": ast.GtE()}


def _and(emitter: Emitter, node: Node, known: Known) -> ast.expr:
    return both(*_parts(emitter, node, known))


def _or(emitter: Emitter, node: Node, known: Known) -> ast.expr:
    return either(*_parts(emitter, node, known))


def _parts(emitter: Emitter, node: Node, known: Known) -> list[ast.expr]:
    return [emitter.expression(part, known) for part in (node.parts if emitter.note else ordered(node))]


def _not(emitter: Emitter, node: Node, known: Known) -> ast.expr:
    return negate(emitter.expression(node.parts[0], known))


def _test(emitter: Emitter, node: Node, known: Known) -> ast.expr:
    if emitter.note is None:
        return _comparison(emitter, node, known)
    start, end = next(emitter.spans)
    return call(emitter.code.hoist(emitter.note), ast.Constant(start), ast.Constant(end),
                ast.IfExp(_comparison(emitter, node, known), ast.Constant(True), ast.Constant(False)))


EMIT: dict[str, Emit] = {"and": _and, "or": _or, "not": _not, "test": _test}


def _comparison(emitter: Emitter, node: Node, known: Known) -> ast.expr:
    read, op, modifier, right = node.parts
    if isinstance(right, Read):
        first, left_again = emitter.twice(read, known)
        second, right_again = emitter.twice(right, known)
        return both(_present(first), _present(second),
                    call(emitter.code.hoist(operators.between(op, read.shape)), left_again, right_again))
    if op == "exists":
        value = emitter.value(read, known)
        return value if read.shape in (Shape.LIST, Shape.ANCESTORS) else _present(value)
    addressed = read.type in (Type.ADDRESS, Type.NETWORK)
    if read.shape is Shape.LIST:
        return (_addresses if addressed else _values)(emitter, read, op, right, known)
    if read.shape is Shape.ANCESTORS:
        return _ancestors(emitter, read, op, modifier, right, known)
    if read.shape is Shape.ENDS and not addressed:
        whole = operators.both_of if op == "!=" else operators.any_of
        return _every(emitter, read, whole(operators.predicate(op, modifier, right, read.type)), known)
    written = _IN_PLACE[op](emitter, read, modifier, right, known) if op in _IN_PLACE and not addressed else None
    if written is not None:
        return written
    value, again = emitter.twice(read, known)
    return both(_present(value), call(
        emitter.code.hoist(operators.predicate(op, modifier, right, read.type)), again))


def _present(value: ast.expr) -> ast.expr:
    return compare(value, ast.IsNot(), _NONE)


def _every(emitter: Emitter, read: Read, test: Callable[[Any], Any], known: Known) -> ast.expr:
    """A test of all values of a field."""
    value, again = emitter.twice(read, known)
    return both(value, call(emitter.code.hoist(test), again))


def _addresses(emitter: Emitter, read: Read, op: str, right: Any, known: Known) -> ast.expr:
    whole = operators.any_of if op == "intersects" else operators.both_of
    return _every(emitter, read, whole(operators.predicate("in", "", right, read.type)), known)


def _values(emitter: Emitter, read: Read, op: str, right: Any, known: Known) -> ast.expr:
    value, again = emitter.twice(read, known)
    test = call(emitter.code.hoist(right.isdisjoint if op == "intersects" else right.issuperset), again)
    return both(value, negate(test) if op == "intersects" else test)


def _ancestors(emitter: Emitter, read: Read, op: str, modifier: str, right: Any, known: Known) -> ast.expr:
    """Any of the values."""
    value, again = emitter.twice(read, known)
    if op == "=" and not modifier:
        return both(value, compare(emitter.code.constant(right), ast.In(), again))
    if op in ("in", "intersects"):
        return both(value, negate(call(emitter.code.hoist(right.isdisjoint), again)))
    single = operators.predicate(op, modifier, right, read.type)
    return both(value, call(emitter.code.hoist(operators.any_of(single)), again))


# --- written in place: None where the predicate has to be called ---------------------------------------------------

def _equal(emitter: Emitter, read: Read, modifier: str, right: Any, known: Known) -> ast.expr | None:
    return None if modifier else compare(emitter.value(read, known), ast.Eq(), emitter.code.constant(right))


def _member(emitter: Emitter, read: Read, modifier: str, right: Any, known: Known) -> ast.expr | None:
    del modifier
    return compare(emitter.value(read, known), ast.In(), emitter.code.constant(right))


def _unequal(emitter: Emitter, read: Read, modifier: str, right: Any, known: Known) -> ast.expr | None:
    if modifier not in ("", "allof"):
        return None
    if modifier and not right:
        return ast.Constant(False)
    value, again = emitter.twice(read, known)
    if modifier:
        return both(_present(value), compare(again, ast.NotIn(), emitter.code.constant(frozenset(right))))
    return both(_present(value), compare(again, ast.NotEq(), emitter.code.constant(right)))


def _in_order(op: str) -> InPlace:
    def write(emitter: Emitter, read: Read, modifier: str, right: Any, known: Known) -> ast.expr | None:
        if modifier:
            return None
        value, again = emitter.twice(read, known)
        return both(_present(value), compare(again, _ORDERS[op], emitter.code.constant(right)))

    return write


def _contains(emitter: Emitter, read: Read, modifier: str, right: Any, known: Known) -> ast.expr | None:
    if modifier not in ("", "anyof") or not right:
        return None
    value, again = emitter.twice(read, known)
    tests = [compare(emitter.code.constant(part), ast.In(), again) for part in (right if modifier else (right,))]
    return both(_present(value), either(*tests))


def _affix(method: str) -> InPlace:
    def write(emitter: Emitter, read: Read, modifier: str, right: Any, known: Known) -> ast.expr | None:
        if modifier not in ("", "anyof") or not right:
            return None
        value, again = emitter.twice(read, known)
        return both(_present(value), call(attribute(again, method), emitter.code.constant(right)))

    return write


InPlace = Callable[[Emitter, Read, str, Any, Known], "ast.expr | None"]
_IN_PLACE: dict[str, InPlace] = {
    "=": _equal, "in": _member, "intersects": _member, "!=": _unequal, **{op: _in_order(op) for op in _ORDERS},
    "contains": _contains, "bcontains": _contains, "startswith": _affix("startswith"),
    "bstartswith": _affix("startswith"), "endswith": _affix("endswith")}
