"""What calls of cel-go's functions cost (checker/cost.go, interpreter/runtimecost.go, ext/{sets,lists}.go, 0.26)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, Final

from policylang.cel.cost.units import (
    ENDLESS,
    LIST,
    ONE,
    PATTERN,
    TRAVERSE,
    UNKNOWN,
    CallEstimate,
    Cost,
    Estimate,
    Estimated,
    Sized,
    SizeOf,
    fixed,
)
from policylang.cel.syntax.tree import Literal
from policylang.cel.values.values import Optional

_Arguments = tuple[Any, ...]


def size_of(value: Any) -> int:
    """Characters, bytes or elements; a library's class says its own in `cel_size`; 1 for anything else."""
    if isinstance(value, (str, bytes, list, dict)):
        return len(value)
    if isinstance(value, Optional):
        return size_of(value.value) if value.present else 1
    size: int = getattr(value, "cel_size", 1)
    return size


def _known(sized: Sized) -> Estimate:
    return sized.size or UNKNOWN


# ── texts ───────────────────────────────────────────────────────────────────────────────────────────────────────────

def first_walked(arguments: _Arguments, _: Any) -> int:
    """A look at every character of the first argument, which is the target where there is one."""
    return ceil(size_of(arguments[0]) * TRAVERSE)


def _target_walked(_: SizeOf, target: Sized | None, __: Sequence[Sized]) -> CallEstimate | None:
    return CallEstimate(_known(target).scaled(TRAVERSE)) if target else None


def _argument_walked(_: SizeOf, __: Sized | None, args: Sequence[Sized]) -> CallEstimate | None:
    return CallEstimate(_known(args[0]).scaled(TRAVERSE)) if args else None


def _made(result: Callable[[Estimate], Estimate]) -> Estimated:
    def estimate(_: SizeOf, __: Sized | None, args: Sequence[Sized]) -> CallEstimate:
        size = _known(args[0])
        return CallEstimate(size.scaled(TRAVERSE), result(size))

    return estimate


def _matches(arguments: _Arguments, _: Any) -> int:
    return ceil((1.0 + size_of(arguments[0])) * TRAVERSE) * ceil(size_of(arguments[1]) * PATTERN)


def _may_match(_: SizeOf, target: Sized | None, args: Sequence[Sized]) -> CallEstimate | None:
    if target is None or len(args) != 1:
        return None
    return CallEstimate(_known(target).plus(ONE).scaled(TRAVERSE).times(_known(args[0]).scaled(PATTERN)))


def _contains(arguments: _Arguments, _: Any) -> int:
    return ceil(size_of(arguments[0]) * TRAVERSE) * ceil(size_of(arguments[1]) * TRAVERSE)


def _may_contain(_: SizeOf, target: Sized | None, args: Sequence[Sized]) -> CallEstimate | None:
    if target is None:
        return None
    return CallEstimate(_known(target).scaled(TRAVERSE).times(_known(args[0]).scaled(TRAVERSE)))


