"""The standard library: every function and operator of cel-spec with cel-go's overload ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policylang.cel import types
from policylang.cel.cost import prices
from policylang.cel.cost.units import CONSTANT, Cost
from policylang.cel.library import Constant, Function, Library, Overload
from policylang.cel.syntax import macros
from policylang.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    map_of,
    type_of,
    type_param,
)
from policylang.cel.values import arithmetic, containers, conversions, equality, errors, patterns, times
from policylang.cel.values.values import TypeValue

_A, _B = type_param("A"), type_param("B")
_LIST, _MAP = list_of(_A), map_of(_A, _B)
_SHORT = {"int": "int64", "uint": "uint64"}


def _word(of: Type) -> str:
    return _SHORT.get(of.kind, of.kind)


def _one(name: str, call: Callable[..., Any], *overloads: tuple[str, tuple[Type, ...], Type, Cost],
         member: bool = False, metered: bool = False) -> Function:
    return Function(name, tuple(Overload(key, params, result, call, cost, member, metered=metered)
                                for key, params, result, cost in overloads))


def _ordered(name: str, word: str, call: Callable[..., Any]) -> Function:
    numbers = (INT, UINT, DOUBLE)
    overloads = [(f"{word}_{_word(of)}", (of, of), BOOL, prices.COMPARE if of in (STRING, BYTES) else CONSTANT)
                 for of in (BOOL, INT, UINT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION)]
    overloads += [(f"{word}_{_word(left)}_{_word(right)}", (left, right), BOOL, CONSTANT)
                  for left in numbers for right in numbers if left is not right]
    return _one(name, call, *overloads)


def _constant(*overloads: tuple[str, tuple[Type, ...], Type]) -> list[tuple[str, tuple[Type, ...], Type, Cost]]:
    """Whatever the arguments are, these cost 1."""
    return [(*overload, CONSTANT) for overload in overloads]


def _add(left: Any, right: Any, meter: Any) -> Any:
    return arithmetic.add(left, right, meter.size)


_ARITHMETIC = (
    _one("_+_", _add,
         *_constant(("add_int64", (INT, INT), INT), ("add_uint64", (UINT, UINT), UINT),
                    ("add_double", (DOUBLE, DOUBLE), DOUBLE)),
         ("add_string", (STRING, STRING), STRING, prices.JOIN_TEXTS),
         ("add_bytes", (BYTES, BYTES), BYTES, prices.JOIN_TEXTS),
         ("add_list", (_LIST, _LIST), _LIST, prices.JOIN_LISTS),
         *_constant(("add_timestamp_duration", (TIMESTAMP, DURATION), TIMESTAMP),
                    ("add_duration_timestamp", (DURATION, TIMESTAMP), TIMESTAMP),
                    ("add_duration_duration", (DURATION, DURATION), DURATION)), metered=True),
    _one("_-_", arithmetic.subtract, *_constant(
        ("subtract_int64", (INT, INT), INT), ("subtract_uint64", (UINT, UINT), UINT),
        ("subtract_double", (DOUBLE, DOUBLE), DOUBLE),
        ("subtract_timestamp_timestamp", (TIMESTAMP, TIMESTAMP), DURATION),
        ("subtract_timestamp_duration", (TIMESTAMP, DURATION), TIMESTAMP),
        ("subtract_duration_duration", (DURATION, DURATION), DURATION))),
    _one("_*_", arithmetic.multiply, *_constant(
        ("multiply_int64", (INT, INT), INT), ("multiply_uint64", (UINT, UINT), UINT),
        ("multiply_double", (DOUBLE, DOUBLE), DOUBLE))),
    _one("_/_", arithmetic.divide, *_constant(
        ("divide_int64", (INT, INT), INT), ("divide_uint64", (UINT, UINT), UINT),
        ("divide_double", (DOUBLE, DOUBLE), DOUBLE))),
    _one("_%_", arithmetic.remainder, *_constant(("modulo_int64", (INT, INT), INT),
                                                 ("modulo_uint64", (UINT, UINT), UINT))),
    # A duration may be negated, but cel-go's checker does not know it.
    _one("-_", arithmetic.negate, *_constant(("negate_int64", (INT,), INT), ("negate_double", (DOUBLE,), DOUBLE))),
)

# Of what is no function but a form of its own, the cost is in the form: see cost.estimator and compile.costs.
_LOGIC = (
    _one("_&&_", errors.overload, ("logical_and", (BOOL, BOOL), BOOL, CONSTANT)),
    _one("_||_", errors.overload, ("logical_or", (BOOL, BOOL), BOOL, CONSTANT)),
    _one("_?_:_", errors.overload, ("conditional", (BOOL, _A, _A), _A, CONSTANT)),
    _one("!_", arithmetic.invert, ("logical_not", (BOOL,), BOOL, CONSTANT)),
    _one("_==_", equality.equal, ("equals", (_A, _A), BOOL, prices.COMPARE)),
    _one("_!=_", equality.unequal, ("not_equals", (_A, _A), BOOL, prices.COMPARE)),
    _ordered("_<_", "less", arithmetic.less),
    _ordered("_<=_", "less_equals", arithmetic.less_equal),
    _ordered("_>_", "greater", arithmetic.greater),
    _ordered("_>=_", "greater_equals", arithmetic.greater_equal),
    _one("@in", equality.contains,
         ("in_list", (_A, _LIST), BOOL, prices.IN_LIST), ("in_map", (_A, _MAP), BOOL, CONSTANT)),
    _one("_[_]", containers.index, ("index_list", (_LIST, INT), _A, CONSTANT), ("index_map", (_MAP, _A), _B, CONSTANT)),
)

_SIZE = Function("size", tuple(
    Overload(f"{'' if member else 'size_'}{word}{'_size' if member else ''}", (of,), INT, containers.size, CONSTANT,
             member)
    for member in (False, True)
    for word, of in (("string", STRING), ("bytes", BYTES), ("list", _LIST), ("map", _MAP))))
_WALKED = {(STRING, BYTES): prices.TEXT_TO_BYTES, (BYTES, STRING): prices.BYTES_TO_TEXT}


def _conversion(to: Type, name: str, dispatch: Callable[[Any], Any],
                froms: dict[Type, Callable[[Any], Any] | None]) -> Function:
    return Function(name, tuple(
        Overload(f"{_word(of)}_to_{_word(to)}", (of,), to, call or dispatch, _WALKED.get((of, to), CONSTANT), fold=True)
        for of, call in froms.items()))


_CONVERSIONS = (
    _conversion(INT, "int", conversions.to_int, {
        INT: None, UINT: conversions.int_from_uint, DOUBLE: conversions.int_from_double,
        STRING: conversions.int_from_string, TIMESTAMP: conversions.int_from_timestamp,
        DURATION: conversions.int_from_duration}),
    _conversion(UINT, "uint", conversions.to_uint, {
        UINT: None, INT: conversions.uint_from_int, DOUBLE: conversions.uint_from_double,
        STRING: conversions.uint_from_string}),
    _conversion(DOUBLE, "double", conversions.to_double, {DOUBLE: None, INT: None, UINT: None,
                                                      STRING: conversions.double_from_string}),
    _conversion(BOOL, "bool", conversions.to_bool, {BOOL: None, STRING: conversions.bool_from_string}),
    _conversion(STRING, "string", conversions.to_string, {
        STRING: None, BOOL: conversions.string_from_bool, INT: conversions.string_from_int,
        UINT: conversions.string_from_int,
        DOUBLE: conversions.string_from_double, BYTES: conversions.string_from_bytes, TIMESTAMP: times.show_timestamp,
        DURATION: times.show_duration}),
    _conversion(BYTES, "bytes", conversions.to_bytes, {BYTES: None, STRING: None}),
    _conversion(TIMESTAMP, "timestamp", conversions.to_timestamp, {
        TIMESTAMP: None, STRING: times.parse_timestamp, INT: conversions.timestamp_from_int}),
    _conversion(DURATION, "duration", conversions.to_duration, {
        DURATION: None, STRING: times.parse_duration, INT: None}),
    Function("dyn", (Overload("to_dyn", (_A,), DYN, lambda value: value, CONSTANT),)),
    Function("type", (Overload("type", (_A,), type_of(_A), containers.type_value, CONSTANT),)),
)


_STRINGS = (
    _one("contains", lambda text, part: part in text, ("contains_string", (STRING, STRING), BOOL, prices.CONTAINS),
         member=True),
    _one("startsWith", str.startswith, ("starts_with_string", (STRING, STRING), BOOL, prices.AFFIX), member=True),
    _one("endsWith", str.endswith, ("ends_with_string", (STRING, STRING), BOOL, prices.AFFIX), member=True),
    Function("matches", (Overload("matches", (STRING, STRING), BOOL, patterns.matches, CONSTANT, metered=True),
                         Overload("matches_string", (STRING, STRING), BOOL, patterns.matches, prices.MATCHES,
                                  member=True, metered=True))),
)


def _accessor(name: str, call: Callable[..., Any], word: str, of_duration: bool = False) -> Function:
    overloads = _constant((f"timestamp_to_{word}", (TIMESTAMP,), INT),
                          (f"timestamp_to_{word}_with_tz", (TIMESTAMP, STRING), INT))
    if of_duration:
        overloads += _constant((f"duration_to_{word}", (DURATION,), INT))
    return _one(name, call, *overloads, member=True)


_TIMES = (
    _accessor("getFullYear", times.full_year, "year"),
    _accessor("getMonth", times.month, "month"),
    _accessor("getDayOfYear", times.day_of_year, "day_of_year"),
    _accessor("getDayOfMonth", times.day_of_month, "day_of_month"),
    _accessor("getDate", times.date, "day_of_month_1_based"),
    _accessor("getDayOfWeek", times.day_of_week, "day_of_week"),
    _accessor("getHours", times.hours, "hours", True),
    _accessor("getMinutes", times.minutes, "minutes", True),
    _accessor("getSeconds", times.seconds, "seconds", True),
    _accessor("getMilliseconds", times.milliseconds, "milliseconds", True),
)

_CONSTANTS = tuple(Constant(name, type_of(of), TypeValue(name)) for name, of in types.NAMED.items() if name != "dyn")

STANDARD = Library("cel.lib.std", functions=_ARITHMETIC + _LOGIC + (_SIZE,) + _CONVERSIONS + _STRINGS + _TIMES,
                   macros=macros.STANDARD, constants=_CONSTANTS)
