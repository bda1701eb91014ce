"""Peers in pieces that no rule divides, each with the rules that mean it: what thousands of rules say, piece by piece.

Where rules are about few peers each, a piece has few rules, and all of them together are as many as those meetings; a
fold of all rules over all peers at once is their product. Meetings are counted, and too many are refused.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, TypeVar

from custody.errors import UnsupportedError
from custody.network.intervals import Intervals

MOST = 4_000_000
"""Meetings of a rule and a piece: some seconds, and some hundred megabytes."""
_S = TypeVar("_S")


def too_many() -> UnsupportedError:
    return UnsupportedError("rules about one pod", f"more than {MOST:,} meetings of a rule and a peer are not judged",
                            hint="fewer rules whose blocks or selectors lie in one another; or files apart")


def of_classes(spaces: Sequence[int], universe: int) -> dict[tuple[int, ...], int]:
    """Pieces of the universe, by the positions of the spaces that hold them. Raises UnsupportedError."""
    if sum((space & universe).bit_count() for space in spaces) > MOST:
        return _refined(spaces, universe)
    meeting: dict[int, list[int]] = {}
    rest = universe
    for at, space in enumerate(spaces):
        inside = space & universe
        rest &= ~inside
        while inside:
            lowest = inside & -inside
            meeting.setdefault(lowest.bit_length(), []).append(at)
            inside ^= lowest
    pieces: dict[tuple[int, ...], int] = {(): rest} if rest else {}
    for length, numbers in meeting.items():
        key = tuple(numbers)
        pieces[key] = pieces.get(key, 0) | 1 << (length - 1)
    return pieces


def _refined(spaces: Sequence[int], universe: int) -> dict[tuple[int, ...], int]:
    """The same where rules mean many classes each, most of which are one piece."""
    parts: list[tuple[int, list[int]]] = [(universe, [])] if universe else []
    count = 0
    for at, space in enumerate(spaces):
        after: list[tuple[int, list[int]]] = []
        for bits, numbers in parts:
            inside = bits & space
            count += 1
            if inside and inside != bits:
                after.append((bits ^ inside, list(numbers)))
                count += len(numbers)
            if inside:
                numbers.append(at)
            after.append((inside or bits, numbers))
        if count > MOST:
            raise too_many()
        parts = after
    return {tuple(numbers): bits for bits, numbers in parts}


def of_addresses(spaces: Sequence[Intervals], universe: Intervals) -> dict[tuple[int, ...], Intervals]:
    """The same of addresses."""
    inside = [space & universe for space in spaces]
    edges = sorted({edge for space in (universe, *inside) for first, last in space for edge in (first, last + 1)})
    meeting: list[list[int]] = [[] for _ in edges]
    count = 0
    for at, space in enumerate(inside):
        for first, last in space:
            left, right = bisect_left(edges, first), bisect_right(edges, last)
            count += right - left
            if count > MOST:
                raise too_many()
            for piece in range(left, right):
                meeting[piece].append(at)
    told: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for piece, first in enumerate(edges[:-1]):
        if first in universe:
            told.setdefault(tuple(meeting[piece]), []).append((first, edges[piece + 1] - 1))
    return {key: Intervals(pairs) for key, pairs in told.items()}


def pieces(spaces: Sequence[_S], universe: _S) -> dict[tuple[int, ...], _S]:
    """Either, by what the universe is."""
    chosen: Any = of_classes if isinstance(universe, int) else of_addresses
    result: dict[tuple[int, ...], _S] = chosen(spaces, universe)
    return result
