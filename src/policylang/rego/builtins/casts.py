"""What kind of value it is, and conversions."""

from __future__ import annotations

from collections.abc import Callable

from policylang.go.numbers import NumError, parse_float
from policylang.rego.declare import BuiltinError, OperandError, builtin
from policylang.rego.values import Set, Value, type_name
from policylang.rego.values.numbers import KINDS, Number, TooBig, read


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
def to_number(value: Value) -> Number:
    """Texts as strconv.ParseFloat reads them; the number keeps its text, but for hexadecimal ones."""
    kind = type(value)
    if kind in KINDS:
        return value  # type: ignore[no-any-return]
    if value is None:
        return 0
    if kind is bool:
        return int(value)
    if kind is not str:
        raise OperandError(1, value, "null", "boolean", "number", "string")
    if value.lstrip("+-").lower() in ("inf", "infinity", "nan"):
        raise OperandError(1, value, "valid number string")
    try:
        nearest = parse_float(value)
        if "x" in value.lower():
            return int(nearest) if nearest == nearest // 1 else nearest
        return read(value)
    except TooBig as wrong:
        raise BuiltinError(f"invalid number: {wrong}") from None
    except NumError as wrong:
        raise BuiltinError(f"strconv.ParseFloat: {wrong}") from None
