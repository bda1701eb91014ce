"""Expressions as Python statements: what each kind of them becomes is in the tables of `EMIT`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from policylang.code import assign, attribute, call, compare, do, load, negate, when
from policylang.rego.compile.calls import call_holds
from policylang.rego.compile.emitter import Emit, Emitter, V
from policylang.rego.compile.references import inside, reference, whole
from policylang.rego.compile.replacements import replacement
from policylang.rego.compile.terms import TERMS
from policylang.rego.compile.unification import unify, unify_terms
from policylang.rego.syntax import tree
from policylang.rego.values import Set


def _expression(emitter: Emitter, expr: tree.Expr) -> None:
    _note(emitter, expr, done=False)
    if expr.withs:
        changes = [replacement(emitter, target, value) for target, value in expr.withs]
        state = emitter.code.fresh("s")
        emitter.add(assign(state, call(emitter.of_state("replaced"), ast.Tuple(changes, ast.Load()))))
        with emitter.changed(state=state, known={}):
            _holds(emitter, expr)
    else:
        _holds(emitter, expr)
    _note(emitter, expr, done=True)


def _holds(emitter: Emitter, expr: tree.Expr) -> None:
    """An expression under its `with`s."""
    if not expr.negated:
        emitter.statement(expr.statement)
        return
    settled = _settled(emitter, expr.statement)
    with emitter.decided() as flag:
        emitter.statement(settled)
        emitter.decide(flag)
    emitter.fail_if(load(flag))


def _note(emitter: Emitter, expr: tree.Expr, *, done: bool) -> None:
    """A step of a trace: an expression is begun, or is done."""
    if not emitter.program.traced or expr.at == expr.end:
        return
    names = {name.partition("#")[0]: value.node for name, value in emitter.env.items()
             if value.kind != "doc" and name[0] not in "_$"} if done else {}
    bindings = ast.Dict([ast.Constant(name) for name in names], list(names.values()))
    emitter.add(do(call(attribute(emitter.of_state("context"), "note"),
                        ast.Constant(emitter.program.spot(emitter.source, expr)), ast.Constant(done), bindings)))


# --- what a negation does not cover

def _settled(emitter: Emitter, statement: tree.Statement) -> tree.Statement:
    """A negated expression whose arguments are evaluated before the negation, as in OPA: where `input.x` is not
    there, `not startswith(input.x, "a")` has no value. Only what stands alone, or beside `==`, is what is negated.
    """
    if isinstance(statement, tree.Unify):
        return tree.Unify(_beside(emitter, statement.left), _beside(emitter, statement.right))
    if isinstance(statement, tree.Call):
        settle = _beside if statement.operator in (["equal"], ["eq"]) else _before
        return tree.rebuilt(statement, partial(settle, emitter))
    return _beside(emitter, statement) if isinstance(statement, tree.Ref) else statement


def _beside(emitter: Emitter, term: tree.Term) -> tree.Term:
    if isinstance(term, tree.Ref):
        return tree.rebuilt(term, partial(_before, emitter))
    return term if isinstance(term, (tree.Comprehension, tree.Template)) else _before(emitter, term)


def _before(emitter: Emitter, term: tree.Term) -> tree.Term:
    if isinstance(term, (tree.Ref, tree.Call, tree.Comprehension)):
        name = f"settled {term.at} {len(emitter.env)}"
        emitter.env[name] = V(emitter.named(emitter.value(term).node))
        return tree.Var(term.at, term.end, name)
    return tree.rebuilt(term, partial(_before, emitter))


# --- the kinds of expressions

def _unify(emitter: Emitter, equation: tree.Unify) -> None:
    unify_terms(emitter, equation.left, equation.right)


def _some_in(emitter: Emitter, some: tree.SomeIn) -> None:
    domain = reference(emitter, some.domain) if isinstance(some.domain, tree.Ref) else emitter.value(some.domain)
    if some.key is None:
        value = emitter.members(domain.node)
    else:
        name, value = emitter.entries(domain.node)
        unify(emitter, some.key, V(load(name), inside(domain)))
    member = V(load(value), domain.kind if domain.kind in ("doc", "base") else inside(domain))
    unify(emitter, some.value, whole(emitter, member))


def _every(emitter: Emitter, every: tree.Every) -> None:
    domain = emitter.value(every.domain)
    kind = inside(domain)
    emitter.unless(compare(emitter.call(type, domain.node), ast.In(),
                           emitter.code.hoist(frozenset({list, dict, Set}), "collections")))
    with emitter.decided("failed") as failed:
        if every.key is None:
            value = emitter.members(domain.node)
        else:
            name, value = emitter.entries(domain.node)
            emitter.env[every.key.name] = V(load(name), kind)
        emitter.env[every.value.name] = V(load(value), kind)
        holds = emitter.exists(every.body)
        emitter.add(when(negate(load(holds)), [assign(failed, ast.Constant(True)), ast.Break()]))
    emitter.fail_if(load(failed))


def _logic(emitter: Emitter, logic: tree.Logic) -> None:
    if logic.operator == "not":
        emitter.fail_if(load(emitter.exists(logic.bodies[0])))
    elif logic.operator == "and":
        for body in logic.bodies:
            emitter.unless(load(emitter.exists(body)))
    else:
        with emitter.collected("either", ast.Constant(False)) as either:
            for body in logic.bodies:
                with emitter.branch(negate(load(either))), emitter.changed(known=dict(emitter.known)):
                    emitter.add(assign(either, load(emitter.exists(body))))
        emitter.unless(load(either))


def _scalar(emitter: Emitter, scalar: tree.Scalar) -> None:
    if scalar.value is False:
        _true(emitter, scalar)


def _true(emitter: Emitter, term: tree.Term) -> None:
    """A term that holds where it has a value that is not false."""
    emitter.fail_if(emitter.is_false(emitter.value(term).node))


def _there(emitter: Emitter, term: tree.Term) -> None:
    """A term that holds where it has a value, since none of its kind is false."""
    emitter.value(term)


_STATEMENTS: Mapping[type[tree.Expr | tree.Statement], Callable[[Emitter, Any], None]] = {
    tree.Expr: _expression,
    tree.Unify: _unify,
    tree.SomeIn: _some_in,
    tree.Every: _every,
    tree.Logic: _logic,
    tree.Call: call_holds,
    tree.Scalar: _scalar,
    tree.Ref: _true,
    tree.Var: _true,
    tree.Array: _there,
    tree.Object: _there,
    tree.SetOf: _there,
    tree.Comprehension: _there,
    tree.Template: _there,
}
EMIT = Emit(TERMS, _STATEMENTS, reference)
