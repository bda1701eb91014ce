"""Optional values: `a.?b`, `x[?key]`, and what an optional holds (cel-go's cel.lib.optional)."""

from __future__ import annotations

from typing import Any

from policylang.cel.cost.units import CONSTANT
from policylang.cel.library import Constant, Function, Library, Overload
from policylang.cel.syntax import macros
from policylang.cel.types import BOOL, DYN, INT, STRING, list_of, map_of, optional_of, type_of, type_param
from policylang.cel.values import containers
from policylang.cel.values.errors import CelError
from policylang.cel.values.values import NONE, Optional, TypeValue

_A = type_param("A")
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


def _unwrap(values: list[Optional]) -> list[Any]:
    return [held.value for held in values if held.present]


OPTIONAL = Library("cel.lib.optional", version=2, functions=(
    Function("optional.of", (Overload("optional_of", (_V,), _OPTIONAL, Optional, CONSTANT),)),
    Function("optional.ofNonZeroValue", (
        Overload("optional_ofNonZeroValue", (_V,), _OPTIONAL,
                 lambda value: NONE if is_zero(value) else Optional(value), CONSTANT),)),
    Function("optional.none", (Overload("optional_none", (), _OPTIONAL, lambda: NONE, CONSTANT),)),
    Function("optional.unwrap", (Overload("optional_unwrap", (list_of(_OPTIONAL),), list_of(_V),
                                          _unwrap, CONSTANT),)),
    Function("unwrapOpt", (Overload("optional_unwrapOpt", (list_of(_OPTIONAL),), list_of(_V),
                                    _unwrap, CONSTANT, member=True),)),
    Function("value", (Overload("optional_value", (_OPTIONAL,), _V, _value, CONSTANT, member=True),)),
    Function("hasValue", (Overload("optional_hasValue", (_OPTIONAL,), BOOL, lambda held: held.present, CONSTANT,
                                   member=True),)),
    Function("or", (Overload("optional_or_optional", (_OPTIONAL, _OPTIONAL), _OPTIONAL, None, CONSTANT, member=True,
                             strict=False),)),
    Function("orValue", (Overload("optional_orValue_value", (_OPTIONAL, _V), _V, None, CONSTANT, member=True,
                                  strict=False),)),
    Function("first", (Overload("list_first", (list_of(_V),), _OPTIONAL, _first, CONSTANT, member=True),)),
    Function("last", (Overload("list_last", (list_of(_V),), _OPTIONAL, _last, CONSTANT, member=True),)),
    Function("_?._", (Overload("select_optional_field", (DYN, STRING), _OPTIONAL, containers.optional_field,
                               CONSTANT),)),
    Function("_[?_]", (
        Overload("list_optindex_optional_int", (list_of(_V), INT), _OPTIONAL, containers.optional_index, CONSTANT),
        Overload("optional_list_optindex_optional_int", (optional_of(list_of(_V)), INT), _OPTIONAL,
                 containers.optional_index, CONSTANT),
        Overload("map_optindex_optional_value", (map_of(_A, _V), _A), _OPTIONAL, containers.optional_index, CONSTANT),
        Overload("optional_map_optindex_optional_value", (optional_of(map_of(_A, _V)), _A), _OPTIONAL,
                 containers.optional_index, CONSTANT))),
    Function("_[_]", (
        Overload("optional_list_index_int", (optional_of(list_of(_V)), INT), _OPTIONAL, containers.index, CONSTANT),
        Overload("optional_map_index_value", (optional_of(map_of(_A, _V)), _A), _OPTIONAL, containers.index,
                 CONSTANT))),
), macros=macros.OPTIONALS, constants=(
    Constant("optional_type", type_of(optional_of(DYN)), TypeValue("optional_type")),))
