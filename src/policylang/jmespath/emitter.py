"""What all that writes statements of JMESPath programs needs."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from policylang.budget import too_long
from policylang.code import Code, assign, attribute, call, compare, either, load, throw, when
from policylang.jmespath.values import Maps, QueryError


class Emitter:
    """Statements of the function that is being written, in `body`."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.body: list[ast.stmt] = []

    def hoist(self, value: Any, stem: str = "k") -> ast.expr:
        return self.code.hoist(value, stem)

    def emit(self, *statements: ast.stmt) -> None:
        self.body.extend(statements)

    def name(self, value: ast.expr, stem: str = "v") -> ast.Name:
        """`value` in a name of its own."""
        if isinstance(value, ast.Name):
            return value
        made = self.code.fresh(stem)
        self.emit(assign(made, value))
        return load(made)

    def inside(self, write: Callable[[], None]) -> list[ast.stmt]:
        """The statements that `write` emits."""
        outer, self.body = self.body, []
        write()
        inner, self.body = self.body, outer
        return inner

    def is_type(self, value: ast.expr, kind: type) -> ast.expr:
        return compare(call(self.hoist(type, "type"), value), ast.Is(), self.hoist(kind, "T"))

    def is_number(self, value: ast.expr) -> ast.expr:
        return either(self.is_type(value, int), self.is_type(value, float))

    def is_list(self, value: ast.expr) -> ast.expr:
        return either(self.is_type(value, list), self.is_type(value, Maps))

    def fail(self, message: str) -> ast.stmt:
        return throw(call(self.hoist(QueryError, "QueryError"), ast.Constant(message)))

    def spend(self, values: ast.expr) -> None:
        left = attribute(load("env"), "left")
        self.emit(ast.AugAssign(ast.Attribute(load("env"), "left", ast.Store()), ast.Sub(),
                                call(self.hoist(len, "len"), values)),
                  when(compare(left, ast.Lt(), ast.Constant(0)), [throw(call(self.hoist(too_long, "too_long")))]))
