"""How loops are compiled: one Python `for` each, with the accumulator in a local variable."""

from __future__ import annotations

import ast
from collections.abc import Callable

from policylang import code as build
from policylang.budget import too_long
from policylang.cel.compile.emitting import Emitting, Local
from policylang.cel.syntax.tree import Comprehension
from policylang.cel.values import containers
from policylang.code import assign, call, load

_IS, _IS_NOT = ast.Is(), ast.IsNot()


class Loops(Emitting):
    """The part of the emitter that knows loops."""

    def loop(self, node: Comprehension) -> ast.expr:
        """The value of a comprehension, after the statements that compute it."""
        values = self.code.fresh("s")
        self.body.append(assign(values, self.emit(node.source)))
        self.failing = True  # what is looped over may be no list
        if node.var2:
            self.body.append(assign(values, call(self.function(containers.pairs), load(values))))
        else:
            kind = build.compare(call(self.function(type), load(values)), _IS_NOT, self.function(list))
            self.body.append(build.when(kind, [assign(values, call(self.function(containers.elements), load(values)))]))
        self._pay(values)
        result = self.code.fresh("r")
        start, step, value = self._accumulator(node, result)
        self.body += start
        outer, before = self.scope, self.body
        first, second = self.code.fresh("i"), self.code.fresh("i")
        self.scope = {**outer, node.var: Local(first)}
        if node.var2:
            self.scope[node.var2] = Local(second)
        self.blocks += 2
        self.looping += 1
        self.body = []
        absorbing = step(self)
        self.looping -= 1
        inner, self.body, self.scope = self.body, before, outer
        self.blocks -= 2
        target: ast.expr = build.store(first)
        if node.var2:
            target = ast.Tuple([build.store(first), build.store(second)], ast.Store())
        self.body.append(ast.For(target, load(values), inner, []))
        self.body += absorbing
        return value

    def _pay(self, values: str) -> None:
        """`left -= len(values)`, once a loop."""
        self.loops = True
        length = call(self.function(len), load(values))
        self.body.append(ast.AugAssign(build.store("left"), ast.Sub(), length))
        self.body.append(build.when(build.compare(load("left"), ast.Lt(), ast.Constant(0)),
                                    [build.do(call(self.function(_too_long)))]))

    def _accumulator(self, node: Comprehension, result: str) -> tuple[list[ast.stmt], Callable[[Loops], list[ast.stmt]],
                                                                      ast.expr]:
        """Statements before the loop, what emits the body and returns the statements after it, and the value."""
        kind = node.kind
        if kind in ("all", "exists"):
            error = self.code.fresh("e")
            start = [assign(result, ast.Constant(kind == "all")), assign(error, ast.Constant(None))]
            value = load(result)
            value.boolean = True  # type: ignore[attr-defined]
            return start, lambda emitter: emitter._quantify(node, result, error), value
        if kind == "exists_one":
            count = build.compare(load(result), ast.Eq(), ast.Constant(1))
            one = ast.AugAssign(build.store(result), ast.Add(), ast.Constant(1))
            return [assign(result, ast.Constant(0))], lambda emitter: emitter._collect(node, lambda: [one]), count
        if kind in ("transformMap", "transformMapEntry"):
            return [assign(result, ast.Dict([], []))], lambda emitter: emitter._collect(
                node, lambda: emitter._put(node, result)), load(result)
        return [assign(result, ast.List([], ast.Load()))], lambda emitter: emitter._collect(
            node, lambda: emitter._append(node, result)), load(result)

    def _quantify(self, node: Comprehension, result: str, error: str) -> list[ast.stmt]:
        assert node.guard is not None
        every = node.kind == "all"
        outer, self.failing = self.failing, False
        test = self.truth(node.guard, self.emit(node.guard))
        fails, self.failing = self.failing, outer
        decided = build.negate(test) if every else test
        stop: list[ast.stmt] = [assign(result, ast.Constant(not every)), ast.Break()]
        if not fails:
            self.body.append(build.when(decided, stop))
            return []
        self.body.append(build.when(decided, stop))
        self.body = [self.caught(self.body, error, [], False)]
        undecided = load(result) if every else build.negate(load(result))
        return [build.when(undecided, [self.error_after(error)])]

    def _collect(self, node: Comprehension, collect: Callable[[], list[ast.stmt]]) -> list[ast.stmt]:
        """The step, where the guard holds; errors end the loop."""
        if node.guard is None:
            self.body += collect()
            return []
        test = self.truth(node.guard, self.emit(node.guard))
        before, self.body = self.body, []
        steps = collect()
        inner, self.body = self.body + steps, before
        self.body.append(build.when(test, inner))
        return []

    def _append(self, node: Comprehension, result: str) -> list[ast.stmt]:
        value = load(self.scope[node.var].name) if node.step is None else self.emit(node.step)
        return [build.do(call(build.attribute(load(result), "append"), value))]

    def _put(self, node: Comprehension, result: str) -> list[ast.stmt]:
        assert node.step is not None
        value = self.emit(node.step)
        if node.kind == "transformMapEntry":
            return [build.do(call(self.function(containers.merge), load(result), value))]
        key = load(self.scope[node.var].name)
        return [ast.Assign([ast.Subscript(load(result), key, ast.Store())], value)]


def _too_long() -> None:
    raise too_long()
