"""Calls in generated code: comparisons in place, a policy's functions, builtins, and what `with` puts there instead."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from policylang.code import assign, attribute, both, call, compare, do, load, negate
from policylang.rego.compile.emitter import Emitter, V
from policylang.rego.compile.unification import unify
from policylang.rego.declare import Builtin, BuiltinError
from policylang.rego.evaluation import operations
from policylang.rego.syntax.tree import Call, Scalar
from policylang.rego.values import equal


def called(emitter: Emitter, term: Call) -> V:
    """The value of a call."""
    name = ".".join(term.operator)
    special = _SPECIAL.get(name)
    if special is not None and not (term.args and name != "print"):
        return special(emitter, term)
    test = _comparison(emitter, term, name)
    if test is not None:
        return V(emitter.named(test), "json")
    nodes = emitter.values(term.args)
    function = emitter.program.function(term.operator)
    assert function is not None, "the checker knows all functions"
    if emitter.program.mocked(name):
        value = _mocked(emitter, name, function, nodes, term.at)
    elif isinstance(function, str):
        return V(emitter.defined(call(load(function), load(emitter.state), *nodes)))
    else:
        value = _builtin(emitter, function, nodes, term.at)
    if isinstance(function, Builtin) and function.relation:
        return V(load(emitter.members(value.node)))
    return value


def call_holds(emitter: Emitter, term: Call) -> None:
    """A call as an expression: it must not be false, and may bind the variable after its last argument."""
    test = _comparison(emitter, term, ".".join(term.operator))
    if test is not None:
        emitter.unless(test)
        return
    count = emitter.program.arity(term)
    if count is not None and len(term.args) == count + 1:
        *args, out = term.args
        value = called(emitter, Call(term.at, term.end, term.operator, args, term.infix))
        unify(emitter, out, V(emitter.named(value.node), value.kind))
        return
    emitter.fail_if(emitter.is_false(called(emitter, term).node))


def _builtin(emitter: Emitter, function: Builtin, nodes: list[ast.expr], at: int) -> V:
    result = emitter.code.fresh("t")
    if function.name not in _OPERATORS or len(nodes) != 2:
        _guarded(emitter, result, function, nodes, at)
        return V(load(result))
    integers = [compare(emitter.call(type, node), ast.Is(), emitter.code.hoist(int)) for node in nodes
                if not (isinstance(node, ast.Constant) and type(node.value) is int)]
    quick = assign(result, ast.BinOp(nodes[0], _OPERATORS[function.name], nodes[1]))
    with emitter.otherwise(both(*integers) if integers else ast.Constant(True), quick):
        _guarded(emitter, result, function, nodes, at)
    return V(load(result))


_OPERATORS = {"plus": ast.Add(), "minus": ast.Sub()}  # of Python, where both operands are integers


def _guarded(emitter: Emitter, result: str, function: Builtin, nodes: list[ast.expr], at: int) -> None:
    """A builtin's call; where it raises, the statement fails."""
    if function.context:
        nodes = [emitter.of_state("context"), *nodes]
    error = emitter.code.fresh("e")
    failed = call(emitter.of_state("failed"), load(error), ast.Constant(function.name),
                  ast.Constant(emitter.where(at)))
    emitter.add(ast.Try([assign(result, emitter.call(function.call, *nodes))],
                        [ast.ExceptHandler(emitter.code.hoist(BuiltinError), error, [do(failed), emitter.fail()])],
                        [], []))
    emitter.fail_if(emitter.is_undefined(load(result)))


def _mocked(emitter: Emitter, name: str, function: Builtin | str, nodes: list[ast.expr], at: int) -> V:
    """A call of what some `with` replaces."""
    mock, result = emitter.code.fresh("m"), emitter.code.fresh("t")
    emitter.add(assign(mock, call(attribute(emitter.of_state("mocks"), "get"), ast.Constant(name))))
    replaced = assign(result, call(load(mock), call(emitter.of_state("unmocked")), *nodes))
    with emitter.otherwise(compare(load(mock), ast.IsNot(), ast.Constant(None)), replaced):
        if isinstance(function, Builtin):
            _guarded(emitter, result, function, nodes, at)
        else:
            emitter.add(assign(result, call(load(function), load(emitter.state), *nodes)))
    emitter.fail_if(emitter.is_undefined(load(result)))
    return V(load(result))


# --- comparisons

def _comparison(emitter: Emitter, term: Call, name: str) -> ast.expr | None:
    """A test in place of a call: comparisons and membership, unless something replaces them."""
    count, test = _TESTS.get(name, (-1, _equal))
    if len(term.args) != count or emitter.program.mocked(name):
        return None
    left, right = term.args[-2], term.args[-1]
    if name in ("equal", "neq") and (isinstance(left, Scalar) or isinstance(right, Scalar)):
        if isinstance(left, Scalar):
            left, right = right, left
        assert isinstance(right, Scalar)
        equals = emitter.equals(emitter.value(left).node, right.value)
        return equals if name == "equal" else negate(equals)
    return test(emitter, *emitter.values(term.args))


def _test(function: Callable[..., bool], *places: int) -> Callable[..., ast.expr]:
    """A call of the function with the operands at those places."""
    return lambda emitter, *nodes: emitter.call(function, *(nodes[place] for place in places))


_equal = _test(equal, 0, 1)
_TESTS: Mapping[str, tuple[int, Callable[..., ast.expr]]] = {  # by the number of operands
    "equal": (2, _equal),
    "neq": (2, lambda emitter, *nodes: negate(emitter.call(equal, *nodes))),
    "lt": (2, _test(operations.less, 0, 1)),
    "lte": (2, _test(operations.less_or_equal, 0, 1)),
    "gt": (2, _test(operations.less, 1, 0)),
    "gte": (2, _test(operations.less_or_equal, 1, 0)),
    "internal.member_2": (2, _test(operations.contains, 1, 0)),
    "internal.member_3": (3, _test(operations.contains_at, 2, 0, 1)),
}


# --- builtins that are known when a policy is compiled

def _print(emitter: Emitter, term: Call) -> V:
    parts: list[ast.expr] = []
    for argument in term.args:
        with emitter.collected("shown", ast.List([], ast.Load())) as shown, emitter.closed():
            emitter.add(do(call(attribute(load(shown), "append"), emitter.value(argument).node)))
        parts.append(load(shown))
    emitter.add(do(emitter.call(operations.printed, load(emitter.state), ast.List(parts, ast.Load()))))
    return V(ast.Constant(True), "json")


def _chain(emitter: Emitter, term: Call) -> V:
    return V(emitter.code.constant(emitter.program.annotations(emitter.source, term.at)), "json")


def _own(emitter: Emitter, term: Call) -> V:
    chain = emitter.program.annotations(emitter.source, term.at)
    return V(emitter.code.constant(chain[0].get("annotations", {}) if chain else {}), "json")


_SPECIAL: Mapping[str, Callable[[Emitter, Call], V]] = {
    "print": _print, "rego.metadata.chain": _chain, "rego.metadata.rule": _own}
