"""What generated functions call: references, iteration, documents under `data`, conflicts, and the state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from custody.errors import CustodyError
from custody.languages.budget import Meter, too_long
from custody.languages.rego.declare import BuiltinError, Context, World
from custody.languages.rego.numbers import Numeral, plain_integer
from custody.languages.rego.values import (
    UNDEFINED,
    Key,
    Set,
    Value,
    equal,
    key,
    order,
    pairs,
    unkey,
)


class EvaluationError(CustodyError):
    """An evaluation that has no result. `kind` is OPA's code, such as `eval_conflict_error`."""

    code = "evaluation"

    def __init__(self, kind: str, message: str, where: str = "") -> None:
        super().__init__(f"{where + ': ' if where else ''}{kind}: {message}")
        self.kind = kind
        self.reason = message


class _Unset:
    __slots__ = ()


UNSET = _Unset()
ONCE = (None,)


class Node:
    """A place under `data` where rules are: `children` by name, `rule` gives the value there, if there is a rule.

    `overlay`: the rule's object has parts of `children` and of base data merged into it.
    """

    __slots__ = ("children", "overlay", "path", "rule")

    def __init__(self, path: tuple[str, ...] = ()) -> None:
        self.path = path
        self.children: dict[str, Node] = {}
        self.rule: Callable[[State], Value] | None = None
        self.overlay = False


class Doc:
    """A document of rules and base data that is not wholly evaluated: only what is asked for is."""

    __slots__ = ("base", "node", "state")

    def __init__(self, state: State, node: Node, base: Value) -> None:
        self.state, self.node, self.base = state, node, base


class State:
    """One evaluation under one input, one data and one set of replacements; `with` makes another."""

    overrides: Mapping[tuple[str, ...], Value] = {}
    mocks: Mapping[str, Any] = {}

    def __init__(self, meter: Meter, data: Value, given: Value, rules: int, strict: bool,
                 world: World | None = None) -> None:
        self.meter = meter
        self.data = data
        self.input = given
        self.memo: list[Value] = [UNSET] * rules
        self.strict = strict
        self.world = world

    @cached_property
    def context(self) -> Context:
        """Made when a builtin asks for it: most evaluations are shorter than that takes."""
        return Context(self.meter, self.world)

    def replaced(self, changes: Iterable[tuple[str, Any, Value]]) -> State:
        """The state under `with`. Changes: (`input`, path, value), (`data`, path, value), (`mock`, name, function)."""
        self.meter.spend(1)
        other = State(self.meter, self.data, self.input, len(self.memo), self.strict, self.world)
        other.context = self.context
        other.overrides, other.mocks = self.overrides, self.mocks
        for what, path, value in changes:
            if what == "input":
                other.input = _put(other.input, path, value)
            elif what == "mock":
                other.mocks = {**other.mocks, path: value}
            else:
                other.overrides = {**other.overrides, tuple(path): value}
                other.data = _put(other.data, path, value)
        return other

    def unmocked(self) -> State:
        """The state in which a replacing function runs: nothing that it calls is replaced."""
        other = self.replaced(())
        other.mocks = {}
        return other

    def failed(self, error: BuiltinError, name: str, where: str) -> None:
        """A builtin raised: go on, or end the evaluation where that is asked for."""
        if self.strict:
            raise EvaluationError(error.code, f"{name}: {error}", where) from None

    def conflict(self, where: str, message: str) -> EvaluationError:
        return EvaluationError("eval_conflict_error", message, where)

    def override(self, path: tuple[str, ...]) -> Value:
        """What `with` put in the place of the rule at `path`; UNSET where nothing was."""
        for length in range(1, len(path) + 1):
            found = self.overrides.get(path[:length], UNSET)
            if found is not UNSET:
                for name in path[length:]:
                    found = ref(found, name)
                return found
        return UNSET


def _put(value: Value, path: list[Value], new: Value) -> Value:
    """`value` with `new` at `path`; what is in the way and no object is replaced by one."""
    if not path:
        return new
    old = value if type(value) is dict else {}
    name = key(path[0])
    return {**old, name: _put(old.get(name, UNDEFINED), path[1:], new)}


# --- references

def ref(value: Value, name: Value) -> Value:
    """`value[name]`, or UNDEFINED."""
    kind = type(value)
    if kind is dict:
        return value.get(key(name), UNDEFINED)
    if kind is list:
        if type(name) is int:
            return value[name] if 0 <= name < len(value) else UNDEFINED
        if type(name) is Numeral:
            at = plain_integer(name)
            return UNDEFINED if at is None else ref(value, at)
        return UNDEFINED
    if kind is Set:
        return value.items.get(key(name), UNDEFINED)
    if kind is Doc:
        return _step(value, name)
    return UNDEFINED


def document(state: State, node: Node, base: Value) -> Value:
    """What is at a node: a rule's value, or a Doc."""
    if node.rule is not None and not node.overlay:
        return node.rule(state)
    return Doc(state, node, base)


def _step(doc: Doc, name: Value) -> Value:
    base = ref(doc.base, name) if doc.base is not UNDEFINED else UNDEFINED
    child = doc.node.children.get(name) if type(name) is str else None
    if child is not None:
        return document(doc.state, child, base)
    if doc.node.rule is not None:
        found = ref(doc.node.rule(doc.state), name)
        if found is not UNDEFINED:
            return found
    return base


