"""Rules as Python functions: one for all clauses at a path, of the state (and of a function's arguments)."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from policylang.budget import too_long
from policylang.code import Code, assign, attribute, call, compare, define, do, give, load, negate, throw, when
from policylang.rego.check.ruletree import Document, beneath
from policylang.rego.check.safety import asked_wholly
from policylang.rego.compile.emitter import Emitter, Program, V
from policylang.rego.compile.index import first_tests, is_test, only
from policylang.rego.compile.references import is_made, reference
from policylang.rego.compile.statements import EMIT
from policylang.rego.compile.terms import into_set
from policylang.rego.compile.unification import unify
from policylang.rego.evaluation import documents, operations
from policylang.rego.evaluation.state import UNSET
from policylang.rego.syntax import tree
from policylang.rego.values import Set, equal

_STATE = "s"


def generate(document: Document, code: Code, program: Program, overridden: bool) -> ast.FunctionDef:
    """The function of a document. `overridden`: some `with` puts a value in its place."""
    parameters = [_STATE] + [f"a{at}" for at in range(document.arity if document.kind == "function" else 0)]
    emitter = Emitter(code, parameters, _STATE, program, document.all[0].module.source, EMIT)
    if document.kind == "function":
        emitter.add(*_pay(code))
    else:
        memo = ast.Subscript(attribute(load(_STATE), "memo"), ast.Constant(document.slot), ast.Load())
        emitter.add(assign("v", memo),
                    when(compare(load("v"), ast.IsNot(), code.hoist(UNSET)), [give(load("v"))]))
    if overridden and document.kind != "function":
        override = call(code.hoist(documents.replacement), load(_STATE), code.hoist(document.path, "path"))
        emitter.add(when(attribute(load(_STATE), "targets"),
                         [assign("v", override),
                          when(compare(load("v"), ast.IsNot(), code.hoist(UNSET)), [give(load("v"))])]))
    _RULES[document.kind](document, emitter)
    return define(document.name, parameters, emitter.whole)


def _pay(code: Code) -> list[ast.stmt]:
    """What each call of a function costs."""
    left = ast.Attribute(load("meter"), "left", ast.Store())
    return [assign("meter", attribute(load(_STATE), "meter")),
            ast.AugAssign(left, ast.Sub(), ast.Constant(2)),
            when(compare(attribute(load("meter"), "left"), ast.Lt(), ast.Constant(0)),
                 [throw(call(code.hoist(too_long)))])]


def _finish(document: Document, value: ast.expr) -> list[ast.stmt]:
    if document.kind == "function":
        return [give(value)]
    slot = ast.Subscript(attribute(load(_STATE), "memo"), ast.Constant(document.slot), ast.Store())
    return [ast.Assign([slot], value), give(value)]


def _enter(emitter: Emitter, rule: tree.Rule) -> None:
    """Bind a clause's arguments, and evaluate its body."""
    emitter.source = rule.module.source
    for at, argument in enumerate(rule.args):
        unify(emitter, argument, V(load(f"a{at}")))
    program = emitter.program  # rules and functions may raise
    if not program.told and any(is_made(program, part) for expr in rule.body for part in tree.walk(expr)):
        _ask(emitter, rule)
    emitter.exprs(rule.body if emitter.program.traced else first_tests(rule.body))


def _ask(emitter: Emitter, rule: tree.Rule) -> None:
    """Ask for what a body needs of input and base data: OPA's index passes by a clause for which it is not there."""
    program = emitter.program
    terms = [*rule.path[1:], rule.value]
    for expr in rule.body:
        if not expr.negated and not expr.withs:
            # a domain's members are asked for
            domain = expr.statement.domain if isinstance(expr.statement, tree.SomeIn) else None
            terms += tree.children(domain) if isinstance(domain, tree.Ref) else tree.own_terms(expr)
    for ref in asked_wholly(terms):
        if not is_made(program, ref):
            reference(emitter, ref)


# --- complete rules and functions

def _complete(document: Document, emitter: Emitter) -> None:
    values = [tree.constant(clause.value) for rule in document.rules for clause in rule.chain()]
    same = bool(values) and all(value is not tree.NOTHING and type(value) is type(values[0]) and equal(value, values[0])
                                for value in values) and not any(rule.otherwise for rule in document.rules)
    message = (f"function {document.shown} produced conflicting values for the same inputs"
               if document.kind == "function" else f"rule {document.shown} produced conflicting values")
    chosen = only(document.rules, emitter)
    out = emitter.collect("out", emitter.undefined())
    for at, rule in enumerate(document.rules):
        if same:
            with chosen(at), emitter.closed():
                _enter(emitter, rule)
                value = emitter.code.constant(values[0])
                emitter.add(*([assign(out, value), emitter.fail()] if emitter.outlined else _finish(document, value)))
            continue
        clause = out if len(document.rules) == 1 else emitter.collect("clause", emitter.undefined())
        with chosen(at):
            _branches(rule, clause, emitter, message)
        if clause != out:
            emitter.add(when(negate(emitter.is_undefined(load(clause))),
                             [_agree(emitter, out, load(clause), rule, message)]))
    if document.default is not None:
        emitter.source = document.default.module.source
        with emitter.branch(emitter.is_undefined(load(out))), emitter.closed():
            emitter.add(assign(out, emitter.value(document.default.value).node))
    emitter.add(*_finish(document, load(out)))


