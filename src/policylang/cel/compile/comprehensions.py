"""Comprehensions: one Python `for` each, with the accumulator in a local variable."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from policylang import code as build
from policylang.budget import too_long
from policylang.cel.compile.emitter import DEEPEST, Collect, Emitter, Fold, Local, Loop, mark_boolean
from policylang.cel.syntax.tree import Comprehension
from policylang.cel.values import containers
from policylang.code import assign, call, load

_IS_NOT = ast.IsNot()


def comprehension(emitter: Emitter, node: Comprehension) -> ast.expr:
    """Its value, after the statements that compute it."""
    return emitter.own_function(_for, node) if emitter.blocks >= DEEPEST else _for(emitter, node)


def _for(emitter: Emitter, node: Comprehension) -> ast.expr:
    values = emitter.code.fresh("s")
    emitter.add(assign(values, emitter.emit(node.source)))
    emitter.failing = True  # what is looped over may be no list
    if node.var2:
        emitter.add(assign(values, emitter.call(containers.pairs, load(values))))
    else:
        kind = build.compare(emitter.call(type, load(values)), _IS_NOT, emitter.code.hoist(list, "f"))
        emitter.add(build.when(kind, [
            assign(values, emitter.call(containers.elements, load(values)))]))
    _pay(emitter, values)
    fold = emitter.plan.folds[node.kind]
    loop = Loop(node, values, emitter.code.fresh("r"), emitter.code.fresh("e"))
    emitter.body += fold.start(emitter, loop)
    first, second = emitter.code.fresh("i"), emitter.code.fresh("i")
    target: ast.expr = build.store(first)
    scope = {**emitter.scope, node.var: Local(first)}
    if node.var2:
        target = ast.Tuple([target, build.store(second)], ast.Store())
        scope[node.var2] = Local(second)
    with emitter.changed(scope=scope, body=[], blocks=emitter.blocks + 2, looping=emitter.looping + 1):
        absorbing = fold.turn(emitter, loop, fold.collect)
        body = emitter.body
    emitter.add(ast.For(target, load(values), body, []))
    emitter.body += absorbing
    return fold.value(loop)


def _pay(emitter: Emitter, values: str) -> None:
    """`left -= len(values)`, once a loop."""
    emitter.loops = True
    length = emitter.call(len, load(values))
    emitter.add(ast.AugAssign(build.store("left"), ast.Sub(), length))
    emitter.add(build.when(build.compare(load("left"), ast.Lt(), ast.Constant(0)),
                                   [build.do(emitter.call(_too_long))]))


def _too_long() -> None:
    raise too_long()


# ── all, exists ─────────────────────────────────────────────────────────────────────────────────────────────────────

def _undecided(_: Emitter, loop: Loop) -> list[ast.stmt]:
    return [assign(loop.result, ast.Constant(loop.node.kind == "all")), assign(loop.error, ast.Constant(None))]


def _decide(_: Emitter, loop: Loop) -> list[ast.stmt]:
    return [assign(loop.result, ast.Constant(loop.node.kind != "all")), ast.Break()]


def _quantified(emitter: Emitter, loop: Loop, collect: Collect) -> list[ast.stmt]:
    """An element that decides ends the loop, and absorbs the errors of those before it."""
    guard, every = loop.node.guard, loop.node.kind == "all"
    assert guard is not None
    outer, emitter.failing = emitter.failing, False
    test = emitter.truth(guard, emitter.emit(guard))
    fails, emitter.failing = emitter.failing, outer
    emitter.add(build.when(build.negate(test) if every else test, collect(emitter, loop)))
    if not fails:
        return []
    emitter.body = [emitter.caught(emitter.body, loop.error, [], False)]
    undecided = load(loop.result) if every else build.negate(load(loop.result))
    return [build.when(undecided, [emitter.error_after(loop.error)])]


# ── the others ──────────────────────────────────────────────────────────────────────────────────────────────────────

def _guarded(emitter: Emitter, loop: Loop, collect: Collect) -> list[ast.stmt]:
    """Collect where the guard holds.

    An error of the guard is the loop's, and that of a later element instead of it: cel-go turns on, and its
    conditional is the error of its condition whatever was collected. An error of what is collected stays where no
    guard fails later.
    """
    guard = loop.node.guard
    if guard is None:
        emitter.body += collect(emitter, loop)
        return []
    outer, emitter.failing = emitter.failing, False
    test = emitter.truth(guard, emitter.emit(guard))
    fails, emitter.failing = emitter.failing, False
    with emitter.changed(body=[]):
        steps = collect(emitter, loop)
        steps = emitter.body + steps
    step_fails, emitter.failing = emitter.failing, outer or fails
    if not fails:
        emitter.failing = outer or step_fails
        emitter.add(build.when(test, steps))
        return []
    holds = emitter.code.fresh("h")
    emitter.add(assign(holds, test))
    emitter.body = [emitter.caught(emitter.body, loop.error, [ast.Continue()], True)]
    if step_fails:
        steps = [emitter.caught(steps, loop.error, [], False)]
    sound = build.compare(load(loop.error), ast.Is(), ast.Constant(None))
    emitter.add(build.when(build.both(sound, load(holds)), steps))
    return [emitter.error_after(loop.error)]


def _begun(empty: Callable[[], ast.expr]) -> Callable[[Emitter, Loop], list[ast.stmt]]:
    def start(_: Emitter, loop: Loop) -> list[ast.stmt]:
        begun: list[ast.stmt] = [assign(loop.result, empty())]
        return begun if loop.node.guard is None else [*begun, assign(loop.error, ast.Constant(None))]

    return start


def _count(_: Emitter, loop: Loop) -> list[ast.stmt]:
    return [ast.AugAssign(build.store(loop.result), ast.Add(), ast.Constant(1))]


def _append(emitter: Emitter, loop: Loop) -> list[ast.stmt]:
    node = loop.node
    value = load(emitter.scope[node.var].name) if node.step is None else emitter.emit(node.step)
    return [build.do(call(build.attribute(load(loop.result), "append"), value))]


def _put(emitter: Emitter, loop: Loop) -> list[ast.stmt]:
    node = loop.node
    assert node.step is not None
    value = emitter.emit(node.step)
    key = load(emitter.scope[node.var].name)
    return [ast.Assign([ast.Subscript(load(loop.result), key, ast.Store())], value)]


def _merge(emitter: Emitter, loop: Loop) -> list[ast.stmt]:
    assert loop.node.step is not None
    value = emitter.emit(loop.node.step)
    return [build.do(emitter.call(containers.merge, load(loop.result), value))]


_QUANTIFIER = Fold(_undecided, _quantified, _decide, lambda loop: mark_boolean(load(loop.result)))
_LIST = Fold(_begun(lambda: ast.List([], ast.Load())), _guarded, _append, lambda loop: load(loop.result))
_MAP = Fold(_begun(lambda: ast.Dict([], [])), _guarded, _put, lambda loop: load(loop.result))
FOLDS: Mapping[str, Fold] = {
    **dict.fromkeys(("all", "exists"), _QUANTIFIER),
    "exists_one": Fold(_begun(lambda: ast.Constant(0)), _guarded, _count,
                       lambda loop: build.compare(load(loop.result), ast.Eq(), ast.Constant(1))),
    **dict.fromkeys(("filter", "map", "transformList"), _LIST),
    "transformMap": _MAP,
    "transformMapEntry": _MAP._replace(collect=_merge),
}
