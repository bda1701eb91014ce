"""Rules as Python functions: one for all clauses at a path, of the state (and of a function's arguments)."""

from __future__ import annotations

import ast

from policylang.budget import too_long
from policylang.code import Code, assign, call, compare, define, give, load, when
from policylang.rego import runtime
from policylang.rego.blocks import V
from policylang.rego.bodies import Bodies
from policylang.rego.calls import Program
from policylang.rego.constants import NOTHING, constant
from policylang.rego.documents import Document, beneath
from policylang.rego.index import first_tests, is_test, only
from policylang.rego.safety import asked_wholly, own_terms
from policylang.rego.state import UNSET
from policylang.rego.tree import Array, Object, Ref, Rule, Scalar, SomeIn, Term, Var, children, walk
from policylang.rego.values import Set, equal

_STATE = "s"


def generate(document: Document, code: Code, program: Program, overridden: bool) -> ast.FunctionDef:
    """The function of a document. `overridden`: some `with` puts a value in its place."""
    parameters = [_STATE] + [f"a{at}" for at in range(document.arity if document.kind == "function" else 0)]
    bodies = Bodies(code, parameters, _STATE, program, document.all[0].module.source)
    bodies.in_order = program.told
    if document.kind == "function":
        bodies.add(*_pay(code))
    else:
        memo = ast.Subscript(ast.Attribute(load(_STATE), "memo", ast.Load()), ast.Constant(document.slot), ast.Load())
        bodies.add(assign("v", memo),
                   when(compare(load("v"), ast.IsNot(), code.hoist(UNSET)), [give(load("v"))]))
    if overridden and document.kind != "function":
        override = call(code.hoist(runtime.replacement), load(_STATE), code.hoist(document.path, "path"))
        bodies.add(when(ast.Attribute(load(_STATE), "targets", ast.Load()),
                        [assign("v", override),
                         when(compare(load("v"), ast.IsNot(), code.hoist(UNSET)), [give(load("v"))])]))
    {"value": _complete, "function": _complete, "set": _set, "object": _object}[document.kind](document, bodies)
    return define(document.name, parameters, bodies.body)


def _pay(code: Code) -> list[ast.stmt]:
    """What each call of a function costs."""
    left = ast.Attribute(load("meter"), "left", ast.Store())
    return [assign("meter", ast.Attribute(load(_STATE), "meter", ast.Load())),
            ast.AugAssign(left, ast.Sub(), ast.Constant(2)),
            when(compare(ast.Attribute(load("meter"), "left", ast.Load()), ast.Lt(), ast.Constant(0)),
                 [ast.Raise(call(code.hoist(too_long)))])]


def _finish(document: Document, value: ast.expr) -> list[ast.stmt]:
    if document.kind == "function":
        return [give(value)]
    slot = ast.Subscript(ast.Attribute(load(_STATE), "memo", ast.Load()), ast.Constant(document.slot), ast.Store())
    return [ast.Assign([slot], value), give(value)]


def _enter(bodies: Bodies, rule: Rule) -> None:
    """Bind a clause's arguments, and evaluate its body."""
    bodies.source = rule.module.source
    for at, argument in enumerate(rule.args):
        bodies.unify(argument, V(load(f"a{at}")))
    program = bodies.program  # rules and functions may raise
    if not program.told and any(program.is_made(part) for expr in rule.body for part in walk(expr)):
        _ask(bodies, rule)
    bodies.exprs(rule.body if bodies.program.traced else first_tests(rule.body))


def _ask(bodies: Bodies, rule: Rule) -> None:
    """Ask for what a body needs of input and base data: OPA's index passes by a clause for which it is not there."""
    program = bodies.program
    terms = [*rule.path[1:], rule.value]
    for expr in rule.body:
        if not expr.negated and not expr.withs:
            domain = expr.what.domain if isinstance(expr.what, SomeIn) else None  # its members are asked for
            terms += children(domain) if isinstance(domain, Ref) else own_terms(expr)
    for ref in asked_wholly(terms):
        if not program.is_made(ref):
            bodies.ref(ref)


# --- complete rules and functions

def _complete(document: Document, bodies: Bodies) -> None:
    code = bodies.code
    values = [constant(each.value) for rule in document.rules for each in rule.chain()]
    same = bool(values) and all(value is not NOTHING and type(value) is type(values[0]) and equal(value, values[0])
                                for value in values) and not any(rule.otherwise for rule in document.rules)
    message = (f"function {document.shown} produced conflicting values for the same inputs"
               if document.kind == "function" else f"rule {document.shown} produced conflicting values")
    chosen = only(document.rules, bodies)
    out = bodies.collect("out", bodies.undefined())
    for at, rule in enumerate(document.rules):
        if same:
            with chosen(at), bodies.closed():
                _enter(bodies, rule)
                if bodies.outlined:
                    bodies.add(assign(out, code.constant(values[0])), bodies.fail())
                else:
                    bodies.add(*_finish(document, code.constant(values[0])))
            continue
        clause = out if len(document.rules) == 1 else bodies.collect("clause", bodies.undefined())
        with chosen(at):
            _branches(rule, clause, bodies, message)
        if clause != out:
            _agree(bodies, out, load(clause), rule, message)
    if document.default is not None:
        bodies.source = document.default.module.source
        test = when(bodies.is_undefined(load(out)), [])
        assert isinstance(test, ast.If)
        bodies.add(test)
        outer, bodies.block = bodies.block, test.body
        with bodies.closed():
            bodies.add(assign(out, bodies.value(document.default.value).node))
        bodies.block = outer
    bodies.add(*_finish(document, load(out)))


