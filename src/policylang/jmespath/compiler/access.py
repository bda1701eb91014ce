"""Literals, and what is taken out of a value: fields, indices, slices, selections."""

# ruff: noqa: ARG001 - one signature for each kind of node
from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from policylang.code import assign, attribute, both, call, choose, compare, item, load, throw, when
from policylang.jmespath.compiler.effects import may_miss, strict
from policylang.jmespath.compiler.emitter import NONE, Emit, Emitter, Mode
from policylang.jmespath.syntax.tree import Node
from policylang.jmespath.values import MISSING, UnknownKeyError


def _data(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    return data


def _empty(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    return emitter.refuse("Unknown AST node: ASTEmpty", node)


def _literal(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    filled = _filled(emitter, node.value)
    return emitter.code.constant(node.value) if filled is None else emitter.named(filled)


def _filled(emitter: Emitter, value: Any) -> ast.expr | None:
    """A literal with texts that depend on the data; None where it has none."""
    if isinstance(value, str):
        return emitter.holes(value)
    if not isinstance(value, (list, dict)):
        return None
    members = value if isinstance(value, list) else value.values()
    parts = [_filled(emitter, member) for member in members]
    if all(part is None for part in parts) and not (isinstance(value, dict) and any(map(emitter.holes, value))):
        return None
    whole = [emitter.code.constant(member) if part is None else part
             for part, member in zip(parts, members, strict=True)]
    if isinstance(value, list):
        return ast.List(whole, ast.Load())
    return ast.Dict([emitter.holes(key) or ast.Constant(key) for key in value], whole)


def _field(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    hole = emitter.holes(node.value)
    key: ast.expr = ast.Constant(node.value) if hole is None else emitter.named(hole)
    if isinstance(data, ast.Constant):
        return NONE
    is_map = emitter.is_type(data, dict)
    if mode is not Mode.RAISE:
        otherwise = [emitter.code.hoist(MISSING, "MISSING")] if mode is Mode.MARK else []
        return emitter.named(choose(is_map, call(attribute(data, "get"), key, *otherwise), NONE))
    member = emitter.code.fresh()
    unknown = throw(emitter.call(UnknownKeyError, key))
    emitter.add(when(is_map, [when(compare(key, ast.NotIn(), data), [unknown]), assign(member, item(data, key))],
                     [assign(member, NONE)]))
    return load(member)


def _chain(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    """A subexpression, or an index expression."""
    left, right = node.children
    if mode is Mode.RAISE or (mode is Mode.NULL and strict(right)):
        return emitter.value(right, emitter.value(left, data, mode), mode)
    if not may_miss(left):
        return emitter.value(right, emitter.value(left, data), mode)
    before = emitter.value(left, data, Mode.MARK)
    if isinstance(before, ast.Constant):
        return emitter.value(right, before, mode)
    result = emitter.code.fresh()
    with emitter.inside() as behind:
        emitter.add(assign(result, emitter.value(right, before, mode)))
    missing = emitter.code.hoist(MISSING, "MISSING")
    emitter.add(when(compare(before, ast.Is(), missing),
                     [assign(result, missing if mode is Mode.MARK else NONE)], behind))
    return load(result)


def _index(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    if isinstance(data, ast.Constant):
        return NONE
    at = node.value
    size = emitter.call(len, data)
    within = compare(size, ast.Gt() if at >= 0 else ast.GtE(), ast.Constant(abs(at)))
    return emitter.named(choose(both(emitter.is_list(data), within), item(data, ast.Constant(at)), NONE))


def _slice(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    if isinstance(data, ast.Constant):
        return NONE
    if node.value[2] == 0:
        message = "Invalid slice, step cannot be 0"
        emitter.problems.append((message, node.start))
        emitter.add(when(emitter.is_list(data), [emitter.fail(message)]))
        return NONE
    bounds = map(ast.Constant, node.value)
    return emitter.named(choose(emitter.is_list(data), item(data, ast.Slice(*bounds)), NONE))


def _pipe(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    left, right = node.children
    return emitter.value(right, emitter.value(left, data))


def _multi_select_list(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    return _selection(emitter, data, lambda: ast.List([emitter.value(child, data) for child in node.children],
                                                      ast.Load()))


def _multi_select_hash(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    return _selection(emitter, data, lambda: ast.Dict(
        [emitter.code.constant(pair.value) for pair in node.children],
        [emitter.value(pair.children[0], data) for pair in node.children]))


def _selection(emitter: Emitter, data: ast.expr, select: Callable[[], ast.expr]) -> ast.expr:
    """What `select` gives; null of null."""
    if isinstance(data, ast.Constant) and data.value is None:
        return NONE
    selected = emitter.code.fresh()
    with emitter.inside() as body:
        emitter.add(assign(selected, select()))
    if isinstance(data, ast.Constant):
        emitter.add(*body)
    else:
        emitter.add(when(compare(data, ast.Is(), NONE), [assign(selected, NONE)], body))
    return load(selected)


ACCESS: dict[str, Emit] = {
    "Identity": _data, "CurrentNode": _data, "Empty": _empty, "Literal": _literal, "Field": _field,
    "Subexpression": _chain, "IndexExpression": _chain, "Index": _index, "Slice": _slice, "Pipe": _pipe,
    "MultiSelectList": _multi_select_list, "MultiSelectHash": _multi_select_hash}
