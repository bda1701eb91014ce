"""JMESPath as CEL: paths, projections, filters, defaults and the functions that CEL has, too.

Kyverno's JMESPath takes a field that is not there for an error, but where `||` says what to take instead; CEL does so
with optional fields.
"""

# ruff: noqa: ARG002 - one signature for each kind of node
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from custody.errors import UnsupportedError
from custody.policy.migrate.expressions import (
    every,
    is_unit,
    literal,
    member,
    negation,
    present,
    quoted,
    some,
)
from policylang import jmespath
from policylang.errors import LanguageError
from policylang.jmespath import Node

_REQUEST = {"operation": "request.operation", "namespace": "request.namespace", "name": "request.name",
            "userInfo": "request.userInfo", "kind": "request.kind", "subResource": "request.subResource"}
_PLAIN = ("request.operation", "request.namespace")
_TEXTS = ("request.namespace", "request.name", "request.userInfo.username")
_WHOLE = re.compile(r"\s*\{\{((?:\{[^{}]*\}|[^{}])*)\}\}\s*\Z")


class Said(NamedTuple):
    """A CEL expression of a value."""

    text: str
    type: str = ""
    """list, bool, int or text where it is known."""
    plain: bool = False
    """Whether it is a text without wildcards."""
    sure: bool = False
    """Whether it is a word, and neither a quantity nor a duration."""
    over: tuple[tuple[str, str], ...] = ()
    """Of a list that is made of one list for each element: those, and the names of their elements."""

    def holds(self, word: str, name: str, test: str) -> str:
        """Of a list: `all` or `exists`."""
        text = f"{self.unit}.{word}({name}, {test})"
        for of, element in reversed(self.over):
            text = f"{of}.{word}({element}, {text})"
        return text

    @property
    def size(self) -> str:
        text = f"size({self.text})"
        for of, element in reversed(self.over):
            text = f"{of}.map({element}, {text}).sum()"
        return text

    @property
    def unit(self) -> str:
        return self.text if is_unit(self.text) else f"({self.text})"


class Names(NamedTuple):
    """What an expression may speak of."""

    object: str = "object"
    old: str = "oldObject"
    certain: tuple[str, ...] = ("metadata", "kind", "apiVersion")
    beside: Mapping[str, str] = {}
    """Elements of lists and entries of the context, by their names."""
    operation: str = "request.operation"
    typed: bool = True
    """Whether the objects are of kinds whose values have their types, as the API server decodes them."""


def whole(text: str) -> str | None:
    """The expression of a text that is nothing but one `{{ }}`."""
    match = _WHOLE.match(text)
    return match[1].strip() if match else None


def query(expression: str, where: str, names: Names, *, lenient: bool = False) -> Said:
    """With `lenient`, null for what is not there. Raises UnsupportedError for what has no words in CEL."""
    try:
        tree = jmespath.parse(expression)
    except LanguageError as error:
        raise UnsupportedError(where, f"{expression}: {error.message}") from None
    return _Query(names, where, expression).of(tree, None, lenient=lenient)


