"""A tree becomes one Python function of (data, env).

Every node writes statements that leave its value in a name or constant, so evaluation order is the written order.
Kyverno's fork makes a key that a map does not have an error, which `||`, `&&`, `!`, comparisons, pipes, projections and
arguments turn into null. Where that is known when compiling, null is what is compiled (`Mode.NULL`); where a function
stands behind the missing key, a mark is carried past it (`Mode.MARK`).
"""

# ruff: noqa: ARG002, N802 - one method for each kind of node, with its name and one signature
from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from policylang.code import (
    Code,
    assign,
    attempt,
    attribute,
    both,
    call,
    choose,
    compare,
    define,
    do,
    each,
    either,
    give,
    item,
    load,
    negate,
    throw,
    when,
)
from policylang.jmespath.analysis import may_fail, may_miss, strict
from policylang.jmespath.declare import FUNCTIONS, invalid
from policylang.jmespath.emitter import Emitter
from policylang.jmespath.kinds import ALL_OF, fits, is_number_constant
from policylang.jmespath.tree import Node
from policylang.jmespath.values import (
    MISSING,
    Env,
    Expression,
    PanicError,
    QueryError,
    UnknownKeyError,
    same,
    truthy,
)

Holes = Callable[[str], "ast.expr | None"]
"""For a text of the expression that depends on the data: an expression of `data`, the root, and `env`."""
_BLOCKS = 12  # loops in loops before a function of its own is begun; Python has room for 20
_LONG = 256  # characters or elements
_NONE = ast.Constant(None)
_SIGNS: dict[str, ast.cmpop] = {"<": ast.Lt(), "<=": ast.LtE(), ">": ast.Gt(), ">=": ast.GtE()}


class Mode(Enum):
    """What a missing key does."""

    RAISE = 0
    NULL = 1
    MARK = 2


