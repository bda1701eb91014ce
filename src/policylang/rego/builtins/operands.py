"""Checks of operands, with errors in OPA's words (v1/topdown/builtins)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policylang.rego.declare import BuiltinError, OperandError
from policylang.rego.values import Set, Value, pay, type_name
from policylang.rego.values.numbers import KINDS, Number, integral, plain_integer


class OperandFault(BuiltinError):  # noqa: N818 - beside OperandError, which says what was got
    """`eval_type_error` with a text of its own: `operand 2 must be one of {2, 8, 10, 16}`."""

    code = "eval_type_error"

    def __init__(self, position: int, message: str) -> None:
        super().__init__(f"operand {position} {message}")


def string(value: Value, position: int, shift: int = 9) -> str:
    """A string, which is paid for by its characters: one step for 2^shift of them."""
    if type(value) is not str:
        raise OperandError(position, value, "string")
    if len(value) > 512:
        pay(len(value) >> shift if shift >= 0 else len(value) << -shift)
    return value


def readable(value: Value, read: Callable[[str], object]) -> bool:
    """Whether it is a string that `read` takes."""
    if type(value) is not str:
        return False
    try:
        read(value)
    except BuiltinError:
        return False
    return True


def number(value: Value, position: int) -> Number:
    if type(value) not in KINDS:
        raise OperandError(position, value, "number")
    return value  # type: ignore[no-any-return]


def integer(value: Value, position: int) -> int:
    """An int64, written as digits; a point and zeros may follow."""
    if type(value) is int and -1 << 63 <= value < 1 << 63:
        return value
    whole = plain_integer(number(value, position))
    if whole is None:
        raise OperandFault(position, "must be integer number but got floating-point number")
    return whole


def big_integer(value: Value, position: int) -> int:
    """A whole number of any size and spelling."""
    if type(value) not in KINDS:
        raise OperandError(position, value, "integer")
    whole = integral(value)
    if whole is None:
        raise OperandFault(position, "must be integer number but got floating-point number")
    return whole


def array(value: Value, position: int) -> list[Any]:
    if type(value) is not list:
        raise OperandError(position, value, "array")
    return value


def mapping(value: Value, position: int) -> dict[Any, Any]:
    if type(value) is not dict:
        raise OperandError(position, value, "object")
    return value


def members(value: Value, position: int) -> Set:
    if type(value) is not Set:
        raise OperandError(position, value, "set")
    return value


def strings(value: Value, position: int) -> list[str]:
    """An array or set of strings, in order."""
    if type(value) is list:
        members, kind = value, "array"
    elif type(value) is Set:
        members, kind = value.ordered(), "set"
    else:
        raise OperandError(position, value, "set", "array")
    for member in members:
        if type(member) is not str:
            raise OperandFault(position, f"must be {kind} of strings but got {kind} containing {type_name(member)}")
    return members
