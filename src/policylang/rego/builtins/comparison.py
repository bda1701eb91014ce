"""Comparison, membership and the algebra of sets; the compiler writes most of these in place."""

from __future__ import annotations

from functools import reduce

from policylang.rego.builtins.operands import members
from policylang.rego.declare import OperandError, builtin
from policylang.rego.values import Key, Set, Value, compare, equal, key


@builtin("equal", "any", "any", result="boolean")
def is_equal(one: Value, other: Value) -> bool:
    return equal(one, other)


@builtin("eq", "any", "any", result="boolean")
@builtin("assign", "any", "any", result="boolean")
def unify(one: Value, other: Value) -> bool:
    return equal(one, other)


@builtin("neq", "any", "any", result="boolean")
def is_different(one: Value, other: Value) -> bool:
    return not equal(one, other)


@builtin("lt", "any", "any", result="boolean")
def is_less(one: Value, other: Value) -> bool:
    return compare(one, other) < 0


@builtin("lte", "any", "any", result="boolean")
def is_less_or_equal(one: Value, other: Value) -> bool:
    return compare(one, other) <= 0


@builtin("gt", "any", "any", result="boolean")
def is_greater(one: Value, other: Value) -> bool:
    return compare(one, other) > 0


@builtin("gte", "any", "any", result="boolean")
def is_greater_or_equal(one: Value, other: Value) -> bool:
    return compare(one, other) >= 0


@builtin("internal.member_2", "any", "any", result="boolean")
def is_member(value: Value, domain: Value) -> bool:
    if type(domain) is Set:
        return key(value) in domain.items
    if type(domain) is list:
        return any(equal(each, value) for each in domain)
    return type(domain) is dict and any(equal(each, value) for each in domain.values())


@builtin("internal.member_3", "any", "any", "any", result="boolean")
def is_member_at(name: Value, value: Value, domain: Value) -> bool:
    if type(domain) is list:
        return type(name) is int and 0 <= name < len(domain) and equal(domain[name], value)
    if type(domain) is dict:
        return key(name) in domain and equal(domain[key(name)], value)
    return type(domain) is Set and equal(name, value) and key(value) in domain.items


@builtin("and", "set[any]", "set[any]", result="set[any]")
def both(one: Value, other: Value) -> Set:
    one, other = members(one, 1), members(other, 2)
    if len(other.items) < len(one.items):
        one, other = other, one
    return Set({name: each for name, each in one.items.items() if name in other.items})


@builtin("or", "set[any]", "set[any]", result="set[any]")
def either(one: Value, other: Value) -> Set:
    first, second = members(one, 1).items, members(other, 2).items
    return Set({**second, **first})  # of 1 and 1.0 the first stays


@builtin("set_diff", "set[any]", "set[any]", result="set[any]")
def difference(one: Value, other: Value) -> Set:
    without = members(other, 2).items
    return Set({name: each for name, each in members(one, 1).items.items() if name not in without})


def _sets(value: Value) -> list[Set]:
    found: list[Set] = []
    for each in members(value, 1).ordered():
        if type(each) is not Set:
            raise OperandError(1, each, "set")
        found.append(each)
    return found


@builtin("intersection", "set[set[any]]", result="set[any]")
def intersection(value: Value) -> Set:
    return reduce(both, _sets(value) or [Set()])


@builtin("union", "set[set[any]]", result="set[any]")
def union(value: Value) -> Set:
    members_of: dict[Key, Value] = {}
    for one in _sets(value):
        for name, each in one.items.items():
            members_of.setdefault(name, each)  # of 1 and 1.0 the first stays
    return Set(members_of)
