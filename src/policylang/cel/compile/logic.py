"""How `&&`, `||`, `?:` and the choices of optionals are compiled: errors are absorbed, and nothing runs twice."""

from __future__ import annotations

import ast

from policylang import code as build
from policylang.cel.compile.emitting import DEEPEST, Emitting, is_boolean, mark_boolean
from policylang.cel.syntax.tree import Call
from policylang.cel.values import errors
from policylang.cel.values.values import Optional
from policylang.code import assign, call, choose, load

_IS_NOT, _NONE = ast.IsNot(), ast.Constant(None)
_WIDEST = 8  # operands of && and || that are nested rather than tested one after the other


class Logic(Emitting):
    """The part of the emitter that knows logic."""

    def _logic(self, node: Call) -> ast.expr:
        """`&&` and `||`: an operand that decides absorbs the errors of the others, before and after it."""
        if self.blocks >= DEEPEST:
            return self.own_function(lambda: self._logic(node))
        stop = node.function == "_||_"
        outer = self.failing
        self.blocks += 1
        parts: list[tuple[list[ast.stmt], ast.expr, bool]] = []
        for each in node.args:
            body, failing = self.body, self.failing
            self.body, self.failing = [], False
            expression = self.truth(each, self.emit(each))
            parts.append((self.body, expression, self.failing))
            self.body, self.failing = body, failing
        self.blocks -= 1
        failing = any(part[2] for part in parts)
        self.failing = outer or failing
        if not any(statements for statements, _, _ in parts) and not any(part[2] for part in parts[:-1]):
            values = [part[1] for part in parts]
            return build.either(*values) if stop else build.both(*values)
        result, error = self.code.fresh("r"), self.code.fresh("e")
        keeps = any(part[2] for part in parts[:-1])
        tail: list[ast.stmt] = []
        if keeps:
            self.body.append(assign(error, _NONE))
            tail = [self.error_after(error)]
        neutral: list[ast.stmt] = [assign(result, ast.Constant(not stop))]

        def step(at: int) -> list[ast.stmt]:
            statements, expression, fails = parts[at]
            body = [*statements, assign(result, expression)]
            if not fails or (at == len(parts) - 1 and not any(part[2] for part in parts[:-1])):
                return body
            return [self.caught(body, error, neutral, at == 0)]

        undecided = build.negate(load(result)) if stop else load(result)
        if len(parts) > _WIDEST:
            for at in range(len(parts)):
                self.body += step(at) if at == 0 else [build.when(undecided, step(at))]
            self.body += [build.when(undecided, tail)] if tail else []
            return mark_boolean(load(result))
        for at in range(len(parts) - 1, 0, -1):
            tail = [build.when(undecided, step(at) + (tail if at < len(parts) - 1 or not tail else
                                                      [build.when(undecided, tail)]))]
        self.body += step(0) + tail
        return mark_boolean(load(result))

    def _conditional(self, node: Call) -> ast.expr:
        test = self.truth(node.args[0], self.emit(node.args[0]))
        yes, no = self.apart(node.args[1]), self.apart(node.args[2])
        return self.either_way(test, yes, no)

    def either_way(self, test: ast.expr, yes: tuple[list[ast.stmt], ast.expr, bool],
                   no: tuple[list[ast.stmt], ast.expr, bool]) -> ast.expr:
        self.failing = self.failing or yes[2] or no[2]
        if not yes[0] and not no[0]:
            made = choose(test, yes[1], no[1])
            return mark_boolean(made) if is_boolean(yes[1]) and is_boolean(no[1]) else made
        result = self.code.fresh("r")
        self.body.append(build.when(test, [*yes[0], assign(result, yes[1])], [*no[0], assign(result, no[1])]))
        return load(result)

    def _or_else(self, node: Call, whole: bool) -> ast.expr:
        """`a.or(b)` and, with not `whole`, `a.orValue(b)`: b only where a is absent."""
        assert node.target is not None
        first = self.named(self.emit(node.target), "o")
        self.failing = True
        if self.type_of(node.target).name != "optional_type":
            wrong = build.compare(call(self.function(type), first), _IS_NOT, self.code.hoist(Optional))
            self.body.append(build.when(wrong, [build.do(call(self.function(errors.overload)))]))
        value = first if whole else build.attribute(first, "value")
        return self.either_way(build.attribute(first, "present"), ([], value, False), self.apart(node.args[0]))
