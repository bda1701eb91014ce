"""One program being emitted: its state, and the expressions and statements that every part of the compiler writes.

Each node becomes an expression; what needs statements (loops, error absorption) puts them before it and hands on a
name. Errors are Python exceptions: a missing key is KeyError, a wrong type TypeError, so that fields cost one
subscript; values.errors.FAULTS says which exceptions are error values.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from policylang import code as build
from policylang.budget import Limits
from policylang.cel.declarations import Declarations
from policylang.cel.syntax.tree import Call, Comprehension, Node
from policylang.cel.types import DYN, Type
from policylang.cel.values import containers, errors
from policylang.code import Code, Writer, assign, call, choose, load, walrus

_IS, _IS_NOT = ast.Is(), ast.IsNot()
_TRUE, _FALSE, _NONE = ast.Constant(True), ast.Constant(False), ast.Constant(None)
DEEPEST = 14  # blocks in one Python function, which allows 20


class Local:
    """A variable of a loop or a binding: its Python name, and the name of its error where it may have one."""

    __slots__ = ("error", "name")

    def __init__(self, name: str, error: str | None = None) -> None:
        self.name, self.error = name, error


class Branch(NamedTuple):
    """What is evaluated only sometimes: statements, the value after them, and whether either can end in an error."""

    statements: list[ast.stmt]
    value: ast.expr
    failing: bool


class Loop(NamedTuple):
    """A comprehension, and the Python names of what it runs over, of its accumulator and of the error it keeps."""

    node: Comprehension
    values: str
    result: str
    error: str


class Fold(NamedTuple):
    """What a kind of comprehension does. `turn` emits one turn, which calls `collect` for the statements that change
    the accumulator, and returns the statements after the loop.
    """

    start: Callable[[Emitter, Loop], list[ast.stmt]]
    turn: Callable[[Emitter, Loop, Collect], list[ast.stmt]]
    collect: Collect
    value: Callable[[Loop], ast.expr]


class Plan(NamedTuple):
    """Which function emits what: nodes by their class, comprehensions by their kind, operators and functions that may
    be written out (None: not this call), and calls of all others. `watched`: what is emitted has a watcher, `w`.
    """

    nodes: Mapping[type[Node], Callable[[Emitter, Any], ast.expr]]
    folds: Mapping[str, Fold]
    operators: Mapping[str, Callable[[Emitter, Call], ast.expr | None]]
    apply: Callable[[Emitter, Call, str, list[ast.expr]], ast.expr]
    watched: bool = False


Collect = Callable[["Emitter", Loop], "list[ast.stmt]"]


class Emitter(Writer):
    """`failing` says whether what was emitted since it was cleared can end in an error.

    `careful`: variables are looked up where they are used. `sharing`: the program has loops or bindings, so that one
    value may stand in many places. `looping`: loops around what is emitted. `used`: Python names of
    the variables that are loaded at the start. `fields`: see `field`.
    """

    def __init__(self, declarations: Declarations, limits: Limits, plan: Plan, *, careful: bool, sharing: bool) -> None:
        super().__init__(Code("cel"))
        self.declarations, self.limits, self.plan = declarations, limits, plan
        self.careful, self.sharing = careful, sharing
        self.scope: dict[str, Local] = {}
        self.used: dict[str, str] = {}
        self.fields: list[str] = []
        self.failing = False
        self.looping = 0
        self.loops = self.metered = False

    def emit(self, node: Node) -> ast.expr:
        """The expression for a node, after the statements that it needs."""
        return self.plan.nodes[type(node)](self, node)

    def emit_all(self, nodes: Sequence[Node]) -> list[ast.expr]:
        """Expressions in order: what one needs as statements comes after what those before it compute."""
        made: list[ast.expr] = []
        for node in nodes:
            before = len(self.body)
            expression = self.emit(node)
            if len(self.body) > before:
                spilled: list[ast.stmt] = []
                for at, earlier in enumerate(made):
                    if not isinstance(earlier, (ast.Name, ast.Constant)):
                        name = self.code.fresh()
                        spilled.append(assign(name, earlier))
                        made[at] = load(name)
                self.body[before:before] = spilled
            made.append(expression)
        return made

    def apart(self, node: Node) -> Branch:
        """A node by itself."""
        with self.changed(body=[], failing=False):
            value = self.emit(node)
            return Branch(self.body, value, self.failing)

    def own_function(self, emit: Callable[[Emitter, Any], ast.expr], node: Node) -> ast.expr:
        """Emit into a function of its own: Python allows only so many blocks inside each other."""
        with self.changed(body=[], blocks=0, loops=False):
            value = emit(self, node)
            inner, loops = self.body, self.loops
        self.loops = self.loops or loops
        if loops:
            inner.insert(0, ast.Nonlocal(["left"]))
        inner.append(build.give(value))
        name = self.code.fresh("inner")
        self.add(build.define(name, (), inner))
        return call(load(name))

    def error_after(self, error: str) -> ast.stmt:
        """`if error is not None: rethrow(error)`"""
        return build.when(build.compare(load(error), _IS_NOT, _NONE),
                          [build.do(self.call(errors.rethrow, load(error)))])

    def caught(self, body: list[ast.stmt], error: str, neutral: list[ast.stmt], first: bool) -> ast.stmt:
        """Run `body`; an error is kept in `error` unless there is one already, and `neutral` is done instead."""
        fault = self.code.fresh("x")
        keep: ast.stmt = assign(error, load(fault))
        if not first:
            keep = build.when(build.compare(load(error), _IS, _NONE), [keep])
        return build.attempt(body, self.code.hoist(errors.FAULTS), [keep, *neutral], fault)

    def field(self, operand: ast.expr, name: str) -> ast.expr:
        """`operand[name]`, on a line of its own, by which an error finds the name again.

        Of a literal by a function, because Python warns of `1["a"]` while compiling.
        """
        self.failing = True
        if isinstance(operand, (ast.Constant, ast.List)):
            return self.call(containers.select, operand, ast.Constant(name))
        made = build.item(operand, ast.Constant(name))
        self.fields.append(name)
        made.lineno, made.col_offset = len(self.fields) + 1, 0
        made.end_lineno, made.end_col_offset = made.lineno, 0
        return made

    def truth(self, node: Node, expression: ast.expr) -> ast.expr:
        """The expression where it is known to be a bool, else with a test that it is one."""
        if self.type_of(node).kind == "bool" or is_boolean(expression):
            return expression
        self.failing = True
        if isinstance(expression, ast.Constant):
            return self.call(errors.overload)
        name = self.code.fresh()
        known = build.either(build.compare(walrus(name, expression), _IS, _TRUE),
                             build.compare(load(name), _IS, _FALSE))
        return choose(known, load(name), self.call(errors.overload))

    @staticmethod
    def type_of(node: Node) -> Type:
        return node.type if node.type is not None else DYN

    def meter(self) -> ast.expr:
        self.metered = True
        return load("meter")


def mark_boolean(expression: ast.expr) -> ast.expr:
    """Remember that an expression can only be True or False."""
    expression.boolean = True  # type: ignore[attr-defined]
    return expression


def is_boolean(expression: ast.expr) -> bool:
    if isinstance(expression, ast.Compare) or getattr(expression, "boolean", False):
        return True
    if isinstance(expression, ast.UnaryOp):
        return isinstance(expression.op, ast.Not)
    if isinstance(expression, ast.Constant):
        return isinstance(expression.value, bool)
    if isinstance(expression, ast.IfExp):
        return is_boolean(expression.body) and is_boolean(expression.orelse)
    return isinstance(expression, ast.BoolOp) and all(map(is_boolean, expression.values))
