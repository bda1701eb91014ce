"""The one writer of statements for JMESPath trees, in the function that is being written.

Every node writes statements that leave its value in a name or constant, so evaluation order is the written order.
Kyverno's fork makes a key that a map does not have an error, which `||`, `&&`, `!`, comparisons, pipes, projections and
arguments turn into null. Where that is known when compiling, null is what is compiled (`Mode.NULL`); where a function
stands behind the missing key, a mark is carried past it (`Mode.MARK`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any

from policylang.budget import too_long
from policylang.code import (
    Code,
    assign,
    attempt,
    attribute,
    both,
    call,
    compare,
    define,
    either,
    give,
    load,
    throw,
    when,
)
from policylang.jmespath.compiler.effects import boolean, may_fail
from policylang.jmespath.syntax.tree import Node
from policylang.jmespath.values import Maps, PanicError, QueryError, truthy

NONE = ast.Constant(None)


class Mode(Enum):
    """What a missing key does."""

    RAISE = 0
    NULL = 1
    MARK = 2


Emit = Callable[["Emitter", Node, ast.expr, Mode], ast.expr]
"""(emitter, node, data, mode) → a name or constant that has the node's value for `data`."""
Holes = Callable[[str], "ast.expr | None"]
"""For a text of the expression that depends on the data: an expression of `data`, the root, and `env`."""
Note = Callable[[int, int, Any], Any]


class Emitter:
    """Writes into `body`; functions go to `code`. `table` says what is written for a kind of node.

    `problems` lists what can only fail when it is evaluated, (message, offset); `needs` what of the world is asked for.
    """

    def __init__(self, code: Code, table: Mapping[str, Emit], holes: Holes, note: Note | None) -> None:
        self.code, self.table, self.holes, self.note = code, table, holes, note
        self.body: list[ast.stmt] = []
        self.problems: list[tuple[str, int]] = []
        self.needs: set[str] = set()
        self.blocks = 0

    def function(self, name: str, node: Node) -> None:
        """Adds the function `name(data, env)` for the tree."""
        value = self.value(node, load("data"), Mode.RAISE)
        self.code.add(name, ("data", "env"), [*self.body, give(value)])

    # --- nodes --------------------------------------------------------------------------------------------------

    def value(self, node: Node, data: ast.expr, mode: Mode = Mode.NULL) -> ast.expr:
        """A name or constant that has the node's value for `data`."""
        value = self.table[node.kind](self, node, data, mode)
        if self.note is not None and node.kind not in ("Identity", "KeyValPair"):
            place = ast.Constant(node.start), ast.Constant(node.end)
            value = self.name(call(self.hoist(self.note, "note"), *place, value))
        return value

    def test(self, node: Node, data: ast.expr) -> ast.expr:
        """An expression that Python finds true where the node's value is."""
        value = self.value(node, data)
        if isinstance(value, ast.Constant):
            return ast.Constant(truthy(value.value))
        if boolean(node):
            return value
        return either(value, both(compare(value, ast.Eq(), ast.Constant(0)),
                                  compare(value, ast.IsNot(), ast.Constant(False))))

    def forgiven(self, node: Node, data: ast.expr) -> ast.expr:
        """The value, or null where it fails: what filters, flattening and value projections start from."""
        if not may_fail(node):
            return self.value(node, data)
        result, wrong = self.code.fresh(), self.code.fresh("wrong")
        with self.block() as body:
            self.emit(assign(result, self.value(node, data)))
        self.emit(attempt(body, self.hoist(QueryError, "QueryError"), [
            when(self.is_type(load(wrong), PanicError), [throw(load(wrong))]), assign(result, NONE)], wrong))
        return load(result)

    # --- statements ---------------------------------------------------------------------------------------------

    def emit(self, *statements: ast.stmt) -> None:
        self.body.extend(statements)

    @contextmanager
    def inside(self) -> Iterator[list[ast.stmt]]:
        """What is emitted within goes to the list that it gives."""
        outer, self.body = self.body, []
        try:
            yield self.body
        finally:
            self.body = outer

    @contextmanager
    def block(self) -> Iterator[list[ast.stmt]]:
        """`inside` a loop or a try, of which Python nests no more than 20."""
        self.blocks += 1
        try:
            with self.inside() as body:
                yield body
        finally:
            self.blocks -= 1

    @contextmanager
    def function_of(self, parameter: str) -> Iterator[str]:
        """The name of a function of its own, whose body is what is emitted within."""
        name = self.code.fresh("f")
        blocks, self.blocks = self.blocks, 0
        try:
            with self.inside() as body:
                yield name
        finally:
            self.blocks = blocks
        self.emit(define(name, [parameter], body))

    def hoist(self, value: Any, stem: str = "k") -> ast.expr:
        return self.code.hoist(value, stem)

    def name(self, value: ast.expr, stem: str = "v") -> ast.Name:
        """`value` in a name of its own."""
        if isinstance(value, ast.Name):
            return value
        name = self.code.fresh(stem)
        self.emit(assign(name, value))
        return load(name)

    def refuse(self, message: str, node: Node) -> ast.expr:
        """A node that can only fail."""
        self.problems.append((message, node.start))
        self.emit(when(ast.Constant(True), [self.fail(message)]))
        return NONE

    def fail(self, message: str) -> ast.stmt:
        return throw(call(self.hoist(QueryError, "QueryError"), ast.Constant(message)))

    def spend(self, values: ast.expr) -> None:
        left = attribute(load("env"), "left")
        self.emit(ast.AugAssign(ast.Attribute(load("env"), "left", ast.Store()), ast.Sub(),
                                call(self.hoist(len, "len"), values)),
                  when(compare(left, ast.Lt(), ast.Constant(0)), [throw(call(self.hoist(too_long, "too_long")))]))

    # --- tests --------------------------------------------------------------------------------------------------

    def is_type(self, value: ast.expr, kind: type) -> ast.expr:
        return compare(call(self.hoist(type, "type"), value), ast.Is(), self.hoist(kind, "T"))

    def is_number(self, value: ast.expr) -> ast.expr:
        return either(self.is_type(value, int), self.is_type(value, float))

    def is_list(self, value: ast.expr) -> ast.expr:
        return either(self.is_type(value, list), self.is_type(value, Maps))
