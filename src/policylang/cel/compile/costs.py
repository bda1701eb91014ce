"""Programs that count what they cost while they run, exactly as cel-go's cost tracker does.

Facts from cel-go interpreter/{planner,runtimecost,optimizations}.go, 0.26, and measured on a real API server: a name
that is a branch of `?:` or a key costs nothing, loops cost what the macro stands for; with the optimizer, literals cost
nothing where all of it is constant, and has() no more than its operand. What calls cost, overloads declare.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from policylang import code as build
from policylang.cel.compile.emitter import Collect, Emitter, Fold, Loop, Plan, is_boolean, mark_boolean
from policylang.cel.cost.tally import Tally
from policylang.cel.cost.units import CONSTANT, LIST, MAP, SELECT, STRUCT, Measured
from policylang.cel.syntax import tree
from policylang.code import assign, call, choose, load

_CONVERSIONS = frozenset({"bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"})
_INDICES = frozenset({"_[_]", "_[?_]", "_?._"})
_Emit = Callable[[Emitter, Any], ast.expr]


def counted(plan: Plan, *, optimized: bool) -> Plan:
    """The plan, with each value paid for: the watcher is a Tally. For one program."""
    counting = _Counting(plan, optimized)
    return Plan(counting.nodes(), counting.folds(), {}, counting.apply, watched=True)


class _Counting:
    """`quiet`: inside of what is constant, and free. `branches`: names that are branches of `?:`, by identity.

    `before`: of a binding that is evaluated again where it is used, the Python name of the cost before its value.
    """

    def __init__(self, plan: Plan, optimized: bool) -> None:
        self.plan, self.optimized = plan, optimized
        self.quiet = 0
        self.branches: set[int] = set()
        self.before: dict[str, str] = {}
        self.seen: set[str] = set()

    def nodes(self) -> dict[type[tree.Node], _Emit]:
        priced: dict[type[tree.Node], Callable[[_Emit], _Emit]] = {
            tree.Ident: self._ident, tree.Select: self._select, tree.Call: self._call, tree.Bind: self._bind,
            tree.ListNode: _after(LIST), tree.MapNode: _after(MAP), tree.Struct: _after(STRUCT),
        }
        return {kind: self._unless_constant(emit, priced[kind](emit)) if kind in priced else emit
                for kind, emit in self.plan.nodes.items()}

    def _unless_constant(self, free: _Emit, priced: _Emit) -> _Emit:
        def emit(emitter: Emitter, node: tree.Node) -> ast.expr:
            if self.quiet:
                return free(emitter, node)
            if id(node) in self.branches:
                pay(emitter, -SELECT)
            if not self._constant(node):
                return priced(emitter, node)
            self.quiet += 1
            made = free(emitter, node)
            self.quiet -= 1
            return made

        return emit

    def _constant(self, node: tree.Node) -> bool:
        """Whether its value is known before it runs, which for cel-go's own plan is so for single literals only."""
        return _constant(node) and (self.optimized or isinstance(node, (tree.Literal, tree.Ident, tree.Select)))

    # ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ident(self, emit: _Emit) -> _Emit:
        def priced(emitter: Emitter, node: tree.Ident) -> ast.expr:
            before = self.before.get(node.name)
            if before is None:
                pay(emitter, SELECT)
            elif node.name in self.seen:  # optMap's operand is evaluated again; the call in between cost 1
                spent = ast.BinOp(build.attribute(load("w"), "cost"), ast.Sub(), load(before))
                pay(emitter, ast.BinOp(spent, ast.Sub(), ast.Constant(1)))
            self.seen.add(node.name)
            return emit(emitter, node)

        return priced

    def _select(self, emit: _Emit) -> _Emit:
        def priced(emitter: Emitter, node: tree.Select) -> ast.expr:
            made = emit(emitter, node)
            if node.reference is not None:
                pay(emitter, SELECT)
            elif node.test:
                pay(emitter, 0 if self.optimized else SELECT)
            elif emitter.type_of(node.operand).name == "optional_type":
                return _if_present(emitter, made)
            else:
                pay(emitter, SELECT if _attribute(node.operand) else 2 * SELECT)
            return made

        return priced

    def _bind(self, emit: _Emit) -> _Emit:
        def priced(emitter: Emitter, node: tree.Bind) -> ast.expr:
            if node.var.startswith("@target"):
                name = emitter.code.fresh("c")
                emitter.add(assign(name, build.attribute(load("w"), "cost")))
                self.before[node.var] = name
            return emit(emitter, node)

        return priced

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _call(self, emit: _Emit) -> _Emit:
        def priced(emitter: Emitter, node: tree.Call) -> ast.expr:
            if node.function == "_?_:_":
                self.branches.update(id(branch) for branch in node.args[1:]
                                     if _attribute(branch) and not self._constant(branch))
            if node.function not in _INDICES:
                return emit(emitter, node)
            operand, key = node.args
            if _attribute(key) and not self._constant(key):
                pay(emitter, -SELECT)
            if not _attribute(operand):
                pay(emitter, SELECT)
            made = emit(emitter, node)
            if node.function != "_[_]":
                return _if_present(emitter, made)
            pay(emitter, SELECT)
            return made

        return priced

    def apply(self, emitter: Emitter, node: tree.Call, function: str, arguments: list[ast.expr]) -> ast.expr:
        if self.quiet or function in _INDICES or (self.optimized and _membership(node)):
            return self.plan.apply(emitter, node, function, arguments)
        names = [emitter.named(argument) for argument in arguments]
        made = self.plan.apply(emitter, node, function, names)
        result = emitter.named(made)
        measured = _measured(emitter, node, function)
        pay(emitter, 1 if measured is CONSTANT.run else call(
            emitter.code.hoist(measured), ast.Tuple([*names], ast.Load()), result))
        return mark_boolean(load(result.id)) if is_boolean(made) and isinstance(result, ast.Name) else result

    # ── loops ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def folds(self) -> dict[str, Fold]:
        return {kind: self._fold(kind, fold) for kind, fold in self.plan.folds.items()}

    def _fold(self, kind: str, fold: Fold) -> Fold:
        if kind in ("all", "exists"):
            return _quantifier(fold, 2 if kind == "all" else 3)
        if kind == "exists_one":
            # The element counts: a name and an addition; at the end a name and a comparison.
            return fold._replace(collect=lambda emitter, loop: [_paid(2), *fold.collect(emitter, loop)],
                                 turn=_with_end(fold, 2))

        def collect(emitter: Emitter, loop: Loop) -> list[ast.stmt]:
            pay(emitter, self._collecting(loop.node))
            return fold.collect(emitter, loop)

        return fold._replace(collect=collect, turn=_with_end(fold, 1))

    def _collecting(self, node: tree.Comprehension) -> int:
        """What adding an element to the accumulator costs."""
        if node.kind == "transformMap":
            return 3
        if node.kind == "transformMapEntry":
            return 2
        if node.step is None:
            return SELECT + 2 + LIST
        return 2 if self.optimized and self._constant(node.step) else 2 + LIST