class _Query:
    def __init__(self, names: Names, where: str, expression: str) -> None:
        self.names, self.where, self.expression = names, where, expression
        self._fresh = 0
        self._strict = False
        """Whether a projection of what is not there is an error, as in an argument of length()."""

    def refused(self, why: str) -> UnsupportedError:
        return UnsupportedError(self.where, f"{{{{ {self.expression} }}}} has no words in CEL: {why}")

    def of(self, node: Node, current: Said | None, *, lenient: bool) -> Said:
        """`current` is what `@` is; None at the top. `lenient`: null for what is not there."""
        write = getattr(self, f"_{node.kind.lower()}", None)
        if write is None:
            raise self.refused(f"{node.kind} is not said in CEL here")
        said: Said = write(node, current, lenient)
        return said

    def _literal(self, node: Node, current: Said | None, lenient: bool) -> Said:
        value = node.value
        kinds = {bool: "bool", int: "int", str: "text", list: "list"}
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return Said(literal(value), kinds.get(type(value), ""))

    def _currentnode(self, node: Node, current: Said | None, lenient: bool) -> Said:
        if current is None:
            raise self.refused("@ is all of the context there")
        return current

    _identity = _currentnode

    def _field(self, node: Node, current: Said | None, lenient: bool) -> Said:
        return self.path([node.value], current, lenient=lenient)

    def _subexpression(self, node: Node, current: Said | None, lenient: bool) -> Said:
        steps: list[str] = []
        at = node
        while at.kind == "Subexpression" and at.children[1].kind == "Field":
            steps.insert(0, at.children[1].value)
            at = at.children[0]
        if at is node:
            left = self.of(node.children[0], current, lenient=lenient)
            return self.of(node.children[1], left, lenient=lenient)
        if at.kind == "Field":
            return self.path([at.value, *steps], current, lenient=lenient)
        return self.path(steps, self.of(at, current, lenient=lenient), lenient=lenient)

    def path(self, steps: list[str], current: Said | None, *, lenient: bool) -> Said:
        if current is None:
            root, steps = self.rooted(steps)
            if not steps:
                sure = root == self.names.operation
                return Said(root, "text" if sure or root in _TEXTS else "", sure or root in _PLAIN, sure)
        else:
            root = current.unit
        certain = self.names.certain if root in (self.names.object, self.names.old) else ()
        text, optional = root, False
        for at, step in enumerate(steps):
            soft = lenient and not (at == 0 and step in certain)
            text = member(text, step, optional=soft)
            optional = optional or soft
        known = "text" if root in (self.names.object, self.names.old) and _is_text(steps) else ""
        return Said(f"{text}.orValue(null)" if optional else text, known, bool(known) and steps != ["metadata", "name"])

    def rooted(self, steps: list[str]) -> tuple[str, list[str]]:
        first = steps[0]
        if first in self.names.beside:
            return self.names.beside[first], steps[1:]
        if first != "request":
            raise self.refused(f"{first} is nothing that CEL knows")
        if len(steps) == 1:
            raise self.refused("the whole request is another thing there")
        second = steps[1]
        if second in ("object", "oldObject"):
            root = self.names.object if second == "object" else self.names.old
            if not root:
                raise self.refused("there is no old object")
            return root, steps[2:]
        if second not in _REQUEST:
            raise self.refused(f"request.{second} is another thing there")
        text = self.names.operation if second == "operation" else _REQUEST[second]
        return text, steps[2:]

    def _indexexpression(self, node: Node, current: Said | None, lenient: bool) -> Said:
        left = self.of(node.children[0], current, lenient=lenient)
        index = node.children[1]
        if index.kind != "Index" or index.value < 0:
            raise self.refused("a slice")
        if lenient:
            return Said(f"{left.unit}[?{index.value}].orValue(null)")
        return Said(f"{left.unit}[{index.value}]")

    def needed(self, node: Node, current: Said | None, *, lenient: bool) -> Said:
        """An argument that may not be null."""
        strict, self._strict = self._strict, True
        said = self.of(node, current, lenient=lenient)
        self._strict = strict
        return said

    def element(self) -> str:
        self._fresh += 1
        return f"item{self._fresh if self._fresh > 1 else ''}"

    def _multiselectlist(self, node: Node, current: Said | None, lenient: bool) -> Said:
        return Said(f"[{', '.join(self.of(child, current, lenient=lenient).text for child in node.children)}]", "list")

    def flat(self, node: Node, current: Said | None, *, lenient: bool) -> Said:
        """The list that `[]` makes of a value."""
        if node.kind == "Subexpression" and node.children[1].kind == "MultiSelectList":
            current, node = self.of(node.children[0], current, lenient=lenient), node.children[1]
        if node.kind == "MultiSelectList":
            parts = [self.listed(child, current) for child in node.children]
            return Said(" + ".join(part.unit for part in parts), "list")
        if node.kind in ("Projection", "FilterProjection"):
            right = node.children[1]
            if right.kind == "Identity":
                return self.of(node, current, lenient=lenient)
            outer = self.of(Node(node.kind, None, (node.children[0], Node("Identity"), *node.children[2:])), current,
                            lenient=lenient)
            name = self.element()
            inner = self.listed(right, Said(name))
            return inner._replace(over=(*outer.over, (outer.unit, name), *inner.over))
        return self.listed(node, current, lenient=lenient)

    def listed(self, node: Node, current: Said | None, *, lenient: bool = True) -> Said:
        said = self.of(node, current, lenient=lenient)
        text = said.text
        if text.endswith(".orValue(null)"):
            text = text.removesuffix("null)") + "[])"
        return said._replace(text=text, type="list")

    def _projection(self, node: Node, current: Said | None, lenient: bool) -> Said:
        base, right = node.children
        if base.kind == "Flatten":
            values = self.flat(base.children[0], current, lenient=lenient or not self._strict)
        elif base.kind == "IndexExpression":
            raise self.refused("a slice")
        else:
            values = self.listed(base, current, lenient=lenient or not self._strict)
        return self.projected(values, right)

    def _filterprojection(self, node: Node, current: Said | None, lenient: bool) -> Said:
        base, right, condition = node.children
        values = (self.flat(base.children[0], current, lenient=True) if base.kind == "Flatten"
                  else self.listed(base, current))
        name = self.element()
        test = self.truth(condition, Said(name))
        return self.projected(values._replace(text=f"{values.unit}.filter({name}, {test})"), right)

    def projected(self, values: Said, right: Node) -> Said:
        """What is there of each element; what is null is left out."""
        if right.kind == "Identity":
            return values
        name = self.element()
        if right.kind == "Field":
            there = present(name, right.value)
            kept = f"{values.unit}.filter({name}, {there})" if there else values.unit
            return values._replace(text=f"{kept}.map({name}, {member(name, right.value)})")
        inner = self.of(right, Said(name), lenient=True)
        if inner.type == "bool":
            return values._replace(text=f"{values.unit}.map({name}, {inner.text})")
        return values._replace(text=f"{values.unit}.map({name}, {inner.text}).filter({name}, {name} != null)")

    def _pipe(self, node: Node, current: Said | None, lenient: bool) -> Said:
        left = self.of(node.children[0], current, lenient=lenient)
        return self.of(node.children[1], left, lenient=lenient)

    def _orexpression(self, node: Node, current: Said | None, lenient: bool) -> Said:
        left, right = node.children
        if self.boolean(left) and self.boolean(right):
            return Said(some((self.truth(left, current), self.truth(right, current))), "bool")
        fallback = self.of(right, current, lenient=lenient)
        said = self.of(left, current, lenient=True)
        if said.sure:
            return said
        if said.type == "list" and right.kind == "Literal" and right.value == []:
            return said
        if not said.text.endswith(".orValue(null)") or said.over:
            raise self.refused("what `||` stands beside is no path")
        if right.kind != "Literal" or not (right.value in ("", None) or right.value == [] or right.value == {}):
            value = said.text
            falsy = some(f"{value} == {nothing}" for nothing in ("null", "''", "false", "[]", "{}"))
            return Said(f"({falsy} ? {fallback.text} : {value})")
        return Said(f"{said.text.removesuffix('null)')}{fallback.text})", said.type or (
            "list" if fallback.type == "list" else ""), said.plain)

    def _andexpression(self, node: Node, current: Said | None, lenient: bool) -> Said:
        if not all(map(self.boolean, node.children)):
            raise self.refused("&& of what is not true or false")
        return Said(every(self.truth(child, current) for child in node.children), "bool")

    def _notexpression(self, node: Node, current: Said | None, lenient: bool) -> Said:
        if not self.boolean(node.children[0]):
            raise self.refused("! of what is not true or false")
        return Said(negation(self.truth(node.children[0], current)), "bool")

    def boolean(self, node: Node) -> bool:
        if node.kind in ("Comparator", "NotExpression"):
            return True
        if node.kind in ("AndExpression", "OrExpression"):
            return all(map(self.boolean, node.children))
        return node.kind == "FunctionExpression" and node.value in _TRUTHS

    def truth(self, node: Node, current: Said | None) -> str:
        if not self.boolean(node):
            raise self.refused("a condition that is not true or false")
        return self.of(node, current, lenient=True).text

    def _comparator(self, node: Node, current: Said | None, lenient: bool) -> Said:
        left, right = (self.of(child, current, lenient=True) for child in node.children)
        if node.value not in ("==", "!="):
            raise self.refused("an order of what may be no number")
        return Said(f"{left.unit} {node.value} {right.unit}", "bool")

    def _functionexpression(self, node: Node, current: Said | None, lenient: bool) -> Said:
        name, arguments = node.value, node.children
        if name == "length" and len(arguments) == 1:
            return Said(self.needed(arguments[0], current, lenient=lenient).size, "int")
        if name == "keys" and len(arguments) == 1:
            of = self.of(arguments[0], current, lenient=lenient)
            key = self.element()
            return Said(f"{of.unit}.map({key}, {key})", "list")
        if name in _TRUTHS and len(arguments) == 2:
            left, right = (self.needed(argument, current, lenient=lenient) for argument in arguments)
            if name == "contains":
                if arguments[0].kind == "Field" or left.type != "list":
                    raise self.refused("contains() of what may be a text or a list")
                if left.over:
                    return Said(left.holds("exists", "known", f"known == {right.unit}"), "bool")
                return Said(f"{right.unit} in {left.unit}", "bool")
            if name == "regex_match":
                if arguments[0].kind != "Literal":
                    raise self.refused("a regular expression that is not written there")
                return Said(f"string({right.text}).matches({left.text})", "bool")
            if arguments[1].kind != "Literal":
                raise self.refused(f"{name}() of what is not written there")
            return Said(f"{left.unit}.{_TRUTHS[name]}({right.text})", "bool")
        if name == "to_array" and len(arguments) == 1:
            strict, self._strict = self._strict, False
            said = self.of(arguments[0], current, lenient=lenient)
            self._strict = strict
            if said.type == "list":
                return said
        if name in ("to_upper", "to_lower") and len(arguments) == 1:
            word = "upperAscii" if name == "to_upper" else "lowerAscii"
            return Said(f"{self.of(arguments[0], current, lenient=lenient).unit}.{word}()", "text")
        raise self.refused(f"{name}()")