def _branches(rule: Rule, out: str, bodies: Bodies, message: str) -> None:
    """A clause and its else-branches, each of which is tried where none before it had a value."""
    outer = bodies.block
    for each in rule.chain():
        if each is not rule:
            test = when(bodies.is_undefined(load(out)), [])
            assert isinstance(test, ast.If)
            bodies.add(test)
            bodies.block = test.body
        once = constant(each.value) is not NOTHING
        with bodies.closed(_decided(bodies) if once else None):
            _enter(bodies, each)
            value = bodies.temp(bodies.value(each.value).node)
            if once:
                assert bodies.flag is not None
                bodies.add(assign(out, value))
                bodies.decide(bodies.flag)
            else:
                test = when(bodies.is_undefined(load(out)), [assign(out, value)],
                            [when(ast.UnaryOp(ast.Not(), bodies.equal(load(out), value)),
                                  [ast.Raise(_conflict(bodies, each, message))])])
                bodies.add(test)
    bodies.block = outer


def _decided(bodies: Bodies) -> str:
    return bodies.collect("flag", ast.Constant(False))


def _agree(bodies: Bodies, out: str, value: ast.expr, rule: Rule, message: str) -> None:
    bodies.add(when(ast.UnaryOp(ast.Not(), bodies.is_undefined(value)), [
        when(bodies.is_undefined(load(out)), [assign(out, value)],
             [when(ast.UnaryOp(ast.Not(), bodies.equal(load(out), value)),
                   [ast.Raise(_conflict(bodies, rule, message))])])]))


def _conflict(bodies: Bodies, rule: Rule, message: str) -> ast.expr:
    return call(ast.Attribute(load(_STATE), "conflict", ast.Load()), ast.Constant(bodies.where(rule.at)),
                ast.Constant(message))


# --- partial rules

def _set(document: Document, bodies: Bodies) -> None:
    chosen = only(document.rules, bodies)
    out = bodies.collect("out", ast.Dict([], []))
    for at, rule in enumerate(document.rules):
        with chosen(at), bodies.closed():
            _enter(bodies, rule)
            bodies.into_set(out, bodies.value(rule.value).node)
    bodies.add(assign("v", bodies.call(Set, load(out))), *_finish(document, load("v")))


def _object(document: Document, bodies: Bodies) -> None:
    out = bodies.collect("out", ast.Dict([], []))
    ended = bodies.collect("ended", ast.Dict([], []))
    for rule in document.rules:
        _clause(document, rule, out, ended, bodies, 0)
    bodies.add(*_finish(document, load(out)))


def _clause(document: Document, rule: Rule, out: str, ended: str, bodies: Bodies, count: int) -> None:
    """Enter what a clause of an object gives, under the keys `k0`… of which there are `count`.

    OPA asks for an else-branch of a part only where its index passes by the clauses before it.
    """
    names = beneath(rule, document.path)
    patterns = [*names, rule.value] if rule.kind == "set" else names
    with bodies.closed():
        bodies.source = rule.module.source
        for at, pattern in enumerate(patterns[:count]):
            if _is_pattern(pattern):
                bodies.unify(pattern, V(load(f"k{at}")))
        if count:
            bodies.exprs(rule.body)
        else:
            _enter(bodies, rule)
        *keys, value = bodies.values([*names, rule.value])
        bodies.add(ast.Expr(bodies.call(
            runtime.put, load(_STATE), load(out), load(ended), ast.List(keys, ast.Load()), value,
            ast.Constant(rule.kind == "set"), ast.Constant(bodies.where(rule.at)))))
    if rule.otherwise is None:
        return
    passed = bodies.collect("passed", ast.Constant(False))
    with bodies.closed(passed):
        bodies.exprs([expr for expr in rule.body if is_test(expr)])
        _ask(bodies, rule)
        bodies.decide(passed)
    test = when(ast.UnaryOp(ast.Not(), load(passed)), [])
    assert isinstance(test, ast.If)
    bodies.add(test)
    outer, bodies.block = bodies.block, test.body
    _clause(document, rule.otherwise, out, ended, bodies, count)
    bodies.block = outer


def generate_part(document: Document, count: int, code: Code, program: Program) -> ast.FunctionDef:
    """The function `part` of an object: only what its rules put under `count` keys, which are its arguments.

    OPA matches the keys with the rules' references before it evaluates their bodies.
    """
    parameters = [_STATE] + [f"k{at}" for at in range(count)]
    bodies = Bodies(code, parameters, _STATE, program, document.rules[0].module.source)
    bodies.in_order = program.told
    out = bodies.collect("out", ast.Dict([], []))
    ended = bodies.collect("ended", ast.Dict([], []))
    for rule in document.rules:
        _clause(document, rule, out, ended, bodies, count)
    bodies.add(give(load(out)))
    return define("part", parameters, bodies.body)


def _is_pattern(term: Term) -> bool:
    if isinstance(term, Array):
        return all(map(_is_pattern, term.items))
    if isinstance(term, Object):
        return all(isinstance(name, Scalar) and _is_pattern(value) for name, value in term.pairs)
    return isinstance(term, (Scalar, Var))
