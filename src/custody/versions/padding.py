"""Rows of parts of which the shorter goes on with zeros for ever: 1.0 and 1.0.0 are one, and 1.0.a is before 1.0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def padded(parts: Sequence[Any], zero: Any) -> tuple[Any, ...]:
    """A tuple that sorts as the row with its endless zeros does; the parts sort among themselves.

    A zero says whether what comes after it, and all zeros, is more than zero or less: as against a row that ends there.
    """
    row = list(parts)
    while row and row[-1] == zero:
        row.pop()
    result: list[Any] = [(zero, 0)]
    after = 0
    for part in reversed(row):
        if part != zero:
            after = 1 if part > zero else -1
            result.append((part, 0))
        else:
            result.append((zero, after))
    return tuple(reversed(result))
