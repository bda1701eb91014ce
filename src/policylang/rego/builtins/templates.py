"""`strings.render_template`: Go's text/template without functions but its own, on Rego's values."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote_plus

from policylang.go.verbs import sprintf
from policylang.rego.builtins.encoding import lenient
from policylang.rego.builtins.operands import mapping, string
from policylang.rego.builtins.templateparts import split, wrong
from policylang.rego.declare import Context, builtin
from policylang.rego.values import UNDEFINED, Set, Value, compact, compare, pairs, pay, printable, unkey
from policylang.rego.values.numbers import KINDS, number_text

_TOKEN = re.compile(
    r"""\s+|(?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<number>[+-]?[0-9]+(?:\.[0-9]+)?)"""
    r"""|(?P<field>\$\w*(?:\.\w+)*|\.\w+(?:\.\w+)*|\.)|(?P<sign>:=|=|\||,|\(|\))|(?P<word>\w+)""", re.DOTALL | re.ASCII)
_DEEPEST = 50
Scope = ChainMap[str, Any]
Node = Callable[["_Run", Value, Scope], None]


@builtin("strings.render_template", "string", "object[string: any]", result="string", context=True)
def render(context: Context, template: Value, values: Value) -> str:
    shown, given = string(template, 1, 3), mapping(values, 2)
    run, data = _Run(context), _data(given)
    scope: Scope = ChainMap({"$": data})
    for node in _Parser(shown).parse():
        node(run, data, scope)
    return "".join(run.out).replace("<no value>", "<undefined>")


class _Number(str):
    """A number among the values: Go has its text (json.Number), so that it compares and is true as a text."""


def _data(value: Value) -> Value:
    """Values as Go has them, each paid for."""
    kind = type(value)
    if kind in KINDS:
        return _Number(number_text(value))
    if kind is list or kind is Set:
        pay(len(value) + 1)
        return [_data(member) for member in (value if kind is list else value.ordered())]
    if kind is dict:
        pay(len(value) + 1)
        return {name if type(name) is str else compact(unkey(name)): _data(member) for name, member in value.items()}
    return printable(value) if kind is str else value


class _Run:
    def __init__(self, context: Context) -> None:
        self.meter = context.meter
        self.out: list[str] = []
        self.size = 0

    def write(self, text: str) -> None:
        self.meter.spend(1)
        self.size += len(text)
        self.meter.fit(self.size)
        self.out.append(text)


class _Parser:
    def __init__(self, template: str) -> None:
        self.parts = list(split(template))
        self.at = 0
        self.depth = 0

    def parse(self) -> list[Node]:
        nodes, end = self.block()
        if end:
            raise wrong(f"unexpected {{{{{end}}}}}")
        return nodes

    def block(self) -> tuple[list[Node], str]:
        """Nodes up to `end` or `else`, and which it was; an empty text at the end of the template."""
        nodes: list[Node] = []
        while self.at < len(self.parts):
            action, text = self.parts[self.at]
            self.at += 1
            if not action:
                if text:
                    nodes.append(_literal(text))
                continue
            word = text.split(None, 1)[0] if text else ""
            if word in ("end", "else"):
                return nodes, text
            if word in ("if", "with", "range"):
                nodes.append(self.control(word, text[len(word):]))
            else:
                nodes.append(_shown(_Pipeline(text)))
        return nodes, ""

    def control(self, word: str, text: str) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise wrong("nested too deeply")
        pipeline = _Pipeline(text)
        body, end = self.block()
        otherwise: list[Node] = []
        if end.startswith("else"):
            rest = end[4:].strip()
            if rest:
                inner = rest.split(None, 1)[0]
                if inner not in ("if", "with"):
                    raise wrong(f"unexpected {rest} in else")
                otherwise = [self.control(inner, rest[len(inner):])]
                self.depth -= 1
                return _control(word, pipeline, body, otherwise)
            otherwise, end = self.block()
        if end != "end":
            raise wrong("unexpected EOF")
        self.depth -= 1
        return _control(word, pipeline, body, otherwise)


def _literal(text: str) -> Node:
    def node(run: _Run, dot: Value, scope: Scope) -> None:
        del dot, scope
        run.write(text)
    return node


def _shown(pipeline: _Pipeline) -> Node:
    def node(run: _Run, dot: Value, scope: Scope) -> None:
        value = pipeline.value(dot, scope)
        if not pipeline.names:
            run.write("<no value>" if value is None else _text(value))
        elif pipeline.declares:
            scope[pipeline.names[0]] = value
        else:
            holder = next((names for names in scope.maps if pipeline.names[0] in names), None)
            if holder is None:
                raise wrong(f'undefined variable "{pipeline.names[0]}"')
            holder[pipeline.names[0]] = value
    return node


def _control(word: str, pipeline: _Pipeline, body: list[Node], otherwise: list[Node]) -> Node:
    def node(run: _Run, dot: Value, scope: Scope) -> None:
        value = pipeline.value(dot, scope)
        if word == "range":
            entries = list(_entries(value))
            for name, member in entries:
                inner = scope.new_child()
                if pipeline.names:
                    inner[pipeline.names[-1]] = member
                    if len(pipeline.names) == 2:
                        inner[pipeline.names[0]] = name
                for statement in body:
                    statement(run, member, inner)
            if entries:
                return
        elif _truth(value):
            inner = scope.new_child(dict.fromkeys(pipeline.names, value))
            for statement in body:
                statement(run, value if word == "with" else dot, inner)
            return
        for statement in otherwise:
            statement(run, dot, scope.new_child())
    return node


def _entries(value: Value) -> Iterator[tuple[Value, Value]]:
    if type(value) is list:
        yield from enumerate(value)
    elif type(value) is dict:
        yield from pairs(value)
    elif type(value) is int:
        yield from ((at, at) for at in range(min(value, 100_000)))
    elif value is not UNDEFINED and value is not None:
        raise wrong(f"range can't iterate over {_text(value)}")


def _truth(value: Value) -> bool:
    return value is not UNDEFINED and bool(value)


def _text(value: Value) -> str:
    """As fmt.Print shows Go's data."""
    kind = type(value)
    if value is UNDEFINED or value is None:
        return "<no value>" if value is UNDEFINED else "<nil>"
    if isinstance(value, str):
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is list:
        return "[" + " ".join(map(_text, value)) + "]"
    if kind is dict:
        return "map[" + " ".join(f"{_text(name)}:{_text(member)}" for name, member in pairs(value)) + "]"
    return number_text(value)


