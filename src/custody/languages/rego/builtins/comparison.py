"""Comparison and membership: what the infix signs call. The compiler writes most of them as tests in place."""

from __future__ import annotations

from custody.languages.rego import runtime
from custody.languages.rego.declare import builtin
from custody.languages.rego.values import Value, equal

for _name in ("equal", "eq"):
    builtin(_name, "any", "any", result="boolean")(equal)
builtin("lt", "any", "any", result="boolean")(runtime.less)
builtin("lte", "any", "any", result="boolean")(runtime.less_or_equal)


@builtin("neq", "any", "any", result="boolean")
def neq(one: Value, other: Value) -> bool:
    return not equal(one, other)


@builtin("gt", "any", "any", result="boolean")
def gt(one: Value, other: Value) -> bool:
    return runtime.less(other, one)


@builtin("gte", "any", "any", result="boolean")
def gte(one: Value, other: Value) -> bool:
    return runtime.less_or_equal(other, one)


@builtin("internal.member_2", "any", "any", result="boolean")
def member_2(value: Value, domain: Value) -> bool:
    return runtime.contains(domain, value)


@builtin("internal.member_3", "any", "any", "any", result="boolean")
def member_3(name: Value, value: Value, domain: Value) -> bool:
    return runtime.contains_at(domain, name, value)
