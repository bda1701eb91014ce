"""What generated functions do with values: iterate over them, collect them, print and compare them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from policylang.budget import too_long
from policylang.rego.evaluation.documents import Doc, Part, children, ref, whole
from policylang.rego.evaluation.state import UNSET, State
from policylang.rego.values import (
    UNDEFINED,
    Key,
    Lazy,
    Set,
    Value,
    equal,
    key,
    order,
    pairs,
    text,
    unkey,
)

# --- iteration

def members(state: State, value: Value) -> Iterable[Value]:
    """The values in a collection, in any order; nothing where it is none. Pays for them."""
    kind = type(value)
    if kind is list:
        values: Iterable[Value] = value
    elif kind is dict:
        values = value.values()
    elif kind is Set:
        values = value.items.values()
    else:
        return [member for _, member in children(value)] if kind is Doc else \
            members(state, whole(value)) if kind is Part else \
            [member for _, member in _lazily(state, value)] if isinstance(value, Lazy) else ()
    meter = state.meter
    meter.left -= len(value)
    if meter.left < 0:
        raise too_long()
    return values


def entries(state: State, value: Value) -> Iterable[tuple[Value, Value]]:
    """(key, value) of what is in a collection, in any order. Pays for them."""
    kind = type(value)
    if kind is list:
        pairs_: Iterable[tuple[Value, Value]] = enumerate(value)
    elif kind is dict:
        pairs_ = [(unkey(name), member) for name, member in value.items()]
    elif kind is Set:
        pairs_ = [(member, member) for member in value.items.values()]
    elif kind is Doc:
        return children(value)
    elif kind is Part:
        return entries(state, whole(value))
    else:
        return _lazily(state, value) if isinstance(value, Lazy) else ()
    meter = state.meter
    meter.left -= len(value)
    if meter.left < 0:
        raise too_long()
    return pairs_


def _lazily(state: State, value: Lazy) -> Iterable[tuple[Value, Value]]:
    """As base data is gone through where rules may be beside it: in OPA's order."""
    names = sorted(value.names())
    state.meter.spend(len(names))
    return [(name, value.get(name)) for name in names]


def ordered_members(state: State, value: Value) -> Iterable[Value]:
    """`members`, in OPA's order."""
    kind = type(value)
    if kind is dict or kind is Set:
        state.meter.spend(len(value))
        return [member for _, member in pairs(value)] if kind is dict else value.ordered()
    return ordered_members(state, whole(value)) if kind is Part else members(state, value)


def ordered_entries(state: State, value: Value) -> Iterable[tuple[Value, Value]]:
    """`entries`, in OPA's order."""
    kind = type(value)
    if kind is dict or kind is Set:
        state.meter.spend(len(value))
        return pairs(value) if kind is dict else [(member, member) for member in value.ordered()]
    return ordered_entries(state, whole(value)) if kind is Part else entries(state, value)


# --- what rules collect

def put(state: State, into: dict[Key, Value], ended: dict[tuple[Key, ...], bool], path: list[Value], value: Value,
        member: bool, where: str) -> None:
    """Enter a partial object's value at `path`; as a member of the set there where `member`.

    `ended`: the paths that have values, beneath which no rule may put another one, and whether a set was made there.
    """
    names = tuple(map(key, path))
    if len(names) > 1 and any(names[:length] in ended for length in range(1, len(names))):
        raise state.conflict(where, "object keys must be unique")
    made = ended.setdefault(names, False)
    *above, last = names
    for name in above:
        below = into.get(name)
        if below is None:
            below = into[name] = {}
        elif type(below) is not dict:
            raise state.conflict(where, "object keys must be unique")
        into = below
    old = into.get(last, UNSET)
    if member:
        if old is UNSET:
            old = into[last] = Set()
        elif type(old) is not Set:
            raise state.conflict(where, "object keys must be unique")
        elif not made:  # it is another rule's value
            old = into[last] = Set(dict(old.items))
        ended[names] = True
        old.items[key(value)] = value
    elif old is UNSET:
        into[last] = value
    elif not equal(old, value):
        raise state.conflict(where, "object keys must be unique")


def enter(state: State, into: dict[Key, Value], name: Value, value: Value, where: str) -> None:
    """Enter an object comprehension's pair."""
    last = key(name)
    old = into.get(last, UNSET)
    if old is UNSET:
        into[last] = value
    elif not equal(old, value):
        raise state.conflict(where, "object keys must be unique")


# --- texts

def template_part(state: State, values: Set, where: str) -> str:
    """The text of a template's expression: `<undefined>` where it has no value."""
    if not values.items:
        return "<undefined>"
    if len(values.items) > 1:
        raise state.conflict(where, "template string expression must not produce multiple outputs")
    [value] = values.items.values()
    return value if type(value) is str else text(value)


def joined(state: State, parts: list[str]) -> str:
    state.meter.fit(sum(map(len, parts)))
    return "".join(parts)


def printed(state: State, parts: list[list[Value]]) -> None:
    """`print`: a line for each combination of its arguments' values."""
    for row in product(*(part or [UNDEFINED] for part in parts)):
        state.meter.spend(1)
        shown = ["<undefined>" if value is UNDEFINED else value if type(value) is str else text(value) for value in row]
        state.context.printed.append(" ".join(shown))


# --- comparisons

def less(left: Value, right: Value) -> bool:
    kind, kind2 = type(left), type(right)
    if kind is kind2 and (kind is str or kind is int or kind is float):
        return bool(left < right)
    return order(left) < order(right)


def less_or_equal(left: Value, right: Value) -> bool:
    kind, kind2 = type(left), type(right)
    if kind is kind2 and (kind is str or kind is int or kind is float):
        return bool(left <= right)
    return order(left) <= order(right)


def contains(domain: Value, value: Value) -> bool:
    """`value in domain`."""
    kind = type(domain)
    if kind is Set:
        return key(value) in domain.items
    if kind is list:
        if type(value) is str:
            return value in domain
        return any(equal(member, value) for member in domain)
    if kind is dict:
        return any(equal(member, value) for member in domain.values())
    return False


def contains_at(domain: Value, name: Value, value: Value) -> bool:
    """`name, value in domain`."""
    there = ref(domain, name)
    return there is not UNDEFINED and equal(there, value)
