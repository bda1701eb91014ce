"""kubernetes.quantity: resource quantities, `quantity("1.5Gi")` (apimachinery pkg/api/resource).

A quantity is small (an int64 and a power of ten) or large (any number of digits) as Go has it, because
`isInteger()` is false for all large ones, whatever their value.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from policylang.cel.cost.units import CONSTANT
from policylang.cel.libraries.kubernetes.prices import READ
from policylang.cel.library import Library, Overload, function
from policylang.cel.types import BOOL, DOUBLE, INT, STRING, Type, message
from policylang.cel.values.errors import CelError
from policylang.cel.values.values import INT_MAX, INT_MIN

QUANTITY = message("kubernetes.Quantity")

_SHAPE = re.compile(r"([+-]?)0*([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[+-]?[0-9]*)")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_WRONG = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_LONGEST = 4096  # characters; Go has no limit, and nobody has that much memory
_LARGEST_EXPONENT = 4096  # Go takes 2^31, and minutes to compare it


class Quantity:
    """`digits` times ten to `scale`."""

    __slots__ = ("digits", "scale", "small")
    cel_type: ClassVar[Type] = QUANTITY

    def __init__(self, digits: int, scale: int, small: bool) -> None:
        self.digits, self.scale, self.small = digits, scale, small

    def compared(self, other: Quantity) -> int:
        low = min(self.scale, other.scale)
        left, right = self.at(low), other.at(low)
        return (left > right) - (left < right)

    def at(self, scale: int) -> int:
        """The digits for a scale that is not above this one's."""
        return self.digits * int(10 ** (self.scale - scale))

    def plus(self, other: Quantity) -> Quantity:
        if self.small and other.small:
            if not other.digits:
                return self
            if not self.digits:
                return other
        low = min(self.scale, other.scale)
        digits = self.at(low) + other.at(low)
        return Quantity(digits, low, self.small and other.small and INT_MIN <= digits <= INT_MAX)

    def negative(self) -> Quantity:
        return Quantity(-self.digits, self.scale, self.small)

    def integer(self) -> int | None:
        if not self.small or self.scale < 0:
            return None
        value = self.at(0)
        return value if INT_MIN <= value <= INT_MAX else None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Quantity):
            raise CelError("no such overload")
        return self.compared(other) == 0

    def __hash__(self) -> int:
        digits, scale = self.digits, self.scale
        while digits and digits % 10 == 0:
            digits, scale = digits // 10, scale + 1
        return hash((digits, scale if digits else 0))

    def __repr__(self) -> str:
        return f"quantity({self.digits}e{self.scale})"


def parse(text: str) -> Quantity:
    """CelError in Go's words where `text` is no quantity."""
    if text == "0":
        return Quantity(0, 0, True)
    found = _SHAPE.fullmatch(text) if 0 < len(text) <= _LONGEST else None
    if found is None:
        raise CelError(_WRONG)
    sign, whole, part, suffix = found[1], found[2] or "0", found[3] or "", found[4]
    if suffix[:1].isdigit():
        raise CelError(_WRONG)
    base, exponent = _suffix(suffix)
    digits = int(whole + part) * (-1 if sign == "-" else 1)
    return _binary(digits, whole, part, exponent) if base == 2 else _decimal(digits, whole, part, exponent)


def _suffix(text: str) -> tuple[int, int]:
    """Base and exponent."""
    if text in _DECIMAL:
        return 10, _DECIMAL[text]
    if text in _BINARY:
        return 2, _BINARY[text]
    power = re.fullmatch(r"[eE]([+-]?[0-9]{1,10})", text)
    if power is None or abs(int(power[1])) > _LARGEST_EXPONENT:
        raise CelError("unable to parse quantity's suffix")
    return 10, int(power[1])


def _decimal(digits: int, whole: str, part: str, exponent: int) -> Quantity:
    scale = exponent - len(part)
    if len(whole) + len(part) <= 18 and scale >= -9:
        return Quantity(digits, scale, True)
    return _large(digits, scale)


def _binary(digits: int, whole: str, part: str, exponent: int) -> Quantity:
    value = digits << exponent
    if not part and 15 - len(whole) - exponent * 3 // 10 - 1 >= 0 and INT_MIN <= value <= INT_MAX:
        return Quantity(value, 0, True)
    large = _large(value, -len(part))
    if abs(large.digits) > INT_MAX * 10 ** -large.scale:
        return Quantity(INT_MAX if digits > 0 else -INT_MAX, 0, False)
    return large


def _large(digits: int, scale: int) -> Quantity:
    """Rounded away from zero to whole nano."""
    if scale < -9:
        size, rest = divmod(abs(digits), 10 ** (-9 - scale))
        digits, scale = (size + bool(rest)) * (1 if digits > 0 else -1), -9
    return Quantity(digits, scale, False)


def _is_quantity(text: str) -> bool:
    try:
        parse(text)
    except CelError:
        return False
    return True


def _approximate(of: Quantity) -> float:
    try:
        return float(of.digits) * 10.0 ** of.scale
    except OverflowError:
        return float("inf") if of.digits > 0 else float("-inf")


def _as_integer(of: Quantity) -> int:
    value = of.integer()
    if value is None:
        raise CelError("cannot convert value to integer")
    return value


def _member(name: str, key: str, params: tuple[Type, ...], result: Type, call: Any) -> Any:
    return function(name, Overload(key, params, result, call, CONSTANT, member=True))


_TWO = (QUANTITY, QUANTITY)

LIBRARY = Library("kubernetes.quantity", types=(QUANTITY,), functions=(
    function("quantity", Overload("string_to_quantity", (STRING,), QUANTITY, parse, READ)),
    function("isQuantity", Overload("is_quantity_string", (STRING,), BOOL, _is_quantity, READ)),
    # Kubernetes declares sign as a plain function, so `q.sign()` does not compile there.
    function("sign", Overload("quantity_sign", (QUANTITY,), INT, lambda of: (of.digits > 0) - (of.digits < 0),
                              CONSTANT)),
    _member("isGreaterThan", "quantity_is_greater_than", _TWO, BOOL, lambda one, other: one.compared(other) > 0),
    _member("isLessThan", "quantity_is_less_than", _TWO, BOOL, lambda one, other: one.compared(other) < 0),
    _member("compareTo", "quantity_compare_to", _TWO, INT, lambda one, other: one.compared(other)),
    _member("asApproximateFloat", "quantity_get_float", (QUANTITY,), DOUBLE, _approximate),
    _member("asInteger", "quantity_get_int", (QUANTITY,), INT, _as_integer),
    _member("isInteger", "quantity_is_integer", (QUANTITY,), BOOL, lambda of: of.integer() is not None),
    function("add", Overload("quantity_add", _TWO, QUANTITY, lambda one, other: one.plus(other), CONSTANT, member=True),
             Overload("quantity_add_int", (QUANTITY, INT), QUANTITY,
                      lambda one, other: one.plus(Quantity(other, 0, True)), CONSTANT, member=True)),
    function("sub",
             Overload("quantity_sub", _TWO, QUANTITY, lambda one, other: one.plus(other.negative()), CONSTANT,
                      member=True),
             Overload("quantity_sub_int", (QUANTITY, INT), QUANTITY,
                      lambda one, other: one.plus(Quantity(-other, 0, True)), CONSTANT, member=True)),
))