class Compiler(Emitter):
    """Compiles into `code`. `problems` lists what can only fail when it is evaluated: (message, offset)."""

    def __init__(self, code: Code, holes: Holes = lambda _: None,
                 note: Callable[[int, int, Any], Any] | None = None) -> None:
        super().__init__(code)
        self.holes = holes
        self.note = note
        self.problems: list[tuple[str, int]] = []
        self.needs: set[str] = set()
        self.blocks = 0

    def function(self, name: str, node: Node) -> None:
        """Adds the function `name(data, env)` for the tree."""
        value = self.value(node, load("data"), Mode.RAISE)
        self.code.add(name, ("data", "env"), [*self.body, give(value)])

    # --- nodes --------------------------------------------------------------------------------------------------

    def value(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        """A name or constant that has the node's value for `data`."""
        made: ast.expr = getattr(self, f"_{node.kind}")(node, data, mode)
        if self.note is not None and node.kind not in ("Identity", "KeyValPair"):
            place = ast.Constant(node.start), ast.Constant(node.end)
            made = self.name(call(self.hoist(self.note, "note"), *place, made))
        return made

    def test(self, node: Node, data: ast.expr) -> ast.expr:
        """An expression that Python finds true where the node's value is."""
        value = self.value(node, data, Mode.NULL)
        if isinstance(value, ast.Constant):
            return ast.Constant(truthy(value.value))
        if node.kind in ("NotExpression", "Comparator") or (
                node.kind == "FunctionExpression" and node.value in FUNCTIONS
                and FUNCTIONS[node.value].returns == ("bool",)):
            return value
        return either(value, both(compare(value, ast.Eq(), ast.Constant(0)),
                                  compare(value, ast.IsNot(), ast.Constant(False))))

    def _Identity(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        return data

    def _CurrentNode(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        return data

    def _Empty(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        message = "Unknown AST node: ASTEmpty"
        self.problems.append((message, node.start))
        self.emit(when(ast.Constant(True), [self.fail(message)]))
        return _NONE

    def _Literal(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        made = self._filled(node.value)
        return self.code.constant(node.value) if made is None else self.name(made)

    def _filled(self, value: Any) -> ast.expr | None:
        """A literal with texts that depend on the data; None where it has none."""
        if isinstance(value, str):
            return self.holes(value)
        if not isinstance(value, (list, dict)):
            return None
        parts = [self._filled(one) for one in (value if isinstance(value, list) else value.values())]
        if all(part is None for part in parts) and not (isinstance(value, dict) and any(map(self.holes, value))):
            return None
        whole = [self.code.constant(one) if part is None else part for part, one in
                 zip(parts, value if isinstance(value, list) else value.values(), strict=True)]
        if isinstance(value, list):
            return ast.List(whole, ast.Load())
        return ast.Dict([self.holes(key) or ast.Constant(key) for key in value], whole)

    def _Field(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        hole = self.holes(node.value)
        key: ast.expr = ast.Constant(node.value) if hole is None else self.name(hole)
        if isinstance(data, ast.Constant):
            return _NONE
        is_map = self.is_type(data, dict)
        if mode is Mode.NULL:
            return self.name(choose(is_map, call(attribute(data, "get"), key), _NONE))
        if mode is Mode.MARK:
            found = call(attribute(data, "get"), key, self.hoist(MISSING, "MISSING"))
            return self.name(choose(is_map, found, _NONE))
        made = self.code.fresh()
        self.emit(when(is_map, [when(compare(key, ast.NotIn(), data),
                                     [throw(call(self.hoist(UnknownKeyError, "UnknownKey"), key))]),
                                assign(made, item(data, key))], [assign(made, _NONE)]))
        return load(made)

    def _Subexpression(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        left, right = node.children
        if mode is Mode.RAISE or (mode is Mode.NULL and strict(right)):
            return self.value(right, self.value(left, data, mode), mode)
        if not may_miss(left):
            return self.value(right, self.value(left, data, Mode.NULL), mode)
        before = self.value(left, data, Mode.MARK)
        if isinstance(before, ast.Constant):
            return self.value(right, before, mode)
        made = self.code.fresh()

        def go_on() -> None:
            self.emit(assign(made, self.value(right, before, mode)))

        missing = self.hoist(MISSING, "MISSING")
        self.emit(when(compare(before, ast.Is(), missing),
                       [assign(made, missing if mode is Mode.MARK else _NONE)], self.inside(go_on)))
        return load(made)

    _IndexExpression = _Subexpression

    def _Index(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        if isinstance(data, ast.Constant):
            return _NONE
        at = node.value
        size = call(self.hoist(len, "len"), data)
        inside = compare(size, ast.Gt() if at >= 0 else ast.GtE(), ast.Constant(abs(at)))
        return self.name(choose(both(self.is_list(data), inside), item(data, ast.Constant(at)), _NONE))

    def _Slice(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        start, stop, step = node.value
        if isinstance(data, ast.Constant):
            return _NONE
        if step == 0:
            self.problems.append(("Invalid slice, step cannot be 0", node.start))
            self.emit(when(self.is_list(data), [self.fail("Invalid slice, step cannot be 0")]))
            return _NONE
        bounds = (_NONE if part is None else ast.Constant(part) for part in (start, stop, step))
        return self.name(choose(self.is_list(data), item(data, ast.Slice(*bounds)), _NONE))

    def _Pipe(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        left, right = node.children
        return self.value(right, self.value(left, data, Mode.NULL), Mode.NULL)

    def _OrExpression(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        left, right = node.children
        made = self.code.fresh()
        self.emit(assign(made, self.value(left, data, Mode.NULL)))
        self.emit(when(self._false(load(made)),
                       self.inside(lambda: self.emit(assign(made, self.value(right, data, Mode.NULL))))))
        return load(made)

    def _AndExpression(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        left, right = node.children
        made = self.code.fresh()
        self.emit(assign(made, self.value(left, data, Mode.NULL)))
        self.emit(when(negate(self._false(load(made))),
                       self.inside(lambda: self.emit(assign(made, self.value(right, data, mode))))))
        return load(made)

    def _false(self, value: ast.expr) -> ast.expr:
        return both(negate(value), either(compare(value, ast.NotEq(), ast.Constant(0)),
                                          compare(value, ast.Is(), ast.Constant(False))))

    def _NotExpression(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        return self.name(negate(self.test(node.children[0], data)))

    def _Comparator(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        left = self.value(node.children[0], data, Mode.NULL)
        right = self.value(node.children[1], data, Mode.NULL)
        sign = node.value
        if sign in ("==", "!="):
            equal = self._equal(left, right)
            return self.name(equal if sign == "==" else negate(equal))
        numbers = [self.is_number(side) for side in (left, right) if not is_number_constant(side)]
        test = compare(left, _SIGNS[sign], right)
        return self.name(choose(both(*numbers), test, _NONE) if numbers else test)

    def _equal(self, left: ast.expr, right: ast.expr) -> ast.expr:
        for one, other in ((left, right), (right, left)):
            if isinstance(other, ast.Constant):
                if isinstance(one, ast.Constant):
                    return ast.Constant(same(one.value, other.value))
                if isinstance(other.value, str):
                    return compare(one, ast.Eq(), other)
                if other.value is None or isinstance(other.value, bool):
                    return compare(one, ast.Is(), other)
                return both(self.is_number(one), compare(one, ast.Eq(), other))
        return call(self.hoist(same, "same"), left, right)

    def _MultiSelectList(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        def select(made: str) -> None:
            parts = [self.value(child, data, Mode.NULL) for child in node.children]
            self.emit(assign(made, ast.List(parts, ast.Load())))
        return self._unless_null(data, select)

    def _MultiSelectHash(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        def select(made: str) -> None:
            keys: list[ast.expr | None] = [self.code.constant(child.value) for child in node.children]
            parts = [self.value(child.children[0], data, Mode.NULL) for child in node.children]
            self.emit(assign(made, ast.Dict(keys, parts)))
        return self._unless_null(data, select)

    def _unless_null(self, data: ast.expr, select: Callable[[str], None]) -> ast.expr:
        made = self.code.fresh()
        if isinstance(data, ast.Constant):
            if data.value is None:
                return _NONE
            select(made)
        else:
            self.emit(when(compare(data, ast.Is(), _NONE), [assign(made, _NONE)], self.inside(lambda: select(made))))
        return load(made)

    # --- projections --------------------------------------------------------------------------------------------

    def _Projection(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        left, right = node.children
        return self._project(self.value(left, data, Mode.NULL), right, list)

    def _FilterProjection(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        left, right, condition = node.children
        return self._project(self._forgiven(left, data), right, list, condition)

    def _ValueProjection(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        left, right = node.children
        return self._project(self._forgiven(left, data), right, dict)

    def _Flatten(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        found = self.name(self._forgiven(node.children[0], data))
        made, one = self.code.fresh(), self.code.fresh("e")
        add = [when(self.is_list(load(one)), [do(call(attribute(load(made), "extend"), load(one)))],
                    [do(call(attribute(load(made), "append"), load(one)))])]

        def loop() -> None:
            self.emit(assign(made, ast.List([], ast.Load())), each(one, found, add))
            self.spend(load(made))
        self.emit(when(self.is_list(found), self.inside(loop), [assign(made, _NONE)]))
        return load(made)

    def _forgiven(self, node: Node, data: ast.expr) -> ast.expr:
        """The value, or null where it fails: what filters, flattening and value projections start from."""
        if not may_fail(node):
            return self.value(node, data, Mode.NULL)
        made = self.code.fresh()
        self.blocks += 1
        body = self.inside(lambda: self.emit(assign(made, self.value(node, data, Mode.NULL))))
        self.blocks -= 1
        wrong = self.code.fresh("wrong")
        self.emit(attempt(body, self.hoist(QueryError, "QueryError"), [
            when(self.is_type(load(wrong), PanicError), [throw(load(wrong))]), assign(made, _NONE)], wrong))
        return load(made)

    def _project(self, found: ast.expr, right: Node, kind: type, condition: Node | None = None) -> ast.expr:
        if isinstance(found, ast.Constant):
            return _NONE
        if self.blocks >= _BLOCKS:
            return self._outlined(found, right, kind, condition)
        made, one = self.code.fresh(), self.code.fresh("e")
        element = load(one)

        def keep() -> None:
            value = self.value(right, element, Mode.NULL)
            add = do(call(attribute(load(made), "append"), value))
            if not isinstance(value, ast.Constant):
                self.emit(when(compare(value, ast.IsNot(), _NONE), [add]))
            elif value.value is not None:
                self.emit(add)

        def body() -> None:
            if condition is None:
                keep()
            else:
                self.emit(when(self.test(condition, element), self.inside(keep) or [ast.Pass()]))

        def loop() -> None:
            values: ast.expr = found
            if kind is dict:
                values = self.name(call(self.hoist(_values if strict(right) else _padded_values, "values"), found))
            self.spend(values)
            self.emit(assign(made, ast.List([], ast.Load())))
            self.blocks += 1
            self.emit(each(one, values, self.inside(body) or [ast.Pass()]))
            self.blocks -= 1

        test = self.is_type(found, dict) if kind is dict else self.is_list(found)
        self.emit(when(test, self.inside(loop), [assign(made, _NONE)]))
        return load(made)

    def _outlined(self, found: ast.expr, right: Node, kind: type, condition: Node | None) -> ast.expr:
        name, parameter = self.code.fresh("f"), self.code.fresh("p")
        blocks, self.blocks = self.blocks, 0
        body = self.inside(lambda: self.emit(give(self._project(load(parameter), right, kind, condition))))
        self.blocks = blocks
        self.emit(define(name, [parameter], body))
        return self.name(call(load(name), found))

    # --- functions ----------------------------------------------------------------------------------------------

    def _ExpRef(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        name, parameter = self.code.fresh("f"), self.code.fresh("p")
        inner = node.children[0]
        blocks, self.blocks = self.blocks, 0
        body = self.inside(lambda: self.emit(give(self.value(inner, load(parameter), Mode.NULL))))
        self.blocks = blocks
        self.emit(define(name, [parameter], body))
        return self.name(call(self.hoist(Expression, "Expression"), load(name), self.hoist(inner.shape(), "shape")))

    def _FunctionExpression(self, node: Node, data: ast.expr, mode: Mode) -> ast.expr:
        arguments = [self.value(child, data, Mode.NULL) for child in node.children]
        if not isinstance(node.value, str):
            return self._refused("invalid node value type", node)
        function = FUNCTIONS.get(node.value)
        if function is None:
            return self._refused(f"unknown function: {node.value}", node)
        if function.arguments is None:
            arguments = []
        elif function.variadic:
            if len(arguments) < len(function.arguments):
                return self._refused("Invalid arity.", node)
        elif len(arguments) != len(function.arguments):
            return self._refused("incorrect number of args", node)
        else:
            for value, kinds in zip(arguments, function.arguments, strict=True):
                self._check(value, kinds)
        for value in arguments:
            if not isinstance(value, ast.Constant):
                self.emit(do(call(self.hoist(_looked_through, "looked"), load("env"), value)))
        self.needs |= {function.asks} if function.asks else set()
        known = arguments[function.fixed] if function.prepare is not None else None
        if function.prepare is not None and isinstance(known, ast.Constant) and isinstance(known.value, str):
            prepared = function.prepare(known.value)
            if prepared is not None:
                del arguments[function.fixed]
                return self.name(call(self.hoist(prepared, function.name), *arguments))
        given: Sequence[ast.expr] = [load("env"), *arguments] if function.takes_env else arguments
        return self.name(call(self.hoist(function.handler, function.name), *given))

    def _refused(self, message: str, node: Node) -> ast.expr:
        self.problems.append((message, node.start))
        self.emit(when(ast.Constant(True), [self.fail(message)]))
        return _NONE

    def _check(self, value: ast.expr, kinds: tuple[str, ...]) -> None:
        """Raises where the value is of none of these types."""
        if "any" in kinds or (isinstance(value, ast.Constant) and fits(value.value, kinds)):
            return
        tests: list[ast.expr] = []
        for kind in kinds:
            if kind == "string":
                tests.append(self.is_type(value, str))
            elif kind == "number":
                tests.append(self.is_number(value))
            elif kind == "array":
                tests.append(self.is_list(value))
            elif kind == "object":
                tests.append(self.is_type(value, dict))
            elif kind == "expref":
                tests.append(self.is_type(value, Expression))
            else:
                tests.append(both(self.is_type(value, list), call(self.hoist(ALL_OF[kind], "all_of"), value)))
        wrong = call(self.hoist(invalid, "invalid"), value, self.hoist(kinds, "kinds"))
        self.emit(when(negate(either(*tests)), [throw(wrong)]))


def _looked_through(env: Env, value: Any) -> None:
    """Pay for what a function will walk through: a projection may call it for each of many elements."""
    kind = type(value)
    if kind is str:
        if len(value) > _LONG:
            env.spend(len(value) >> (8 if value.isascii() else 2))
    elif kind is list and len(value) > _LONG:
        env.spend(len(value) >> 3)


def _values(value: dict[str, Any]) -> list[Any]:
    return [value[key] for key in sorted(value)]


def _padded_values(value: dict[str, Any]) -> list[Any]:
    """Kyverno's fork applies the expression to as many nulls first."""
    return [None] * len(value) + _values(value)
