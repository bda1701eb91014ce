"""Kubernetes quantities, `1.5Gi`, `250m`, `3e2` (k8s.io/apimachinery pkg/api/resource, 0.35).

Exact numbers as Go keeps them: an int64 and a power of ten where both fit (small), else any number of digits, nano at
the finest. Which of the two it is shows in `integer`; the format that one was written in decides how it is printed.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from policylang.errors import InputError

BINARY, DECIMAL, EXPONENT = "BinarySI", "DecimalSI", "DecimalExponent"
POWERS_OF_2 = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
POWERS_OF_10 = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_UNIT_OF_2 = {0: "", **{power: unit for unit, power in POWERS_OF_2.items()}}
_UNIT_OF_10 = {power: unit for unit, power in POWERS_OF_10.items()}
_TEXT = re.compile(r"([+-]?)([0-9]*+)(?:\.([0-9]*+))?([eEinumkKMGTP]*+[+-]?+[0-9]*+)", re.ASCII)
_POWER = re.compile(r"[eE]([+-]?[0-9]{1,10})", re.ASCII)
_LONGEST = 4096  # characters; Go has no limit, and nobody has that much memory
_FARTHEST = 4096  # Go takes exponents up to 2^31, and minutes to compare them
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_NANO = -9
_WRONG = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_WRONG_SUFFIX = "unable to parse quantity's suffix"


class QuantityError(InputError):
    """A text that is no quantity; the message is Go's."""

    code = "quantity"


class Quantity(NamedTuple):
    """`digits` times ten to `scale`. Equal as numbers are those whose `compared` is 0, whatever their parts."""

    digits: int
    scale: int
    small: bool
    format: str = DECIMAL

    @property
    def value(self) -> Fraction:
        if self.scale >= 0:
            return Fraction(self.digits * int(10 ** self.scale))
        return Fraction(self.digits, int(10 ** -self.scale))

    def __str__(self) -> str:
        """The canonical form: no fraction, the largest unit that allows it, `1024Mi` as `1Gi`."""
        value = self.at(0) if self.scale >= 0 else self.value
        if not value:
            return "0"
        if self.format == BINARY and value.denominator == 1 and not -1024 < value < 1024:
            number, power = value.numerator, 0
            while number % 1024 == 0:
                number, power = number // 1024, power + 10
            return f"{number}{_UNIT_OF_2.get(power, '')}"
        number, power = _by_thousands(value)
        if self.format == EXPONENT:
            return f"{number}e{power}" if power else str(number)
        return f"{number}{_UNIT_OF_10.get(power, '')}"

    def approximate(self) -> float:
        """AsApproximateFloat64."""
        try:
            base = float(self.digits)
        except OverflowError:
            return float("inf") if self.digits > 0 else float("-inf")
        return base * float(f"1e{self.scale}") if self.scale else base

    def integer(self) -> int | None:
        """AsInt64: None of what is large, or has a fraction as it is written."""
        if not self.small or self.scale < 0:
            return None
        value = self.at(0)
        return value if _INT_MIN <= value <= _INT_MAX else None

    def at(self, scale: int) -> int:
        """The digits for a scale that is not above this one's."""
        return self.digits * int(10 ** (self.scale - scale))

    def compared(self, quantity: Quantity) -> int:
        """-1, 0 or 1."""
        low = min(self.scale, quantity.scale)
        left, right = self.at(low), quantity.at(low)
        return (left > right) - (left < right)

    def plus(self, addend: Quantity) -> Quantity:
        form = self.format if self.digits else addend.format
        if self.small and addend.small and not (self.digits and addend.digits):
            return (self if self.digits or not addend.digits else addend)._replace(format=form)
        low = min(self.scale, addend.scale)
        digits = self.at(low) + addend.at(low)
        return Quantity(digits, low, self.small and addend.small and _INT_MIN <= digits <= _INT_MAX, form)

    def negative(self) -> Quantity:
        return self._replace(digits=-self.digits)

    def minus(self, subtrahend: Quantity) -> Quantity:
        return self.plus(subtrahend.negative())

    def times(self, factor: Quantity) -> Quantity:
        return Quantity(self.digits * factor.digits, self.scale + factor.scale, False, self.format)

    def over(self, divisor: Quantity) -> Quantity:
        """Cut, not rounded, after as many places as the more precise of the two has. `divisor` must not be zero."""
        scale = min(self.scale, divisor.scale)
        exact = self.value / divisor.value / Fraction(10) ** scale
        digits = abs(exact.numerator) // exact.denominator
        return Quantity(digits if exact > 0 else -digits, scale, False, self.format)


