"""cel.lib.ext.math: greatest, least, rounding, signs and bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from policylang.cel.cost.units import CONSTANT
from policylang.cel.library import Function, Library, Overload
from policylang.cel.protobuf.wire import signed
from policylang.cel.syntax.expander import Expander, Macro
from policylang.cel.syntax.tree import Call, Ident, ListNode, Literal, MapNode, Node, Struct
from policylang.cel.types import BOOL, DOUBLE, DYN, INT, UINT, Type, list_of
from policylang.cel.values.arithmetic import greater, less
from policylang.cel.values.errors import CelError
from policylang.cel.values.values import INT_MIN, UINT_MAX, Uint

_NUMBERS = (INT, UINT, DOUBLE)
_ALL_BITS = (1 << 64) - 1


def _extreme(name: str, better: Callable[[Any, Any], bool]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def of_list(values: list[Any]) -> Any:
        if not values:
            raise CelError(f"math.@{name}(list) argument must not be empty")
        return of(*values)

    def of(*values: Any) -> Any:
        best = values[0]
        if type(best) not in (int, Uint, float):
            raise CelError("no such overload")
        for value in values[1:]:
            if better(value, best):
                best = value
        return best

    return of, of_list


def _extremes(name: str, better: Callable[[Any, Any], bool]) -> Function:
    of, of_list = _extreme(name, better)
    overloads = [Overload(f"math_@{name}_{number}", (number,), number, of, CONSTANT) for number in _NUMBERS]
    overloads += [Overload(f"math_@{name}_{left}_{right}", (left, right), left if left == right else DYN, of, CONSTANT)
                  for left in _NUMBERS for right in _NUMBERS]
    overloads += [Overload(f"math_@{name}_list_{number}", (list_of(number),), number, of_list, CONSTANT)
                  for number in _NUMBERS]
    return Function(f"math.@{name}", tuple(overloads))


def _macro(word: str, name: str) -> Macro:
    def expand(build: Expander, target: Node | None, args: list[Node]) -> Node | None:
        if not isinstance(target, Ident) or target.name != "math":
            return None
        if not args:
            raise build.error(f"math.{word}() requires at least one argument", target)
        if len(args) == 1 and not (isinstance(args[0], ListNode) and args[0].elements
                                   and not any(map(_no_number, args[0].elements))) \
                and (isinstance(args[0], ListNode) or _no_number(args[0])):
            raise build.error(f"math.{word}() invalid single argument value", args[0])
        if len(args) > 1 and (wrong := next(filter(_no_number, args), None)) is not None:
            raise build.error(f"math.{word}() simple literal arguments must be numeric", wrong)
        arguments: list[Node] = args if len(args) <= 2 else [build.list_of(*args)]
        return Call(f"math.@{name}", None, arguments, *_place(build))

    return Macro(word, -1, True, expand)


def _place(build: Expander) -> tuple[int, int, int]:
    node = build.call("")
    return node.start, node.end, node.at


def _no_number(node: Node) -> bool:
    """A literal that certainly is no number."""
    if isinstance(node, Literal):
        return type(node.value) not in (int, Uint, float)
    return isinstance(node, (ListNode, MapNode, Struct))


def _round(value: float) -> float:
    """Half away from zero."""
    if not math.isfinite(value):
        return value
    whole = math.trunc(value)
    rest = abs(value - whole)
    if rest >= 0.5:
        whole += 1 if value > 0 else -1
    return math.copysign(float(whole), value)


def _whole(convert: Callable[[float], int]) -> Callable[[float], float]:
    return lambda value: math.copysign(float(convert(value)), value) if math.isfinite(value) else value


def _absolute(value: Any) -> Any:
    if type(value) is int:
        if value == INT_MIN:
            raise CelError("integer overflow")
        return abs(value)
    return value if type(value) is Uint else abs(value)


def _sign(value: Any) -> Any:
    if type(value) is float:
        return math.copysign(1.0, value) if value and not math.isnan(value) else value
    return type(value)((value > 0) - (value < 0))


def _root(value: Any) -> float:
    return math.sqrt(value) if value >= 0 else math.nan


def _bits(operate: Callable[[int, int], int]) -> Callable[[Any, Any], Any]:
    def call(left: Any, right: Any) -> Any:
        if type(left) is Uint:
            return Uint(operate(int(left), int(right)))
        return operate(left, right)

    return call


def _complement(value: Any) -> Any:
    return Uint(UINT_MAX ^ int(value)) if type(value) is Uint else ~value


def _shift(name: str, operate: Callable[[int, int], int]) -> Callable[[Any, int], Any]:
    def call(value: Any, by: int) -> Any:
        if by < 0:
            raise CelError(f"math.{name}() negative offset: {by}")
        moved = operate(int(value) & _ALL_BITS, by) & _ALL_BITS if by < 64 else 0
        return Uint(moved) if type(value) is Uint else signed(moved, 64)

    return call


def _function(name: str, *overloads: tuple[str, tuple[Type, ...], Type], call: Callable[..., Any]) -> Function:
    return Function(f"math.{name}", tuple(Overload(f"math_{key}", params, result, call, CONSTANT)
                                          for key, params, result in overloads))


def _each(name: str, word: str, call: Callable[..., Any], of: tuple[Type, ...], result: Type | None = None,
          extra: tuple[Type, ...] = ()) -> Function:
    suffix = "".join(f"_{param.name}" for param in extra)
    return _function(name, *((f"{word}_{operand.name}{suffix}", (operand, *extra), result or operand)
                             for operand in of), call=call)


def _pairs(name: str, word: str, call: Callable[..., Any]) -> Function:
    overloads = ((f"{word}_{operand.name}_{operand.name}", (operand, operand), operand) for operand in (INT, UINT))
    return _function(name, *overloads, call=call)


LIBRARY = Library("cel.lib.ext.math", macros=(_macro("greatest", "max"), _macro("least", "min")), functions=(
    _extremes("max", greater), _extremes("min", less),
    _each("ceil", "ceil", _whole(math.ceil), (DOUBLE,)), _each("floor", "floor", _whole(math.floor), (DOUBLE,)),
    _each("round", "round", _round, (DOUBLE,)), _each("trunc", "trunc", _whole(math.trunc), (DOUBLE,)),
    _each("isInf", "isInf", math.isinf, (DOUBLE,), BOOL), _each("isNaN", "isNaN", math.isnan, (DOUBLE,), BOOL),
    _each("isFinite", "isFinite", math.isfinite, (DOUBLE,), BOOL),
    _each("abs", "abs", _absolute, _NUMBERS), _each("sign", "sign", _sign, _NUMBERS),
    _pairs("bitAnd", "bitAnd", _bits(lambda left, right: left & right)),
    _pairs("bitOr", "bitOr", _bits(lambda left, right: left | right)),
    _pairs("bitXor", "bitXor", _bits(lambda left, right: left ^ right)),
    _each("bitNot", "bitNot", _complement, (INT, UINT)),
    _each("bitShiftLeft", "bitShiftLeft", _shift("bitShiftLeft", lambda value, by: value << by), (INT, UINT),
          extra=(INT,)),
    _each("bitShiftRight", "bitShiftRight", _shift("bitShiftRight", lambda value, by: value >> by), (INT, UINT),
          extra=(INT,)),
    _each("sqrt", "sqrt", _root, _NUMBERS, DOUBLE),
))
SINCE = dict.fromkeys(
    (f"math.{name}" for name in ("ceil", "floor", "round", "trunc", "isInf", "isNaN", "isFinite", "abs", "sign",
                                 "bitAnd", "bitOr", "bitXor", "bitNot", "bitShiftLeft", "bitShiftRight")), 1) \
    | {"math.sqrt": 2}
