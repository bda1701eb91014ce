"""Kubernetes quantities, `1.5Gi`, `250m`, `3e2` (k8s.io/apimachinery pkg/api/resource, 0.35).

Exact numbers with the format that they were written in, which decides how a result of arithmetic is printed.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

BINARY, DECIMAL, EXPONENT = "BinarySI", "DecimalSI", "DecimalExponent"
_TEXT = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:([KMGTPE]i|[numkMGTPE]?)|[eE]([+-]?[0-9]{1,9}))\Z")
_POWERS_OF_2 = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_POWERS_OF_10 = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_NAME_OF_2 = {0: "", **{power: name for name, power in _POWERS_OF_2.items()}}
_NAME_OF_10 = {power: name for name, power in _POWERS_OF_10.items()}
_LARGEST_BINARY = 2**63 - 1
_LONGEST = 256
_FARTHEST = 1000  # exponents beyond are as good as infinite, and cost as much as they are large
_NANO = 10**9
WRONG = ("quantities must match the regular expression "
         r"'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")


class Quantity(NamedTuple):
    value: Fraction
    format: str
    places: int
    """Decimal places that the implementation keeps it with; negative for multiples of powers of ten."""

    def __str__(self) -> str:
        """The canonical form: no fraction, the largest unit that allows it, `1024Mi` as `1Gi`."""
        value = self.value
        if not value:
            return "0"
        if self.format == BINARY and value.denominator == 1 and not -1024 < value < 1024:
            number, power = value.numerator, 0
            while number % 1024 == 0:
                number, power = number // 1024, power + 10
            return f"{number}{_NAME_OF_2.get(power, '')}"
        number, power = _by_tens(value)
        if self.format == EXPONENT:
            return f"{number}e{power}" if power else str(number)
        return f"{number}{_NAME_OF_10.get(power, '')}"

    def approximate(self) -> float:
        """AsApproximateFloat64."""
        base = float(self.value * Fraction(10) ** self.places)
        return base * float(f"1e{-self.places}") if self.places else base

    def plus(self, other: Quantity) -> Quantity:
        form = self.format if self.value else other.format
        return Quantity(self.value + other.value, form, max(self.places, other.places))

    def minus(self, other: Quantity) -> Quantity:
        form = self.format if self.value else other.format
        return Quantity(self.value - other.value, form, max(self.places, other.places))

    def times(self, other: Quantity) -> Quantity:
        return Quantity(self.value * other.value, self.format, self.places + other.places)

    def over(self, other: Quantity) -> Quantity:
        """Cut, not rounded, after as many places as the more precise of the two has. `other` must not be zero."""
        places = max(self.places, other.places)
        scaled = self.value / other.value * Fraction(10) ** places
        whole = abs(scaled.numerator) // scaled.denominator
        return Quantity((whole if scaled > 0 else -whole) / Fraction(10) ** places, self.format, places)


def _by_tens(value: Fraction) -> tuple[int, int]:
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


@lru_cache(4096)
def parse(text: str) -> Quantity | None:
    """None where ParseQuantity refuses `text`. Finer than nano is rounded up; binary ones end at 2^63 - 1."""
    found = _TEXT.match(text) if text and len(text) <= _LONGEST else None
    if found is None:
        return None
    sign, digits, fraction, unit, exponent = found.groups()
    if unit and not digits and fraction is None and len(text) == len(unit):
        digits = ""
    digits, fraction = digits.lstrip("0"), fraction or ""
    value = Fraction(int((digits or "0") + fraction), 10 ** len(fraction))
    places = len(fraction)
    if exponent is not None:
        form, power = EXPONENT, max(-_FARTHEST, min(_FARTHEST, int(exponent)))
        value, places = value * Fraction(10) ** power, places - power
    elif unit in _POWERS_OF_2:
        form = BINARY
        value *= 1 << _POWERS_OF_2[unit]
        fits = 15 - max(1, len(digits)) - int(_POWERS_OF_2[unit] * 3 / 10) - 1 >= 0
        places = 0 if not fraction and fits and value.numerator < 1 << 63 else 9
    else:
        form, power = DECIMAL, _POWERS_OF_10[unit]
        value, places = value * Fraction(10) ** power, places - power
    if form != BINARY and (places > 9 or max(1, len(digits)) + len(fraction) > 18):
        places = 9
    if places == 9 and value.denominator != 1:
        value = Fraction(-(-value.numerator * _NANO // value.denominator), _NANO)
    if form == BINARY:
        value = min(value, Fraction(_LARGEST_BINARY))
        if 0 < value < 1:
            form = DECIMAL
    return Quantity(-value if sign == "-" else value, form, places)


def number(text: str) -> Fraction | None:
    """The value alone."""
    found = parse(text)
    return None if found is None else found.value
