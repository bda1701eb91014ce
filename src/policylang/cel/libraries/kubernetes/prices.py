"""What Kubernetes declares that calls cost (k8s.io/apiserver pkg/cel/library/cost.go, 0.34): of its own functions, and
of some that cel-go's libraries leave at 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any, Final

from policylang.cel.cost import units
from policylang.cel.cost.prices import compared, first_walked, may_compare, size_of
from policylang.cel.library import Function, Library
from policylang.cel.syntax.tree import Literal

LONGEST_PATTERN = 128  # of any format
_CHECK = 350_000
_ADDRESS = units.Estimate(4, 16)  # bytes
_Arguments = tuple[Any, ...]


def _priced(run: Callable[[_Arguments, Any], int],
            estimate: Callable[[units.SizeOf, Any, Sequence[units.Sized]], Any]) -> units.Cost:
    """Kubernetes goes by names of functions, so that it costs the same where more than one overload is left."""
    return units.Cost(run, estimate, run)


def _twice_walked(arguments: _Arguments, _: Any) -> int:
    return ceil(size_of(arguments[0]) * 2 * units.TRAVERSE)


# ── texts ───────────────────────────────────────────────────────────────────────────────────────────────────────────

def _may_keep(size: units.SizeOf, target: units.Sized, _: Sequence[units.Sized]) -> units.CallEstimate:
    length = size(target)
    return units.CallEstimate(length.scaled(units.TRAVERSE), length)


def _may_keep_argument(size: units.SizeOf, _: units.Sized | None, args: Sequence[units.Sized]) -> units.CallEstimate:
    length = size(args[0])
    return units.CallEstimate(length.scaled(units.TRAVERSE), length)


def _may_replace(size_of_part: units.SizeOf, target: units.Sized, args: Sequence[units.Sized]) -> units.CallEstimate:
    size, old, new = size_of_part(target), size_of_part(args[0]), size_of_part(args[1])
    if old.least == 0:
        most_times, most_kept = min(size.most + 1, units.ENDLESS), size.most
    elif new.most <= old.least:
        most_times, most_kept = 0, size.most
    else:
        most_times, most_kept = ceil(float(size.most) / old.least), 0
    if old.most == 0:
        least_times, least_kept = min(size.least + 1, units.ENDLESS), size.least
    elif old.most <= new.least:
        least_times, least_kept = 0, size.least
    else:
        least_times, least_kept = ceil(float(size.least) / old.most), 0
    times = units.Estimate(min(least_times, units.ENDLESS), min(most_times, units.ENDLESS))
    made = times.times(new).plus(units.Estimate(least_kept, most_kept))
    return units.CallEstimate(size.scaled(2 * units.TRAVERSE), made)


def _may_split(size: units.SizeOf, target: units.Sized, args: Sequence[units.Sized]) -> units.CallEstimate:
    length = size(target)
    most = length.most
    if len(args) > 1 and isinstance(node := args[1].node, Literal) and type(node.value) is int:
        most = node.value & units.ENDLESS
    return units.CallEstimate(length.scaled(2 * units.TRAVERSE), units.Estimate(0, most))


def _may_join(size: units.SizeOf, target: units.Sized, args: Sequence[units.Sized]) -> units.CallEstimate:
    count, length = size(target), units.fixed(0)
    if (element := target.element()) is not None:
        length = count.times(size(element))
    if args:
        gaps = units.Estimate(max(count.least - 1, 0), max(count.most - 1, 0))
        length = length.plus(size(args[0]).times(gaps))
    return units.CallEstimate(length.scaled(units.TRAVERSE), length)


def _found(arguments: _Arguments, _: Any) -> int:
    return ceil((1.0 + size_of(arguments[0])) * units.TRAVERSE) * ceil(size_of(arguments[1]) * units.PATTERN)


def _may_find(size: units.SizeOf, target: units.Sized, args: Sequence[units.Sized]) -> units.CallEstimate:
    length = size(target)
    cost = length.plus(units.ONE).scaled(units.TRAVERSE).times(size(args[0]).scaled(units.PATTERN))
    return units.CallEstimate(cost, units.Estimate(0, length.most))


KEEP: Final = _priced(first_walked, _may_keep)
KEEP_ARGUMENT: Final = _priced(first_walked, _may_keep_argument)
READ: Final = _priced(first_walked, lambda size, _, args: units.CallEstimate(size(args[0]).scaled(units.TRAVERSE)))
READ_TWICE: Final = _priced(_twice_walked, lambda size, _, args: units.CallEstimate(
    size(args[0]).scaled(2 * units.TRAVERSE)))
REPLACE: Final = _priced(_twice_walked, _may_replace)
SPLIT: Final = _priced(_twice_walked, _may_split)
JOIN: Final = _priced(lambda _, result: ceil(size_of(result) * 2 * units.TRAVERSE), _may_join)
FIND: Final = _priced(_found, _may_find)


# ── lists ───────────────────────────────────────────────────────────────────────────────────────────────────────────

def _walked(value: Any) -> int:
    """A walk through everything in `value`."""
    if isinstance(value, str):
        return int(len(value.encode()) * units.TRAVERSE)
    if isinstance(value, bytes):
        return int(len(value) * units.TRAVERSE)
    if isinstance(value, list):
        return sum(map(_walked, value))
    if isinstance(value, dict):
        return sum(_walked(key) + _walked(held) for key, held in value.items())
    return 1


def _may_walk(size: units.SizeOf, target: units.Sized, _: Sequence[units.Sized]) -> units.CallEstimate:
    element = target.element()
    if element is None:  # indexOf of a text
        return units.CallEstimate(size(target).scaled(units.TRAVERSE))
    step = units.ONE
    if element.type.kind in ("string", "bytes"):
        step = step.plus(size(element).scaled(units.TRAVERSE))
    return units.CallEstimate(size(target).times(step))


WALK: Final = _priced(lambda arguments, _: _walked(arguments[0]), _may_walk)


# ── what is of Kubernetes alone ─────────────────────────────────────────────────────────────────────────────────────

def _selector(length: units.Estimate) -> units.Estimate:
    """A list, a look at each character, and a list and a struct for every two of them."""
    needs = length.scaled(0.5).scaled(units.LIST + units.STRUCT)
    return units.fixed(units.LIST).plus(length.scaled(units.TRAVERSE)).plus(needs)


def _containing(*, cidr: bool, text: bool) -> units.Cost:
    """Whether a CIDR holds an address or, with `cidr`, another one; with `text`, which has to be read."""
    def base(arguments: _Arguments, _: Any) -> int:
        return ceil(2 * size_of(arguments[0]) * units.TRAVERSE)

    def run(arguments: _Arguments, result: Any) -> int:
        cost = base(arguments, result)
        if cidr:
            cost += ceil(size_of(arguments[0]) * units.TRAVERSE) + 1
        return cost + (ceil(size_of(arguments[1]) * units.TRAVERSE) if text else 0)

    def estimate(size: units.SizeOf, _: units.Sized | None, args: Sequence[units.Sized]) -> units.CallEstimate:
        cost = _ADDRESS.plus(_ADDRESS).scaled(units.TRAVERSE)
        if cidr:
            cost = cost.plus(_ADDRESS.scaled(units.TRAVERSE)).plus(units.ONE)
        return units.CallEstimate(cost.plus(size(args[0]).scaled(units.TRAVERSE)) if text else cost)

    return units.Cost(run, estimate, base)


def _validated(arguments: _Arguments, _: Any) -> int:
    pattern: int = arguments[0].pattern_size
    return ceil((1.0 + size_of(arguments[1])) * units.TRAVERSE) * ceil(pattern * units.PATTERN)


def _may_validate(size: units.SizeOf, _: units.Sized | None, args: Sequence[units.Sized]) -> units.CallEstimate:
    return units.CallEstimate(size(args[0]).scaled(units.TRAVERSE).scaled(LONGEST_PATTERN * units.PATTERN))


CHECK: Final = _priced(lambda _, __: _CHECK, lambda _, __, ___: units.CallEstimate(units.fixed(_CHECK)))
SELECTOR: Final = _priced(lambda arguments, _: _selector(units.fixed(size_of(arguments[1]))).most,
                          lambda size, _, args: units.CallEstimate(_selector(size(args[0]))))
HOLDS_IP, HOLDS_IP_TEXT = _containing(cidr=False, text=False), _containing(cidr=False, text=True)
HOLDS_CIDR, HOLDS_CIDR_TEXT = _containing(cidr=True, text=False), _containing(cidr=True, text=True)
VALIDATE: Final = _priced(_validated, _may_validate)


# ── cel-go's functions ──────────────────────────────────────────────────────────────────────────────────────────────

def equality(classes: Mapping[Any, Callable[[units.Sized], units.CallEstimate]]) -> units.Cost:
    """Of `==`, where values of these classes are compared in one step; under each its estimate, from the right side."""
    known, types = tuple(classes), {kind.cel_type: estimated for kind, estimated in classes.items()}

    def run(arguments: _Arguments, result: Any) -> int:
        return 1 if isinstance(arguments[0], known) else compared(arguments, result)

    def estimate(size: units.SizeOf, target: units.Sized | None, args: Sequence[units.Sized]) -> units.CallEstimate:
        left, right = args
        declared = types.get(left.type) if left.type == right.type else None
        return declared(right) if declared else may_compare(size, target, args)

    return units.Cost(run, estimate)


_OF_CEL_GO: Mapping[str, units.Cost] = {
    **dict.fromkeys(("lowerAscii", "upperAscii", "substring", "trim"), KEEP),
    **dict.fromkeys(("indexOf", "lastIndexOf"), WALK),
    "replace": REPLACE, "split": SPLIT, "join": JOIN,
}


def priced(library: Library, prices: Mapping[str, units.Cost] = _OF_CEL_GO) -> Library:
    """A library with Kubernetes' prices, by the names of its functions."""
    return library._replace(source=None, functions=tuple(
        Function(function.name, tuple(overload._replace(cost=prices[function.name]) for overload in function.overloads))
        if function.name in prices else function for function in library.functions))
