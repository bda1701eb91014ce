"""Programs that count what they cost while they run, exactly as cel-go's cost tracker does.

Facts from cel-go interpreter/{planner,runtimecost,optimizations}.go, 0.26, and measured on a real API server: a name
that is a branch of `?:` or a key costs nothing, loops cost what the macro stands for; with the optimizer, literals cost
nothing where all of it is constant, and has() no more than its operand. The CostModel prices calls.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from policylang import code as build
from policylang.cel.compile.compiler import Emitter
from policylang.cel.compile.loops import Loops
from policylang.cel.syntax.tree import (
    Bind,
    Call,
    Comprehension,
    Ident,
    ListNode,
    Literal,
    MapNode,
    Node,
    Select,
    Struct,
)
from policylang.code import assign, call, choose, load

_CONVERSIONS = frozenset({"bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"})


class CostEmitter(Emitter):
    """`w` is the program's Tally."""

    def __init__(self, *arguments: Any, watch: str, **names: Any) -> None:
        super().__init__(*arguments, watch="cost", **names)
        self._optimized = watch != "cost"
        self._quiet = 0
        self._values = ""
        self._before: dict[str, str] = {}
        self._seen: set[str] = set()

    def pay(self, cost: int | ast.expr) -> None:
        if not self._quiet and cost != 0:
            self.body.append(build.do(_add(ast.Constant(cost) if isinstance(cost, int) else cost)))

    def emit(self, node: Node) -> ast.expr:
        if self._quiet or not self._constant(node):
            return _EMITS[type(node)](self, node)
        self._quiet += 1
        made = _EMITS[type(node)](self, node)
        self._quiet -= 1
        return made

    def _constant(self, node: Node) -> bool:
        """Whether its value is known before it runs, which for cel-go's own plan is so for single literals only."""
        return constant(node) and (self._optimized or isinstance(node, (Literal, Ident, Select)))

    # ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ident_cost(self, node: Ident) -> ast.expr:
        before = self._before.get(node.name)
        if before is None:
            self.pay(1)
        elif node.name in self._seen:  # optMap's operand is evaluated again; the call in between cost 1
            spent = ast.BinOp(build.attribute(load("w"), "cost"), ast.Sub(), load(before))
            self.pay(ast.BinOp(spent, ast.Sub(), ast.Constant(1)))
        self._seen.add(node.name)
        return self._ident(node)

    def _select_cost(self, node: Select) -> ast.expr:
        made = self._select(node)
        if node.reference is not None:
            self.pay(1)
        elif node.test:
            self.pay(0 if self._optimized else 1)
        else:
            if self.type_of(node.operand).name == "optional_type":
                return self._if_present(made)
            self.pay(1 if attribute(node.operand) else 2)
        return made

    def _if_present(self, made: ast.expr) -> ast.expr:
        """An optional that is not there was not paid for."""
        return made if self._quiet else call(self.function(_pay_present), load("w"), made)

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _call_cost(self, node: Call) -> ast.expr:
        if node.function not in ("_[_]", "_[?_]", "_?._"):
            return self._call(node)
        operand, key = node.args
        if attribute(key) and not self._constant(key):
            self.pay(-1)
        if not attribute(operand):
            self.pay(1)
        made = self._call(node)
        if node.function != "_[_]":
            return self._if_present(made)
        self.pay(1)
        return made

    def _paid(self, function: str, ids: tuple[str, ...] | None, arguments: list[ast.expr], node: Call) -> ast.expr:
        if self._quiet or (self._optimized and _membership(node)):
            return self._chosen(function, node.target is not None, node, arguments)
        return super()._paid(function, ids, arguments, node)

    def _conditional(self, node: Call) -> ast.expr:
        test = self.truth(node.args[0], self.emit(node.args[0]))
        return self.either_way(test, self._branch(node.args[1]), self._branch(node.args[2]))

    def _branch(self, node: Node) -> tuple[list[ast.stmt], ast.expr, bool]:
        statements, expression, failing = self.apart(node)
        if attribute(node) and not self._constant(node) and not self._quiet:
            statements.insert(0, build.do(_add(ast.Constant(-1))))
        return statements, expression, failing

    # ── literals ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _list_cost(self, node: ListNode) -> ast.expr:
        self.pay(10)
        return self._list(node)

    def _map_cost(self, node: MapNode) -> ast.expr:
        self.pay(30)
        return self._map(node)

    def _struct_cost(self, node: Struct) -> ast.expr:
        self.pay(40)
        return self._struct(node)

    # ── bindings and loops ──────────────────────────────────────────────────────────────────────────────────────────

    def _bind_cost(self, node: Bind) -> ast.expr:
        if node.var.startswith("@target"):
            name = self.code.fresh("c")
            self.body.append(assign(name, build.attribute(load("w"), "cost")))
            self._before[node.var] = name
        return self._bind(node)

    def _pay(self, values: str) -> None:
        super()._pay(values)
        self._values = values

    def _accumulator(self, node: Comprehension, result: str) -> tuple[list[ast.stmt], Callable[[Loops], list[ast.stmt]],
                                                                      ast.expr]:
        values = self._values
        start, step, value = super()._accumulator(node, result)
        if node.kind == "exists_one":
            more: ast.stmt = ast.AugAssign(build.store(result), ast.Add(), ast.Constant(1))
            return start, lambda _: self._one(node, more), value
        if node.kind not in ("all", "exists"):
            return start, lambda emitter: [*step(emitter), build.do(_add(ast.Constant(1)))], value
        turn, condition = self.code.fresh("n"), 2 if node.kind == "all" else 3

        def quantify(emitter: Loops) -> list[ast.stmt]:
            """The condition is evaluated once more where it ends the loop before there are no more elements."""
            emitter.body.append(ast.AugAssign(build.store(turn), ast.Add(), ast.Constant(1)))
            self.pay(condition + 1)
            left = build.compare(load(turn), ast.Lt(), call(self.function(len), load(values)))
            ended = choose(left, ast.Constant(condition + 1), ast.Constant(1))
            after = step(emitter)
            return [build.do(_add(ended)), *after]

        return [*start, assign(turn, ast.Constant(0))], quantify, value

    def _one(self, node: Comprehension, more: ast.stmt) -> list[ast.stmt]:
        """The element counts: a name and an addition; at the end a name and a comparison."""
        after = self._collect(node, lambda: [build.do(_add(ast.Constant(2))), more])
        return [*after, build.do(_add(ast.Constant(2)))]

    def _append(self, node: Comprehension, result: str) -> list[ast.stmt]:
        folded = node.step is not None and self._constant(node.step) and self._optimized
        self.pay(2 if folded else 12)
        if node.step is None:
            self.pay(1)
        return super()._append(node, result)

    def _put(self, node: Comprehension, result: str) -> list[ast.stmt]:
        self.pay(3 if node.kind == "transformMap" else 2)
        return super()._put(node, result)


