"""Kyverno's arithmetic of numbers, Kubernetes quantities and durations (pkg/engine/jmespath/arithmetic.go)."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from policylang.go import durations, quantities
from policylang.go.printing import sprint
from policylang.go.quantities import Quantity, QuantityError
from policylang.jmespath.builtins.function import Function, declare, failed
from policylang.jmespath.builtins.standard import only_list
from policylang.jmespath.values import Env, QueryError, is_number

_SECOND = 10**9


class _Duration(NamedTuple):
    ns: int

    @property
    def seconds(self) -> float:
        """time.Duration.Seconds: whole seconds and the rest are divided apart."""
        whole = abs(self.ns) // _SECOND
        value = float(whole) + float(abs(self.ns) % _SECOND) / 1e9
        return -value if self.ns < 0 else value


_Operand = float | Quantity | _Duration


def _operand(value: Any, name: str) -> _Operand:
    if is_number(value):
        return float(value)
    if type(value) is str:
        with suppress(QuantityError):
            return quantities.parse(value, infinite=True)
        if (nanoseconds := durations.parse(value)) is not None:
            return _Duration(nanoseconds)
    raise failed(name, "invalid operand")


def _show(nanoseconds: int) -> str:
    """A time.Duration, which wraps around as int64 does."""
    return durations.show((nanoseconds + 2**63) % 2**64 - 2**63)


def _scaled(seconds: float) -> str:
    if not math.isfinite(seconds) or abs(seconds * 1e9) >= 2.0**63:
        return durations.show(-(2**63))  # what the conversion gives on amd64
    return durations.show(int(seconds * 1e9))


def _mismatch(name: str) -> QueryError:
    return failed(name, "Types mismatch")


def _number_as_quantity(value: float) -> Quantity:
    try:
        return quantities.parse(sprint(value), infinite=True)
    except QuantityError as wrong:
        raise QueryError(wrong.message) from None


def _sum_of(name: str, first: Any, second: Any, sign: int) -> Any:
    left, right = _operand(first, name), _operand(second, name)
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        return str(left.plus(right) if sign > 0 else left.minus(right))
    if isinstance(left, _Duration) and isinstance(right, _Duration):
        return _show(left.ns + sign * right.ns)
    if isinstance(left, float) and isinstance(right, float):
        return left + sign * right
    raise _mismatch(name)


def _sum(env: Env, values: Any) -> Any:
    if not only_list(values):
        raise failed("sum", "at least one element in the array is required")
    env.spend(len(values))
    total = values[0]
    for value in values[1:]:
        total = _sum_of("sum", total, value, 1)
    return total


def _multiply(first: Any, second: Any) -> Any:
    left, right = _operand(first, "multiply"), _operand(second, "multiply")
    if isinstance(left, float) and not isinstance(right, float):
        left, right = right, left
    if not isinstance(right, float):
        raise _mismatch("multiply")
    if isinstance(left, Quantity):
        return str(left.times(_number_as_quantity(right)))
    if isinstance(left, _Duration):
        return _scaled(left.seconds * right)
    return left * right


def _divide(first: Any, second: Any) -> Any:
    left, right = _operand(first, "divide"), _operand(second, "divide")
    kinds = (type(left), type(right))
    if kinds not in ((Quantity, Quantity), (Quantity, float), (_Duration, _Duration), (_Duration, float),
                     (float, float)):
        raise _mismatch("divide")
    divisor = right if isinstance(right, float) else (
        right.approximate() if isinstance(right, Quantity) else right.seconds)
    if divisor == 0:
        raise failed("divide", "Zero divisor passed")
    if isinstance(left, Quantity):
        if isinstance(right, float):
            return str(left.over(_number_as_quantity(right)))
        return left.approximate() / divisor
    if isinstance(left, _Duration):
        return _scaled(left.seconds / divisor) if isinstance(right, float) else left.seconds / divisor
    return left / divisor


def _modulo(first: Any, second: Any) -> Any:
    left, right = _operand(first, "modulo"), _operand(second, "modulo")
    if isinstance(left, _Duration) and isinstance(right, _Duration):
        if right.ns == 0:
            raise failed("modulo", "Zero divisor passed")
        return _show(int(math.copysign(1, left.ns)) * (abs(left.ns) % abs(right.ns)))
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        rest = _rest(left.approximate(), right.approximate())
        return str(Quantity(rest, 0, True, left.format))
    if isinstance(left, float) and isinstance(right, float):
        return float(_rest(left, right))
    raise _mismatch("modulo")


def _rest(left: float, right: float) -> int:
    for value in (left, right):
        if not math.isfinite(value) or value != int(value) or abs(value) >= 2.0**63:
            raise failed("modulo", "Non-integer argument(s) passed for modulo")
    if right == 0:
        raise failed("modulo", "Zero divisor passed")
    rest = abs(int(left)) % abs(int(right))
    return -rest if left < 0 else rest


def _round(value: float, places: float) -> float:
    if not math.isfinite(places) or places != int(places) or abs(places) >= 2.0**63:
        raise failed("round", "Non-integer argument(s) passed for round off")
    if places < 0:
        raise failed("round", "%!d(MISSING) argument is out of bounds (%!d(MISSING))")
    shift = 10.0 ** places if places <= 308 else math.inf
    scaled = float(value) * shift
    if not math.isfinite(scaled):
        return scaled / shift
    whole = math.floor(abs(scaled))
    return math.copysign(float(whole + (abs(scaled) - whole >= 0.5)), scaled) / shift


def _adding(name: str, sign: int) -> Callable[[Any, Any], Any]:
    return lambda first, second: _sum_of(name, first, second, sign)


FUNCTIONS: tuple[Function, ...] = (
    declare("add", "any, any", "any", _adding("add", 1), "the sum of two numbers, quantities or durations"),
    declare("sum", "array", "any", _sum, "the sum of an array of numbers, quantities or durations", env=True),
    declare("subtract", "any, any", "any", _adding("subtract", -1),
            "the difference of two numbers, quantities or durations"),
    declare("multiply", "any, any", "any", _multiply, "a number, quantity or duration times a number"),
    declare("divide", "any, any", "any", _divide,
            "a number, quantity or duration divided by a number or its own kind, which must not be zero"),
    declare("modulo", "any, any", "any", _modulo, "what remains of whole numbers, quantities or durations"),
    declare("round", "number, number", "number", _round, "rounded to so many decimal places"),
)
