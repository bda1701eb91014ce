"""Arithmetic: exact on whole numbers, else with 64 binary digits as OPA has it (see `numbers`)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from policylang.budget import too_large
from policylang.rego.builtins.comparison import difference
from policylang.rego.builtins.operands import OperandFault, big_integer, integer, number
from policylang.rego.declare import BuiltinError, Context, OperandError, builtin
from policylang.rego.values import Set, Value, numbers
from policylang.rego.values.numbers import MOST_BITS, Binary, Number, binary, bounded, exact, integral, of_integer

_SMALL = 1 << 63
_INT32 = 1 << 31
_HALF = Binary(False, 1, -1, 53)
_ONE = Binary(False, 1, 0, 53)


def _computed(left: Number, right: Number, whole: Callable[[int, int], int],
              rounded: Callable[[Binary, Binary], Binary]) -> Number:
    first, second = integral(left), integral(right)
    if first is not None and second is not None:
        return bounded(whole(first, second))
    return numbers.result(rounded(binary(left), binary(right)))


@builtin("plus", "number", "number", result="number")
def plus(left: Value, right: Value) -> Number:
    if type(left) is int and type(right) is int:
        value = left + right
        return value if -_SMALL <= value < _SMALL else bounded(value)
    return _computed(number(left, 1), number(right, 2), lambda x, y: x + y, numbers.add)


@builtin("minus", "any<number, set[any]>", "any<number, set[any]>", result="any<number, set[any]>")
def minus(left: Value, right: Value) -> Any:
    if type(left) is int and type(right) is int:
        value = left - right
        return value if -_SMALL <= value < _SMALL else bounded(value)
    if type(left) is Set:
        if type(right) is not Set:
            raise OperandError(2, right, "set")
        return difference(left, right)
    if type(left) not in numbers.KINDS:
        raise OperandError(1, left, "number", "set")
    return _computed(left, number(right, 2), lambda x, y: x - y, numbers.subtract)


@builtin("mul", "number", "number", result="number")
def mul(left: Value, right: Value) -> Number:
    if type(left) is int and type(right) is int:
        value = left * right
        return value if -_SMALL <= value < _SMALL else bounded(value)
    return _computed(number(left, 1), number(right, 2), lambda x, y: x * y, numbers.multiply)


@builtin("div", "number", "number", result="number")
def div(left: Value, right: Value) -> Number:
    """Exact only of numbers of 32 bits; a quotient of 0 has a sign."""
    if not exact(number(right, 2)):
        number(left, 1)
        raise BuiltinError("divide by zero")
    if type(left) is int and type(right) is int and left and -_INT32 <= left < _INT32 and -_INT32 <= right < _INT32:
        value, rest = divmod(left, right)
        if rest == 0:
            return value
    return numbers.result(numbers.divide(binary(number(left, 1)), binary(right)))


@builtin("rem", "number", "number", result="number")
def rem(left: Value, right: Value) -> Number:
    first, second = integral(number(left, 1)), integral(number(right, 2))
    if first is None or second is None:
        raise BuiltinError("modulo on floating-point number")
    if second == 0:
        raise BuiltinError("modulo by zero")
    value = abs(first) % abs(second)
    return -value if first < 0 else value


def _small(value: Value) -> int | None:
    """Of 32 bits: what OPA leaves as it is."""
    result = numbers.plain_integer(number(value, 1))
    return result if result is not None and -_INT32 <= result < _INT32 else None


@builtin("abs", "number", result="number")
def absolute(value: Value) -> Number:
    small = _small(value)
    return abs(small) if small is not None else numbers.result(binary(value)._replace(negative=False))


@builtin("ceil", "number", result="number")
def ceil(value: Value) -> Number:
    """As OPA: -0.5 becomes 1."""
    return _stepped(value, True)


@builtin("floor", "number", result="number")
def floor(value: Value) -> Number:
    """As OPA: -0.5 becomes 0."""
    return _stepped(value, False)


def _stepped(value: Value, up: bool) -> Number:
    small = _small(value)
    if small is not None:
        return small
    wide = binary(value)
    whole = numbers.truncated(wide)
    if (whole < 0) == up or (wide.exponent >= 0 or not wide.mantissa):
        return numbers.result(of_integer(whole))
    return numbers.result((numbers.add if up else numbers.subtract)(of_integer(whole), _ONE))


@builtin("round", "number", result="number")
def nearest(value: Value) -> Number:
    """Halves away from zero."""
    small = _small(value)
    if small is not None:
        return small
    wide = binary(value)
    moved = (numbers.subtract if wide.negative else numbers.add)(wide, _HALF)
    return numbers.result(of_integer(numbers.truncated(moved)))


def _bitwise(name: str, whole: Callable[[int, int], int]) -> None:
    def of_integers(left: Value, right: Value) -> int:
        return whole(big_integer(left, 1), big_integer(right, 2))
    builtin(name, "number", "number", result="number")(of_integers)


_bitwise("bits.and", operator.and_)
_bitwise("bits.or", operator.or_)
_bitwise("bits.xor", operator.xor)


@builtin("bits.negate", "number", result="number")
def bits_negate(value: Value) -> int:
    return ~big_integer(value, 1)


def _shift(value: Value) -> int:
    result = big_integer(value, 2)
    if result < 0:
        raise OperandFault(2, "must be an unsigned integer number but got a negative integer")
    return result & 0xFFFFFFFFFFFFFFFF


@builtin("bits.lsh", "number", "number", result="number")
def bits_lsh(value: Value, shift: Value) -> int:
    result, by = big_integer(value, 1), _shift(shift)
    if by + result.bit_length() > MOST_BITS:
        raise too_large(by, MOST_BITS)
    return result << by


@builtin("bits.rsh", "number", "number", result="number")
def bits_rsh(value: Value, shift: Value) -> int:
    result, by = big_integer(value, 1), _shift(shift)
    return result >> min(by, result.bit_length() + 1)


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
    values = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
    if abs(last - first) // step >= 1 << 40:
        raise too_large(abs(last - first) // step, context.meter.size)
    context.meter.fit(len(values))
    context.meter.spend(len(values))
    return list(values)


@builtin("format_int", "number", "number", result="string")
def format_int(value: Value, base: Value) -> str:
    given = number(value, 1)
    letter = {"2": "b", "8": "o", "10": "d", "16": "x"}.get(numbers.number_text(number(base, 2)))
    if letter is None:
        raise OperandFault(2, "must be one of {2, 8, 10, 16}")
    return format(given if type(given) is int else numbers.truncated(binary(given)), letter)


@builtin("rand.intn", "string", "number", result="number", context=True, nondeterministic=True)
def rand_intn(context: Context, seed: Value, most: Value) -> int:
    """The same seed and range give the same number throughout an evaluation."""
    name, bound = string_of(seed), integer(most, 2)
    if bound == 0:
        return 0
    bound = abs(bound)
    world = context.ask("rand.intn", "a source of randomness")
    result = context.cache.get(("rand.intn", name, bound))
    if result is None:
        drawn = int.from_bytes(world.random(bound.bit_length() // 8 + 9), "big")
        result = context.cache["rand.intn", name, bound] = drawn % bound
    return int(result)


def string_of(seed: Value) -> str:
    if type(seed) is not str:
        raise OperandError(1, seed, "string")
    return seed
