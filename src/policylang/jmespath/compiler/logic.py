"""What is true, and what is equal."""

# ruff: noqa: ARG001 - one signature for each kind of node
from __future__ import annotations

import ast

from policylang.code import assign, both, choose, compare, either, load, negate, when
from policylang.jmespath.compiler.emitter import NONE, Emit, Emitter, Mode
from policylang.jmespath.syntax.tree import Node
from policylang.jmespath.values import is_number, same

_SIGNS: dict[str, ast.cmpop] = {"<": ast.Lt(), "<=": ast.LtE(), ">": ast.Gt(), ">=": ast.GtE()}


def _or(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    return _decided(emitter, node, data, Mode.NULL, by=True)


def _and(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    return _decided(emitter, node, data, mode, by=False)


def _decided(emitter: Emitter, node: Node, data: ast.expr, mode: Mode, *, by: bool) -> ast.expr:
    """The left value where it is true or not, as `by` says, else the right one."""
    left, right = node.children
    result = emitter.code.fresh()
    emitter.add(assign(result, emitter.value(left, data)))
    with emitter.inside() as otherwise:
        emitter.add(assign(result, emitter.value(right, data, mode)))
    false = _false(load(result))
    emitter.add(when(false if by else negate(false), otherwise))
    return load(result)


def _false(value: ast.expr) -> ast.expr:
    return both(negate(value), either(compare(value, ast.NotEq(), ast.Constant(0)),
                                      compare(value, ast.Is(), ast.Constant(False))))


def _not(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    return emitter.named(negate(emitter.test(node.children[0], data)))


def _comparator(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    left, right = (emitter.value(child, data) for child in node.children)
    sign = node.value
    if sign in ("==", "!="):
        equal = _equal(emitter, left, right)
        return emitter.named(equal if sign == "==" else negate(equal))
    numbers = [emitter.is_number(side) for side in (left, right)
               if not (isinstance(side, ast.Constant) and is_number(side.value))]
    test = compare(left, _SIGNS[sign], right)
    return emitter.named(choose(both(*numbers), test, NONE) if numbers else test)


def _equal(emitter: Emitter, left: ast.expr, right: ast.expr) -> ast.expr:
    for side, constant in ((left, right), (right, left)):
        if isinstance(constant, ast.Constant):
            if isinstance(side, ast.Constant):
                return ast.Constant(same(side.value, constant.value))
            if isinstance(constant.value, str):
                return compare(side, ast.Eq(), constant)
            if constant.value is None or isinstance(constant.value, bool):
                return compare(side, ast.Is(), constant)
            return both(emitter.is_number(side), compare(side, ast.Eq(), constant))
    return emitter.call(same, left, right)


LOGIC: dict[str, Emit] = {"OrExpression": _or, "AndExpression": _and, "NotExpression": _not, "Comparator": _comparator}
