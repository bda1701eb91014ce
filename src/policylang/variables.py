"""`{{ expressions }}` in a policy's texts, compiled when the policy is loaded (Kyverno's variables).

A text that is one expression takes the expression's value and type; elsewhere values are written into the text. What an
expression yields is never read as an expression again. An expression inside another one's quotes, as in
`{{ time_since('', '{{ metadata.scanFinishedOn }}', '') }}`, is a value there and cannot end the quotes; outside quotes,
as in `containers[{{ elementIndex }}]`, it may only become a name or a number. Kyverno substitutes text in all cases,
which lets the data that is judged write into the policy.
"""

from __future__ import annotations

import ast
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any

from policylang.budget import DEFAULT
from policylang.code import (
    Code,
    attempt,
    attribute,
    call,
    give,
    load,
    throw,
)
from policylang.errors import InvalidError, NotEvaluatedError
from policylang.go.jsontext import JSONError, decode
from policylang.go.numbers import quote
from policylang.go.printing import marshal
from policylang.jmespath import Emitter, Env, Mode, Node, QueryError, World, parse, writer
from policylang.references import resolve
from policylang.source import SourceError

VARIABLE = re.compile(r"(?<!\\)\{\{((?:\{[^{}]*\}|[^{}])*)\}\}")
HOLE = re.compile("\ue000(\\d+)\ue001")
JSON_HOLE = re.compile("`\\s*\ue000(\\d+)\ue001\\s*`")
QUOTED = re.compile(r"""'(?:[^'\\]|\\'|\\(?!'))*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`""", re.DOTALL)
_TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|-?[0-9]+")
_MOST = 64  # variables in a text

_STEPS = ("Subexpression", "IndexExpression", "Projection", "ValueProjection", "FilterProjection", "Flatten", "Pipe")
"""Nodes of which only the first child is evaluated on what they are."""

Value = Callable[[Any, datetime], Any]
FALLIBLE = ("images",)
"""Names of the context whose value may be `Unavailable`."""


class _UnresolvedError(QueryError):
    """A variable without a value; one inside another is named, not both."""


class Unavailable:
    """Stands in the data for a value that could not be had: an expression that asks for it fails with `message`.

    It is never read as absent, which a condition could take for "nothing against it".
    """

    def __init__(self, message: str) -> None:
        self.message = message


class NotMadeError(QueryError):
    """A `Deferred` could not be made; whoever asked for it fails with its message."""


class Deferred(ABC):
    """Stands in the data for a value that is made when an expression names it, and then takes its place there.

    What is never named is never made.
    """

    @abstractmethod
    def made(self, data: dict[str, Any]) -> Any:
        """The value, from the data that the expression speaks of. Raises NotMadeError."""


class Roots:
    """What expressions may begin with: names of the context, and below `request` the fields that are there.

    `asks`: what of the world functions may ask for, of `world` all but the clock. `current`: what `{{@}}` stands for
    at the top of a document, as `request.object`; deeper, it is followed by the path there, without its first `skipped`
    steps. None where there is no such thing. `deferred`: names whose value may be a `Deferred`.
    """

    def __init__(self, names: Collection[str] | None, request: Collection[str] | None,
                 asks: Collection[str] = ("clock",), current: str | None = None, skipped: int = 0,
                 deferred: Collection[str] = (), world: World | None = None) -> None:
        self.names = names
        self.request = request
        self.asks = frozenset(asks)
        self.current = current
        self.skipped = skipped
        self.deferred = {name: _naming(name) for name in deferred}
        self.world = world

    def extended(self, names: Collection[str], deferred: Collection[str] = (), current: str | None = None,
                 skipped: int = 0) -> Roots:
        """These and more names."""
        known = None if self.names is None else [*dict.fromkeys([*self.names, *names, *deferred])]
        return Roots(known, self.request, self.asks, current or self.current, skipped if current else self.skipped,
                     [*dict.fromkeys([*self.deferred, *deferred])], self.world)

    def defers(self, expression: str) -> tuple[str, ...]:
        """The deferred names that an expression speaks of, as Kyverno reads them out of its text."""
        return tuple(name for name, naming in self.deferred.items() if naming.search(expression))

    def check(self, tree: Node, where: str) -> None:
        """Raises NotEvaluatedError for other names. The name `""`, as people write an empty text, is never there."""
        for chain in _chains(tree):
            if chain[0] == "":
                continue
            # `x == null` compares with a field of that name, which nothing has: so it is written for what is not there.
            if self.names is not None and chain[0] not in self.names and (
                    chain != ["null"] or tree.kind == "Field"):
                raise NotEvaluatedError(where, f"variable {chain[0]!r} is not evaluated here",
                                       hint="these are: " + ", ".join(sorted(self.names)))
            if (self.request is not None and chain[0] == "request" and len(chain) > 1
                    and chain[1] not in self.request):
                raise NotEvaluatedError(where, f"variable request.{chain[1]} is not evaluated here",
                                       hint="these are: " + ", ".join(f"request.{name}" for name in
                                                                      sorted(self.request)))


