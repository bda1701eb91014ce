"""Rules as Python functions: one for all clauses at a path, of the state (and of a function's arguments)."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from custody.languages.budget import too_long
from custody.languages.code import Code, assign, call, compare, define, give, load, when
from custody.languages.rego import runtime
from custody.languages.rego.blocks import V
from custody.languages.rego.bodies import Bodies
from custody.languages.rego.calls import Program
from custody.languages.rego.constants import NOTHING, constant
from custody.languages.rego.index import first_tests, only
from custody.languages.rego.tree import Rule, Scalar, Term, Var
from custody.languages.rego.values import Set, equal

_STATE = "s"


@dataclass(eq=False)
class Group:
    """The rules at one path. `kind`: `value`, `set`, `object` (paths go on with variables below it) or `function`."""

    path: tuple[str, ...]
    kind: str
    rules: list[Rule] = field(default_factory=list)
    default: Rule | None = None
    defaults: list[Rule] = field(default_factory=list)  # of an object's members
    slot: int = 0
    generated: bool = False
    beneath: bool = False  # other groups have paths below this one

    @property
    def name(self) -> str:
        return f"rule{self.slot}"

    @property
    def all(self) -> list[Rule]:
        """The clauses, and the default ones."""
        return [*self.rules, *([self.default] if self.default else []), *self.defaults]

    @property
    def arity(self) -> int:
        return len(self.all[0].args)


def static_path(rule: Rule) -> tuple[tuple[str, ...], list[Term]]:
    """A rule's path under `data` up to the first part that is no string, and the rest."""
    names = list(rule.module.package)
    for at, part in enumerate(rule.path):
        if isinstance(part, Var) and at == 0:
            names.append(part.name)
        elif isinstance(part, Scalar) and isinstance(part.value, str):
            names.append(part.value)
        else:
            return tuple(names), rule.path[at:]
    return tuple(names), []


def generate(group: Group, code: Code, program: Program, overridden: bool) -> ast.FunctionDef:
    """The function of a group. `overridden`: some `with` puts a value in its place."""
    parameters = [_STATE] + [f"a{at}" for at in range(group.arity if group.kind == "function" else 0)]
    bodies = Bodies(code, parameters, _STATE, program, group.all[0].module.source)
    bodies.in_order = program.told
    if group.kind == "function":
        bodies.add(*_pay(code))
    else:
        memo = ast.Subscript(ast.Attribute(load(_STATE), "memo", ast.Load()), ast.Constant(group.slot), ast.Load())
        bodies.add(assign("v", memo),
                   when(compare(load("v"), ast.IsNot(), code.hoist(runtime.UNSET)), [give(load("v"))]))
    if overridden and group.kind != "function":
        override = call(ast.Attribute(load(_STATE), "override", ast.Load()), code.constant(group.path))
        bodies.add(when(ast.Attribute(load(_STATE), "overrides", ast.Load()),
                        [assign("v", override),
                         when(compare(load("v"), ast.IsNot(), code.hoist(runtime.UNSET)), [give(load("v"))])]))
    {"value": _complete, "function": _complete, "set": _set, "object": _object}[group.kind](group, bodies)
    return define(group.name, parameters, bodies.body)


def _pay(code: Code) -> list[ast.stmt]:
    """What each call of a function costs."""
    left = ast.Attribute(load("meter"), "left", ast.Store())
    return [assign("meter", ast.Attribute(load(_STATE), "meter", ast.Load())),
            ast.AugAssign(left, ast.Sub(), ast.Constant(2)),
            when(compare(ast.Attribute(load("meter"), "left", ast.Load()), ast.Lt(), ast.Constant(0)),
                 [ast.Raise(call(code.hoist(too_long)))])]


def _finish(group: Group, value: ast.expr) -> list[ast.stmt]:
    if group.kind == "function":
        return [give(value)]
    slot = ast.Subscript(ast.Attribute(load(_STATE), "memo", ast.Load()), ast.Constant(group.slot), ast.Store())
    return [ast.Assign([slot], value), give(value)]


def _enter(bodies: Bodies, rule: Rule) -> None:
    """Bind a clause's arguments, and evaluate its body."""
    bodies.source = rule.module.source
    for at, argument in enumerate(rule.args):
        bodies.unify(argument, V(load(f"a{at}")))
    bodies.exprs(rule.body if bodies.program.traced else first_tests(rule.body))


# --- complete rules and functions

def _complete(group: Group, bodies: Bodies) -> None:
    code = bodies.code
    values = [constant(each.value) for rule in group.rules for each in rule.chain()]
    same = bool(values) and all(value is not NOTHING and type(value) is type(values[0]) and equal(value, values[0])
                                for value in values) and not any(rule.otherwise for rule in group.rules)
    shown = "data." + ".".join(group.path)
    message = (f"function {shown} produced conflicting values for the same inputs" if group.kind == "function" else
               f"rule {shown} produced conflicting values")
    chosen = only(group.rules, bodies)
    out = bodies.collect("out", bodies.undefined())
    for at, rule in enumerate(group.rules):
        if same:
            with chosen(at), bodies.closed():
                _enter(bodies, rule)
                if bodies.outlined:
                    bodies.add(assign(out, code.constant(values[0])), bodies.fail())
                else:
                    bodies.add(*_finish(group, code.constant(values[0])))
            continue
        clause = out if len(group.rules) == 1 else bodies.collect("clause", bodies.undefined())
        with chosen(at):
            _branches(rule, clause, bodies, message)
        if clause != out:
            _agree(bodies, out, load(clause), rule, message)
    if group.default is not None:
        bodies.source = group.default.module.source
        test = when(bodies.is_undefined(load(out)), [])
        assert isinstance(test, ast.If)
        bodies.add(test)
        outer, bodies.block = bodies.block, test.body
        with bodies.closed():
            bodies.add(assign(out, bodies.value(group.default.value).node))
        bodies.block = outer
    bodies.add(*_finish(group, load(out)))


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

def _set(group: Group, bodies: Bodies) -> None:
    chosen = only(group.rules, bodies)
    out = bodies.collect("out", ast.Dict([], []))
    for at, rule in enumerate(group.rules):
        with chosen(at), bodies.closed():
            _enter(bodies, rule)
            bodies.into_set(out, bodies.value(rule.value).node)
    bodies.add(assign("v", bodies.call(Set, load(out))), *_finish(group, load("v")))


def _object(group: Group, bodies: Bodies) -> None:
    out = bodies.collect("out", ast.Dict([], []))
    for rule in [*group.rules, *group.defaults]:
        with bodies.closed():
            _enter(bodies, rule)
            *names, value = bodies.values([*_rest(rule, len(group.path)), rule.value])
            bodies.add(ast.Expr(bodies.call(
                runtime.put if not rule.default else runtime.put_default, load(_STATE), load(out),
                ast.List(names, ast.Load()), value, ast.Constant(rule.kind == "set"),
                ast.Constant(bodies.where(rule.at)))))
    bodies.add(*_finish(group, load(out)))


def _rest(rule: Rule, depth: int) -> list[Term]:
    return rule.path[depth - len(rule.module.package):]