def _by_thousands(value: Fraction | int) -> tuple[int, int]:
    """(number, power): number * 10^power, the power a multiple of three and as large as it can be."""
    power = 0
    while value.denominator != 1:
        value, power = value * 1000, power - 3
        if power < -3 * _FARTHEST:
            break
    number = value.numerator
    while number % 1000 == 0:
        number, power = number // 1000, power + 3
    return number, power


def of_integer(value: int) -> Quantity:
    """What an int64 is as a quantity."""
    return Quantity(value, 0, True)


@lru_cache(4096)
def parse(text: str, *, infinite: bool = False) -> Quantity:
    """ParseQuantity: finer than nano is rounded up, binary ones end at 2^63 - 1.

    QuantityError in Go's words where it refuses `text`, and where an exponent is beyond 4096; with `infinite` that is
    as good as 4096.
    """
    shape = _TEXT.fullmatch(text) if 0 < len(text) <= _LONGEST else None
    if shape is None:
        raise QuantityError(_WRONG)
    sign, whole, fraction, suffix = shape[1], shape[2].lstrip("0") or "0", shape[3] or "", shape[4]
    digits, places = int(whole + fraction), len(fraction)
    if suffix in POWERS_OF_2:
        quantity = _binary(digits, len(whole), places, POWERS_OF_2[suffix])
    elif suffix in POWERS_OF_10:
        quantity = _decimal(digits, len(whole), places, POWERS_OF_10[suffix], DECIMAL)
    else:
        power = _POWER.fullmatch(suffix)
        exponent = int(power[1]) if power is not None else 0
        if power is None or (abs(exponent) > _FARTHEST and not infinite):
            raise QuantityError(_WRONG_SUFFIX)
        exponent = max(-_FARTHEST, min(_FARTHEST, exponent))
        quantity = _decimal(digits, len(whole), places, exponent, EXPONENT)
    return quantity.negative() if sign == "-" else quantity


def _decimal(digits: int, width: int, places: int, exponent: int, form: str) -> Quantity:
    scale = exponent - places
    if width + places <= 18 and scale >= _NANO:
        return Quantity(digits, scale, True, form)
    return _large(digits, scale, form)


def _binary(digits: int, width: int, places: int, exponent: int) -> Quantity:
    value = digits << exponent
    if not places and 15 - width - exponent * 3 // 10 - 1 >= 0 and value <= _INT_MAX:
        return Quantity(value, 0, True, BINARY)
    large = _large(value, -places, BINARY)
    if large.at(_NANO) > _INT_MAX * 10**9:
        return Quantity(_INT_MAX, 0, False, BINARY)
    return large._replace(format=DECIMAL) if 0 < large.at(_NANO) < 10**9 else large


def _large(digits: int, scale: int, form: str) -> Quantity:
    """Of nano, rounded away from zero; a zero as it is written."""
    if not digits:
        return Quantity(0, scale, False, form)
    if scale < _NANO:
        return Quantity(-(-digits // 10 ** (_NANO - scale)), _NANO, False, form)
    return Quantity(digits * int(10 ** (scale - _NANO)), _NANO, False, form)


@lru_cache(4096)
def number(text: str) -> Fraction | None:
    """The value alone; None where `text` is no quantity."""
    try:
        return parse(text, infinite=True).value
    except QuantityError:
        return None
