"""What every part of the compiler builds on: the state of one program being emitted, and statements it writes often."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from policylang import code as build
from policylang.budget import Limits
from policylang.cel.syntax.tree import Node
from policylang.cel.types import DYN, Type
from policylang.cel.values import containers, errors
from policylang.code import Code, assign, call, choose, load, walrus

if TYPE_CHECKING:
    from policylang.cel.declarations import Declarations as Env

_IS, _IS_NOT = ast.Is(), ast.IsNot()
_TRUE, _FALSE, _NONE = ast.Constant(True), ast.Constant(False), ast.Constant(None)
DEEPEST = 14  # blocks in one Python function, which allows 20


class Local:
    """A variable of a loop or a binding: its Python name, and the name of its error where it may have one."""

    __slots__ = ("error", "name")

    def __init__(self, name: str, error: str | None = None) -> None:
        self.name, self.error = name, error


class Emitting(ABC):
    """`failing` says whether what was emitted since it was cleared can end in an error.

    `watch`: "" or what the program is compiled to show, see compiler.compile_tree. `sharing`: the program has loops or
    bindings, so that one value may stand in many places. `looping`: loops around what is emitted. `blocks`: Python's
    blocks around it.
    """

    def __init__(self, env: Env, limits: Limits, *, careful: bool, watch: str) -> None:
        self.env, self.limits, self.careful, self.watch = env, limits, careful, watch
        self.code = Code("cel")
        self.body: list[ast.stmt] = []
        self.scope: dict[str, Local] = {}
        self.used: dict[str, str] = {}
        self.fields: list[str] = []
        self.failing = False
        self.blocks = self.looping = 0
        self.loops = self.metered = self.sharing = False

    @abstractmethod
    def emit(self, node: Node) -> ast.expr:
        """The expression for a node, after the statements that it needs."""

    def function(self, function: Any) -> ast.expr:
        return self.code.hoist(function, "f")

    def named(self, expression: ast.expr, stem: str = "t") -> ast.expr:
        """The expression under a name, so that it may be used twice; names and constants stay themselves."""
        if isinstance(expression, (ast.Name, ast.Constant)):
            return expression
        name = self.code.fresh(stem)
        self.body.append(assign(name, expression))
        return load(name)

    def emit_all(self, nodes: Sequence[Node]) -> list[ast.expr]:
        """Expressions in order: what one needs as statements comes after what those before it compute."""
        made: list[ast.expr] = []
        for node in nodes:
            before = len(self.body)
            expression = self.emit(node)
            if len(self.body) > before:
                spilled: list[ast.stmt] = []
                for at, each in enumerate(made):
                    if not isinstance(each, (ast.Name, ast.Constant)):
                        name = self.code.fresh()
                        spilled.append(assign(name, each))
                        made[at] = load(name)
                self.body[before:before] = spilled
            made.append(expression)
        return made

    def apart(self, node: Node) -> tuple[list[ast.stmt], ast.expr, bool]:
        """A node's statements, its expression, and whether they can fail."""
        body, failing = self.body, self.failing
        self.body, self.failing = [], False
        expression = self.emit(node)
        made = self.body, expression, self.failing
        self.body, self.failing = body, failing
        return made

    def own_function(self, emit: Callable[[], ast.expr]) -> ast.expr:
        """Emit into a function of its own: Python allows only so many blocks inside each other."""
        body, blocks, loops = self.body, self.blocks, self.loops
        self.body, self.blocks, self.loops = [], 0, False
        value = emit()
        inner, inner_loops = self.body, self.loops
        self.body, self.blocks, self.loops = body, blocks, loops or inner_loops
        if inner_loops:
            inner.insert(0, ast.Nonlocal(["left"]))
        inner.append(build.give(value))
        name = self.code.fresh("inner")
        self.body.append(build.define(name, (), inner))
        return call(load(name))

    def error_after(self, error: str) -> ast.stmt:
        """`if error is not None: rethrow(error)`"""
        return build.when(build.compare(load(error), _IS_NOT, _NONE),
                          [build.do(call(self.function(errors.rethrow), load(error)))])

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
        if isinstance(operand, (ast.Constant, ast.List)):
            return call(self.function(containers.select), operand, ast.Constant(name))
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
            return call(self.function(errors.overload))
        name = self.code.fresh()
        known = build.either(build.compare(walrus(name, expression), _IS, _TRUE),
                             build.compare(load(name), _IS, _FALSE))
        return choose(known, load(name), call(self.function(errors.overload)))

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