class _Pipeline:
    """`$a, $b := operand | function …`."""

    def __init__(self, text: str) -> None:
        tokens = self._tokens(text)
        self.names: list[str] = []
        self.declares = (("sign", ":=") in tokens)
        signs = [shown for kind, shown in tokens]
        for mark in (":=", "="):
            if mark in signs:
                cut = signs.index(mark)
                self.names = [shown for kind, shown in tokens[:cut] if kind == "field"]
                tokens = tokens[cut + 1:]
                break
        self.tokens = tokens
        if not tokens:
            raise wrong("missing value for command")
        if [shown for _, shown in tokens] == ["nil"]:
            raise wrong("nil is not a command")

    @staticmethod
    def _tokens(text: str) -> list[tuple[str, str]]:
        tokens, at = [], 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise wrong(f"unexpected {text[at]!r} in command")
            if match.lastgroup:
                tokens.append((match.lastgroup, match[0]))
            at = match.end()
        return tokens

    def value(self, dot: Value, scope: Scope) -> Value:
        self.at = 0
        result = self._pipe(dot, scope)
        if self.at < len(self.tokens):
            raise wrong(f"unexpected {self.tokens[self.at][1]!r} in operand")
        return result

    def _pipe(self, dot: Value, scope: Scope) -> Value:
        value: Value = UNDEFINED
        first = True
        while True:
            value = self._command(dot, scope, [] if first else [value])
            first = False
            if self.at < len(self.tokens) and self.tokens[self.at][1] == "|":
                self.at += 1
                continue
            return value

    def _command(self, dot: Value, scope: Scope, last: list[Value]) -> Value:
        if self.at >= len(self.tokens):
            raise wrong("missing value for command")
        kind, shown = self.tokens[self.at]
        if kind == "word" and shown not in ("true", "false", "nil"):
            self.at += 1
            arguments = []
            while self.at < len(self.tokens) and self.tokens[self.at][1] not in ("|", ")"):
                arguments.append(self._operand(dot, scope))
            return _function(shown, [*arguments, *last])
        if last:
            raise wrong(f"non executable command in pipeline stage: {shown}")
        return self._operand(dot, scope)

    def _operand(self, dot: Value, scope: Scope) -> Value:
        kind, shown = self.tokens[self.at]
        self.at += 1
        if kind == "string":
            return shown[1:-1] if shown[0] == "`" else re.sub(r"\\(.)", lambda char: _ESCAPES.get(char[1], char[1]),
                                                              shown[1:-1])
        if kind == "number":
            return float(shown) if "." in shown else int(shown)
        if kind == "field":
            return _field(shown, dot, scope)
        if kind == "word" and shown in ("true", "false", "nil"):
            return {"true": True, "false": False, "nil": None}[shown]
        if shown == "(":
            value = self._pipe(dot, scope)
            if self.at >= len(self.tokens) or self.tokens[self.at][1] != ")":
                raise wrong("unclosed left paren")
            self.at += 1
            return value
        raise wrong(f"unexpected {shown!r} in operand")


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def _field(shown: str, dot: Value, scope: Scope) -> Value:
    if shown == ".":
        return dot
    head, *names = shown.split(".")
    if head:
        if head not in scope:
            raise wrong(f"undefined variable {head!r}".replace("'", '"'))
        value = scope[head]
    else:
        value = dot
    for name in names:
        if value is UNDEFINED:
            return value
        if type(value) is not dict:
            raise wrong(f"can't evaluate field {name} in type interface {{}}")
        value = value.get(name, UNDEFINED)
    return value


