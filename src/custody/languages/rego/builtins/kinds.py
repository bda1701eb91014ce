"""What kind of value it is, and conversions."""

from __future__ import annotations

import re
from collections.abc import Callable

from custody.languages.go.numbers import quote
from custody.languages.rego.builtins.arithmetic import whole
from custody.languages.rego.declare import BuiltinError, OperandError, builtin
from custody.languages.rego.values import Set, Value, type_name

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_LONGEST = 4_000  # digits


@builtin("type_name", "any", result="string")
def name_of(value: Value) -> str:
    return type_name(value)


def _test(name: str) -> Callable[[Value], bool]:
    def test(value: Value) -> bool:
        return type_name(value) == name
    return builtin(f"is_{name}", "any", result="boolean")(test)


for _name in ("array", "boolean", "null", "number", "object", "set"):
    _test(_name)


@builtin("is_string", "any", result="boolean")
def is_string(value: Value) -> bool:
    return type(value) is str


def _cast(name: str, result: str) -> Callable[[Value], Value]:
    def cast(value: Value) -> Value:
        if type_name(value) != name:
            raise OperandError(1, value, name)
        return value
    return builtin(f"cast_{name}", "any", result=result)(cast)


for _name, _result in (("boolean", "boolean"), ("null", "null"), ("object", "object[any: any]"), ("string", "string")):
    _cast(_name, _result)


@builtin("cast_array", "any", result="array[any]")
def cast_array(value: Value) -> list[Value]:
    if type(value) is Set:
        return value.ordered()
    if type(value) is not list:
        raise OperandError(1, value, "array", "set")
    return value


@builtin("cast_set", "any", result="set[any]")
def cast_set(value: Value) -> Set:
    if type(value) is list:
        return Set.of(value)
    if type(value) is not Set:
        raise OperandError(1, value, "array", "set")
    return value


@builtin("to_number", "any<null, boolean, number, string>", result="number")
def to_number(value: Value) -> int | float:
    kind = type(value)
    if kind is int or kind is float:
        return value  # type: ignore[no-any-return]
    if value is None:
        return 0
    if kind is bool:
        return int(value)
    if kind is not str:
        raise OperandError(1, value, "null", "boolean", "number", "string")
    if value.lower().lstrip("+-") in ("inf", "infinity", "nan"):
        raise OperandError(1, value, "valid number string")
    if not _NUMBER.fullmatch(value):
        raise BuiltinError(f"strconv.ParseFloat: parsing {quote(value)}: invalid syntax")
    if len(value) > _LONGEST:
        raise BuiltinError(f"strconv.ParseFloat: parsing {quote(value[:40])}: value out of range")
    try:
        return int(value)
    except ValueError:
        found = float(value)
    if found in (float("inf"), float("-inf")):
        raise BuiltinError(f"strconv.ParseFloat: parsing {quote(value)}: value out of range")
    return whole(found) if "." not in value else found
