"""References, and documents under `data`: what is asked for of them is evaluated, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from policylang.rego.evaluation.state import UNSET, EvaluationError, State
from policylang.rego.values import (
    UNDEFINED,
    Key,
    Lazy,
    Set,
    Value,
    key,
    ordered,
    solid,
    unkey,
)
from policylang.rego.values.numbers import KINDS, Numeral, number_text, plain_integer


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
    return value.get(name) if type(name) is str and isinstance(value, Lazy) else UNDEFINED


def base_ref(value: Value, name: Value) -> Value:
    """A reference into base data, which is asked for by path: numbers are names there, and texts places in arrays."""
    kind = type(name)
    if type(value) is dict:
        if kind in KINDS:
            return value.get(number_text(name), UNDEFINED)
        return value.get(name, UNDEFINED) if kind is str else UNDEFINED
    if type(value) is list and kind is str and name.isascii() and name.isdigit() and (name == "0" or name[0] != "0"):
        return value[int(name)] if len(name) < 10 and int(name) < len(value) else UNDEFINED
    if kind in KINDS and isinstance(value, Lazy):
        return value.get(number_text(name))
    return ref(value, name) if kind is not bool else UNDEFINED


def base_at(state: State, path: tuple[Key, ...]) -> Value:
    value = state.data
    for name in path:
        value = base_ref(value, unkey(name))
    return value


def evaluated(state: State, node: Node) -> Value:
    """What is at a node: a rule's value, or what is not evaluated yet."""
    if state.targets and state.replaces(node.path):
        return solid(base_at(state, node.path))
    if node.part is not None:
        return Part(state, node)
    if node.rule is not None:
        return node.rule(state)
    return Doc(state, node, solid(base_at(state, node.path)))


def _step(doc: Doc, name: Value) -> Value:
    child = doc.node.children.get(key(name))
    if child is not None:
        return evaluated(doc.state, child)
    base = solid(base_ref(doc.base, name))
    return Doc(doc.state, _NO_RULES, base) if type(base) is dict or type(base) is list else base


def whole(value: Value) -> Value:
    """A value that is neither Doc nor Part: all rules below are evaluated, and base data is merged over them."""
    kind = type(value)
    if kind is Part:
        return _whole_part(value)
    if kind is not Doc:
        return solid(value)
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
        value = node.part(state, keys)
    else:
        try:
            value = node.rule(state)
        except EvaluationError:  # perhaps under another key than those asked for
            if not keys:
                raise
            value = node.part(state, keys)
    for name in keys:
        value = ref(value, name)
    return value


def _leaves(state: State, node: Node) -> dict[Key, Value]:
    """The values of all rules beneath a node."""
    made: dict[Key, Value] = {}
    for name, child in node.children.items():
        if name == "system" and not node.path:
            continue  # OPA keeps it to itself
        below = _leaves(state, child) if child.rule is None else whole(evaluated(state, child))
        if below is not UNDEFINED:
            made[name] = below
    return made


def _without_system(base: Value) -> Value:
    return {name: value for name, value in base.items() if name != "system"} if type(base) is dict else base


def _merge(base: Value, rules: Value) -> Value:
    """Objects are merged; of anything else base data's is taken."""
    base = solid(base)
    if type(base) is not dict or type(rules) is not dict:
        return base
    merged = dict(rules)
    for name, value in base.items():
        merged[name] = _merge(value, merged[name]) if name in merged else value
    return merged


def children(doc: Doc) -> Iterable[tuple[Value, Value]]:
    """What is in base data first, then the other rules."""
    base = doc.base if doc.node.path else _without_system(doc.base)
    listed: list[Value] = [unkey(name) for name in base] if type(base) is dict else \
        list(range(len(base))) if type(base) is list else []
    had = set(map(key, listed))
    names = [*ordered(listed), *ordered(unkey(name) for name in doc.node.children if name not in had)]
    doc.state.meter.spend(len(names))
    for name in names:
        child = _step(doc, name)
        if child is not UNDEFINED:
            yield name, child
