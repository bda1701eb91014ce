"""What `with` puts in the place of input, base data, rules and functions."""

from __future__ import annotations

import ast
from collections.abc import Callable

from policylang.code import load
from policylang.rego.compile.emitter import Emitter
from policylang.rego.declare import Builtin, BuiltinError
from policylang.rego.evaluation.state import State
from policylang.rego.syntax.tree import FunctionName, Ref, Term, Var, constant
from policylang.rego.values import UNDEFINED, Value


def replacement(emitter: Emitter, target: Term, value: Term) -> ast.expr:
    """One change of a `with`, as State.replaced takes it."""
    assert isinstance(target, Ref)
    assert isinstance(target.head, Var)
    function = emitter.program.replaced_function(target)
    if function is not None:
        return ast.Tuple([ast.Constant("mock"), ast.Constant(function), _mock(emitter, value)], ast.Load())
    node = emitter.named(emitter.value(value).node)
    names = [constant(part) for part in target.path]
    return ast.Tuple([ast.Constant(target.head.name), emitter.code.constant(names, "path"), node], ast.Load())


def _mock(emitter: Emitter, value: Term) -> ast.expr:
    """The function that is called instead: another one, or one that always gives the value."""
    operator: list[str] | None = None
    if isinstance(value, FunctionName):
        operator = value.operator
    elif isinstance(value, Ref) and isinstance(value.head, Var) and value.head.name == "data":
        operator = ["data", *(str(constant(part)) for part in value.path)]
    if operator is not None:
        function = emitter.program.function(operator)
        if isinstance(function, str):
            return load(function)
        if function is not None:
            return emitter.code.hoist(_builtin_mock(function, emitter.where(value.at)))
    return emitter.call(_value_mock, emitter.named(emitter.value(value).node))


def _builtin_mock(function: Builtin, where: str) -> Callable[..., Value]:
    def mock(state: State, *args: Value) -> Value:
        try:
            return function.call(state.context, *args) if function.context else function.call(*args)
        except BuiltinError as error:
            state.failed(error, function.name, where)
            return UNDEFINED
    return mock


def _value_mock(value: Value) -> Callable[..., Value]:
    return lambda _, *__: value
