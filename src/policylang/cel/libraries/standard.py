"""The standard library: every function and operator of cel-spec with cel-go's overload ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policylang.budget import Meter
from policylang.cel import types
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
    optional_of,
    type_of,
    type_param,
)
from policylang.cel.values import arithmetic, containers, conversions, equality, errors, times
from policylang.cel.values.errors import CelError
from policylang.cel.values.values import NONE, Optional, TypeValue
from policylang.go import regex

_A, _B = type_param("A"), type_param("B")
_LIST, _MAP = list_of(_A), map_of(_A, _B)
_SHORT = {"int": "int64", "uint": "uint64"}


def _word(of: Type) -> str:
    return _SHORT.get(of.kind, of.kind)


def _one(name: str, call: Callable[..., Any], *overloads: tuple[str, tuple[Type, ...], Type], member: bool = False,
         metered: bool = False) -> Function:
    return Function(name, tuple(Overload(key, params, result, call, member, metered=metered)
                                for key, params, result in overloads))


def _ordered(name: str, word: str, call: Callable[..., Any]) -> Function:
    same = [BOOL, INT, UINT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION]
    numbers = (INT, UINT, DOUBLE)
    overloads = [(f"{word}_{_word(each)}", (each, each), BOOL) for each in same]
    overloads += [(f"{word}_{_word(one)}_{_word(other)}", (one, other), BOOL)
                  for one in numbers for other in numbers if one is not other]
    return _one(name, call, *overloads)


def _add(left: Any, right: Any, meter: Any) -> Any:
    return arithmetic.add(left, right, meter.size)


_ARITHMETIC = (
    _one("_+_", _add, ("add_int64", (INT, INT), INT), ("add_uint64", (UINT, UINT), UINT),
         ("add_double", (DOUBLE, DOUBLE), DOUBLE), ("add_string", (STRING, STRING), STRING),
         ("add_bytes", (BYTES, BYTES), BYTES), ("add_list", (_LIST, _LIST), _LIST),
         ("add_timestamp_duration", (TIMESTAMP, DURATION), TIMESTAMP),
         ("add_duration_timestamp", (DURATION, TIMESTAMP), TIMESTAMP),
         ("add_duration_duration", (DURATION, DURATION), DURATION), metered=True),
    _one("_-_", arithmetic.subtract, ("subtract_int64", (INT, INT), INT), ("subtract_uint64", (UINT, UINT), UINT),
         ("subtract_double", (DOUBLE, DOUBLE), DOUBLE),
         ("subtract_timestamp_timestamp", (TIMESTAMP, TIMESTAMP), DURATION),
         ("subtract_timestamp_duration", (TIMESTAMP, DURATION), TIMESTAMP),
         ("subtract_duration_duration", (DURATION, DURATION), DURATION)),
    _one("_*_", arithmetic.multiply, ("multiply_int64", (INT, INT), INT), ("multiply_uint64", (UINT, UINT), UINT),
         ("multiply_double", (DOUBLE, DOUBLE), DOUBLE)),
    _one("_/_", arithmetic.divide, ("divide_int64", (INT, INT), INT), ("divide_uint64", (UINT, UINT), UINT),
         ("divide_double", (DOUBLE, DOUBLE), DOUBLE)),
    _one("_%_", arithmetic.remainder, ("modulo_int64", (INT, INT), INT), ("modulo_uint64", (UINT, UINT), UINT)),
    # A duration may be negated, but cel-go's checker does not know it.
    _one("-_", arithmetic.negate, ("negate_int64", (INT,), INT), ("negate_double", (DOUBLE,), DOUBLE)),
)

_LOGIC = (
    _one("_&&_", errors.overload, ("logical_and", (BOOL, BOOL), BOOL)),
    _one("_||_", errors.overload, ("logical_or", (BOOL, BOOL), BOOL)),
    _one("_?_:_", errors.overload, ("conditional", (BOOL, _A, _A), _A)),
    _one("!_", arithmetic.invert, ("logical_not", (BOOL,), BOOL)),
    _one("_==_", equality.equal, ("equals", (_A, _A), BOOL)),
    _one("_!=_", equality.unequal, ("not_equals", (_A, _A), BOOL)),
    _ordered("_<_", "less", arithmetic.less),
    _ordered("_<=_", "less_equals", arithmetic.less_equal),
    _ordered("_>_", "greater", arithmetic.greater),
    _ordered("_>=_", "greater_equals", arithmetic.greater_equal),
    _one("@in", equality.contains, ("in_list", (_A, _LIST), BOOL), ("in_map", (_A, _MAP), BOOL)),
    _one("_[_]", containers.index, ("index_list", (_LIST, INT), _A), ("index_map", (_MAP, _A), _B)),
)

_SIZE = Function("size", tuple(
    Overload(f"{'' if member else 'size_'}{word}{'_size' if member else ''}", (of,), INT, containers.size, member)
    for member in (False, True)
    for word, of in (("string", STRING), ("bytes", BYTES), ("list", _LIST), ("map", _MAP))))


def _conversion(to: Type, name: str, dispatch: Callable[[Any], Any],
                froms: dict[Type, Callable[[Any], Any] | None]) -> Function:
    return Function(name, tuple(
        Overload(f"{_word(each)}_to_{_word(to)}", (each,), to, call or dispatch, fold=True)
        for each, call in froms.items()))


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
    Function("dyn", (Overload("to_dyn", (_A,), DYN, lambda value: value),)),
    Function("type", (Overload("type", (_A,), type_of(_A), containers.type_value),)),
)


def matches(text: str, pattern: str, meter: Meter) -> bool:
    """Whether RE2 finds the pattern anywhere in the text; for patterns that are not known before."""
    meter.spend(32)
    if type(text) is not str or type(pattern) is not str:
        raise CelError("no such overload")
    try:
        return regex.compiled(pattern).search(text) is not None
    except regex.PatternError as wrong:
        raise CelError(wrong.message) from None


_STRINGS = (
    _one("contains", lambda text, part: part in text, ("contains_string", (STRING, STRING), BOOL), member=True),
    _one("startsWith", str.startswith, ("starts_with_string", (STRING, STRING), BOOL), member=True),
    _one("endsWith", str.endswith, ("ends_with_string", (STRING, STRING), BOOL), member=True),
    Function("matches", (Overload("matches", (STRING, STRING), BOOL, matches, metered=True),
                         Overload("matches_string", (STRING, STRING), BOOL, matches, member=True, metered=True))),
)


def _accessor(name: str, call: Callable[..., Any], word: str, of_duration: bool = False) -> Function:
    overloads = [(f"timestamp_to_{word}", (TIMESTAMP,), INT),
                 (f"timestamp_to_{word}_with_tz", (TIMESTAMP, STRING), INT)]
    if of_duration:
        overloads.append((f"duration_to_{word}", (DURATION,), INT))
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


# ── optional values ─────────────────────────────────────────────────────────────────────────────────────────────────

_V = type_param("V")
_OPTIONAL = optional_of(_V)


def _value(held: Optional) -> Any:
    if held.present:
        return held.value
    raise CelError("optional.none() dereference")


def is_zero(value: Any) -> bool:
    """Whether a value is its type's zero value, or null."""
    if value is None:
        return True
    if type(value) is Optional:
        return not value.present
    if isinstance(value, (bool, int, float, str, bytes, list, dict)):
        return not value
    if hasattr(value, "cel_is_zero"):
        return bool(value.cel_is_zero())
    return getattr(value, "ns", 1) == 0


