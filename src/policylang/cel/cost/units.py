"""Units and estimates of cost, and what the functions that cel-go knows may cost (checker/cost.go, 0.26).

Costs are cel-go's units: 1 for a name or a selection, 10, 30 and 40 for a list, map or message that is made, 0.1 for
each character that is looked at. An estimate has the least and the most; sizes of inputs come from an `Estimator`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Final, NamedTuple, Protocol

from policylang.cel.syntax.tree import Literal, Node
from policylang.cel.types import Type

ENDLESS: Final = (1 << 64) - 1
SELECT, LIST, MAP, STRUCT = 1, 10, 30, 40
TRAVERSE: Final = 0.1  # for each character of a text
PATTERN: Final = 0.25  # for each character of a regular expression


class Estimate(NamedTuple):
    """Least and most; ENDLESS is as good as infinite."""

    least: int
    most: int

    def plus(self, other: Estimate) -> Estimate:
        return Estimate(min(self.least + other.least, ENDLESS), min(self.most + other.most, ENDLESS))

    def times(self, other: Estimate) -> Estimate:
        return Estimate(min(self.least * other.least, ENDLESS), min(self.most * other.most, ENDLESS))

    def scaled(self, factor: float) -> Estimate:
        return Estimate(_scaled(self.least, factor), _scaled(self.most, factor))

    def union(self, other: Estimate) -> Estimate:
        return Estimate(min(self.least, other.least), max(self.most, other.most))


def _scaled(value: int, factor: float) -> int:
    return min(ceil(float(value) * factor), ENDLESS)


def fixed(value: int) -> Estimate:
    return Estimate(value, value)


NOTHING: Final = fixed(0)
ONE: Final = fixed(1)
UNKNOWN: Final = Estimate(0, ENDLESS)


class Path:
    """Names on the way from a variable to a value, kept as Go keeps a slice.

    cel-go appends to paths that share memory, so that `o.key` overwrites the last name of `o.tags`, and what it then
    takes for the size of `o.tags` is that of `o.key`. Rules were accepted and refused by such prices, so they are
    reproduced.
    """

    __slots__ = ("_names", "_length")  # noqa: RUF023 - as __init__ has them

    def __init__(self, names: list[str], length: int) -> None:
        self._names, self._length = names, length

    def plus(self, name: str) -> Path:
        names, length = self._names, self._length
        if length < len(names):
            names[length] = name
        else:
            names = [*names, name, *[""] * (length - 1)]
        return Path(names, length + 1)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._names[:self._length])


NOWHERE: Final = Path([], 0)


class Sized:
    """A part of the expression as estimators see it. `path`: where its value is in the inputs, `()` if not known."""

    __slots__ = ("_path", "node", "size", "type")

    def __init__(self, of: Type, path: Path = NOWHERE, node: Node | None = None, size: Estimate | None = None) -> None:
        self.type, self._path, self.node, self.size = of, path, node, size

    @property
    def path(self) -> tuple[str, ...]:
        return self._path.names

    def element(self) -> Sized | None:
        """An element of a list, a key of a map; None of what has no type of elements."""
        if not self.type.params:
            return None
        names = self.path
        return Sized(self.type.params[0], Path([*names, "@items"], len(names) + 1) if names else NOWHERE)


class CallEstimate(NamedTuple):
    cost: Estimate
    size: Estimate | None = None


class Estimator(Protocol):
    """Knows sizes of inputs and costs of functions that cel-go does not know; None where it does not either."""

    def size(self, of: Sized) -> Estimate | None: ...

    def call(self, function: str, overload: str, target: Sized | None, args: Sequence[Sized]) -> CallEstimate | None:
        ...


# ── functions that cel-go knows ─────────────────────────────────────────────────────────────────────────────────────

_Rule = Callable[[Sized | None, Sequence[Sized]], tuple[Estimate, Estimate | None] | None]


def _of(sized: Sized) -> Estimate:
    return sized.size or UNKNOWN


def _traversed(at: int) -> _Rule:
    """A look at every character of the target (-1) or of an argument."""
    def rule(target: Sized | None, args: Sequence[Sized]) -> tuple[Estimate, Estimate | None] | None:
        sized = target if at < 0 else args[at] if at < len(args) else None
        return (_of(sized).scaled(TRAVERSE), None) if sized else None

    return rule


def _to_bytes(_: Sized | None, args: Sequence[Sized]) -> tuple[Estimate, Estimate | None]:
    size = _of(args[0])
    return size.scaled(TRAVERSE), Estimate(size.least, size.most * 4 & ENDLESS)


def _to_text(_: Sized | None, args: Sequence[Sized]) -> tuple[Estimate, Estimate | None]:
    size = _of(args[0])
    return size.scaled(TRAVERSE), Estimate(size.least // 4, size.most)


def _quoted(_: Sized | None, args: Sequence[Sized]) -> tuple[Estimate, Estimate | None]:
    size = _of(args[0])
    return size.scaled(TRAVERSE), Estimate(size.least + 2, size.most * 2 + 2 & ENDLESS)


def _in_list(_: Sized | None, args: Sequence[Sized]) -> tuple[Estimate, Estimate | None]:
    return _of(args[1]).scaled(1), None


def _matches(target: Sized | None, args: Sequence[Sized]) -> tuple[Estimate, Estimate | None] | None:
    if target is None or len(args) != 1:
        return None
    return _of(target).plus(ONE).scaled(TRAVERSE).times(_of(args[0]).scaled(PATTERN)), None


def _contains(target: Sized | None, args: Sequence[Sized]) -> tuple[Estimate, Estimate | None] | None:
    if target is None:
        return None
    return _of(target).scaled(TRAVERSE).times(_of(args[0]).scaled(TRAVERSE)), None


def _added(_: Sized | None, args: Sequence[Sized]) -> tuple[Estimate, Estimate | None]:
    size = _of(args[0]).plus(_of(args[1]))
    return size.scaled(TRAVERSE), size


def _added_lists(_: Sized | None, args: Sequence[Sized]) -> tuple[Estimate, Estimate | None]:
    return ONE, _of(args[0]).plus(_of(args[1]))


def _compared(_: Sized | None, args: Sequence[Sized]) -> tuple[Estimate, Estimate | None]:
    most = min(_of(args[0]).most, _of(args[1]).most)
    return Estimate(1 if most else 0, most).scaled(TRAVERSE), None


FUNCTIONS: Final[dict[str, _Rule]] = {
    "string_format": _traversed(-1),
    "string_to_bytes": _to_bytes,
    "bytes_to_string": _to_text,
    "strings_quote": _quoted,
    "starts_with_string": _traversed(0),
    "ends_with_string": _traversed(0),
    "in_list": _in_list,
    "matches_string": _matches,
    "contains_string": _contains,
    "add_string": _added,
    "add_bytes": _added,
    "add_list": _added_lists,
    **{f"{word}_{of}": _compared for word in ("less", "greater", "less_equals", "greater_equals")
       for of in ("string", "bytes")},
    "equals": _compared,
    "not_equals": _compared,
}

# ── functions of cel-go's libraries (ext/sets.go, ext/lists.go) ──────────────────────────────────────────────────────

_SizeOf = Callable[[Sized], Estimate]
_LibraryRule = Callable[[_SizeOf, "Sized | None", Sequence[Sized]], "CallEstimate | None"]


def _sets(factor: float) -> _LibraryRule:
    def rule(size: _SizeOf, _: Sized | None, args: Sequence[Sized]) -> CallEstimate:
        return CallEstimate(size(args[0]).times(size(args[1])).scaled(factor).plus(ONE))

    return rule


def _new_list(factor: float, size: Estimate) -> CallEstimate:
    return CallEstimate(size.scaled(factor).plus(ONE).plus(fixed(LIST)), size)


def _number(of: Sized, otherwise: int) -> int:
    value = of.node.value if isinstance(of.node, Literal) else None
    return max(value, 0) if type(value) is int else otherwise


def _slice(size: _SizeOf, target: Sized | None, args: Sequence[Sized]) -> CallEstimate | None:
    if target is None:
        return None
    most = size(target).most
    return _new_list(1, fixed(_number(args[1], most) - _number(args[0], 0) & ENDLESS))


def _range(size: _SizeOf, target: Sized | None, args: Sequence[Sized]) -> CallEstimate:  # noqa: ARG001
    return _new_list(1, fixed(_number(args[0], ENDLESS)))


def _reverse(size: _SizeOf, target: Sized | None, _: Sequence[Sized]) -> CallEstimate | None:
    return None if target is None else _new_list(1, size(target))


def _flatten(size: _SizeOf, target: Sized | None, args: Sequence[Sized]) -> CallEstimate | None:
    return None if target is None else _new_list(float(_number(args[0], ENDLESS) if args else 1), size(target))


def _compared_all(factor: float, *, by_keys: bool = False) -> _LibraryRule:
    def rule(size: _SizeOf, target: Sized | None, args: Sequence[Sized]) -> CallEstimate | None:
        of = args[0] if by_keys and args else target
        return None if of is None else _new_list(factor, size(of).times(size(of)))

    return rule


LIBRARIES: Final[dict[str, _LibraryRule]] = {
    "list_sets_contains_list": _sets(1),
    "list_sets_intersects_list": _sets(1),
    "list_sets_equivalent_list": _sets(2),
    "list_slice": _slice,
    "lists_range": _range,
    "list_reverse": _reverse,
    "list_flatten": _flatten,
    "list_flatten_int": _flatten,
    "list_distinct": _compared_all(2),
    **{f"list_{of}_sort{suffix}": _compared_all(2 + TRAVERSE if of in ("string", "bytes") else 2, by_keys=bool(suffix))
       for of in ("int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes")
       for suffix in ("", "ByAssociatedKeys")},
}
