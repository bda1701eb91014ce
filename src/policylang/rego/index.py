"""Which of a rule's many clauses can hold: those whose test of one input value, or of one argument, is met.

A clause that asks `input.method == "GET"` needs no look where the method is another. The value that most clauses
test is looked up once, in a dict that was made when the rule was compiled.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable

from policylang.code import assign, call, load, when
from policylang.rego.blocks import V
from policylang.rego.bodies import Bodies
from policylang.rego.tree import Body, Call, Expr, Rule, Scalar, Term, Unify, Var
from policylang.rego.tree import Ref as Reference
from policylang.rego.values import Key, key

FEWEST = 6  # clauses that make an index worth its look-up
_Place = tuple[str, ...]


def only(rules: list[Rule], bodies: Bodies) -> Callable[[int], _Only]:
    """A function that gives, for a clause's number, the context in which its statements are to be written."""
    if len(rules) < FEWEST:
        return lambda _: _Only(bodies, None)
    tests = [_tests(rule) for rule in rules]
    counted = Counter(place for found in tests for place in found)
    if not counted:
        return lambda _: _Only(bodies, None)
    [(place, times)] = counted.most_common(1)
    if times < FEWEST:
        return lambda _: _Only(bodies, None)
    always = frozenset(at for at, found in enumerate(tests) if place not in found)
    chosen: dict[Key, frozenset[int]] = {}
    for at, found in enumerate(tests):
        if place in found:
            name = found[place]
            chosen[name] = chosen.get(name, always) | {at}
    selected = bodies.collect("chosen", bodies.code.hoist(always, "always"))
    with bodies.closed():
        value = _value(place, bodies)
        get = call(ast.Attribute(bodies.code.hoist(chosen, "index"), "get", ast.Load()),
                   bodies.call(key, value.node), bodies.code.hoist(always, "always"))
        bodies.add(assign(selected, get))
    return lambda at: _Only(bodies, None if at in always else ast.Compare(ast.Constant(at), [ast.In()],
                                                                          [load(selected)]))


def first_tests(body: Body) -> Body:
    """The body with its tests of single input values first: they cost least, and OPA's index makes them first too."""
    tests = [expr for expr in body if is_test(expr)]
    return tests + [expr for expr in body if not is_test(expr)] if tests else body


def is_test(expr: Expr) -> bool:
    if expr.negated or expr.withs:
        return False
    sides = _sides(expr)
    if sides is None:
        return isinstance(expr.what, Reference) and _input_place(expr.what) is not None
    one, other = sides
    return any(_input_place(this) is not None and isinstance(that, Scalar)
               for this, that in ((one, other), (other, one)))


def _sides(expr: Expr) -> tuple[Term, Term] | None:
    """What an expression compares with `=` or `==`."""
    what = expr.what
    if isinstance(what, Unify):
        return what.left, what.right
    if isinstance(what, Call) and what.operator == ["equal"] and len(what.args) == 2:
        return what.args[0], what.args[1]
    return None


class _Only:
    """Statements that are written inside it run where the clause is chosen."""

    def __init__(self, bodies: Bodies, test: ast.expr | None) -> None:
        self.bodies, self.test = bodies, test

    def __enter__(self) -> None:
        if self.test is not None:
            node = when(self.test, [])
            assert isinstance(node, ast.If)
            self.bodies.add(node)
            self.outer, self.bodies.block = self.bodies.block, node.body

    def __exit__(self, *_: object) -> None:
        if self.test is not None:
            self.bodies.block = self.outer


def _value(place: _Place, bodies: Bodies) -> V:
    if place[0] != "input":
        return V(load(place[0]))
    return bodies.ref(Reference(0, 0, Var(0, 0, "input"), [Scalar(0, 0, name) for name in place[1:]]))


def _tests(rule: Rule) -> dict[_Place, Key]:
    """Where a clause compares with a constant: place → the constant."""
    found: dict[_Place, Key] = {}
    for at, argument in enumerate(rule.args):
        if isinstance(argument, Scalar):
            found[f"a{at}",] = key(argument.value)
    if rule.otherwise is not None:
        return found
    for expr in rule.body:
        if expr.negated or expr.withs:
            continue
        sides = _sides(expr)
        if sides is None:
            continue
        for one, other in (sides, sides[::-1]):
            place = _input_place(one)
            if place is not None and isinstance(other, Scalar):
                found.setdefault(place, key(other.value))
    return found


def _input_place(term: Term) -> _Place | None:
    if not (isinstance(term, Reference) and isinstance(term.head, Var) and term.head.name == "input"):
        return None
    names = ["input"]
    for part in term.path:
        if not (isinstance(part, Scalar) and isinstance(part.value, str)):
            return None
        names.append(part.value)
    return tuple(names)

