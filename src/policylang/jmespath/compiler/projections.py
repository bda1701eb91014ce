"""Loops over the elements of lists and the values of maps."""

# ruff: noqa: ARG001 - one signature for each kind of node
from __future__ import annotations

import ast
from typing import Any

from policylang.code import assign, attribute, call, compare, do, each, give, load, when
from policylang.jmespath.compiler.effects import strict
from policylang.jmespath.compiler.emitter import NONE, Emit, Emitter, Mode
from policylang.jmespath.syntax.tree import Node

_BLOCKS = 12  # loops in loops before a function of its own is begun; Python has room for 20


def _projection(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    left, right = node.children
    return _project(emitter, emitter.value(left, data), right, list)


def _filter_projection(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    left, right, condition = node.children
    return _project(emitter, emitter.forgiven(left, data), right, list, condition)


def _value_projection(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    left, right = node.children
    return _project(emitter, emitter.forgiven(left, data), right, dict)


def _flatten(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    values = emitter.named(emitter.forgiven(node.children[0], data))
    flat, element = emitter.code.fresh(), emitter.code.fresh("e")
    add = [when(emitter.is_list(load(element)), [do(call(attribute(load(flat), "extend"), load(element)))],
                [do(call(attribute(load(flat), "append"), load(element)))])]
    with emitter.inside() as loop:
        emitter.add(assign(flat, ast.List([], ast.Load())), each(element, values, add))
        emitter.spend(load(flat))
    emitter.add(when(emitter.is_list(values), loop, [assign(flat, NONE)]))
    return load(flat)


def _project(emitter: Emitter, collection: ast.expr, right: Node, kind: type,
             condition: Node | None = None) -> ast.expr:
    """`right` of each element of a list, or each value of a map, for which `condition` holds; nulls are left out."""
    if isinstance(collection, ast.Constant):
        return NONE
    if emitter.blocks >= _BLOCKS:
        parameter = emitter.code.fresh("p")
        with emitter.function_of(parameter) as name:
            emitter.add(give(_project(emitter, load(parameter), right, kind, condition)))
        return emitter.named(call(load(name), collection))
    projected, element = emitter.code.fresh(), emitter.code.fresh("e")
    with emitter.inside() as loop:
        values = collection
        if kind is dict:
            of_map = _values if strict(right) else _padded_values
            values = emitter.named(emitter.call(of_map, collection))
        emitter.spend(values)
        emitter.add(assign(projected, ast.List([], ast.Load())))
        with emitter.inside(1) as body:
            if condition is None:
                _keep(emitter, right, load(element), projected)
            else:
                test = emitter.test(condition, load(element))
                with emitter.inside() as kept:
                    _keep(emitter, right, load(element), projected)
                emitter.add(when(test, kept or [ast.Pass()]))
        emitter.add(each(element, values, body or [ast.Pass()]))
    test = emitter.is_type(collection, dict) if kind is dict else emitter.is_list(collection)
    emitter.add(when(test, loop, [assign(projected, NONE)]))
    return load(projected)


def _keep(emitter: Emitter, right: Node, element: ast.expr, projected: str) -> None:
    value = emitter.value(right, element)
    add = do(call(attribute(load(projected), "append"), value))
    if not isinstance(value, ast.Constant):
        emitter.add(when(compare(value, ast.IsNot(), NONE), [add]))
    elif value.value is not None:
        emitter.add(add)


def _values(value: dict[str, Any]) -> list[Any]:
    return [value[key] for key in sorted(value)]


def _padded_values(value: dict[str, Any]) -> list[Any]:
    """Kyverno's fork applies the expression to as many nulls first."""
    return [None] * len(value) + _values(value)


PROJECTIONS: dict[str, Emit] = {"Projection": _projection, "FilterProjection": _filter_projection,
                                "ValueProjection": _value_projection, "Flatten": _flatten}
