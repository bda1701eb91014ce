"""Calls in generated code: comparisons in place, a policy's functions, builtins, and what `with` puts there instead."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from policylang.code import Code, assign, both, call, compare, load, negate, store, when
from policylang.rego import runtime
from policylang.rego.blocks import Blocks, V
from policylang.rego.declare import Builtin, BuiltinError
from policylang.rego.tree import (
    Array,
    Call,
    Comprehension,
    Expr,
    Object,
    Ref,
    Scalar,
    SetOf,
    Template,
    Term,
    Unify,
    Var,
    What,
)
from policylang.rego.values import equal
from policylang.source import Source

if TYPE_CHECKING:
    from policylang.rego.bodies import Bodies


class Program(Protocol):
    """What bodies need to know of the program around them; `program.Policy` implements it."""

    traced: bool  # whether expressions are noted, in the order in which they were written
    told: bool  # whether something tells the order of what is evaluated: a trace, or `print`

    def data_ref(self, bodies: Bodies, path: list[Term]) -> tuple[V, int]:
        """The value at the longest prefix of `data.path` that is known now, and how many parts it has."""

    def is_made(self, part: Term | Expr) -> bool:
        """Whether rules make what it refers to or calls, or a part of it."""

    def function(self, operator: list[str]) -> Builtin | str | None:
        """A builtin, or the name of a generated function; None where there is none."""

    def arity(self, term: Call) -> int | None:
        """How many arguments the function that is called takes."""

    def mocked(self, name: str) -> bool:
        """Whether some `with` replaces the function."""

    def special(self, bodies: Calls, term: Call) -> V | None:
        """Builtins that are known at compile time."""

    def replacement(self, bodies: Bodies, target: Term, value: Term) -> ast.expr:
        """One change of a `with`, as State.replaced takes it."""

    def note(self, bodies: Bodies, expr: Expr, *, done: bool) -> None:
        """Called before an expression's statements are written, and after them, for coverage and traces."""


