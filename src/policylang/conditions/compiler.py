"""`{key, operator, value}` in `any` and `all` blocks becomes one Python function of the context."""

from __future__ import annotations

import ast
from collections.abc import Callable
from datetime import datetime
from typing import Any

from policylang.budget import DEFAULT
from policylang.code import Code, assign, attribute, call, do, give, load, negate, when
from policylang.conditions.operators import OPERATORS, UNLIKE, fixed
from policylang.errors import InvalidError, NotEvaluatedError, Shape
from policylang.go.printing import sprint
from policylang.jmespath import Env
from policylang.variables import Roots, Writer, changes

Conditions = Callable[[Any, datetime], tuple[bool, str]]
"""(context, now) → whether they hold, and the messages of the conditions that decided. Raises QueryError."""


def compile_conditions(block: Any, where: str, roots: Roots, *, explain: bool = False,
                       plain: bool = False) -> Conditions:
    """Compile `{any: […], all: […]}`, a list of such blocks, or the old plain list of conditions (all of it).

    With `explain`, a condition without a message says what it got and wanted where it does not hold. With `plain`,
    messages are said as they are written, with their variables.
    """
    code = Code("conditions")
    writer = _Blocks(code, roots, explain, plain)
    if isinstance(block, list):
        if block and all(isinstance(condition, dict) and "key" in condition for condition in block):
            writer.block({"all": block}, where, "conditions", between=";")
        else:
            names = [writer.named(part, f"{where}[{at}]") for at, part in enumerate(block)]
            code.add("conditions", ("data", "env"), _every(code, names, says=writer.says))
    else:
        writer.block(block, where, "conditions")
    run, world = code.build()["conditions"], roots.world
    return lambda data, now: run(data, Env(now, DEFAULT, world))


def _every(code: Code, names: list[str], *, says: bool) -> list[ast.stmt]:
    """All blocks hold, or the first that does not decides; `says`: whether one of them says anything."""
    body: list[ast.stmt] = [assign("said", ast.List([], ast.Load()))] if says else []
    for name in names:
        body += [assign("held", call(load(name), load("data"), load("env"))),
                 when(negate(_part(load("held"), 0)), [give(load("held"))])]
        if says:
            body.append(do(call(attribute(load("said"), "append"), _part(load("held"), 1))))
    if not says:
        return [*body, give(ast.Tuple([ast.Constant(True), ast.Constant("")], ast.Load()))]
    return [*body, give(ast.Tuple([ast.Constant(True), call(code.hoist(_join, "join"), load("said"),
                                                            ast.Constant(";"))], ast.Load()))]


def _part(value: ast.expr, at: int) -> ast.expr:
    return ast.Subscript(value, ast.Constant(at), ast.Load())