def _with_end(fold: Fold, cost: int) -> Callable[[Emitter, Loop, Collect], list[ast.stmt]]:
    """The result of a loop is a name, with `cost` in all."""
    def turn(emitter: Emitter, loop: Loop, collect: Collect) -> list[ast.stmt]:
        _within(emitter)
        return [*fold.turn(emitter, loop, collect), _paid(cost)]

    return turn


def _quantifier(fold: Fold, condition: int) -> Fold:
    """The condition is evaluated once more where it ends the loop before there are no more elements."""
    def turns(loop: Loop) -> str:
        return f"{loop.result}n"

    def start(emitter: Emitter, loop: Loop) -> list[ast.stmt]:
        return [*fold.start(emitter, loop), assign(turns(loop), ast.Constant(0))]

    def turn(emitter: Emitter, loop: Loop, collect: Collect) -> list[ast.stmt]:
        emitter.add(ast.AugAssign(build.store(turns(loop)), ast.Add(), ast.Constant(1)))
        pay(emitter, condition + 1)
        _within(emitter)
        left = build.compare(load(turns(loop)), ast.Lt(), emitter.call(len, load(loop.values)))
        ended = _paid(choose(left, ast.Constant(condition + 1), ast.Constant(1)))
        return [ended, *fold.turn(emitter, loop, collect)]

    return fold._replace(start=start, turn=turn)


