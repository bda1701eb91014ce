"""JMESPath as Kyverno evaluates it: parsed by the `jmespath` library, compiled to functions.

It follows Kyverno's fork: a key that a map does not have is an error unless `||`, `&&`, `!`, a comparison, a pipe, a
projection or a function's argument stands around it. Functions are those whose results are exactly Kyverno's; others
are refused when the policy is loaded. The time is given, never looked up.
"""

# ruff: noqa: ARG001, ARG002, ARG005 - all compiled functions have one signature
from __future__ import annotations

import base64
import binascii
import json
import warnings
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from jmespath import exceptions
from jmespath.parser import Parser

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.languages.go.durations import show as format_duration
from custody.languages.go.printing import marshal
from custody.languages.go.printing import read_number as number
from custody.languages.go.wildcards import glob


class Env(NamedTuple):
    """What an expression can see beside the data that it is applied to."""

    now: datetime
    root: Any
    """The whole data, for what is inside quotes."""


Query = Callable[[Any, Env], Any]
"""(data, env) → value. Raises QueryError."""
Text = Callable[[str], "Query | None"]


class QueryError(CustodyError):
    """An expression that has no value for this data."""


class UnknownKeyError(QueryError):
    def __init__(self, key: str) -> None:
        super().__init__(f'Unknown key "{key}" in path')


def parse(text: str, where: str) -> dict[str, Any]:
    """The syntax tree. Raises MalformedError."""
    if len(text) > 4096:
        raise MalformedError(where, got=f"an expression of {len(text)} characters", expected="at most 4096")
    try:
        with warnings.catch_warnings():
            # The library still takes `text` in backticks that is no JSON; Kyverno does not.
            warnings.simplefilter("error", PendingDeprecationWarning)
            tree: dict[str, Any] = Parser().parse(text).parsed
    except (exceptions.JMESPathError, RecursionError, ValueError, PendingDeprecationWarning) as error:
        raise MalformedError(where, got=text, expected=f"a JMESPath expression ({error})") from None
    return tree


def compile_tree(tree: dict[str, Any], where: str, text: Text = lambda _: None) -> Query:
    """Compile a syntax tree. `text` may give a function for a literal or key that depends on the data.

    Raises UnsupportedError for functions that custody does not evaluate.
    """
    return _Compiler(where, text).node(tree)


