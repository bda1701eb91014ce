"""Python functions built as trees of `ast` nodes: the only place that hands anything to Python's compiler.

A generated function sees the names that its compiler hoisted here, and no builtins. No text of a policy becomes a
name, an attribute or a piece of source: texts are constants, names are made by `fresh`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_PLAIN = (str, bytes, int, float, bool, type(None))
_PLACELESS = (ast.Load, ast.Store)
_LEAVES = frozenset({ast.Name, ast.Constant, ast.Break, ast.Continue, ast.Pass})  # nothing in them needs a place
_LOAD, _STORE = ast.Load(), ast.Store()


class Code:
    """Functions of one program and what they may reach."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._reach: dict[str, Any] = {"__builtins__": {}}
        self._made = 0
        self._hoisted: dict[int, str] = {}
        self._functions: list[ast.stmt] = []

    def fresh(self, stem: str = "v") -> str:
        """A name that nothing else has. `stem` is the compiler's own word, never the program's."""
        self._made += 1
        return f"{stem}{self._made}"

    def constant(self, value: Any, stem: str = "k") -> ast.expr:
        """An expression for `value`: itself where Python has a literal for it, else a name it is hoisted to."""
        if type(value) in _PLAIN and not (type(value) is int and value.bit_length() > 4096):
            return ast.Constant(value)
        return self.hoist(value, stem)

    def hoist(self, value: Any, stem: str = "k") -> ast.Name:
        """A name for any object. The same object shares it; equal ones do not, as (1,) and (True,) are equal too."""
        key = id(value)
        name = self._hoisted.get(key)
        if name is None:
            name = self._hoisted[key] = self.fresh(stem)
            self._reach[name] = value
        return ast.Name(name, _LOAD)

    def add(self, name: str, parameters: Iterable[str], body: list[ast.stmt],
            defaults: Iterable[ast.expr] = ()) -> None:
        """A function at the top, which all others may call by its name."""
        self._functions.append(define(name, parameters, body, defaults))

    def build(self) -> dict[str, Any]:
        """Compile what was added; the functions by name. RecursionError where a body is nested too deeply."""
        module = ast.Module(self._functions, [])
        _place(module)
        exec(compile(module, f"<{self.name}>", "exec", dont_inherit=True, optimize=1), self._reach)  # noqa: S102
        self._functions, self._hoisted = [], {}
        return self._reach


class Changed:
    """Some members of a writer, changed for a while. A class, since parts are many: contextlib takes longer."""

    __slots__ = ("before", "members", "state")

    def __init__(self, members: dict[str, Any], state: dict[str, Any]) -> None:
        self.members, self.state = members, state

    def __enter__(self) -> None:
        self.before = {name: self.members[name] for name in self.state}
        self.members.update(self.state)

    def __exit__(self, *_: object) -> None:
        self.members.update(self.before)


class Writer:
    """What every compiler's emitter is: it writes statements into `body`, and into `code` what they may reach.

    `blocks`: Python's loops and tries around what is written; a function nests no more than 20.
    """

    def __init__(self, code: Code) -> None:
        self.code = code
        self.body: list[ast.stmt] = []
        self.blocks = 0

    def add(self, *statements: ast.stmt) -> None:
        self.body.extend(statements)

    def changed(self, **state: Any) -> Changed:
        """For a `with`: the writer with this state, after which it is as it was."""
        return Changed(vars(self), state)

    @contextmanager
    def inside(self, blocks: int = 0) -> Iterator[list[ast.stmt]]:
        """What is added within goes to the list that it gives, which will stand in so many more blocks."""
        with self.changed(body=[], blocks=self.blocks + blocks):
            yield self.body

    def named(self, value: ast.expr, stem: str = "t") -> ast.expr:
        """The value under a name, so that it may be used twice; names and constants stay themselves."""
        if isinstance(value, (ast.Name, ast.Constant)):
            return value
        name = self.code.fresh(stem)
        self.add(assign(name, value))
        return load(name)

    def call(self, function: object, *arguments: ast.expr) -> ast.expr:
        return call(self.code.hoist(function, "f"), *arguments)

    def is_type(self, value: ast.expr, kind: type) -> ast.expr:
        return compare(self.call(type, value), ast.Is(), self.code.hoist(kind, "T"))


def _place(root: ast.AST) -> None:
    """Line 1 for every node that has no place: Python's compiler wants one."""
    stack: list[ast.AST] = [root]
    while stack:
        node = stack.pop()
        fields = node.__dict__
        if type(node) not in _LEAVES:
            for value in fields.values():
                if type(value) is list:
                    stack += [child for child in value if isinstance(child, ast.AST)]
                elif isinstance(value, ast.AST) and type(value) not in _PLACELESS:
                    stack.append(value)
        if "lineno" not in fields:
            fields["lineno"], fields["col_offset"] = 1, 0


# --- nodes, briefly -------------------------------------------------------------------------------------------------

def define(name: str, parameters: Iterable[str], body: list[ast.stmt],
           defaults: Iterable[ast.expr] = ()) -> ast.FunctionDef:
    arguments = ast.arguments(posonlyargs=[], args=[ast.arg(parameter) for parameter in parameters], kwonlyargs=[],
                              kw_defaults=[], defaults=list(defaults))
    return ast.FunctionDef(name=name, args=arguments, body=body or [ast.Pass()], decorator_list=[])


def load(name: str) -> ast.Name:
    return ast.Name(name, _LOAD)


def store(name: str) -> ast.Name:
    return ast.Name(name, _STORE)


def assign(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([store(name)], value)


def walrus(name: str, value: ast.expr) -> ast.expr:
    return ast.NamedExpr(store(name), value)


def call(function: ast.expr, *arguments: ast.expr) -> ast.Call:
    return ast.Call(function, list(arguments), [])


def attribute(value: ast.expr, name: str) -> ast.Attribute:
    return ast.Attribute(value, name, _LOAD)


def item(value: ast.expr, key: ast.expr) -> ast.Subscript:
    return ast.Subscript(value, key, _LOAD)


def compare(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> ast.Compare:
    return ast.Compare(left, [operator], [right])


def both(*values: ast.expr) -> ast.expr:
    return values[0] if len(values) == 1 else ast.BoolOp(ast.And(), list(values))


def either(*values: ast.expr) -> ast.expr:
    return values[0] if len(values) == 1 else ast.BoolOp(ast.Or(), list(values))


def negate(value: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), value)


def choose(test: ast.expr, yes: ast.expr, no: ast.expr) -> ast.IfExp:
    return ast.IfExp(test, yes, no)


def when(test: ast.expr, body: list[ast.stmt], otherwise: list[ast.stmt] | None = None) -> ast.stmt:
    return ast.If(test, body, otherwise or [])


def each(target: str, values: ast.expr, body: list[ast.stmt], otherwise: list[ast.stmt] | None = None) -> ast.stmt:
    return ast.For(store(target), values, body, otherwise or [])


def give(value: ast.expr) -> ast.stmt:
    return ast.Return(value)


def do(value: ast.expr) -> ast.stmt:
    return ast.Expr(value)


def throw(value: ast.expr) -> ast.stmt:
    return ast.Raise(value)


def attempt(body: list[ast.stmt], error: ast.expr, handler: list[ast.stmt], name: str | None = None) -> ast.stmt:
    return ast.Try(body, [ast.ExceptHandler(error, name, handler)], [], [])


Compiled = Callable[..., Any]