class Calls(Blocks, ABC):
    """What of a body's compiler writes calls. Terms and unification are those of `Bodies`."""

    def __init__(self, code: Code, parameters: list[str], state: str, program: Program, source: Source) -> None:
        super().__init__(code, parameters, state)
        self.program = program
        self.source = source

    def where(self, at: int) -> str:
        return f"{self.source.name}:{self.source.place(at)[0]}"

    @abstractmethod
    def value(self, term: Term) -> V: ...

    @abstractmethod
    def values(self, terms: list[Term]) -> list[ast.expr]: ...

    @abstractmethod
    def unify(self, term: Term, value: V) -> None: ...

    def equals(self, node: ast.expr, value: Any) -> ast.expr:
        """A test that `node` is the scalar `value`."""
        if isinstance(node, ast.Constant):
            return ast.Constant(equal(node.value, value))
        if value is None or isinstance(value, bool):
            return compare(node, ast.Is(), ast.Constant(value))
        if isinstance(value, str):
            return compare(node, ast.Eq(), ast.Constant(value))
        node = self.temp(node)
        return both(compare(node, ast.Eq(), self.code.constant(value)),
                    compare(self.call(type, node), ast.IsNot(), self.code.hoist(bool)))

    def equal(self, one: ast.expr, other: ast.expr) -> ast.expr:
        if (isinstance(one, ast.Constant) and isinstance(one.value, str)) or \
                (isinstance(other, ast.Constant) and isinstance(other.value, str)):
            return compare(one, ast.Eq(), other)
        return self.call(equal, one, other)

    def settled(self, what: What) -> What:
        """A negated expression whose arguments are evaluated before the negation, as in OPA: where `input.x` is not
        there, `not startswith(input.x, "a")` has no value. Only what stands alone, or beside `==`, is what is negated.
        """
        if isinstance(what, Unify):
            return Unify(self._beside(what.left), self._beside(what.right))
        if isinstance(what, Call):
            settle = self._beside if what.operator in (["equal"], ["eq"]) else self._before
            return Call(what.at, what.end, what.operator, [settle(argument) for argument in what.args], what.infix)
        return self._beside(what) if isinstance(what, Ref) else what

    def _beside(self, term: Term) -> Term:
        if isinstance(term, Ref):
            head = term.head if isinstance(term.head, Var) else self._before(term.head)
            return Ref(term.at, term.end, head, [self._before(part) for part in term.path])
        return term if isinstance(term, (Comprehension, Template)) else self._before(term)

    def _before(self, term: Term) -> Term:
        if isinstance(term, (Ref, Call, Comprehension)):
            name = f"settled {term.at} {len(self.env)}"
            self.env[name] = V(self.temp(self.value(term).node))
            return Var(term.at, term.end, name)
        if isinstance(term, Array):
            return Array(term.at, term.end, [self._before(item) for item in term.items])
        if isinstance(term, SetOf):
            return SetOf(term.at, term.end, [self._before(item) for item in term.items])
        if isinstance(term, Object):
            return Object(term.at, term.end, [(self._before(key_), self._before(value)) for key_, value in term.pairs])
        return term

    def _statement(self, term: Call) -> None:
        """A call as an expression: it must not be false, and may bind the variable after its last argument."""
        test = self._comparison(term)
        if test is not None:
            self.unless(test)
            return
        count = self.program.arity(term)
        if count is not None and len(term.args) == count + 1:
            *args, out = term.args
            found = self._call(Call(term.at, term.end, term.operator, args, term.infix))
            self.unify(out, V(self.temp(found.node), found.kind))
            return
        found = self._call(term)
        self.fail_if(self.is_false(found.node))

    def _comparison(self, term: Call) -> ast.expr | None:
        """A test in place of a call: comparisons and membership, unless something replaces them."""
        name = ".".join(term.operator)
        make = _TESTS.get(name)
        if make is None or len(term.args) != make[0] or self.program.mocked(name):
            return None
        left, right = term.args[-2], term.args[-1]
        if name in ("equal", "neq") and (isinstance(left, Scalar) or isinstance(right, Scalar)):
            if isinstance(left, Scalar):
                left, right = right, left
            node = self.value(left).node
            assert isinstance(right, Scalar)
            test = self.equals(node, right.value)
            return test if name == "equal" else negate(test)
        return make[1](self, self.values(term.args))

    def _call(self, term: Call) -> V:
        special = self.program.special(self, term)
        if special is not None:
            return special
        test = self._comparison(term)
        if test is not None:
            return V(self.temp(test), "json")
        name = ".".join(term.operator)
        nodes = self.values(term.args)
        function = self.program.function(term.operator)
        assert function is not None, "the checker knows all functions"
        if self.program.mocked(name):
            return self._mocked(name, function, nodes, term.at)
        return V(self._invoke(function, nodes, term.at), "any")

    def _invoke(self, function: Builtin | str, nodes: list[ast.expr], at: int) -> ast.expr:
        if isinstance(function, str):
            return self.defined(call(load(function), load(self.state), *nodes))
        name = self.code.fresh("t")
        if function.name in ("plus", "minus") and len(nodes) == 2:
            operator = ast.Add() if function.name == "plus" else ast.Sub()
            integers = [compare(self.call(type, node), ast.Is(), self.code.hoist(int)) for node in nodes
                        if not (isinstance(node, ast.Constant) and type(node.value) is int)]
            test = when(both(*integers) if integers else ast.Constant(True),
                        [assign(name, ast.BinOp(nodes[0], operator, nodes[1]))])
            assert isinstance(test, ast.If)
            self.add(test)
            outer, self.block = self.block, test.orelse
            self._guarded(name, function, nodes, at)
            self.block = outer
        else:
            self._guarded(name, function, nodes, at)
        if function.relation:
            found = self.code.fresh("v")
            self.loop(store(found), self.call(self.members(), load(self.state), load(name)))
            return load(found)
        return load(name)

    def _guarded(self, name: str, function: Builtin, nodes: list[ast.expr], at: int) -> None:
        """A builtin's call; where it raises, the statement fails."""
        if function.context:
            nodes = [ast.Attribute(load(self.state), "context", ast.Load()), *nodes]
        error = self.code.fresh("e")
        failed = call(ast.Attribute(load(self.state), "failed", ast.Load()), load(error),
                      ast.Constant(function.name), ast.Constant(self.where(at)))
        self.add(ast.Try([assign(name, self.call(function.call, *nodes))],
                         [ast.ExceptHandler(self.code.hoist(BuiltinError), error, [ast.Expr(failed), self.fail()])],
                         [], []))
        self.fail_if(self.is_undefined(load(name)))

    def _mocked(self, name: str, function: Builtin | str, nodes: list[ast.expr], at: int) -> V:
        mock, found = self.code.fresh("m"), self.code.fresh("t")
        self.add(assign(mock, call(ast.Attribute(ast.Attribute(load(self.state), "mocks", ast.Load()), "get",
                                                 ast.Load()), ast.Constant(name))))
        test = when(compare(load(mock), ast.IsNot(), ast.Constant(None)),
                    [assign(found, call(load(mock), call(ast.Attribute(load(self.state), "unmocked", ast.Load())),
                                  *nodes))])
        assert isinstance(test, ast.If)
        self.add(test)
        outer, self.block = self.block, test.orelse
        if isinstance(function, Builtin):
            self._guarded(found, function._replace(relation=False), nodes, at)
        else:
            self.add(assign(found, call(load(function), load(self.state), *nodes)))
        self.block = outer
        self.fail_if(self.is_undefined(load(found)))
        if isinstance(function, Builtin) and function.relation:
            value = self.code.fresh("v")
            self.loop(store(value), self.call(self.members(), load(self.state), load(found)))
            return V(load(value))
        return V(load(found))


def _test(function: Callable[..., bool]) -> Callable[[Calls, list[ast.expr]], ast.expr]:
    return lambda bodies, nodes: bodies.call(function, *nodes)


def _swapped(function: Callable[..., bool]) -> Callable[[Calls, list[ast.expr]], ast.expr]:
    return lambda bodies, nodes: bodies.call(function, *reversed(nodes))


def _not_equal(bodies: Calls, nodes: list[ast.expr]) -> ast.expr:
    return negate(bodies.call(equal, *nodes))


_TESTS: dict[str, tuple[int, Callable[[Calls, list[ast.expr]], ast.expr]]] = {
    "equal": (2, _test(equal)),
    "neq": (2, _not_equal),
    "lt": (2, _test(runtime.less)),
    "lte": (2, _test(runtime.less_or_equal)),
    "gt": (2, _swapped(runtime.less)),
    "gte": (2, _swapped(runtime.less_or_equal)),
    "internal.member_2": (2, _swapped(runtime.contains)),
    "internal.member_3": (3, lambda bodies, nodes: bodies.call(runtime.contains_at, nodes[2], nodes[0], nodes[1])),
}
