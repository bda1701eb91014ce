"""Checks of operands, with errors in OPA's words (v1/topdown/builtins)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from custody.languages.rego.declare import BuiltinError, OperandError
from custody.languages.rego.values import Set, Value, type_name


class OperandFault(BuiltinError):  # noqa: N818 - beside OperandError, which says what was got
    """`eval_type_error` with a text of its own: `operand 2 must be one of {2, 8, 10, 16}`."""

    code = "eval_type_error"

    def __init__(self, position: int, message: str) -> None:
        super().__init__(f"operand {position} {message}")


def string(value: Value, position: int) -> str:
    if type(value) is not str:
        raise OperandError(position, value, "string")
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


def number(value: Value, position: int) -> int | float:
    if type(value) is not int and type(value) is not float:
        raise OperandError(position, value, "number")
    return value


def integer(value: Value, position: int) -> int:
    if type(value) is not int:
        if type(value) is float:
            raise OperandFault(position, "must be integer number but got floating-point number")
        raise OperandError(position, value, "number")
    return value


def big_integer(value: Value, position: int) -> int:
    if type(value) is not int and type(value) is not float:
        raise OperandError(position, value, "integer")
    return integer(value, position)


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
        found, kind = value, "array"
    elif type(value) is Set:
        found, kind = value.ordered(), "set"
    else:
        raise OperandError(position, value, "set", "array")
    for each in found:
        if type(each) is not str:
            raise OperandFault(position, f"must be {kind} of strings but got {kind} containing {type_name(each)}")
    return found
