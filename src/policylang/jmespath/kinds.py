"""Types of values as JMESPath names them, and of constants before anything is evaluated."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any


def fits(value: Any, kinds: tuple[str, ...]) -> bool:
    kind = "string" if isinstance(value, str) else "number" if is_number(value) else ""
    return kind in kinds


def is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def is_number_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and is_number(node.value)


def _all_strings(values: list[Any]) -> bool:
    return all(type(value) is str for value in values)


def _all_numbers(values: list[Any]) -> bool:
    return all(map(is_number, values))


ALL_OF: dict[str, Callable[[list[Any]], bool]] = {"array[string]": _all_strings, "array[number]": _all_numbers}
