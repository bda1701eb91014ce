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
    Writer,
    assign,
    attempt,
    attribute,
    both,
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


class Emitter(Writer):
    """`table` says what is written for a kind of node.

    `problems` lists what can only fail when it is evaluated, (message, offset); `needs` what of the world is asked for.
    """

    def __init__(self, code: Code, table: Mapping[str, Emit], holes: Holes, note: Note | None) -> None:
        super().__init__(code)
        self.table, self.holes, self.note = table, holes, note
        self.problems: list[tuple[str, int]] = []
        self.needs: set[str] = set()

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
            value = self.named(self.call(self.note, *place, value))
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
        with self.inside(1) as body:
            self.add(assign(result, self.value(node, data)))
        self.add(attempt(body, self.code.hoist(QueryError, "QueryError"), [
            when(self.is_type(load(wrong), PanicError), [throw(load(wrong))]), assign(result, NONE)], wrong))
        return load(result)

    # --- statements ---------------------------------------------------------------------------------------------

    @contextmanager
    def function_of(self, parameter: str) -> Iterator[str]:
        """The name of a function of its own, whose body is what is emitted within."""
        name = self.code.fresh("f")
        with self.inside(-self.blocks) as body:
            yield name
        self.add(define(name, [parameter], body))

    def refuse(self, message: str, node: Node) -> ast.expr:
        """A node that can only fail."""
        self.problems.append((message, node.start))
        self.add(when(ast.Constant(True), [self.fail(message)]))
        return NONE

    def fail(self, message: str) -> ast.stmt:
        return throw(self.call(QueryError, ast.Constant(message)))

    def spend(self, values: ast.expr) -> None:
        left = attribute(load("env"), "left")
        self.add(ast.AugAssign(ast.Attribute(load("env"), "left", ast.Store()), ast.Sub(), self.call(len, values)),
                 when(compare(left, ast.Lt(), ast.Constant(0)), [throw(self.call(too_long))]))

    # --- tests --------------------------------------------------------------------------------------------------

    def is_number(self, value: ast.expr) -> ast.expr:
        return either(self.is_type(value, int), self.is_type(value, float))

    def is_list(self, value: ast.expr) -> ast.expr:
        return either(self.is_type(value, list), self.is_type(value, Maps))