_TRUTHS = {"contains": "contains", "starts_with": "startsWith", "ends_with": "endsWith", "regex_match": "matches"}


def _is_text(steps: list[str]) -> bool:
    """Whether a path leads to a text in any object: names, labels and annotations."""
    return steps in (["kind"], ["apiVersion"]) or (steps[:1] == ["metadata"] and (
        steps[1:] in (["name"], ["namespace"], ["uid"]) or (len(steps) == 3 and steps[1] == "labels")))


def text_of(text: str, where: str, names: Names) -> str:
    """A text with `{{ }}` in it as CEL that makes it. Raises UnsupportedError."""
    parts: list[str] = []
    last = 0
    for match in re.finditer(r"\{\{((?:\{[^{}]*\}|[^{}])*)\}\}", text):
        if match.start() > last:
            parts.append(quoted(text[last:match.start()]))
        said = query(match[1].strip(), where, names)
        if said.type == "list":
            raise UnsupportedError(where, f"{match[0]}: a list has no words in a text of CEL")
        parts.append(said.text if said.type == "text" else f"string({said.text})")
        last = match.end()
    if last < len(text):
        parts.append(quoted(text[last:]))
    return " + ".join(parts)


def element_names(names: Names, **beside: str) -> Names:
    return names._replace(beside={**names.beside, **beside})


__all__: list[Any] = ["Names", "Said", "element_names", "query", "text_of", "whole"]