class _Compiler:
    def __init__(self, where: str, text: Text) -> None:
        self.where = where
        self.text = text

    def node(self, tree: dict[str, Any]) -> Query:
        return getattr(self, "_" + tree["type"])(tree, tree["children"])  # type: ignore[no-any-return]

    def soft(self, tree: dict[str, Any]) -> Query:
        """The same, with null for a key that is not there."""
        inner = self.node(tree)
        if tree["type"] == "field" and self.text(tree["value"]) is None:
            key = tree["value"]
            return lambda data, env: data.get(key) if type(data) is dict else None
        if tree["type"] not in ("field", "subexpression", "index_expression", "and_expression"):
            return inner

        def query(data: Any, env: Env) -> Any:
            try:
                return inner(data, env)
            except UnknownKeyError:
                return None

        return query

    def _identity(self, tree: Any, children: Any) -> Query:
        return lambda data, env: data

    _current = _identity

    def _literal(self, tree: Any, children: Any) -> Query:
        value = tree["value"]
        dynamic = self.text(value) if isinstance(value, str) else None
        return dynamic or (lambda data, env: value)

    def _field(self, tree: Any, children: Any) -> Query:
        key = tree["value"]
        dynamic = self.text(key)

        def query(data: Any, env: Env) -> Any:
            if type(data) is not dict:
                return None
            name = dynamic(data, env) if dynamic else key
            if name not in data:
                raise UnknownKeyError(name)
            return data[name]

        return query

    def _subexpression(self, tree: Any, children: Any) -> Query:
        steps = [self.node(child) for child in children]

        def query(data: Any, env: Env) -> Any:
            for step in steps:
                data = step(data, env)
            return data

        return query

    _index_expression = _subexpression

    def _pipe(self, tree: Any, children: Any) -> Query:
        left, right = self.soft(children[0]), self.soft(children[1])
        return lambda data, env: right(left(data, env), env)

    def _index(self, tree: Any, children: Any) -> Query:
        at = tree["value"]
        return lambda data, env: data[at] if type(data) is list and -len(data) <= at < len(data) else None

    def _slice(self, tree: Any, children: Any) -> Query:
        if children[2] == 0:
            raise MalformedError(self.where, got="a slice with step 0", expected="another step")
        part = slice(*children)
        return lambda data, env: data[part] if type(data) is list else None

    def _or_expression(self, tree: Any, children: Any) -> Query:
        left, right = self.soft(children[0]), self.soft(children[1])

        def query(data: Any, env: Env) -> Any:
            found = left(data, env)
            return right(data, env) if _is_false(found) else found

        return query

    def _and_expression(self, tree: Any, children: Any) -> Query:
        left, right = self.soft(children[0]), self.node(children[1])

        def query(data: Any, env: Env) -> Any:
            found = left(data, env)
            return found if _is_false(found) else right(data, env)

        return query

    def _not_expression(self, tree: Any, children: Any) -> Query:
        inner = self.soft(children[0])
        return lambda data, env: _is_false(inner(data, env))

    def _comparator(self, tree: Any, children: Any) -> Query:
        left, right = self.soft(children[0]), self.soft(children[1])
        sign = tree["value"]
        fixed = children[1]["value"] if children[1]["type"] == "literal" else None
        if sign == "eq" and isinstance(fixed, str) and self.text(fixed) is None:
            return lambda data, env: left(data, env) == fixed
        if sign in ("eq", "ne"):
            return lambda data, env: same(left(data, env), right(data, env)) == (sign == "eq")
        compare = {"lt": float.__lt__, "lte": float.__le__, "gt": float.__gt__, "gte": float.__ge__}[sign]

        def query(data: Any, env: Env) -> Any:
            one, other = left(data, env), right(data, env)
            return compare(float(one), float(other)) if _is_number(one) and _is_number(other) else None

        return query

    def _projection(self, tree: Any, children: Any) -> Query:
        left, each = self.soft(children[0]), self.soft(children[1])
        whole = children[1]["type"] == "identity"

        def query(data: Any, env: Env) -> Any:
            found = left(data, env)
            if type(found) is not list:
                return None
            if whole:
                return [element for element in found if element is not None]
            return [value for element in found if (value := each(element, env)) is not None]

        return query

    def _value_projection(self, tree: Any, children: Any) -> Query:
        left, each = self.soft(children[0]), self.soft(children[1])

        def query(data: Any, env: Env) -> Any:
            found = left(data, env)
            if type(found) is not dict:
                return None
            return [value for key in sorted(found) if (value := each(found[key], env)) is not None]

        return query

    def _filter_projection(self, tree: Any, children: Any) -> Query:
        left, each, wanted = (self.soft(child) for child in children)
        whole = children[1]["type"] == "identity"

        def query(data: Any, env: Env) -> Any:
            found = left(data, env)
            if type(found) is not list:
                return None
            if whole:
                return [element for element in found if element is not None and not _is_false(wanted(element, env))]
            return [value for element in found
                    if not _is_false(wanted(element, env)) and (value := each(element, env)) is not None]

        return query

    def _flatten(self, tree: Any, children: Any) -> Query:
        left = self.soft(children[0])

        def query(data: Any, env: Env) -> Any:
            found = left(data, env)
            if type(found) is not list:
                return None
            return [value for element in found for value in (element if type(element) is list else [element])]

        return query

    def _multi_select_list(self, tree: Any, children: Any) -> Query:
        parts = [self.soft(child) for child in children]
        return lambda data, env: None if data is None else [part(data, env) for part in parts]

    def _multi_select_dict(self, tree: Any, children: Any) -> Query:
        parts = [(child["value"], self.soft(child["children"][0])) for child in children]
        return lambda data, env: None if data is None else {key: part(data, env) for key, part in parts}

    def _expref(self, tree: Any, children: Any) -> Query:
        inner = self.node(children[0])
        return lambda data, env: inner

    def _function_expression(self, tree: Any, children: Any) -> Query:
        name = tree["value"]
        if name not in _FUNCTIONS:
            raise UnsupportedError(self.where, f"function {name}() is not evaluated by custody yet",
                                   hint="these are: " + ", ".join(sorted(_FUNCTIONS)))
        kinds, function = _FUNCTIONS[name]
        required = [kind for kind in kinds if not kind.endswith("…")]
        if len(children) < len(required) or (len(children) > len(kinds) and not kinds[-1:] == ("*…",)):
            raise MalformedError(self.where, got=f"{name}() with {len(children)} arguments", expected=f"{len(kinds)}")
        if name.startswith("time_since") and (children[0]["type"] != "literal" or children[0]["value"] != ""):
            raise UnsupportedError(self.where, "time_since() with a layout is not evaluated by custody yet",
                                   hint="use '' for RFC 3339 times")
        parts = [self.soft(child) for child in children]

        def query(data: Any, env: Env) -> Any:
            given = [part(data, env) for part in parts]
            for position, (value, kind) in enumerate(zip(given, kinds, strict=False), 1):
                if not _fits(value, kind):
                    raise QueryError(f"JMESPath function '{name}': argument #{position} is not of type {kind}")
            return function(env, *given)

        return query


