"""`&&`, `||`, `?:` and the choices of optionals: errors are absorbed, and nothing runs twice."""

from __future__ import annotations

import ast

from policylang import code as build
from policylang.cel.compile.emitter import DEEPEST, Branch, Emitter, is_boolean, mark_boolean
from policylang.cel.syntax.tree import Call
from policylang.cel.values import errors
from policylang.cel.values.values import Optional
from policylang.code import assign, choose, load

_IS_NOT, _NONE = ast.IsNot(), ast.Constant(None)
_WIDEST = 8  # operands of && and || that are nested rather than tested one after the other


def logic(emitter: Emitter, node: Call) -> ast.expr:
    """`&&` and `||`: an operand that decides absorbs the errors of the others, before and after it."""
    if emitter.blocks >= DEEPEST:
        return emitter.own_function(logic, node)
    stop = node.function == "_||_"
    operands: list[Branch] = []
    for operand in node.args:  # not by Emitter.apart: each frame is one level that programs can be nested less
        with emitter.changed(body=[], failing=False, blocks=emitter.blocks + 1):
            value = emitter.truth(operand, emitter.emit(operand))
            operands.append(Branch(emitter.body, value, emitter.failing))
    last = len(operands) - 1
    keeps = any(branch.failing for branch in operands[:-1])
    emitter.failing = emitter.failing or keeps or operands[last].failing
    if not keeps and not any(branch.statements for branch in operands):
        values = [branch.value for branch in operands]
        return build.either(*values) if stop else build.both(*values)
    result, error = emitter.code.fresh("r"), emitter.code.fresh("e")
    tail: list[ast.stmt] = []
    if keeps:
        emitter.add(assign(error, _NONE))
        tail = [emitter.error_after(error)]
    neutral: list[ast.stmt] = [assign(result, ast.Constant(not stop))]

    def step(at: int) -> list[ast.stmt]:
        statements, value, failing = operands[at]
        body = [*statements, assign(result, value)]
        if not failing or (at == last and not keeps):
            return body
        return [emitter.caught(body, error, neutral, at == 0)]

    undecided = build.negate(load(result)) if stop else load(result)
    if len(operands) > _WIDEST:
        emitter.body += step(0)
        for at in range(1, len(operands)):
            emitter.add(build.when(undecided, step(at)))
        emitter.body += [build.when(undecided, tail)] if tail else []
        return mark_boolean(load(result))
    if tail:
        tail = [build.when(undecided, tail)]
    for at in range(last, 0, -1):
        tail = [build.when(undecided, step(at) + tail)]
    emitter.body += step(0) + tail
    return mark_boolean(load(result))


def conditional(emitter: Emitter, node: Call) -> ast.expr:
    test = emitter.truth(node.args[0], emitter.emit(node.args[0]))
    return _either_way(emitter, test, emitter.apart(node.args[1]), emitter.apart(node.args[2]))


def _either_way(emitter: Emitter, test: ast.expr, yes: Branch, no: Branch) -> ast.expr:
    emitter.failing = emitter.failing or yes.failing or no.failing
    if not yes.statements and not no.statements:
        made = choose(test, yes.value, no.value)
        return mark_boolean(made) if is_boolean(yes.value) and is_boolean(no.value) else made
    result = emitter.code.fresh("r")
    emitter.add(build.when(test, [*yes.statements, assign(result, yes.value)],
                                   [*no.statements, assign(result, no.value)]))
    return load(result)


def or_else(emitter: Emitter, node: Call) -> ast.expr:
    """`a.or(b)` and `a.orValue(b)`: b only where a is absent."""
    assert node.target is not None
    first = emitter.named(emitter.emit(node.target), "o")
    emitter.failing = True
    if emitter.type_of(node.target).name != "optional_type":
        wrong = build.compare(emitter.call(type, first), _IS_NOT, emitter.code.hoist(Optional))
        emitter.add(build.when(wrong, [build.do(emitter.call(errors.overload))]))
    value = first if node.function == "or" else build.attribute(first, "value")
    return _either_way(emitter, build.attribute(first, "present"), Branch([], value, False),
                       emitter.apart(node.args[0]))
