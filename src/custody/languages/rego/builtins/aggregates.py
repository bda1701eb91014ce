"""Aggregates over arrays, sets, objects and strings."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from custody.languages.rego.builtins.arithmetic import Number, mul, plus, whole
from custody.languages.rego.builtins.operands import OperandFault
from custody.languages.rego.declare import Context, OperandError, builtin
from custody.languages.rego.values import UNDEFINED, Set, Undefined, Value, order, ordered, type_name

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
    found = _members(value, "set", "array")
    kind = type_name(value)
    for each in found:
        if type(each) is not int and type(each) is not float:
            raise OperandFault(1, f"must be {kind} of numbers but got {kind} containing {type_name(each)}")
    return found


@builtin("sum", _NUMBERS, result="number")
def total(value: Value) -> Number:
    return _fold(_numbers(value), 0, plus, lambda one, other: one + other)


@builtin("product", _NUMBERS, result="number")
def product(value: Value) -> Number:
    return _fold(_numbers(value), 1, mul, lambda one, other: one * other)


def _fold(found: list[Number], start: Number, whole_numbers: Callable[[Value, Value], Number],
          exact: Callable[[Fraction, Fraction], Fraction]) -> Number:
    """OPA folds floats in 53 bits, each operand read with 64."""
    if all(type(each) is int for each in found):
        for each in found:
            start = whole_numbers(start, each)
        return start
    for each in found:
        try:
            start = float(exact(Fraction(start), Fraction(Decimal(repr(each)))))
        except OverflowError:
            start = whole_numbers(start, each)
    return whole(start) if type(start) is float else start


@builtin("max", _LIST_OR_SET, result="any")
def largest(value: Value) -> Value | Undefined:
    found = _members(value, "set", "array")
    return max(found, key=order) if found else UNDEFINED


@builtin("min", _LIST_OR_SET, result="any")
def smallest(value: Value) -> Value | Undefined:
    found = _members(value, "set", "array")
    return min(found, key=order) if found else UNDEFINED


@builtin("sort", _LIST_OR_SET, result="array[any]", context=True)
def sort(context: Context, value: Value) -> list[Value]:
    found = _members(value, "set", "array")
    context.meter.spend(len(found))
    return ordered(found)


@builtin("all", _LIST_OR_SET, result="boolean")
def every(value: Value) -> bool:
    return all(each is True for each in _members(value, "array", "set"))


@builtin("any", _LIST_OR_SET, result="boolean")
def some(value: Value) -> bool:
    return any(each is True for each in _members(value, "array", "set"))