class _Blocks:
    def __init__(self, code: Code, roots: Roots, explain: bool, plain: bool) -> None:
        self.code, self.roots, self.explain, self.plain = code, roots, explain, plain
        self.says = False
        """Whether any block written so far says something."""

    def named(self, block: Any, where: str) -> str:
        name = self.code.fresh("block")
        self.block(block, where, name)
        return name

    def block(self, block: Any, where: str, name: str, between: str = "; ") -> None:
        """Adds the function `name(data, env)` → (holds, message); `between` messages where it holds."""
        if not isinstance(block, dict) or not block or set(block) - {"any", "all"}:
            raise InvalidError(where, got=_shape(block), expected="`any` and `all`, lists of conditions")
        if any(not isinstance(block[part], list) or not block[part] for part in block):
            raise InvalidError(where, got="an empty list or none",
                                 expected="at least one condition in `any` and `all`")
        body: list[ast.stmt] = [assign("one", ast.Constant("any" not in block)), assign("all", ast.Constant(True))]
        said_before, self.says = self.says, False
        for at, condition in enumerate(block.get("any", [])):
            body.append(when(negate(load("one")), self.condition(condition, f"{where}.any[{at}]", "one")))
        for at, condition in enumerate(block.get("all", [])):
            body.append(when(load("all"), self.condition(condition, f"{where}.all[{at}]", "all")))
        holds = ast.BoolOp(ast.And(), [load("one"), load("all")])
        says, self.says = self.says, self.says or said_before
        if not says:
            self.code.add(name, ("data", "env"), [*body, give(ast.Tuple([holds, ast.Constant("")], ast.Load()))])
            return
        body = [assign("good", ast.List([], ast.Load())), assign("bad", ast.List([], ast.Load())), *body]
        join = self.code.hoist(_join, "join")
        said = ast.IfExp(holds, call(join, load("good"), ast.Constant(between)), call(join, load("bad")))
        self.code.add(name, ("data", "env"), [*body, give(ast.Tuple([holds, said], ast.Load()))])

    def condition(self, condition: Any, where: str, held: str) -> list[ast.stmt]:
        """Statements that put whether it holds into `held`, and its message into `good` or `bad`."""
        if not isinstance(condition, dict) or "key" not in condition or "operator" not in condition:
            raise InvalidError(where, got=_shape(condition), expected="a condition of key, operator and value")
        if unknown := set(condition) - {"key", "operator", "value", "message"}:
            raise NotEvaluatedError(f"{where}.{min(unknown)}", "not evaluated here")
        operator = condition["operator"]
        if not isinstance(operator, str) or operator not in OPERATORS:
            raise NotEvaluatedError(f"{where}.operator", f"operator {operator} is not evaluated here",
                                   hint="these are: " + ", ".join(OPERATORS))
        if not isinstance(condition.get("message"), (str, type(None))):
            raise InvalidError(f"{where}.message", got=Shape(condition["message"]), expected="text")
        key, value = self.code.fresh("key"), self.code.fresh("value")
        operate = OPERATORS[operator]
        if changes(condition["key"]) != changes(condition.get("value")):
            operate = UNLIKE.get(operator, operate)
        if not changes(condition.get("value")):
            operate = fixed(operator, condition.get("value")) or operate
        body = [assign(key, self.filled(condition["key"], f"{where}.key", "key")),
                assign(value, self.filled(condition.get("value"), f"{where}.value", "value")),
                assign(held, call(self.code.hoist(operate, "operator"), load(key), load(value)))]
        said = condition.get("message") or ""
        message = ast.Constant(said) if self.plain and isinstance(said, str) else (
            Writer(self.code, self.roots).whole(said, f"{where}.message"))
        written = call(self.code.hoist(sprint, "sprint"), message)
        failed: ast.expr = written
        if self.explain:
            name = condition["key"]
            stale = "stale: " if isinstance(name, str) and "time_since(" in name else ""
            failed = call(self.code.hoist(_shown, "shown"), written, ast.Constant(stale + sprint(name)), load(key),
                          ast.Constant(operator), load(value))
        plain = isinstance(message, ast.Constant) and not message.value
        good = [] if plain else [do(call(attribute(load("good"), "append"), written))]
        bad = [] if plain and not self.explain else [do(call(attribute(load("bad"), "append"), failed))]
        if good or bad:
            self.says = True
            body.append(when(load(held), good or [ast.Pass()], bad))
        return body

    def filled(self, document: Any, where: str, part: str) -> ast.expr:
        context = f"failed to substitute variables in condition {part}: "
        return Writer(self.code, self.roots, context).whole(document, where)


def _shown(message: str, name: str, got: Any, operator: str, expected: Any) -> str:
    return _join([message, f"{name} is {sprint(got)[:200]}, expected {operator} {sprint(expected)[:200]}"])


def _join(messages: list[str], between: str = "; ") -> str:
    return between.join(message for message in messages if message)


def _shape(value: Any) -> object:
    return f"keys {', '.join(map(str, value))}" if isinstance(value, dict) else Shape(value)