def whole(value: Value) -> Value:
    """A value that is no Doc: all rules below are evaluated and merged over base data."""
    if type(value) is not Doc:
        return value
    state, node = value.state, value.node
    if state.overrides and (found := state.override(node.path)) is not UNSET:
        return found
    base = value.base
    merged: dict[Key, Value] = {}
    if node.rule is not None:
        made = node.rule(state)
        if made is not UNDEFINED:
            merged.update(made)
    for name, child in node.children.items():
        below = whole(document(state, child, ref(base, name) if base is not UNDEFINED else UNDEFINED))
        if below is not UNDEFINED:
            merged[name] = _merge(merged[name], below) if name in merged else below
    return _merge(base, merged) if type(base) is dict else merged


def _merge(under: Value, over: Value) -> Value:
    if type(under) is not dict or type(over) is not dict:
        return over
    merged = dict(under)
    for name, value in over.items():
        merged[name] = _merge(merged[name], value) if name in merged else value
    return merged


# --- iteration

def members(state: State, value: Value) -> Iterable[Value]:
    """The values in a collection, in any order; nothing where it is none. Pays for them."""
    kind = type(value)
    if kind is list:
        found: Iterable[Value] = value
    elif kind is dict:
        found = value.values()
    elif kind is Set:
        found = value.items.values()
    else:
        return members(state, whole(value)) if kind is Doc else ()
    meter = state.meter
    meter.left -= len(value)
    if meter.left < 0:
        raise too_long()
    return found


def entries(state: State, value: Value) -> Iterable[tuple[Value, Value]]:
    """(key, value) of what is in a collection, in any order. Pays for them."""
    kind = type(value)
    if kind is list:
        found: Iterable[tuple[Value, Value]] = enumerate(value)
    elif kind is dict:
        found = [(unkey(name), member) for name, member in value.items()]
    elif kind is Set:
        found = [(member, member) for member in value.items.values()]
    elif kind is Doc:
        return entries(state, whole(value)) if value.node.rule is not None else _children(value)
    else:
        return ()
    meter = state.meter
    meter.left -= len(value)
    if meter.left < 0:
        raise too_long()
    return found


def ordered_members(state: State, value: Value) -> Iterable[Value]:
    """`members`, in OPA's order."""
    kind = type(value)
    if kind is dict or kind is Set:
        state.meter.spend(len(value))
        return [member for _, member in pairs(value)] if kind is dict else value.ordered()
    return ordered_members(state, whole(value)) if kind is Doc else members(state, value)


def ordered_entries(state: State, value: Value) -> Iterable[tuple[Value, Value]]:
    """`entries`, in OPA's order."""
    kind = type(value)
    if kind is dict or kind is Set:
        state.meter.spend(len(value))
        return pairs(value) if kind is dict else [(member, member) for member in value.ordered()]
    if kind is Doc and value.node.rule is not None:
        return ordered_entries(state, whole(value))
    return entries(state, value)


def _children(doc: Doc) -> Iterable[tuple[Value, Value]]:
    names: dict[Key, None] = dict.fromkeys(doc.node.children)
    if type(doc.base) is dict:
        names.update(dict.fromkeys(doc.base))
    doc.state.meter.spend(len(names))
    for name in sorted(names, key=lambda each: order(unkey(each))):
        found = _step(doc, unkey(name))
        if found is not UNDEFINED:
            yield unkey(name), found


# --- what rules collect

def put(state: State, into: dict[Key, Value], path: list[Value], value: Value, member: bool, where: str) -> None:
    """Enter a partial object's value at `path`; as a member of the set there where `member`."""
    *above, last = map(key, path)
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
        old.items[key(value)] = value
    elif old is UNSET:
        into[last] = value
    elif not equal(old, value):
        raise state.conflict(where, "object keys must be unique")


def put_default(state: State, into: dict[Key, Value], path: list[Value], value: Value, member: bool,
                where: str) -> None:
    """`put`, where nothing is yet."""
    found: Value = into
    for name in path:
        found = ref(found, name)
    if found is UNDEFINED:
        put(state, into, path, value, member, where)


def enter(state: State, into: dict[Key, Value], name: Value, value: Value, where: str) -> None:
    """Enter an object comprehension's pair."""
    last = key(name)
    old = into.get(last, UNSET)
    if old is UNSET:
        into[last] = value
    elif not equal(old, value):
        raise state.conflict(where, "object keys must be unique")


def less(one: Value, other: Value) -> bool:
    kind, kind2 = type(one), type(other)
    if kind is kind2 and (kind is str or kind is int or kind is float):
        return bool(one < other)
    return order(one) < order(other)


def less_or_equal(one: Value, other: Value) -> bool:
    kind, kind2 = type(one), type(other)
    if kind is kind2 and (kind is str or kind is int or kind is float):
        return bool(one <= other)
    return order(one) <= order(other)


def contains(domain: Value, value: Value) -> bool:
    """`value in domain`."""
    kind = type(domain)
    if kind is Set:
        return key(value) in domain.items
    if kind is list:
        if type(value) is str:
            return value in domain
        return any(equal(each, value) for each in domain)
    if kind is dict:
        return any(equal(each, value) for each in domain.values())
    return False


def contains_at(domain: Value, name: Value, value: Value) -> bool:
    """`name, value in domain`."""
    found = ref(domain, name)
    return found is not UNDEFINED and equal(found, value)

