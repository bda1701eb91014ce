"""From a tree to one Python function, built as `ast` nodes by policylang.code."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from policylang import code as build
from policylang.budget import Limits, Meter
from policylang.cel.compile import calls, comprehensions, literals, names, operators
from policylang.cel.compile.emitter import Emitter, Plan
from policylang.cel.declarations import Declarations
from policylang.cel.syntax import tree
from policylang.cel.syntax.issues import CompileError
from policylang.cel.values import errors
from policylang.code import assign, call, load
from policylang.source import Source

PLAIN = Plan({
    tree.Literal: literals.literal, tree.ListNode: literals.list_, tree.MapNode: literals.map_,
    tree.Struct: literals.struct, tree.Ident: names.ident, tree.Select: names.select, tree.Bind: names.bind,
    tree.Call: calls.call, tree.Comprehension: comprehensions.comprehension,
}, comprehensions.FOLDS, operators.TABLE, calls.apply)


def compile_tree(declarations: Declarations, source: Source, root: tree.Node, limits: Limits, plan: Plan = PLAIN, *,
                 careful: bool = False) -> Callable[..., Any]:
    """`run(variables)`, of a watched plan `run(variables, watcher)`; `vars(run)["fields"]` is for errors.error_of.

    With `careful` a missing variable is an error only where it is used.
    """
    try:
        emitter = Emitter(declarations, limits, plan, careful=careful, sharing=_shares(root))
        value = emitter.emit(root)
        body = [*_prologue(emitter), *emitter.body, build.give(value)]
        emitter.code.add("run", ("v", "w") if plan.watched else ("v",), body)
        run: Callable[..., Any] = emitter.code.build()["run"]
    except (RecursionError, MemoryError, SyntaxError):
        raise CompileError.one(source, 0, "expression is too complex: nested too deeply") from None
    vars(run)["fields"] = tuple(emitter.fields)
    return run


def _prologue(emitter: Emitter) -> list[ast.stmt]:
    """Load the variables, and look at those whose class is declared; then what is left of the budget."""
    prologue: list[ast.stmt] = []
    if emitter.used:
        loads = [assign(python, build.item(load("v"), ast.Constant(name))) for name, python in emitter.used.items()]
        missing: list[ast.stmt] = [build.do(emitter.call(errors.missing))]
        prologue.append(build.attempt(loads, emitter.code.hoist(KeyError), missing))
        for name, python in emitter.used.items():
            expected = names.class_of(emitter.declarations.variables[name])
            if expected is not None:
                wrong = build.compare(emitter.call(type, load(python)), ast.IsNot(),
                                      emitter.code.hoist(expected, "f"))
                prologue.append(build.when(wrong, missing))
    if emitter.loops:
        prologue.append(assign("left", ast.Constant(emitter.limits.steps)))
    if emitter.metered:
        prologue.append(assign("meter", call(emitter.code.hoist(Meter), emitter.code.hoist(emitter.limits))))
    return prologue


def _shares(root: tree.Node) -> bool:
    """Whether a program has variables of its own: only then can work and values multiply."""
    stack: list[tree.Node | None] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, (tree.Bind, tree.Comprehension)):
            return True
        if node is not None:
            stack.extend(tree.children(node))
    return False
