"""Sets of whole numbers as sorted intervals: of ports, all protocols in one; of addresses, both families in one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

_KEPT = 1 << 16
_SMALL = 64
"""Intervals of both sides."""


class Intervals:
    """An immutable set of whole numbers. Equal sets are equal objects for `==` and `hash`, whatever made them.

    `a ^ b` is what is in one of both; with `b` a part of `a` that is the rest of `a`.
    """

    __slots__ = ("_hash", "pairs")

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        """Of (first, last), both inside, in any order."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(pairs):
            if merged and first <= merged[-1][1] + 1:
                if last > merged[-1][1]:
                    merged[-1] = (merged[-1][0], last)
            elif first <= last:
                merged.append((first, last))
        self.pairs = tuple(merged)
        self._hash = hash(self.pairs)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Intervals) and self.pairs == other.pairs)

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def __len__(self) -> int:
        """How many numbers are in it; only of ports, since those of IPv6 are more than a length can be."""
        return sum(last - first + 1 for first, last in self.pairs)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.pairs)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self.pairs, (number, 1 << 200)) - 1
        return at >= 0 and number <= self.pairs[at][1]

    def __or__(self, other: Intervals) -> Intervals:
        if not other.pairs or self == other:
            return self
        return _union(self, other) if self.pairs else other

    def __and__(self, other: Intervals) -> Intervals:
        left, right = self.pairs, other.pairs
        if not left or not right or left[-1][1] < right[0][0] or right[-1][1] < left[0][0]:
            return EMPTY
        return self if left == right else _intersection(self, other)

    def __sub__(self, other: Intervals) -> Intervals:
        return EMPTY if self == other else _difference(self, other) if self.pairs and other.pairs else self

    def __xor__(self, other: Intervals) -> Intervals:
        return (self - other) | (other - self)

    def __repr__(self) -> str:
        return f"Intervals({self.pairs!r})"


EMPTY = Intervals()
_Operation = Callable[[Intervals, Intervals], Intervals]


def _small(operation: _Operation) -> _Operation:
    """Answers about small sets are kept, since pods have them alike; large ones would fill the memory."""
    kept = lru_cache(_KEPT)(operation)

    def answer(left: Intervals, right: Intervals) -> Intervals:
        return (kept if len(left.pairs) + len(right.pairs) <= _SMALL else operation)(left, right)

    return answer


@_small
def _union(left: Intervals, right: Intervals) -> Intervals:
    return Intervals(left.pairs + right.pairs)


@_small
def _intersection(left: Intervals, right: Intervals) -> Intervals:
    pairs: list[tuple[int, int]] = []
    if len(left.pairs) < len(right.pairs):
        left, right = right, left
    # Few intervals in many are looked up; only those of the many that may meet them are gone through.
    here = max(0, bisect_right(left.pairs, right.pairs[0]) - 1)
    there = 0
    while here < len(left.pairs) and there < len(right.pairs):
        first = max(left.pairs[here][0], right.pairs[there][0])
        last = min(left.pairs[here][1], right.pairs[there][1])
        if first <= last:
            pairs.append((first, last))
        if left.pairs[here][1] < right.pairs[there][1]:
            here += 1
        else:
            there += 1
    return _of_sorted(pairs)


@_small
def _difference(left: Intervals, right: Intervals) -> Intervals:
    pairs: list[tuple[int, int]] = []
    begin = 0
    for first, last in left.pairs:
        start = first
        while begin < len(right.pairs) and right.pairs[begin][1] < start:
            begin += 1
        at = begin
        while at < len(right.pairs) and right.pairs[at][0] <= last:
            if start < right.pairs[at][0]:
                pairs.append((start, right.pairs[at][0] - 1))
            start = right.pairs[at][1] + 1
            at += 1
        if start <= last:
            pairs.append((start, last))
    return _of_sorted(pairs)


def _of_sorted(pairs: list[tuple[int, int]]) -> Intervals:
    """Of intervals that are in order and do not touch: parts of some that did not."""
    result = Intervals.__new__(Intervals)
    result.pairs = tuple(pairs)
    result._hash = hash(result.pairs)
    return result