def pay(emitter: Emitter, cost: int | ast.expr) -> None:
    """What is paid where nothing stands between is paid together."""
    last = emitter.body[-1] if emitter.body else None
    if isinstance(cost, int) and isinstance(last, ast.AugAssign) and isinstance(last.target, ast.Attribute) and (
            last.target.attr == "cost" and isinstance(last.value, ast.Constant) and isinstance(last.value.value, int)):
        cost += last.value.value
        del emitter.body[-1]
    if cost != 0:
        emitter.add(_paid(cost))


def _paid(cost: int | ast.expr) -> ast.stmt:
    total = ast.Attribute(load("w"), "cost", ast.Store())
    return ast.AugAssign(total, ast.Add(), ast.Constant(cost) if isinstance(cost, int) else cost)


def _within(emitter: Emitter) -> None:
    """Once a turn of a loop, whether the limit is passed; the rest is seen at the end."""
    over = build.compare(build.attribute(load("w"), "cost"), ast.Gt(), build.attribute(load("w"), "limit"))
    emitter.add(build.when(over, [build.do(call(build.attribute(load("w"), "stop")))]))


def _after(cost: int) -> Callable[[_Emit], _Emit]:
    def decorate(emit: _Emit) -> _Emit:
        def priced(emitter: Emitter, node: tree.Node) -> ast.expr:
            pay(emitter, cost)
            return emit(emitter, node)

        return priced

    return decorate


def _measured(emitter: Emitter, node: tree.Call, function: str) -> Measured:
    ids = node.overloads
    overloads = emitter.declarations.overloads(function, node.target is not None, len(node.operands), ids)
    if not overloads:
        return CONSTANT.run
    return overloads[0].cost.run if ids is not None and len(ids) == 1 else overloads[0].cost.unresolved


def _if_present(emitter: Emitter, made: ast.expr) -> ast.expr:
    """An optional that is not there was not paid for."""
    return emitter.call(_pay_present, load("w"), made)


def _pay_present(tally: Tally, value: Any) -> Any:
    if getattr(value, "present", True):
        tally.cost += SELECT
    return value


def _constant(node: tree.Node) -> bool:
    """Whether cel-go's optimizer has a value for it before it runs."""
    if isinstance(node, tree.Literal):
        return True
    if isinstance(node, (tree.Ident, tree.Select)):
        return node.reference is not None and node.reference.constant
    if isinstance(node, tree.ListNode):
        return not node.optional and all(map(_constant, node.elements))
    if isinstance(node, tree.MapNode):
        return all(not entry.optional and isinstance(entry.key, tree.Node) and _constant(entry.key)
                   and _constant(entry.value) for entry in node.entries)
    return isinstance(node, tree.Call) and node.function in _CONVERSIONS and node.target is None \
        and len(node.args) == 1 and _constant(node.args[0])


def _attribute(node: tree.Node) -> bool:
    """What cel-go evaluates as one way into a variable: names, fields, elements."""
    return isinstance(node, (tree.Ident, tree.Select)) or (isinstance(node, tree.Call) and (
        node.function in _INDICES or node.function == "_?_:_"))


def _membership(node: tree.Call) -> bool:
    """`x in [constants]` is a look-up in a set, which is free."""
    return node.function == "@in" and _constant(node.args[1]) and isinstance(node.args[1], tree.ListNode) and all(
        isinstance(element, tree.Literal) for element in node.args[1].elements)