FORMAT: Final = Cost(first_walked, _target_walked)
AFFIX: Final = Cost(first_walked, _argument_walked)  # startsWith, endsWith
QUOTE: Final = Cost(first_walked, _made(lambda size: Estimate(size.least + 2, size.most * 2 + 2 & ENDLESS)))
TEXT_TO_BYTES: Final = Cost(first_walked, _made(lambda size: Estimate(size.least, size.most * 4 & ENDLESS)))
BYTES_TO_TEXT: Final = Cost(first_walked, _made(lambda size: Estimate(size.least // 4, size.most)))
MATCHES: Final = Cost(_matches, _may_match)
CONTAINS: Final = Cost(_contains, _may_contain)


# ── operators ───────────────────────────────────────────────────────────────────────────────────────────────────────

def compared(arguments: _Arguments, _: Any) -> int:
    """A look at every character or element that both have."""
    return ceil(min(size_of(arguments[0]), size_of(arguments[1])) * TRAVERSE)


def may_compare(_: SizeOf, __: Sized | None, args: Sequence[Sized]) -> CallEstimate:
    most = min(_known(args[0]).most, _known(args[1]).most)
    return CallEstimate(Estimate(1 if most else 0, most).scaled(TRAVERSE))


def _joined(arguments: _Arguments, _: Any) -> int:
    return ceil((size_of(arguments[0]) + size_of(arguments[1])) * TRAVERSE)


def _may_join(_: SizeOf, __: Sized | None, args: Sequence[Sized]) -> CallEstimate:
    size = _known(args[0]).plus(_known(args[1]))
    return CallEstimate(size.scaled(TRAVERSE), size)


def _may_join_lists(_: SizeOf, __: Sized | None, args: Sequence[Sized]) -> CallEstimate:
    return CallEstimate(ONE, _known(args[0]).plus(_known(args[1])))


COMPARE: Final = Cost(compared, may_compare)
JOIN_TEXTS: Final = Cost(_joined, _may_join)
JOIN_LISTS: Final = Cost(lambda arguments, result: 1, _may_join_lists)  # noqa: ARG005 - as all others
IN_LIST: Final = Cost(lambda arguments, _: size_of(arguments[1]),
                      lambda _, __, args: CallEstimate(_known(args[1]).scaled(1)))


# ── sets and lists ──────────────────────────────────────────────────────────────────────────────────────────────────

def _sets(factor: float) -> Cost:
    def estimate(size: SizeOf, _: Sized | None, args: Sequence[Sized]) -> CallEstimate:
        return CallEstimate(size(args[0]).times(size(args[1])).scaled(factor).plus(ONE))

    return Cost(lambda arguments, _: 1 + int(size_of(arguments[0]) * size_of(arguments[1]) * factor), estimate)


def _new_list(factor: float, size: int) -> int:
    return int(size * factor) + 1 + LIST


def _may_make(factor: float, size: Estimate) -> CallEstimate:
    return CallEstimate(size.scaled(factor).plus(ONE).plus(fixed(LIST)), size)


def _number(sized: Sized, otherwise: int) -> int:
    value = sized.node.value if isinstance(sized.node, Literal) else None
    return max(value, 0) if type(value) is int else otherwise


def _result_made(_: _Arguments, result: Any) -> int:
    return _new_list(1, size_of(result))


def _may_slice(size: SizeOf, target: Sized | None, args: Sequence[Sized]) -> CallEstimate | None:
    if target is None:
        return None
    most = size(target).most
    return _may_make(1, fixed(_number(args[1], most) - _number(args[0], 0) & ENDLESS))


def _flattened(arguments: _Arguments, _: Any) -> int:
    return _new_list(float(arguments[1]) if len(arguments) == 2 else 1.0, size_of(arguments[0]))


def _may_flatten(size: SizeOf, target: Sized | None, args: Sequence[Sized]) -> CallEstimate | None:
    return None if target is None else _may_make(float(_number(args[0], ENDLESS) if args else 1), size(target))


def _each_with_each(factor: float, *, by_keys: bool = False) -> Cost:
    """`factor` is of the estimate; at run time the first element says what they are."""
    def run(arguments: _Arguments, _: Any) -> int:
        values = arguments[by_keys]
        texts = bool(values) and isinstance(values[0], (str, bytes))
        return _new_list(2 + TRAVERSE if texts else 2, len(values) ** 2)

    def estimate(size: SizeOf, target: Sized | None, args: Sequence[Sized]) -> CallEstimate | None:
        of = args[0] if by_keys and args else target
        return None if of is None else _may_make(factor, size(of).times(size(of)))

    return Cost(run, estimate)


SETS: Final = _sets(1)
SETS_EQUIVALENT: Final = _sets(2)
SLICE: Final = Cost(_result_made, _may_slice)
RANGE: Final = Cost(_result_made, lambda _, __, args: _may_make(1, fixed(_number(args[0], ENDLESS))))
REVERSE: Final = Cost(_result_made, lambda size, target, _: None if target is None else _may_make(1, size(target)))
FLATTEN: Final = Cost(_flattened, _may_flatten)
DISTINCT: Final = _each_with_each(2)
SORT: Final = {texts: _each_with_each(2 + TRAVERSE if texts else 2) for texts in (False, True)}
SORT_BY_KEYS: Final = {texts: _each_with_each(2 + TRAVERSE if texts else 2, by_keys=True) for texts in (False, True)}