def _naming(name: str) -> re.Pattern[str]:
    """`x` is named by `x.y`, and neither by `y.x` nor by `xy`."""
    return re.compile(rf"(?:\A|\Z|\s|[^.0-9A-Za-z]){re.escape(name)}\b", re.ASCII)


def has_variables(document: Any) -> bool:
    if isinstance(document, dict):
        return any(has_variables(key) or has_variables(value) for key, value in document.items())
    if isinstance(document, list):
        return any(map(has_variables, document))
    return isinstance(document, str) and VARIABLE.search(document) is not None


def compile_value(document: Any, where: str, roots: Roots) -> Value | None:
    """A function that fills in a document's variables, or None where there are none and the document stands as it is.

    Raises InvalidError, NotEvaluatedError with the path of the text. The function raises QueryError.
    """
    if not changes(document):
        return None
    code = Code("variables")
    code.add("fill", ("data", "env"), [give(Writer(code, roots).whole(document, where))])
    run, world = code.build()["fill"], roots.world
    return lambda data, now: run(data, Env(now, DEFAULT, world))


def compile_query(expression: str, where: str, roots: Roots) -> Value:
    """A function for one expression of the context, written without braces: a list to go through, a path.

    Raises InvalidError, NotEvaluatedError. The function raises QueryError.
    """
    run, world = _query(expression, roots, where), roots.world
    return lambda data, now: run(data, Env(now, DEFAULT, world))


def changes(document: Any) -> bool:
    """Whether filling it in may give something else."""
    if isinstance(document, dict):
        return any(changes(key) or changes(value) for key, value in document.items())
    if isinstance(document, list):
        return any(map(changes, document))
    return isinstance(document, str) and ("{{" in document or "$(" in document)


