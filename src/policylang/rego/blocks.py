"""Statements of one generated function, written from the outside in.

A body becomes nested loops: what comes after a loop was opened stands inside it. Where an expression fails, the next
turn of the innermost loop is taken (`fail`). A closed part (negation, comprehension) stands in a loop of one turn and,
when it is left, what it bound is forgotten.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from policylang.code import Code, assign, call, define, do, load, store, when
from policylang.rego import runtime
from policylang.rego.values import UNDEFINED

_ONCE = (None,)
_DEEPEST = 12  # loops in one Python function, which allows 20 nested blocks


class V(NamedTuple):
    """A value in generated code. `kind`: `json` holds neither sets nor documents of rules, `doc` may be a Doc."""

    node: ast.expr
    kind: str = "any"


class Blocks:
    """Where the next statement goes, and what is known there."""

    def __init__(self, code: Code, parameters: list[str], state: str) -> None:
        self.code = code
        self.state = state
        self.body: list[ast.stmt] = []
        self.block = self.body
        self.parameters = parameters
        self.env: dict[str, V] = {}  # bound variables
        self.known: dict[tuple[object, ...], V] = {}  # values of references that were computed before this place
        self.depth = 0  # loops around this place, in the innermost Python function
        self.outlined = False
        self.flag: str | None = None  # set when the closed part is decided: all its loops end
        self.assigned: list[str] = []  # names that nested functions must assign in their outer one
        self.in_order = False  # whether anything tells in which order members were visited

    # --- statements

    def add(self, *statements: ast.stmt) -> None:
        self.block.extend(statements)

    def fail(self) -> ast.stmt:
        if self.depth:
            return ast.Continue()
        return ast.Return(None)

    def unless(self, test: ast.expr) -> None:
        """Go on only where `test` holds."""
        self.add(when(ast.UnaryOp(ast.Not(), test), [self.fail()]))

    def fail_if(self, test: ast.expr) -> None:
        self.add(when(test, [self.fail()]))

    def undefined(self) -> ast.expr:
        return self.code.hoist(UNDEFINED, "U")

    def is_undefined(self, node: ast.expr) -> ast.expr:
        return ast.Compare(node, [ast.Is()], [self.undefined()])

    def is_false(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Constant):
            return ast.Constant(node.value is False)
        return ast.Compare(node, [ast.Is()], [ast.Constant(False)])

    def temp(self, node: ast.expr, stem: str = "t") -> ast.expr:
        """A name for `node`, which is evaluated here."""
        if isinstance(node, (ast.Name, ast.Constant)):
            return node
        name = self.code.fresh(stem)
        self.add(assign(name, node))
        return load(name)

    def defined(self, node: ast.expr, stem: str = "t") -> ast.expr:
        """A name for `node`, which must not be undefined."""
        name = self.temp(node, stem)
        self.fail_if(self.is_undefined(name))
        return name

    def call(self, function: object, *arguments: ast.expr) -> ast.expr:
        return call(self.code.hoist(function, "f"), *arguments)

    def members(self) -> object:
        return runtime.ordered_members if self.in_order else runtime.members

    def entries(self) -> object:
        return runtime.ordered_entries if self.in_order else runtime.entries

    # --- loops

    def before_loop(self) -> None:
        """Called before a loop is opened: what does not change in it is found here."""

    def loop(self, target: ast.expr, values: ast.expr) -> None:
        """Open a loop; all that follows in this part stands in it."""
        self.before_loop()
        self._open(target, values)

    def _open(self, target: ast.expr, values: ast.expr) -> None:
        if self.depth >= _DEEPEST:
            self._outline()
        node = ast.For(target, values, [], [])
        self.add(node)
        if self.flag and self.depth:
            self.add(when(load(self.flag), [ast.Break()]))
        self.block = node.body
        self.depth += 1

    def _outline(self) -> None:
        """Go on in a nested function: Python allows only so many nested loops."""
        name = self.code.fresh("inner")
        function = define(name, [], [])
        function.body = [ast.Nonlocal(list(self.assigned))] if self.assigned else [ast.Pass()]
        self.add(function, do(call(load(name))))
        if self.flag and self.depth:
            self.add(when(load(self.flag), [ast.Break()]))
        self.block = function.body
        self.depth = 0
        self.outlined = True

    @contextmanager
    def closed(self, flag: str | None = None) -> Iterator[None]:
        """A part of its own: what it binds and finds out is forgotten after it. Its loops end when `flag` is set."""
        saved = (self.block, self.env, self.known, self.depth, self.flag, self.outlined, self.in_order,
                 len(self.assigned))
        if self.depth >= _DEEPEST:
            name = self.code.fresh("part")
            function = define(name, [], [])
            function.body = [ast.Nonlocal(list(self.assigned))] if self.assigned else [ast.Pass()]
            self.add(function, do(call(load(name))))
            self.block = function.body
            self.depth = 0
        self.env, self.known = dict(self.env), dict(self.known)
        self.flag = None
        self._open(store(self.code.fresh("once")), self.code.hoist(_ONCE, "ONCE"))
        self.flag = flag
        try:
            yield
        finally:
            self.block, self.env, self.known, self.depth, self.flag, self.outlined, self.in_order = saved[:7]
            del self.assigned[saved[7]:]

    def collect(self, stem: str, start: ast.expr) -> str:
        """A variable that statements further in will change, in whatever function they are."""
        name = self.code.fresh(stem)
        self.add(assign(name, start))
        self.assigned.append(name)
        return name

    def decide(self, flag: str) -> None:
        """Set the flag of the closed part, and leave its innermost loop."""
        self.add(assign(flag, ast.Constant(True)))
        self.add(ast.Break() if self.depth else ast.Return(None))
