"""The functions of the JMESPath standard, as go-jmespath has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from policylang.go.printing import marshal, read_number
from policylang.jmespath.builtins.function import Function, declare
from policylang.jmespath.values import Env, Expression, GoInt, Maps, PanicError, QueryError, is_number

_UNCOMPARABLE = {dict: "map[string]interface {}", list: "[]interface {}", Maps: "[]map[string]interface {}",
                 Expression: "jmespath.expRef"}


def only_list(values: Any) -> list[Any]:
    """Most functions take []interface{} alone; Kyverno panics over the list that items() returns."""
    if type(values) is Maps:
        raise PanicError("interface conversion: interface {} is []map[string]interface {}, not []interface {}")
    return values  # type: ignore[no-any-return]


def identical(left: Any, right: Any) -> bool:
    """Go's == of two interfaces, which panics over two maps or two lists."""
    kind = type(left)
    if kind is int or kind is float:
        return is_number(right) and bool(left == right)
    if kind is type(right) and kind in _UNCOMPARABLE:
        raise PanicError(f"runtime error: comparing uncomparable type {_UNCOMPARABLE[kind]}")
    return kind is type(right) and bool(left == right)


def _contains(subject: Any, sought: Any) -> bool:
    if type(subject) is str:
        return type(sought) is str and sought in subject
    return any(identical(element, sought) for element in only_list(subject))


def _extreme(pick: Callable[[Any], Any]) -> Callable[[list[Any]], Any]:
    return lambda values: pick(values) if values else None


def _extreme_by(better: Callable[[Any, Any], bool]) -> Callable[[Env, Any, Expression], Any]:
    def find(env: Env, values: Any, by: Expression) -> Any:
        if len(only_list(values)) < 2:
            return values[0] if values else None
        env.spend(len(values))
        best, extreme = by.function(values[0]), values[0]
        kind = str if type(best) is str else float
        if kind is float and not is_number(best):
            raise QueryError("invalid type, must be number of string")
        for value in values[1:]:
            key = by.function(value)
            if not (type(key) is str if kind is str else is_number(key)):
                raise QueryError(f"invalid type, must be {'string' if kind is str else 'number'}")
            if better(key, best):
                best, extreme = key, value
        return extreme

    return find


def _sort_by(env: Env, values: Any, by: Expression) -> Any:
    if len(only_list(values)) < 2:
        return values
    env.spend(len(values))
    first = by.function(values[0])
    if type(first) is not str and not is_number(first):
        raise QueryError("invalid type, must be number of string")
    try:
        keys = [first, *map(by.function, values[1:])]
    except QueryError:
        raise QueryError("error in sort_by comparison") from None
    if not (all(type(key) is str for key in keys) if type(first) is str else all(map(is_number, keys))):
        raise QueryError("error in sort_by comparison")
    return [values[at] for at in sorted(range(len(values)), key=keys.__getitem__)]


def _map(env: Env, expression: Expression, values: Any) -> list[Any]:
    env.spend(len(only_list(values)))
    return list(map(expression.function, values))


def _merge(*maps: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for value in maps:
        if type(value) is not dict:
            raise PanicError(
                f"interface conversion: interface {{}} is {_go_type(value)}, not map[string]interface {{}}")
        merged.update(value)
    return merged


def _go_type(value: Any) -> str:
    return {type(None): "nil", str: "string", bool: "bool", int: "float64", float: "float64", GoInt: "int"}.get(
        type(value)) or _UNCOMPARABLE.get(type(value), "interface {}")


def _average(values: list[Any]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _type(value: Any) -> str:
    name = {str: "string", bool: "boolean", type(None): "null", dict: "object", list: "array", int: "number",
            float: "number"}.get(type(value))
    if name is None:
        raise QueryError("unknown type")
    return name


def _to_number(value: Any) -> Any:
    if type(value) is str:
        return read_number(value)
    if type(value) is GoInt or type(value) is Maps or type(value) is Expression:
        raise QueryError("unknown type")
    return value if is_number(value) else None


def _to_string(env: Env, value: Any) -> str:
    if type(value) is str:
        return value
    try:
        text = marshal(value, env.size)
    except ValueError as wrong:
        raise QueryError(str(wrong)) from None
    env.spend(len(text) // 16)
    return text


def _join(env: Env, glue: str, values: list[str]) -> str:
    env.fit(sum(map(len, values)) + len(glue) * len(values))
    return glue.join(values)


def _whole(cut: Callable[[float], int]) -> Callable[[Any], Any]:
    return lambda value: value if type(value) is int or not math.isfinite(value) else cut(value)


def _not_null(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


_NUMBERS_OR_STRINGS = "array[number]|array[string]"
FUNCTIONS: tuple[Function, ...] = (
    declare("abs", "number", "number", abs),
    declare("avg", "array[number]", "number", _average),
    declare("ceil", "number", "number", _whole(math.ceil)),
    declare("contains", "array|string, any", "bool", _contains),
    declare("ends_with", "string, string", "bool", str.endswith),
    declare("floor", "number", "number", _whole(math.floor)),
    declare("join", "string, array[string]", "string", _join, env=True),
    declare("keys", "object", "array", sorted),
    declare("length", "string|array|object", "number", len),
    declare("map", "expref, array", "array", _map, env=True),
    declare("max", _NUMBERS_OR_STRINGS, "any", _extreme(max)),
    declare("max_by", "array, expref", "any", _extreme_by(lambda key, best: bool(key > best)), env=True),
    declare("merge", "object", "object", _merge, variadic=True),
    declare("min", _NUMBERS_OR_STRINGS, "any", _extreme(min)),
    declare("min_by", "array, expref", "any", _extreme_by(lambda key, best: bool(key < best)), env=True),
    declare("not_null", "any", "any", _not_null, variadic=True),
    declare("reverse", "array|string", "any", lambda value: only_list(value)[::-1]),
    declare("sort", "array[string]|array[number]", "array", sorted),
    declare("sort_by", "array, expref", "array", _sort_by, env=True),
    declare("starts_with", "string, string", "bool", str.startswith),
    declare("to_array", "any", "array", lambda value: value if type(value) is list else [value]),
    declare("to_number", "any", "any", _to_number),
    declare("to_string", "any", "string", _to_string, env=True),
    declare("type", "any", "string", _type),
    declare("values", "object", "array", lambda value: [value[key] for key in sorted(value)]),
)
