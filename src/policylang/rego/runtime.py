"""What generated functions call: references, iteration, documents under `data`, and what rules collect."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from policylang.budget import too_long
from policylang.rego.numbers import KINDS, Numeral, number_text, plain_integer
from policylang.rego.state import UNSET, EvaluationError, State
from policylang.rego.values import (
    UNDEFINED,
    Key,
    Set,
    Value,
    equal,
    key,
    order,
    ordered,
    pairs,
    unkey,
)


class Node:
    """A place under `data` where rules are: `children` by name, `rule` gives the value there, if there is a rule.

    `part`: of an object's rules, what only those give whose references agree with some keys. `circular`: they ask for
    one another, so that the whole object is never needed to find a part.
    """

    __slots__ = ("children", "circular", "part", "path", "rule")

    def __init__(self, path: tuple[Key, ...] = ()) -> None:
        self.path = path
        self.children: dict[Key, Node] = {}
        self.rule: Callable[[State], Value] | None = None
        self.part: Callable[[State, tuple[Value, ...]], Value] | None = None
        self.circular = False


class Doc:
    """A document of rules and base data that is not wholly evaluated: only what is asked for is."""

    __slots__ = ("base", "node", "state")

    def __init__(self, state: State, node: Node, base: Value) -> None:
        self.state, self.node, self.base = state, node, base


_NO_RULES = Node(("base data",))


class Part:
    """What is under `keys` in the object of rules at a node, not evaluated yet."""

    __slots__ = ("keys", "node", "state")

    def __init__(self, state: State, node: Node, keys: tuple[Value, ...] = ()) -> None:
        self.state, self.node, self.keys = state, node, keys


def replacement(state: State, path: tuple[Key, ...]) -> Value:
    """What `with` put in the place of the rule at `path`; UNSET where nothing was."""
    return base_at(state, path) if state.replaces(path) else UNSET


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
    if kind is Part:
        return Part(value.state, value.node, (*value.keys, name))
    return UNDEFINED


def base_ref(value: Value, name: Value) -> Value:
    """A reference into base data, which is asked for by path: numbers are names there, and texts places in arrays."""
    kind = type(name)
    if type(value) is dict:
        if kind in KINDS:
            return value.get(number_text(name), UNDEFINED)
        return value.get(name, UNDEFINED) if kind is str else UNDEFINED
    if type(value) is list and kind is str and name.isascii() and name.isdigit() and (name == "0" or name[0] != "0"):
        return value[int(name)] if len(name) < 10 and int(name) < len(value) else UNDEFINED
    return ref(value, name) if kind is not bool else UNDEFINED


def base_at(state: State, path: tuple[Key, ...]) -> Value:
    value = state.data
    for name in path:
        value = base_ref(value, unkey(name))
    return value


def document(state: State, node: Node) -> Value:
    """What is at a node: a rule's value, or what is not evaluated yet."""
    if state.targets and state.replaces(node.path):
        return base_at(state, node.path)
    if node.part is not None:
        return Part(state, node)
    if node.rule is not None:
        return node.rule(state)
    return Doc(state, node, base_at(state, node.path))


def _step(doc: Doc, name: Value) -> Value:
    child = doc.node.children.get(key(name))
    if child is not None:
        return document(doc.state, child)
    base = base_ref(doc.base, name)
    return Doc(doc.state, _NO_RULES, base) if type(base) is dict or type(base) is list else base


def whole(value: Value) -> Value:
    """A value that is neither Doc nor Part: all rules below are evaluated, and base data is merged over them."""
    kind = type(value)
    if kind is Part:
        return _whole_part(value)
    if kind is not Doc:
        return value
    if value.node is _NO_RULES:
        return value.base
    base, rules = value.base, _leaves(value.state, value.node)
    if base is UNDEFINED:
        return rules
    return _merge(_without_system(base) if not value.node.path else base, rules)


def _whole_part(part: Part) -> Value:
    state, node, keys = part.state, part.node, part.keys
    assert node.rule is not None
    assert node.part is not None
    if keys and node.circular:
        found = node.part(state, keys)
    else:
        try:
            found = node.rule(state)
        except EvaluationError:  # perhaps under another key than those asked for
            if not keys:
                raise
            found = node.part(state, keys)
    for name in keys:
        found = ref(found, name)
    return found


def _leaves(state: State, node: Node) -> dict[Key, Value]:
    """The values of all rules beneath a node."""
    made: dict[Key, Value] = {}
    for name, child in node.children.items():
        if name == "system" and not node.path:
            continue  # OPA keeps it to itself
        below = _leaves(state, child) if child.rule is None else whole(document(state, child))
        if below is not UNDEFINED:
            made[name] = below
    return made


def _without_system(base: Value) -> Value:
    return {name: value for name, value in base.items() if name != "system"} if type(base) is dict else base


def _merge(base: Value, rules: Value) -> Value:
    """Objects are merged; of anything else base data's is taken."""
    if type(base) is not dict or type(rules) is not dict:
        return base
    merged = dict(rules)
    for name, value in base.items():
        merged[name] = _merge(value, merged[name]) if name in merged else value
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
        return [member for _, member in _children(value)] if kind is Doc else \
            members(state, whole(value)) if kind is Part else ()
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
        return _children(value)
    elif kind is Part:
        return entries(state, whole(value))
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
    return ordered_members(state, whole(value)) if kind is Part else members(state, value)


def ordered_entries(state: State, value: Value) -> Iterable[tuple[Value, Value]]:
    """`entries`, in OPA's order."""
    kind = type(value)
    if kind is dict or kind is Set:
        state.meter.spend(len(value))
        return pairs(value) if kind is dict else [(member, member) for member in value.ordered()]
    return ordered_entries(state, whole(value)) if kind is Part else entries(state, value)


def _children(doc: Doc) -> Iterable[tuple[Value, Value]]:
    """What is in base data first, then the other rules."""
    base = doc.base if doc.node.path else _without_system(doc.base)
    listed: list[Value] = [unkey(name) for name in base] if type(base) is dict else \
        list(range(len(base))) if type(base) is list else []
    had = set(map(key, listed))
    names = [*ordered(listed), *ordered(unkey(name) for name in doc.node.children if name not in had)]
    doc.state.meter.spend(len(names))
    for name in names:
        found = _step(doc, name)
        if found is not UNDEFINED:
            yield name, found


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

