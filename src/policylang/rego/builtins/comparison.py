"""Comparison, membership and the algebra of sets; the compiler writes most of these in place."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from policylang.rego.builtins.operands import members
from policylang.rego.declare import OperandError, builtin
from policylang.rego.values import Key, Set, Value, compare, equal, key


def _relation(name: str, holds: Callable[[Value, Value], bool]) -> None:
    builtin(name, "any", "any", result="boolean")(holds)


for _name in ("equal", "eq", "assign"):
    _relation(_name, equal)
_relation("neq", lambda left, right: not equal(left, right))
_relation("lt", lambda left, right: compare(left, right) < 0)
_relation("lte", lambda left, right: compare(left, right) <= 0)
_relation("gt", lambda left, right: compare(left, right) > 0)
_relation("gte", lambda left, right: compare(left, right) >= 0)


@builtin("internal.member_2", "any", "any", result="boolean")
def is_member(value: Value, domain: Value) -> bool:
    if type(domain) is Set:
        return key(value) in domain.items
    if type(domain) is list:
        return any(equal(member, value) for member in domain)
    return type(domain) is dict and any(equal(member, value) for member in domain.values())


@builtin("internal.member_3", "any", "any", "any", result="boolean")
def is_member_at(name: Value, value: Value, domain: Value) -> bool:
    if type(domain) is list:
        return type(name) is int and 0 <= name < len(domain) and equal(domain[name], value)
    if type(domain) is dict:
        return key(name) in domain and equal(domain[key(name)], value)
    return type(domain) is Set and equal(name, value) and key(value) in domain.items


@builtin("and", "set[any]", "set[any]", result="set[any]")
def both(left: Value, right: Value) -> Set:
    left, right = members(left, 1), members(right, 2)
    if len(right.items) < len(left.items):
        left, right = right, left
    return Set({name: member for name, member in left.items.items() if name in right.items})


@builtin("or", "set[any]", "set[any]", result="set[any]")
def either(left: Value, right: Value) -> Set:
    first, second = members(left, 1).items, members(right, 2).items
    return Set({**second, **first})  # of 1 and 1.0 the first stays


@builtin("set_diff", "set[any]", "set[any]", result="set[any]")
def difference(left: Value, right: Value) -> Set:
    without = members(right, 2).items
    return Set({name: member for name, member in members(left, 1).items.items() if name not in without})


def _sets(value: Value) -> list[Set]:
    sets: list[Set] = []
    for member in members(value, 1).ordered():
        if type(member) is not Set:
            raise OperandError(1, member, "set")
        sets.append(member)
    return sets


@builtin("intersection", "set[set[any]]", result="set[any]")
def intersection(value: Value) -> Set:
    return reduce(both, _sets(value) or [Set()])


@builtin("union", "set[set[any]]", result="set[any]")
def union(value: Value) -> Set:
    items: dict[Key, Value] = {}
    for part in _sets(value):
        for name, member in part.items.items():
            items.setdefault(name, member)  # of 1 and 1.0 the first stays
    return Set(items)