def constant(node: Node) -> bool:
    """Whether cel-go's optimizer has a value for it before it runs."""
    if isinstance(node, Literal):
        return True
    if isinstance(node, (Ident, Select)):
        return node.reference is not None and node.reference.constant
    if isinstance(node, ListNode):
        return not node.optional and all(map(constant, node.elements))
    if isinstance(node, MapNode):
        return all(not entry.optional and isinstance(entry.key, Node) and constant(entry.key) and constant(entry.value)
                   for entry in node.entries)
    return isinstance(node, Call) and node.function in _CONVERSIONS and node.target is None \
        and len(node.args) == 1 and constant(node.args[0])


def attribute(node: Node) -> bool:
    """What cel-go evaluates as one way into a variable: names, fields, elements."""
    return isinstance(node, (Ident, Select)) or (isinstance(node, Call) and node.function in (
        "_[_]", "_[?_]", "_?._", "_?_:_"))


def _membership(node: Call) -> bool:
    """`x in [constants]` is a look-up in a set, which is free."""
    return node.function == "@in" and constant(node.args[1]) and isinstance(node.args[1], ListNode) and all(
        isinstance(each, Literal) for each in node.args[1].elements)


def _add(cost: ast.expr) -> ast.expr:
    return call(build.attribute(load("w"), "add"), cost)


def _pay_present(tally: Any, value: Any) -> Any:
    if getattr(value, "present", True):
        tally.add(1)
    return value


_EMITS: dict[type[Node], Callable[..., ast.expr]] = {
    Literal: CostEmitter._literal, Ident: CostEmitter._ident_cost, Select: CostEmitter._select_cost,
    Call: CostEmitter._call_cost, ListNode: CostEmitter._list_cost, MapNode: CostEmitter._map_cost,
    Struct: CostEmitter._struct_cost, Bind: CostEmitter._bind_cost, Comprehension: CostEmitter._comprehension,
}
