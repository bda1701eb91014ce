"""Numbers. OPA computes with a mantissa of 64 bits, and prints the fewest digits that read back.

Here a number is an int where it is whole and a float elsewhere: sums and products of floats that were written with few
digits are exact decimals first and floats after, so that `0.1 + 0.2` is 0.3 as it is in OPA.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context as Digits
from decimal import Decimal
from typing import Any

from custody.languages.budget import too_large
from custody.languages.rego.builtins.comparison import difference
from custody.languages.rego.builtins.operands import OperandFault, big_integer, integer, number
from custody.languages.rego.declare import BuiltinError, Context, OperandError, builtin
from custody.languages.rego.values import Set, Value

Number = int | float
_DIGITS = Digits(prec=20)
_SMALL = 1 << 63
_MOST_BITS = 13_000  # of a whole number: Python prints no longer ones


def whole(value: float) -> Number:
    """The int that a float is, if it is one: of a large one the digits that are shown, and zeros."""
    if value != value // 1:
        return value
    return int(value) if abs(value) < 1e16 else int(Decimal(repr(value)))


def _bounded(value: int) -> int:
    if value.bit_length() > _MOST_BITS:
        raise too_large(value.bit_length(), _MOST_BITS)
    return value


def _inexact(one: Number, other: Number, exact: Callable[[Decimal, Decimal], Decimal],
             binary: Callable[[float, float], float]) -> Number:
    first, second = repr(one), repr(other)
    if (len(first) < 18 and len(second) < 18) or abs(one) > 1e150 or abs(other) > 1e150:
        value = exact(Decimal(first), Decimal(second))
        made = float(value)
        return _bounded(int(value)) if math.isinf(made) else whole(made)
    return whole(binary(float(one), float(other)))


@builtin("plus", "number", "number", result="number")
def plus(one: Value, other: Value) -> Number:
    if type(one) is int and type(other) is int:
        value = one + other
        return value if -_SMALL <= value < _SMALL else _bounded(value)
    return _inexact(number(one, 1), number(other, 2), _DIGITS.add, lambda x, y: x + y)


@builtin("minus", "any<number, set[any]>", "any<number, set[any]>", result="any<number, set[any]>")
def minus(one: Value, other: Value) -> Any:
    if type(one) is int and type(other) is int:
        value = one - other
        return value if -_SMALL <= value < _SMALL else _bounded(value)
    if type(one) is Set:
        if type(other) is not Set:
            raise OperandError(2, other, "set")
        return difference(one, other)
    if type(one) not in (int, float):
        raise OperandError(1, one, "number", "set")
    return _inexact(one, number(other, 2), _DIGITS.subtract, lambda x, y: x - y)


@builtin("mul", "number", "number", result="number")
def mul(one: Value, other: Value) -> Number:
    if type(one) is int and type(other) is int:
        value = one * other
        return value if -_SMALL <= value < _SMALL else _bounded(value)
    return _inexact(number(one, 1), number(other, 2), _DIGITS.multiply, lambda x, y: x * y)


@builtin("div", "number", "number", result="number")
def div(one: Value, other: Value) -> Number:
    if number(other, 2) == 0:
        number(one, 1)
        raise BuiltinError("divide by zero")
    if type(one) is int and type(other) is int:
        value, rest = divmod(one, other)
        if rest == 0:
            return value
    return _inexact(number(one, 1), other, _DIGITS.divide, lambda x, y: x / y)


@builtin("rem", "number", "number", result="number")
def rem(one: Value, other: Value) -> Number:
    first, second = whole(number(one, 1)), whole(number(other, 2))
    if type(first) is not int or type(second) is not int:
        raise BuiltinError("modulo on floating-point number")
    if second == 0:
        raise BuiltinError("modulo by zero")
    value = abs(first) % abs(second)
    return -value if first < 0 else value


@builtin("abs", "number", result="number")
def absolute(value: Value) -> Number:
    return abs(number(value, 1))


@builtin("ceil", "number", result="number")
def ceil(value: Value) -> int:
    return value if type(value) is int else math.ceil(number(value, 1))


@builtin("floor", "number", result="number")
def floor(value: Value) -> int:
    return value if type(value) is int else math.floor(number(value, 1))


@builtin("round", "number", result="number")
def nearest(value: Value) -> int:
    """Halves away from zero."""
    if type(value) is int:
        return value
    up = math.floor(abs(number(value, 1)) + 0.5)
    return up if value > 0 else -up


@builtin("bits.and", "number", "number", result="number")
def bits_and(one: Value, other: Value) -> int:
    return big_integer(one, 1) & big_integer(other, 2)


@builtin("bits.or", "number", "number", result="number")
def bits_or(one: Value, other: Value) -> int:
    return big_integer(one, 1) | big_integer(other, 2)


@builtin("bits.xor", "number", "number", result="number")
def bits_xor(one: Value, other: Value) -> int:
    return big_integer(one, 1) ^ big_integer(other, 2)


@builtin("bits.negate", "number", result="number")
def bits_negate(value: Value) -> int:
    return ~big_integer(value, 1)


def _shift(value: Value) -> int:
    found = big_integer(value, 2)
    if found < 0:
        raise OperandFault(2, "must be an unsigned integer number but got a negative integer")
    return found


@builtin("bits.lsh", "number", "number", result="number")
def bits_lsh(value: Value, shift: Value) -> int:
    found, by = big_integer(value, 1), _shift(shift)
    if by + found.bit_length() > _MOST_BITS:
        raise too_large(by, _MOST_BITS)
    return found << by


@builtin("bits.rsh", "number", "number", result="number")
def bits_rsh(value: Value, shift: Value) -> int:
    return big_integer(value, 1) >> _shift(shift)


@builtin("numbers.range", "number", "number", result="array[number]", context=True)
def number_range(context: Context, first: Value, last: Value) -> list[int]:
    return _range(context, big_integer(first, 1), big_integer(last, 2), 1)


@builtin("numbers.range_step", "number", "number", "number", result="array[number]", context=True)
def number_range_step(context: Context, first: Value, last: Value, step: Value) -> list[int]:
    start, stop, by = big_integer(first, 1), big_integer(last, 2), big_integer(step, 3)
    if by <= 0:
        raise BuiltinError("numbers.range_step: step must be a positive integer")
    return _range(context, start, stop, by)


def _range(context: Context, first: int, last: int, step: int) -> list[int]:
    found = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
    if abs(last - first) // step >= 1 << 40:
        raise too_large(abs(last - first) // step, context.meter.size)
    context.meter.fit(len(found))
    context.meter.spend(len(found))
    return list(found)


@builtin("format_int", "number", "number", result="string")
def format_int(value: Value, base: Value) -> str:
    shown = number(value, 1)
    letter = {2: "b", 8: "o", 10: "d", 16: "x"}.get(number(base, 2))  # type: ignore[arg-type]
    if letter is None:
        raise OperandFault(2, "must be one of {2, 8, 10, 16}")
    return format(int(shown), letter)


@builtin("rand.intn", "string", "number", result="number", context=True, nondeterministic=True)
def rand_intn(context: Context, seed: Value, most: Value) -> int:
    """The same seed and range give the same number throughout an evaluation."""
    name, bound = string_of(seed), integer(most, 2)
    if bound == 0:
        return 0
    bound = abs(bound)
    world = context.ask("rand.intn", "a source of randomness")
    found = context.cache.get(("rand.intn", name, bound))
    if found is None:
        drawn = int.from_bytes(world.random(bound.bit_length() // 8 + 9), "big")
        found = context.cache["rand.intn", name, bound] = drawn % bound
    return int(found)


def string_of(seed: Value) -> str:
    if type(seed) is not str:
        raise OperandError(1, seed, "string")
    return seed