def _branches(rule: tree.Rule, out: str, emitter: Emitter, message: str) -> None:
    """A clause and its else-branches, each of which is tried where none before it had a value."""
    with ExitStack() as before:
        for clause in rule.chain():
            if clause is not rule:
                before.enter_context(emitter.branch(emitter.is_undefined(load(out))))
            once = tree.constant(clause.value) is not tree.NOTHING
            with emitter.decided() if once else emitter.closed() as flag:
                _enter(emitter, clause)
                value = emitter.named(emitter.value(clause.value).node)
                if flag is None:
                    emitter.add(_agree(emitter, out, value, clause, message))
                else:
                    emitter.add(assign(out, value))
                    emitter.decide(flag)


def _agree(emitter: Emitter, out: str, value: ast.expr, rule: tree.Rule, message: str) -> ast.stmt:
    """`out` becomes the value, unless it has another one."""
    conflict = call(attribute(load(_STATE), "conflict"), ast.Constant(emitter.where(rule.at)), ast.Constant(message))
    return when(emitter.is_undefined(load(out)), [assign(out, value)],
                [when(negate(emitter.equal(load(out), value)), [throw(conflict)])])


# --- partial rules

def _set(document: Document, emitter: Emitter) -> None:
    chosen = only(document.rules, emitter)
    out = emitter.collect("out", ast.Dict([], []))
    for at, rule in enumerate(document.rules):
        with chosen(at), emitter.closed():
            _enter(emitter, rule)
            into_set(emitter, out, emitter.value(rule.value).node)
    emitter.add(assign("v", emitter.call(Set, load(out))), *_finish(document, load("v")))


def _object(document: Document, emitter: Emitter) -> None:
    out = emitter.collect("out", ast.Dict([], []))
    ended = emitter.collect("ended", ast.Dict([], []))
    for rule in document.rules:
        _clause(document, rule, out, ended, emitter, 0)
    emitter.add(*_finish(document, load(out)))


def _clause(document: Document, rule: tree.Rule, out: str, ended: str, emitter: Emitter, count: int) -> None:
    """Enter what a clause of an object gives, under the keys `k0`… of which there are `count`.

    OPA asks for an else-branch of a part only where its index passes by the clauses before it.
    """
    names = beneath(rule, document.path)
    patterns = [*names, rule.value] if rule.kind == "set" else names
    with emitter.closed():
        emitter.source = rule.module.source
        for at, pattern in enumerate(patterns[:count]):
            if _is_pattern(pattern):
                unify(emitter, pattern, V(load(f"k{at}")))
        if count:
            emitter.exprs(rule.body)
        else:
            _enter(emitter, rule)
        *keys, value = emitter.values([*names, rule.value])
        emitter.add(do(emitter.call(
            operations.put, load(_STATE), load(out), load(ended), ast.List(keys, ast.Load()), value,
            ast.Constant(rule.kind == "set"), ast.Constant(emitter.where(rule.at)))))
    if rule.otherwise is None:
        return
    with emitter.decided("passed") as passed:
        emitter.exprs([expr for expr in rule.body if is_test(expr)])
        _ask(emitter, rule)
        emitter.decide(passed)
    with emitter.branch(negate(load(passed))):
        _clause(document, rule.otherwise, out, ended, emitter, count)


_RULES: Mapping[str, Callable[[Document, Emitter], None]] = {
    "value": _complete, "function": _complete, "set": _set, "object": _object}


def generate_part(document: Document, count: int, code: Code, program: Program) -> ast.FunctionDef:
    """The function `part` of an object: only what its rules put under `count` keys, which are its arguments.

    OPA matches the keys with the rules' references before it evaluates their bodies.
    """
    parameters = [_STATE] + [f"k{at}" for at in range(count)]
    emitter = Emitter(code, parameters, _STATE, program, document.rules[0].module.source, EMIT)
    out = emitter.collect("out", ast.Dict([], []))
    ended = emitter.collect("ended", ast.Dict([], []))
    for rule in document.rules:
        _clause(document, rule, out, ended, emitter, count)
    emitter.add(give(load(out)))
    return define("part", parameters, emitter.whole)


def _is_pattern(term: tree.Term) -> bool:
    if isinstance(term, tree.Array):
        return all(map(_is_pattern, term.items))
    if isinstance(term, tree.Object):
        return all(isinstance(name, tree.Scalar) and _is_pattern(value) for name, value in term.pairs)
    return isinstance(term, (tree.Scalar, tree.Var))
