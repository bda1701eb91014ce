"""Calls of functions, with the types that their arguments must have, and expressions that are handed to them."""

# ruff: noqa: ARG001 - one signature for each kind of node
from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from policylang.code import both, do, either, give, load, negate, throw, when
from policylang.jmespath.builtins import FUNCTIONS
from policylang.jmespath.builtins.function import invalid
from policylang.jmespath.compiler.emitter import Emit, Emitter, Mode
from policylang.jmespath.syntax.tree import Node
from policylang.jmespath.values import Env, Expression, is_number

_LONG = 256  # characters or elements


def _expref(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    parameter, inner = emitter.code.fresh("p"), node.children[0]
    with emitter.function_of(parameter) as name:
        emitter.add(give(emitter.value(inner, load(parameter))))
    return emitter.named(emitter.call(Expression, load(name), emitter.code.hoist(inner.shape(), "shape")))


def _function(emitter: Emitter, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
    arguments = [emitter.value(child, data) for child in node.children]
    if not isinstance(node.value, str):
        return emitter.refuse("invalid node value type", node)
    function = FUNCTIONS.get(node.value)
    if function is None:
        return emitter.refuse(f"unknown function: {node.value}", node)
    if function.arguments is None:
        arguments = []
    elif function.variadic:
        if len(arguments) < len(function.arguments):
            return emitter.refuse("Invalid arity.", node)
    elif len(arguments) != len(function.arguments):
        return emitter.refuse("incorrect number of args", node)
    else:
        for value, types in zip(arguments, function.arguments, strict=True):
            _check(emitter, value, types)
    for value in arguments:
        if not isinstance(value, ast.Constant):
            emitter.add(do(emitter.call(_looked_through, load("env"), value)))
    emitter.needs |= {function.asks} if function.asks else set()
    known = arguments[function.fixed] if function.prepare is not None else None
    if function.prepare is not None and isinstance(known, ast.Constant) and isinstance(known.value, str):
        prepared = function.prepare(known.value)
        if prepared is not None:
            del arguments[function.fixed]
            return emitter.named(emitter.call(prepared, *arguments))
    given: Sequence[ast.expr] = [load("env"), *arguments] if function.takes_env else arguments
    return emitter.named(emitter.call(function.handler, *given))


def _looked_through(env: Env, value: Any) -> None:
    """Pay for what a function will walk through: a projection may call it for each of many elements."""
    kind = type(value)
    if kind is str:
        if len(value) > _LONG:
            env.spend(len(value) >> (8 if value.isascii() else 2))
    elif kind is list and len(value) > _LONG:
        env.spend(len(value) >> 3)


def _check(emitter: Emitter, value: ast.expr, types: tuple[str, ...]) -> None:
    """Raises where the value is of none of these types."""
    if "any" in types or (isinstance(value, ast.Constant) and _constant_type(value.value) in types):
        return
    tests = [_TESTS[name](emitter, value) for name in types]
    wrong = emitter.call(invalid, value, emitter.code.hoist(types, "kinds"))
    emitter.add(when(negate(either(*tests)), [throw(wrong)]))


def _constant_type(value: Any) -> str:
    return "string" if isinstance(value, str) else "number" if is_number(value) else ""


def _all_strings(values: list[Any]) -> bool:
    return all(type(value) is str for value in values)


def _all_numbers(values: list[Any]) -> bool:
    return all(map(is_number, values))


def _list_of(all_of: Callable[[list[Any]], bool]) -> Callable[[Emitter, ast.expr], ast.expr]:
    return lambda emitter, value: both(emitter.is_type(value, list), emitter.call(all_of, value))


_TESTS: dict[str, Callable[[Emitter, ast.expr], ast.expr]] = {  # a test for each type that JMESPath has a name for
    "string": lambda emitter, value: emitter.is_type(value, str), "number": Emitter.is_number,
    "array": Emitter.is_list, "object": lambda emitter, value: emitter.is_type(value, dict),
    "expref": lambda emitter, value: emitter.is_type(value, Expression),
    "array[string]": _list_of(_all_strings), "array[number]": _list_of(_all_numbers)}

CALLS: dict[str, Emit] = {"ExpRef": _expref, "FunctionExpression": _function}