def _function(name: str, arguments: list[Value]) -> Value:
    match name, arguments:
        case "len", [list() | dict() | str() as value]:
            return len(value.encode("utf-8", "replace") if isinstance(value, str) else value)
        case "index", [value, *names]:
            if value is UNDEFINED or value is None:
                raise wrong("error calling index: index of untyped nil")
            for index in names:
                value = _member(value, index)
            return value
        case "slice", [list() | str() as value, *bounds] if len(bounds) < 3:
            return _part(value, bounds)
        case "not", [value]:
            return not _truth(value)
        case "and", [*values] if values:
            return next((value for value in values if not _truth(value)), values[-1])
        case "or", [*values] if values:
            return next((value for value in values if _truth(value)), values[-1])
        case "eq", [left, *rights] if rights:
            return any(_equal(left, right) for right in rights)
        case "ne", [left, right]:
            return not _equal(left, right)
        case ("lt" | "le" | "gt" | "ge"), [left, right]:
            order = _ordered(left, right)
            return {"lt": order < 0, "le": order <= 0, "gt": order > 0, "ge": order >= 0}[name]
        case "printf", [str() as form, *values]:
            return sprintf(str(form), [_plain(value) for value in values])
        case "print", values:
            return _printed(values)
        case "println", values:
            return " ".join(_text(_plain(value)) for value in values) + "\n"
        case "html", values:
            return _printed(values, missing="<no value>").translate(_HTML)
        case "js", values:
            return "".join(map(_script, _printed(values, missing="<no value>")))
        case "urlquery", values:
            return quote_plus(_printed(values, missing="<no value>"), safe="-_.~", errors="replace")
    raise wrong(f'function "{name}" not defined for {len(arguments)} arguments')


_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"})


def _script(sign: str) -> str:
    if sign in "\\'\"":
        return "\\" + sign
    if sign in "<>&=" or sign < " ":
        return f"\\u{ord(sign):04X}"
    return sign if sign.isascii() or sign.isprintable() else f"\\u{ord(sign):04X}"


def _plain(value: Value) -> Value:
    if value is UNDEFINED:
        return None
    return value if isinstance(value, (int, float, bool)) or value is None else str(value) if isinstance(value, str) \
        else _text(value)


def _printed(values: list[Value], missing: str = "<nil>") -> str:
    """fmt.Sprint: a space between two of which neither is a text."""
    out: list[str] = []
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            out.append(" ")
        out.append(missing if value is UNDEFINED or value is None else _text(value))
    return "".join(out)


def _member(value: Value, index: Value) -> Value:
    if value is UNDEFINED or value is None:
        raise wrong("error calling index: index of untyped nil")
    if type(value) is dict:
        if not isinstance(index, str):
            raise wrong(f"error calling index: value has type {_kind(index)}; should be string")
        return value.get(str(index), UNDEFINED)
    if type(index) is not int:
        raise wrong(f"error calling index: cannot index slice/array with type {_kind(index)}")
    held = value.encode("utf-8", "replace") if isinstance(value, str) else value
    if type(held) not in (list, bytes):
        raise wrong(f"error calling index: can't index item of type {_kind(value)}")
    if not 0 <= index < len(held):
        raise wrong(f"error calling index: index out of range: {index}")
    return held[index]


def _part(value: Value, bounds: list[Value]) -> Value:
    held = value.encode("utf-8", "replace") if isinstance(value, str) else value
    start, stop = bounds[0] if bounds else 0, bounds[1] if len(bounds) > 1 else len(held)
    if type(start) is not int or type(stop) is not int or not 0 <= start <= stop <= len(held):
        raise wrong("error calling slice: index out of range")
    return lenient(held[start:stop]) if isinstance(held, bytes) else held[start:stop]


def _kind(value: Value) -> str:
    if isinstance(value, _Number):
        return "json.Number"
    return {str: "string", bool: "bool", int: "int", float: "float64", list: "[]interface {}",
            dict: "map[string]interface {}"}.get(type(value), "nil")


def _comparable(left: Value, right: Value) -> bool:
    return (isinstance(left, str) and isinstance(right, str)) or type(left) is type(right)


def _equal(left: Value, right: Value) -> bool:
    if any(isinstance(value, (list, dict)) for value in (left, right)):
        raise wrong("error calling eq: non-comparable type")
    if left in (None, UNDEFINED) or right in (None, UNDEFINED):
        return left in (None, UNDEFINED) and right in (None, UNDEFINED)
    if not _comparable(left, right):
        raise wrong(f"error calling eq: incompatible types for comparison: {_kind(left)} and {_kind(right)}")
    return bool(left == right)


def _ordered(left: Value, right: Value) -> int:
    if not _comparable(left, right):
        raise wrong(f"error calling lt: incompatible types for comparison: {_kind(left)} and {_kind(right)}")
    if not isinstance(left, (str, int, float)) or isinstance(left, bool):
        raise wrong("error calling lt: invalid type for comparison")
    return compare(left, right) if not isinstance(left, str) else (left > right) - (left < right)