def _is_false(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, (str, list, dict)) and not value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "strings": lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    "numbers": lambda value: isinstance(value, list) and all(map(_is_number, value)),
    "&": callable,
}


def _fits(value: Any, kinds: str) -> bool:
    return kinds.startswith("*") or any(_TYPES[kind](value) for kind in kinds.split("|"))


def _time(text: str) -> datetime:
    return parse_rfc3339(text, "time")


def _time_since(env: Env, layout: str, start: str, end: str) -> str:
    since = (_time(end) if end else env.now) - _time(start)
    return format_duration((since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000)


def _contains(env: Env, where: Any, what: Any) -> bool:
    if isinstance(where, str):
        return isinstance(what, str) and what in where
    return any(same(what, one) for one in where)


def _to_number(env: Env, value: Any) -> Any:
    return number(value) if isinstance(value, str) else value if _is_number(value) else None


def _base64_decode(env: Env, text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise QueryError("base64_decode: not base64 of UTF-8 text") from None


def _parse_json(env: Env, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise QueryError("parse_json: not JSON") from None


def _extreme(pick: Callable[..., Any]) -> Callable[[Env, Any], Any]:
    return lambda env, values: pick(values) if values else None


def _sort_by(env: Env, values: list[Any], key: Query) -> list[Any]:
    keys = [key(value, env) for value in values]
    if not (all(map(_is_number, keys)) or all(isinstance(one, str) for one in keys)):
        raise QueryError("sort_by: keys must be all numbers or all strings")
    return [values[at] for at in sorted(range(len(values)), key=keys.__getitem__)]


_FUNCTIONS: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "abs": (("number",), lambda env, value: abs(value)),
    "base64_decode": (("string",), _base64_decode),
    "base64_encode": (("string",), lambda env, text: base64.b64encode(text.encode()).decode()),
    "contains": (("string|array", "*"), _contains),
    "ends_with": (("string", "string"), lambda env, text, end: text.endswith(end)),
    "join": (("string", "strings"), lambda env, glue, values: glue.join(values)),
    "keys": (("object",), lambda env, value: sorted(value)),
    "length": (("string|array|object",), lambda env, value: len(value)),
    "map": (("&", "array"), lambda env, each, values: [each(value, env) for value in values]),
    "max": (("numbers|strings",), _extreme(max)),
    "min": (("numbers|strings",), _extreme(min)),
    "not_null": (("*", "*…"), lambda env, *values: next((value for value in values if value is not None), None)),
    "parse_json": (("string",), _parse_json),
    "pattern_match": (("string", "string"), lambda env, pattern, text: glob(pattern, text)),
    "replace_all": (("string", "string", "string"), lambda env, text, old, new: text.replace(old, new)),
    "reverse": (("string|array",), lambda env, value: value[::-1]),
    "sort": (("numbers|strings",), lambda env, values: sorted(values)),
    "sort_by": (("array", "&"), _sort_by),
    "split": (("string", "string"), lambda env, text, sep: text.split(sep) if sep else list(text)),
    "starts_with": (("string", "string"), lambda env, text, start: text.startswith(start)),
    "time_after": (("string", "string"), lambda env, one, other: _time(one) > _time(other)),
    "time_before": (("string", "string"), lambda env, one, other: _time(one) < _time(other)),
    "time_now_utc": ((), lambda env: format_rfc3339(env.now.replace(microsecond=0))),
    "time_since": (("string", "string", "string"), _time_since),
    "to_array": (("*",), lambda env, value: value if isinstance(value, list) else [value]),
    "to_lower": (("string",), lambda env, text: text.lower()),
    "to_number": (("*",), _to_number),
    "to_string": (("*",), lambda env, value: value if isinstance(value, str) else marshal(value)),
    "to_upper": (("string",), lambda env, text: text.upper()),
    "trim": (("string", "string"), lambda env, text, cut: text.strip(cut) if cut else text),
    "trim_prefix": (("string", "string"), lambda env, text, prefix: text.removeprefix(prefix)),
    "values": (("object",), lambda env, value: [value[key] for key in sorted(value)]),
}


def same(one: Any, other: Any) -> bool:
    """Equality of JSON data in which true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