class Writer:
    """Writes the expressions that fill documents; each variable is a function of its own."""

    def __init__(self, code: Code, roots: Roots, context: str = "") -> None:
        """`context` goes before errors at run time."""
        self.code = code
        self.roots = roots
        self.context = context

    def whole(self, document: Any, where: str) -> ast.expr:
        """An expression of `data` and `env` for a document, its references resolved."""
        return self.document(resolve(document, where), where)

    def document(self, value: Any, where: str, path: str = "") -> ast.expr:
        """`path` is that of the value in its document, for errors at run time."""
        if not changes(value):
            return self.code.constant(value)
        if isinstance(value, dict):
            keys: list[ast.expr | None] = [self.key(key, f"{where}.{key}", path) for key in value]
            return ast.Dict(keys, [self.document(member, f"{where}.{key}", f"{path}/{key}")
                                   for key, member in value.items()])
        if isinstance(value, list):
            return ast.List([self.document(element, f"{where}[{at}]", f"{path}/{at}")
                             for at, element in enumerate(value)], ast.Load())
        return self.text(value, where, path)

    def key(self, key: str, where: str, path: str) -> ast.expr:
        if not changes(key):
            return ast.Constant(key)
        return call(self.code.hoist(_checked_key, "key"), self.text(key, where, path))

    def text(self, text: str, where: str, path: str) -> ast.expr:
        if "\ue000" in text or "\ue001" in text:
            raise NotEvaluatedError(where, "the private-use characters U+E000 and U+E001 are not accepted in policies")
        functions: list[str] = []

        def fill(pattern: str, data: ast.expr) -> ast.expr | None:
            """The text around holes; None without holes."""
            pieces = HOLE.split(pattern)
            if len(pieces) == 1:
                return None
            parts: list[ast.expr] = []
            for at, piece in enumerate(pieces):
                if at % 2:
                    inner = call(load(functions[int(piece)]), data, load("env"))
                    parts.append(call(self.code.hoist(_written, "written"), inner))
                elif piece:
                    parts.append(ast.Constant(piece.replace("\\{{", "{{")))
            return call(attribute(ast.Constant(""), "join"), ast.List(parts, ast.Load()))

        # Innermost first, as Kyverno does; each leaves a numbered hole behind.
        while (variable := VARIABLE.search(text)) is not None:
            if len(functions) >= _MOST:
                raise InvalidError(where, got=f"more than {_MOST} variables in a text", expected="fewer")
            functions.append(self.query(variable[1], where, path, functions, fill))
            text = f"{text[:variable.start()]}\ue000{len(functions) - 1}\ue001{text[variable.end():]}"
        if whole := HOLE.fullmatch(text):
            return call(load(functions[int(whole[1])]), load("data"), load("env"))
        filled = fill(text, load("data"))
        return filled if filled is not None else ast.Constant(text.replace("\\{{", "{{"))

    def query(self, expression: str, where: str, path: str, functions: list[str],
              fill: Callable[[str, ast.expr], ast.expr | None]) -> str:
        """The name of a function (data, env) for an expression."""
        expression = expression.strip().removeprefix("-").strip()
        deferred = self.roots.defers(expression)
        if expression == "@":
            if self.roots.current is None:
                raise NotEvaluatedError(where, "{{@}} is not evaluated here")
            steps = path.split("/")[1 + self.roots.skipped:]
            expression = self.roots.current + "".join(map(_step, steps))
        shown = HOLE.sub("{{…}}", expression)
        name = self.code.fresh("query")
        outside = QUOTED.sub(lambda quoted: " " * len(quoted[0]), expression)
        if holes := list(HOLE.finditer(outside)):
            pieces = HOLE.split(expression)
            if len(pieces) != 2 * len(holes) + 1:
                raise NotEvaluatedError(where, "variables inside and outside the quotes of another one are not "
                                              "evaluated here")
            dynamic = _Dynamic(tuple(pieces[::2]), self.roots, where)
            values: list[ast.expr] = [call(load(functions[int(hole)]), load("data"), load("env"))
                                      for hole in pieces[1::2]]
            body = [give(call(self.code.hoist(dynamic, "dynamic"), load("data"), load("env"),
                              ast.List(values, ast.Load())))]
        else:
            expression = JSON_HOLE.sub("'\ue002\ue000\\1\ue001'", expression)
            emitter = writer(self.code, lambda text: self.hole(text, functions, fill))
            tree = _parse(expression, where)
            self.roots.check(tree, where)
            value = emitter.value(tree, load("data"), Mode.RAISE)
            _refuse(emitter, self.roots, where)
            body = [*emitter.body, give(value)]
            if names := uncertain(tree):
                guard = call(self.code.hoist(_require, "require"), load("data"), self.code.constant(list(names)))
                body.insert(0, ast.Expr(guard))
        if deferred:
            body.insert(0, ast.Expr(call(self.code.hoist(_make, "make"), load("data"),
                                         self.code.constant(deferred))))
        made = self.code.fresh("e")
        head = f"{self.context}failed to resolve {shown} at path {path}: "
        wrong = call(self.code.hoist(_unresolved, "unresolved"), ast.Constant(head), load(made))
        self.code.add(name, ("data", "env"), [
            attempt(body, self.code.hoist(QueryError, "QueryError"), [throw(wrong)], made)])
        return name

    def hole(self, text: str, functions: list[str],
             fill: Callable[[str, ast.expr], ast.expr | None]) -> ast.expr | None:
        """What stands for a text inside an expression's quotes."""
        if text.startswith("\ue002"):
            inner = call(load(functions[int(text[2:-1])]), load("data"), load("env"))
            return call(self.code.hoist(_as_json, "json"), inner)
        return fill(text, load("data"))


class _Dynamic:
    """An expression that is known only with the data: others have become names or numbers of it."""

    def __init__(self, pieces: tuple[str, ...], roots: Roots, where: str) -> None:
        self.pieces, self.roots, self.where = pieces, roots, where
        error: SourceError | None = None
        for sample in ("x", "0"):  # it must be an expression with a name or with a number
            try:
                tree = parse(sample.join(pieces), where)
            except SourceError as wrong:
                error = wrong
            else:
                if self.pieces[0]:
                    roots.check(tree, where)
                return
        reason = error.reason if error else ""
        raise InvalidError(where, got="{{…}}".join(pieces), expected=f"a JMESPath expression ({reason})")

    def __call__(self, data: Any, env: Env, values: list[Any]) -> Any:
        texts = list(map(_written, values))
        for text in texts:
            if not _TOKEN.fullmatch(text):
                raise QueryError(f"a variable outside quotes became {text[:80]!r}, not a name or a whole number")
        expression = self.pieces[0] + "".join(text + piece for text, piece in zip(texts, self.pieces[1:], strict=True))
        return _dynamic(expression, self.roots, self.where)(data, env)


