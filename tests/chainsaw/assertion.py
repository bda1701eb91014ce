"""Assertion trees of kyverno-json, as chainsaw's `assert`, `error`, `check` and `expect` have them.

A key or a text in parentheses is an expression of JMESPath, `~` before a key takes each element, `->name` behind it
keeps what was projected, and `\\` at both ends takes the parentheses literally. Lists are compared element by element.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jmespath
from jmespath import functions

Bindings = Mapping[str, Any]
_KEY = re.compile(r"(?:(?P<each>~(?P<index>\w*)\.)?)(?P<key>.*?)(?:->(?P<name>\w+))?\Z", re.DOTALL)
_NAME = re.compile(r"\$([A-Za-z_]\w*)")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`\\]|\\.)*`")


class _Functions(functions.Functions):
    """What chainsaw adds, as far as tests use it."""

    @functions.signature({"types": ["string"]})
    def _func_trim_space(self, text: str) -> str:
        return text.strip()

    @functions.signature({"types": ["string"]}, {"types": ["string"]})
    def _func_split(self, text: str, separator: str) -> list[str]:
        return text.split(separator)

    @functions.signature({"types": ["string"]})
    def _func_to_lower(self, text: str) -> str:
        return text.lower()

    @functions.signature({"types": ["string"]})
    def _func_to_upper(self, text: str) -> str:
        return text.upper()

    @functions.signature({"types": ["string"]})
    def _func_json_parse(self, text: str) -> Any:
        return json.loads(text)

    @functions.signature({"types": ["string"]})
    def _func_parse_json(self, text: str) -> Any:
        return json.loads(text)

    @functions.signature({"types": ["string"]}, {"types": ["string"]})
    def _func_regex_match(self, pattern: str, text: str) -> bool:
        return re.search(pattern, text) is not None

    @functions.signature({"types": ["string"]}, {"types": ["string"]}, {"types": ["string"]})
    def _func_replace_all(self, text: str, old: str, new: str) -> str:
        return text.replace(old, new)

    @functions.signature({"types": ["number"]}, {"types": ["number"]})
    def _func_add(self, left: float, right: float) -> float:
        return left + right

    @functions.signature({"types": ["number"]}, {"types": ["number"]})
    def _func_subtract(self, left: float, right: float) -> float:
        return left - right


_OPTIONS = jmespath.Options(custom_functions=_Functions())


class ExpressionError(Exception):
    """An expression that cannot be evaluated."""


def evaluate(expression: str, value: Any, bindings: Bindings) -> Any:
    """`$name` is a binding; raises ExpressionError for one that nobody made."""
    def named(text: str) -> str:
        def literal(match: re.Match[str]) -> str:
            if match[1] not in bindings:
                raise ExpressionError(f"no binding ${match[1]}")
            return "`" + json.dumps(bindings[match[1]]).replace("`", "\\`") + "`"
        return _NAME.sub(literal, text)

    parts, end = [], 0
    for quoted in _QUOTED.finditer(expression):
        parts += [named(expression[end:quoted.start()]), quoted[0]]
        end = quoted.end()
    try:
        return jmespath.search("".join([*parts, named(expression[end:])]), value, _OPTIONS)
    except jmespath.exceptions.JMESPathError as error:
        raise ExpressionError(f"{expression}: {error}") from None


def expression_in(text: Any) -> str | None:
    """What stands between the parentheses of a text that is nothing else."""
    if isinstance(text, str) and len(text) > 2 and text.startswith("(") and text.endswith(")"):
        return text[1:-1]
    return None


def template(value: Any, bindings: Bindings) -> Any:
    """A document with the values of its expressions."""
    if isinstance(value, dict):
        return {key: template(inner, bindings) for key, inner in value.items()}
    if isinstance(value, list):
        return [template(inner, bindings) for inner in value]
    expression = expression_in(value)
    return value if expression is None else evaluate(expression, None, bindings)


def differences(tree: Any, value: Any, bindings: Bindings, where: str = "") -> Iterator[str]:
    """What of a tree does not hold for a value; nothing where all of it does."""
    if isinstance(tree, dict):
        yield from _of_map(tree, value, bindings, where)
    elif isinstance(tree, list):
        if not isinstance(value, list):
            yield f"{where}: got {_shown(value)}, expected a list"
        elif len(tree) != len(value):
            yield f"{where}: got {len(value)} elements, expected {len(tree)}: {_shown(value)}"
        else:
            for at, (inner, element) in enumerate(zip(tree, value, strict=True)):
                yield from differences(inner, element, bindings, f"{where}[{at}]")
    else:
        try:
            expression = expression_in(tree)
            wanted = tree if expression is None else evaluate(expression, value, bindings)
        except ExpressionError as error:
            yield f"{where}: {error}"
            return
        if not _equal(wanted, value):
            yield f"{where}: got {_shown(value)}, expected {_shown(wanted)}"


def _of_map(tree: dict[str, Any], value: Any, bindings: Bindings, where: str) -> Iterator[str]:
    if not isinstance(value, dict) and value is not None and not all(
            expression_in(_KEY.match(str(key))["key"]) for key in tree):  # type: ignore[index]
        yield f"{where}: got {_shown(value)}, expected a map"
        return
    for key, inner in tree.items():
        text = str(key)
        match = _KEY.match(text)
        assert match is not None
        place = f"{where}.{text}"
        expression = expression_in(match["key"])
        try:
            if expression is not None:
                projected = evaluate(expression, value, bindings)
            else:
                literal = match["key"]
                if len(literal) > 1 and literal.startswith("\\") and literal.endswith("\\"):
                    literal = literal[1:-1]
                if not isinstance(value, dict) or literal not in value:
                    yield f"{place}: not there"
                    continue
                projected = value[literal]
        except ExpressionError as error:
            yield f"{place}: {error}"
            continue
        inside = {**bindings, match["name"]: projected} if match["name"] else bindings
        if not match["each"]:
            yield from differences(inner, projected, inside, place)
            continue
        elements = projected.items() if isinstance(projected, dict) else enumerate(projected or [])
        for index, element in elements:
            within = {**inside, match["index"]: index} if match["index"] else inside
            yield from differences(inner, element, within, f"{place}[{index}]")


def _equal(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    return bool(wanted == value)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) < 300 else f"{text[:300]}…"