def _first(values: list[Any]) -> Optional:
    return Optional(values[0]) if values else NONE


def _last(values: list[Any]) -> Optional:
    return Optional(values[-1]) if values else NONE


OPTIONAL = Library("cel.lib.optional", version=2, functions=(
    Function("optional.of", (Overload("optional_of", (_V,), _OPTIONAL, Optional),)),
    Function("optional.ofNonZeroValue", (
        Overload("optional_ofNonZeroValue", (_V,), _OPTIONAL,
                 lambda value: NONE if is_zero(value) else Optional(value)),)),
    Function("optional.none", (Overload("optional_none", (), _OPTIONAL, lambda: NONE),)),
    Function("optional.unwrap", (Overload("optional_unwrap", (list_of(_OPTIONAL),), list_of(_V),
                                          lambda values: [each.value for each in values if each.present]),)),
    Function("unwrapOpt", (Overload("optional_unwrapOpt", (list_of(_OPTIONAL),), list_of(_V),
                                    lambda values: [each.value for each in values if each.present], member=True),)),
    Function("value", (Overload("optional_value", (_OPTIONAL,), _V, _value, member=True),)),
    Function("hasValue", (Overload("optional_hasValue", (_OPTIONAL,), BOOL, lambda held: held.present,
                                   member=True),)),
    Function("or", (Overload("optional_or_optional", (_OPTIONAL, _OPTIONAL), _OPTIONAL, None, member=True,
                             strict=False),)),
    Function("orValue", (Overload("optional_orValue_value", (_OPTIONAL, _V), _V, None, member=True, strict=False),)),
    Function("first", (Overload("list_first", (list_of(_V),), _OPTIONAL, _first, member=True),)),
    Function("last", (Overload("list_last", (list_of(_V),), _OPTIONAL, _last, member=True),)),
    Function("_?._", (Overload("select_optional_field", (DYN, STRING), _OPTIONAL, containers.optional_field),)),
    Function("_[?_]", (
        Overload("list_optindex_optional_int", (list_of(_V), INT), _OPTIONAL, containers.optional_index),
        Overload("optional_list_optindex_optional_int", (optional_of(list_of(_V)), INT), _OPTIONAL,
                 containers.optional_index),
        Overload("map_optindex_optional_value", (map_of(_A, _V), _A), _OPTIONAL, containers.optional_index),
        Overload("optional_map_optindex_optional_value", (optional_of(map_of(_A, _V)), _A), _OPTIONAL,
                 containers.optional_index))),
    Function("_[_]", (
        Overload("optional_list_index_int", (optional_of(list_of(_V)), INT), _OPTIONAL, containers.index),
        Overload("optional_map_index_value", (optional_of(map_of(_A, _V)), _A), _OPTIONAL, containers.index))),
), macros=macros.OPTIONALS, constants=(
    Constant("optional_type", type_of(optional_of(DYN)), TypeValue("optional_type")),))
