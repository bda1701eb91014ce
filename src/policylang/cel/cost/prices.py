"""What calls cost while an expression is evaluated (cel-go interpreter/runtimecost.go, 0.26)."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

from policylang.cel.cost.units import LIST, PATTERN, TRAVERSE
from policylang.cel.values.values import Optional


def size_of(value: Any) -> int:
    """Characters, bytes or elements; a library's class says its own in `cel_size`; 1 for anything else."""
    if isinstance(value, (str, bytes, list, dict)):
        return len(value)
    if isinstance(value, Optional):
        return size_of(value.value) if value.present else 1
    size: int = getattr(value, "cel_size", 1)
    return size


class CelCosts:
    """A CostModel: cel-go's own rules."""

    optimized = False

    def call(self, function: str, overload: str, arguments: tuple[Any, ...], result: Any) -> int:
        library = _LIBRARIES.get(overload)
        if library is not None:
            return library(arguments, result)
        return self.known(function, overload, arguments, result)

    def known(self, function: str, overload: str, arguments: tuple[Any, ...], result: Any) -> int:  # noqa: ARG002
        """Of functions that no library prices."""
        rule = _RULES.get(overload)
        return rule(arguments) if rule else 1

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


def _first(arguments: tuple[Any, ...]) -> int:
    return ceil(size_of(arguments[0]) * TRAVERSE)


def _smaller(arguments: tuple[Any, ...]) -> int:
    return ceil(min(size_of(arguments[0]), size_of(arguments[1])) * TRAVERSE)


def _both(arguments: tuple[Any, ...]) -> int:
    return ceil((size_of(arguments[0]) + size_of(arguments[1])) * TRAVERSE)


def _matches(arguments: tuple[Any, ...]) -> int:
    return ceil((1.0 + size_of(arguments[0])) * TRAVERSE) * ceil(size_of(arguments[1]) * PATTERN)


def _contains(arguments: tuple[Any, ...]) -> int:
    return ceil(size_of(arguments[0]) * TRAVERSE) * ceil(size_of(arguments[1]) * TRAVERSE)


def _new_list(factor: float, size: int) -> int:
    return int(size * factor) + 1 + LIST


def _compared_all(values: Any) -> int:
    factor = 2 + TRAVERSE if values and isinstance(values[0], (str, bytes)) else 2
    return _new_list(factor, len(values) ** 2)


# Of cel-go's libraries: arguments and result.
_LIBRARIES: dict[str, Callable[[tuple[Any, ...], Any], int]] = {
    **{f"list_sets_{word}_list": lambda arguments, _, factor=factor: 1 + int(  # type: ignore[misc]
        size_of(arguments[0]) * size_of(arguments[1]) * factor)
       for word, factor in (("contains", 1), ("intersects", 1), ("equivalent", 2))},
    **dict.fromkeys(("list_slice", "lists_range", "list_reverse"), lambda _, result: _new_list(1, size_of(result))),
    **dict.fromkeys(("list_flatten", "list_flatten_int"), lambda arguments, _: _new_list(
        float(arguments[1]) if len(arguments) == 2 else 1.0, size_of(arguments[0]))),
    "list_distinct": lambda arguments, _: _compared_all(arguments[0]),
    **{f"list_{of}_sort{suffix}": lambda arguments, _, at=at: _compared_all(arguments[at])  # type: ignore[misc]
       for of in ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")
       for at, suffix in enumerate(("", "ByAssociatedKeys"))},
}
_RULES = {
    **dict.fromkeys(("starts_with_string", "ends_with_string", "string_to_bytes", "bytes_to_string", "strings_quote",
                     "string_format"), _first),
    "in_list": lambda arguments: size_of(arguments[1]),
    **{f"{word}_{of}": _smaller for word in ("less", "greater", "less_equals", "greater_equals")
       for of in ("string", "bytes")},
    "equals": _smaller,
    "not_equals": _smaller,
    "add_string": _both,
    "add_bytes": _both,
    "matches_string": _matches,
    "contains_string": _contains,
}
