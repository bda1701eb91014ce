"""Arrays, and `walk`."""

from __future__ import annotations

from policylang.rego.builtins.operands import array, integer
from policylang.rego.declare import Context, builtin
from policylang.rego.values import Set, Value, pairs


@builtin("array.concat", "array[any]", "array[any]", result="array[any]", context=True)
def concat(context: Context, left: Value, right: Value) -> list[Value]:
    made = array(left, 1) + array(right, 2)
    context.meter.fit(len(made))
    context.meter.spend(len(made) >> 4)
    return made


@builtin("array.flatten", "array[any]", result="array[any]")
def flatten(value: Value) -> list[Value]:
    """One level."""
    made: list[Value] = []
    for member in array(value, 1):
        if type(member) is list:
            made += member
        else:
            made.append(member)
    return made


@builtin("array.reverse", "array[any]", result="array[any]")
def reverse(value: Value) -> list[Value]:
    return array(value, 1)[::-1]


@builtin("array.slice", "array[any]", "number", "number", result="array[any]")
def part(value: Value, first: Value, last: Value) -> list[Value]:
    members, start, stop = array(value, 1), integer(first, 2), integer(last, 3)
    return members[max(start, 0):max(stop, 0)]


@builtin("walk", "any", result="array<array[any], any>", context=True, relation=True)
def walk(context: Context, value: Value) -> list[Value]:
    """All [path, value] at and below a value."""
    made: list[Value] = []
    stack: list[tuple[list[Value], Value]] = [([], value)]
    meter = context.meter
    while stack:
        path, inner = stack.pop()
        made.append([path, inner])
        kind = type(inner)
        if kind is list:
            below = [([*path, at], member) for at, member in enumerate(inner)]
        elif kind is dict:
            below = [([*path, name], member) for name, member in pairs(inner)]
        elif kind is Set:
            below = [([*path, member], member) for member in inner.ordered()]
        else:
            continue
        meter.spend(len(below) * (1 + len(path) // 16))
        stack += reversed(below)
    return made
