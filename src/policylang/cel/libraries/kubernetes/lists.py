"""kubernetes.lists: isSorted, sum, min, max, indexOf, lastIndexOf of a list."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from policylang.cel.libraries.kubernetes.prices import WALK
from policylang.cel.library import Library, Overload, function
from policylang.cel.types import BOOL, BYTES, DOUBLE, DURATION, INT, STRING, TIMESTAMP, UINT, Type, list_of, type_param
from policylang.cel.values.arithmetic import add, greater, less
from policylang.cel.values.equality import equal
from policylang.cel.values.errors import CelError
from policylang.cel.values.values import Duration, Uint

_A = type_param("A")
_SUMMABLE: dict[str, tuple[Type, Any]] = {
    "int": (INT, 0), "uint": (UINT, Uint(0)), "double": (DOUBLE, 0.0), "duration": (DURATION, Duration(0)),
}
_COMPARABLE: dict[str, Type] = {
    "int": INT, "uint": UINT, "double": DOUBLE, "bool": BOOL, "duration": DURATION, "timestamp": TIMESTAMP,
    "string": STRING, "bytes": BYTES,
}


def _is_sorted(values: list[Any]) -> bool:
    return not any(greater(value, following) for value, following in pairwise(values))


def _sum(zero: Any) -> Callable[[list[Any]], Any]:
    def total(values: list[Any]) -> Any:
        result = zero
        for value in values:
            result = add(result, value, 1)
        return result

    return total


def _extreme(name: str, better: Callable[[Any, Any], bool]) -> Callable[[list[Any]], Any]:
    def find(values: list[Any]) -> Any:
        if not values:
            raise CelError(f"{name} called on empty list")
        best = values[0]
        for value in values[1:]:
            if better(value, best):
                best = value
        return best

    return find


def _index(values: list[Any], item: Any) -> int:
    return next((at for at, value in enumerate(values) if equal(value, item)), -1)


def _last_index(values: list[Any], item: Any) -> int:
    return next((at for at in range(len(values) - 1, -1, -1) if equal(values[at], item)), -1)


LIBRARY = Library("kubernetes.lists", functions=(
    function("isSorted", *(Overload(f"list_{name}_is_sorted_bool", (list_of(of),), BOOL, _is_sorted, WALK, member=True)
                           for name, of in _COMPARABLE.items())),
    function("sum", *(Overload(f"list_{name}_sum_{name}", (list_of(of),), of, _sum(zero), WALK, member=True)
                      for name, (of, zero) in _SUMMABLE.items())),
    *(function(word, *(Overload(f"list_{name}_{word}_{name}", (list_of(of),), of, _extreme(word, better), WALK,
                                member=True)
                       for name, of in _COMPARABLE.items()))
      for word, better in (("max", greater), ("min", less))),
    function("indexOf", Overload("list_a_index_of_int", (list_of(_A), _A), INT, _index, WALK, member=True)),
    function("lastIndexOf", Overload("list_a_last_index_of_int", (list_of(_A), _A), INT, _last_index, WALK,
                                     member=True)),
))
