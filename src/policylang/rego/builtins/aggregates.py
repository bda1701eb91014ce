"""Aggregates over arrays, sets, objects and strings."""

from __future__ import annotations

import operator
from collections.abc import Callable

from policylang.rego.builtins.operands import OperandFault
from policylang.rego.declare import Context, OperandError, builtin
from policylang.rego.values import UNDEFINED, Set, Undefined, Value, numbers, order, ordered, type_name
from policylang.rego.values.numbers import Number, binary, bounded, integral

_LIST_OR_SET = "any<array[any], set[any]>"
_NUMBERS = "any<array[number], set[number]>"


@builtin("count", "any<string, array[any], object[any: any], set[any]>", result="number")
def count(value: Value) -> int:
    kind = type(value)
    if kind is list or kind is dict or kind is str or kind is Set:
        return len(value)
    raise OperandError(1, value, "array", "object", "set", "string")


def _members(value: Value, *expected: str) -> list[Value]:
    if type(value) is list:
        return value
    if type(value) is Set:
        return value.ordered()
    raise OperandError(1, value, *expected)


def _numbers(value: Value) -> list[Number]:
    members = _members(value, "set", "array")
    kind = type_name(value)
    for member in members:
        if type(member) not in numbers.KINDS:
            raise OperandFault(1, f"must be {kind} of numbers but got {kind} containing {type_name(member)}")
    return members


@builtin("sum", _NUMBERS, result="number", context=True)
def total(context: Context, value: Value) -> Number:
    return _folded(context, value, operator.add, numbers.add, numbers.Binary(False, 0, 0))


@builtin("product", _NUMBERS, result="number", context=True)
def product(context: Context, value: Value) -> Number:
    """Of what is not whole in 53 bits, each operand read with 64."""
    return _folded(context, value, operator.mul, _multiplied, numbers.Binary(False, 1, 0, 53))


def _multiplied(left: numbers.Binary, right: numbers.Binary) -> numbers.Binary:
    return numbers.multiply(left, right, 53)


def _folded(context: Context, value: Value, whole: Callable[[int, int], int],
            rounded: Callable[[numbers.Binary, numbers.Binary], numbers.Binary], start: numbers.Binary) -> Number:
    operands = _numbers(value)
    context.meter.spend(len(operands))
    integers = [integral(number) for number in operands]
    if None not in integers:
        made = start.mantissa
        for integer in integers:
            made = bounded(whole(made, integer or 0))
        return made
    for operand in operands:
        start = rounded(start, binary(operand))
    return numbers.result(start)


@builtin("max", _LIST_OR_SET, result="any")
def largest(value: Value) -> Value | Undefined:
    members = _members(value, "set", "array")
    return max(members, key=order) if members else UNDEFINED


@builtin("min", _LIST_OR_SET, result="any")
def smallest(value: Value) -> Value | Undefined:
    members = _members(value, "set", "array")
    return min(members, key=order) if members else UNDEFINED


@builtin("sort", _LIST_OR_SET, result="array[any]", context=True)
def sort(context: Context, value: Value) -> list[Value]:
    members = _members(value, "set", "array")
    context.meter.spend(len(members))
    return ordered(members)


@builtin("all", _LIST_OR_SET, result="boolean")
def every(value: Value) -> bool:
    return all(member is True for member in _members(value, "array", "set"))


@builtin("any", _LIST_OR_SET, result="boolean")
def some(value: Value) -> bool:
    return any(member is True for member in _members(value, "array", "set"))