@lru_cache(1024)
def _dynamic(expression: str, roots: Roots, where: str) -> Callable[[Any, Env], Any]:
    try:
        return _query(expression, roots, where)
    except (NotEvaluatedError, InvalidError) as wrong:
        raise QueryError(wrong.message) from None


def _query(expression: str, roots: Roots, where: str) -> Callable[[Any, Env], Any]:
    """Raises InvalidError, NotEvaluatedError."""
    tree = _parse(expression, where)
    roots.check(tree, where)
    code = Code("variable")
    emitter = writer(code)
    emitter.function("query", tree)
    _refuse(emitter, roots, where)
    run: Callable[[Any, Env], Any] = code.build()["query"]
    names, deferred = uncertain(tree), roots.defers(expression)
    if not names and not deferred:
        return run

    def guarded(data: Any, env: Env) -> Any:
        _make(data, deferred)
        _require(data, names)
        return run(data, env)

    return guarded


def _make(data: Any, names: Collection[str]) -> None:
    """Values of these names take the place of what stands for them. Raises NotMadeError."""
    for name in names:
        if isinstance(deferred := data.get(name), Deferred):
            data[name] = deferred.made(data)


def _require(data: Any, names: Collection[str]) -> None:
    """Raises QueryError where one of these could not be had."""
    for name in names:
        if isinstance(data, dict) and isinstance(value := data.get(name), Unavailable):
            raise QueryError(value.message)


def _parse(expression: str, where: str) -> Node:
    try:
        return parse(expression, where)
    except SourceError as wrong:
        raise InvalidError(where, got=expression, expected=f"a JMESPath expression ({wrong.reason})") from None


def _refuse(emitter: Emitter, roots: Roots, where: str) -> None:
    """Calls that can only fail, and those that ask what policies are not given."""
    for message, _ in emitter.problems:
        kind, _, name = message.partition("unknown function: ")
        if not kind and name:
            raise NotEvaluatedError(where, f"function {name}() is not evaluated here")
        raise InvalidError(where, got=message, expected="an expression that can be evaluated")
    if asked := emitter.needs - roots.asks:
        raise NotEvaluatedError(where, f"a function that asks for {min(asked)} is not evaluated here")


def _unresolved(head: str, wrong: QueryError) -> QueryError:
    if isinstance(wrong, _UnresolvedError):
        return wrong
    return _UnresolvedError(head + ("" if isinstance(wrong, NotMadeError) else "JMESPath query failed: ")
                            + wrong.message)


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return marshal(value)
    except ValueError as wrong:
        raise QueryError(str(wrong)) from None


def _as_json(value: Any) -> Any:
    """What a value becomes between backticks, where a text is read as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return decode(value)
    except JSONError as wrong:
        raise QueryError(f"a variable between backticks: {wrong}") from None


def _checked_key(key: Any) -> str:
    if not isinstance(key, str):
        raise QueryError(f"expected string after substituting variables in a key, got {marshal(key)[:80]}")
    return key


def _step(name: str) -> str:
    """A name of a path as a part of an expression."""
    return f"[{name}]" if name.isdigit() else f".{name}" if _TOKEN.fullmatch(name) else f".{quote(name)}"


def uncertain(tree: Node) -> tuple[str, ...]:
    """The names in `FALLIBLE` that an expression may read: by name, or by reading the context whole."""
    named = {node.value for node in _nodes(tree, deep=True) if node.kind == "Field"}
    whole = any(node.kind in ("CurrentNode", "Identity") for node in _nodes(tree, deep=False))
    return tuple(name for name in FALLIBLE if whole or name in named)


def _nodes(tree: Node, *, deep: bool) -> Iterator[Node]:
    """The nodes of a tree; unless `deep`, those that are evaluated on the context itself."""
    yield tree
    for child in tree.children if deep or tree.kind not in _STEPS else tree.children[:1]:
        yield from _nodes(child, deep=deep)


def _chains(tree: Node) -> list[list[str]]:
    """The first one or two names of every path that starts at the context's root."""
    kind, children = tree.kind, tree.children
    if kind == "Field":
        return [[tree.value]]
    if kind in ("Subexpression", "IndexExpression"):
        if children[0].kind != "Field":
            return _chains(children[0])
        second = children[1]
        while second.kind in ("Subexpression", "IndexExpression"):
            second = second.children[0]
        return [[children[0].value, *([second.value] if second.kind == "Field" else [])]]
    if kind in _STEPS:
        return _chains(children[0])
    return [chain for child in children for chain in _chains(child)]

