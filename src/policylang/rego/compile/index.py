"""Which of a rule's many clauses can hold: those whose test of one input value, or of one argument, is met.

A clause that asks `input.method == "GET"` needs no look where the method is another. The value that most clauses
test is looked up once, in a dict that was made when the rule was compiled.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from policylang.code import assign, attribute, call, compare, load
from policylang.rego.compile.emitter import Emitter, V
from policylang.rego.compile.references import reference
from policylang.rego.syntax.tree import Body, Call, Expr, Ref, Rule, Scalar, Term, Unify, Var
from policylang.rego.values import Key, key

FEWEST = 6  # clauses that make an index worth its look-up
_Place = tuple[str, ...]


def only(rules: list[Rule], emitter: Emitter) -> Callable[[int], AbstractContextManager[None]]:
    """A function that gives, for a clause's number, the context in which its statements are to be written."""
    tests = [_tests(rule) for rule in rules] if len(rules) >= FEWEST else []
    counted = Counter(place for tested in tests for place in tested)
    place, times = max(counted.items(), key=lambda item: item[1], default=((), 0))
    if times < FEWEST:
        return lambda _: nullcontext()
    always = frozenset(at for at, tested in enumerate(tests) if place not in tested)
    chosen: dict[Key, frozenset[int]] = {}
    for at, tested in enumerate(tests):
        if place in tested:
            chosen[tested[place]] = chosen.get(tested[place], always) | {at}
    selected = emitter.collect("chosen", emitter.code.hoist(always, "always"))
    with emitter.closed():
        value = _value(place, emitter)
        get = call(attribute(emitter.code.hoist(chosen, "index"), "get"),
                   emitter.call(key, value.node), emitter.code.hoist(always, "always"))
        emitter.add(assign(selected, get))
    return lambda at: nullcontext() if at in always else emitter.branch(
        compare(ast.Constant(at), ast.In(), load(selected)))


def first_tests(body: Body) -> Body:
    """The body with its tests of single input values first: they cost least, and OPA's index makes them first too."""
    tests = [expr for expr in body if is_test(expr)]
    return tests + [expr for expr in body if not is_test(expr)] if tests else body


def is_test(expr: Expr) -> bool:
    if expr.negated or expr.withs:
        return False
    sides = _sides(expr)
    if sides is None:
        return isinstance(expr.statement, Ref) and _input_place(expr.statement) is not None
    return any(_input_place(asked) is not None and isinstance(value, Scalar)
               for asked, value in (sides, sides[::-1]))


def _sides(expr: Expr) -> tuple[Term, Term] | None:
    """What an expression compares with `=` or `==`."""
    statement = expr.statement
    if isinstance(statement, Unify):
        return statement.left, statement.right
    if isinstance(statement, Call) and statement.operator == ["equal"] and len(statement.args) == 2:
        return statement.args[0], statement.args[1]
    return None


def _value(place: _Place, emitter: Emitter) -> V:
    if place[0] != "input":
        return V(load(place[0]))
    return reference(emitter, Ref(0, 0, Var(0, 0, "input"), [Scalar(0, 0, name) for name in place[1:]]))


def _tests(rule: Rule) -> dict[_Place, Key]:
    """Where a clause compares with a constant: place → the constant."""
    tested: dict[_Place, Key] = {}
    for at, argument in enumerate(rule.args):
        if isinstance(argument, Scalar):
            tested[f"a{at}",] = key(argument.value)
    if rule.otherwise is not None:
        return tested
    for expr in rule.body:
        if expr.negated or expr.withs:
            continue
        sides = _sides(expr)
        if sides is None:
            continue
        for asked, value in (sides, sides[::-1]):
            place = _input_place(asked)
            if place is not None and isinstance(value, Scalar):
                tested.setdefault(place, key(value.value))
    return tested


def _input_place(term: Term) -> _Place | None:
    if not (isinstance(term, Ref) and isinstance(term.head, Var) and term.head.name == "input"):
        return None
    names = ["input"]
    for part in term.path:
        if not (isinstance(part, Scalar) and isinstance(part.value, str)):
            return None
        names.append(part.value)
    return tuple(names)

