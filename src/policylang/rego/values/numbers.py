"""Numbers as Rego has them: decimal texts (OPA's v1/ast: Number), computed with as Go's math/big does.

A number is an int or a float where one of those has exactly the number's text; every other is a `Numeral`: `1.50`,
`1e3`, `-0`, and what has more digits than a float. All three compare by what they are in decimal: 0.1 is a tenth.
Computing with what is not whole goes through a binary number of 64 bits, or 53 where OPA takes those.
"""

from __future__ import annotations

import re
from decimal import Context as Digits
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from policylang.budget import too_large

MOST_BITS = 13_000  # of a whole number that is computed with: Python writes no longer ones
MOST_DIGITS = 4_000  # of a number's text
_MOST_EXPONENT = 100_000  # binary; OPA refuses larger numbers
_EXACT = Digits(prec=40_000, Emax=999_999, Emin=-999_999)
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)


class TooBig(ValueError):  # noqa: N818 - OPA's word
    """A number whose exponent, or whose text, is larger than is computed with."""


class Numeral:
    """A number by its text. `exact`: its value."""

    __slots__ = ("_hash", "exact", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.exact = Decimal(text)
        nearest = float(self.exact)
        self._hash = hash(nearest if Decimal(repr(nearest)) == self.exact else self.exact)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (int, float, Numeral)) and self.exact == exact(other)

    def __lt__(self, other: Number) -> bool:
        return self.exact < exact(other)

    def __le__(self, other: Number) -> bool:
        return self.exact <= exact(other)

    def __gt__(self, other: Number) -> bool:
        return self.exact > exact(other)

    def __ge__(self, other: Number) -> bool:
        return self.exact >= exact(other)

    def __float__(self) -> float:
        return float(self.exact)

    def __repr__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[type[Numeral], tuple[str]]:
        return Numeral, (self.text,)


Number = int | float | Numeral
KINDS = frozenset({int, float, Numeral})


def exact(value: Number) -> Decimal:
    kind = type(value)
    if kind is float:
        return Decimal(repr(value))
    return value.exact if isinstance(value, Numeral) else Decimal(value)


def read(text: str) -> Number:
    """The number of a text in JSON's syntax, or Go's for decimals. TooBig; ValueError where it is none."""
    if len(text) > MOST_DIGITS:
        raise TooBig("number too big")
    if _WHOLE.fullmatch(text) and text != "-0":
        return int(text)
    _, _, power = text.lower().partition("e")
    if power and (len(power.lstrip("+-")) > 6 or abs(int(power)) + len(text) > _MOST_EXPONENT // 4):
        _check(text, power)
    try:
        value = float(text)
        return value if number_text(value) == text else Numeral(text)
    except (InvalidOperation, OverflowError):
        raise ValueError(f"invalid number {text[:40]!r}") from None


def _check(text: str, power: str) -> None:
    digits = text.lower().partition("e")[0]
    if not digits.strip("+-.0"):
        return
    if len(power.lstrip("+-0")) > 6 or abs(Decimal(text).adjusted() * 3.3219281) > _MOST_EXPONENT:
        raise TooBig("number too big")


def number_text(value: Number) -> str:
    """A number as OPA prints it; of a float the fewest digits, whole ones without a point."""
    if type(value) is int:
        return str(value)
    if isinstance(value, Numeral):
        return value.text
    if value == value // 1 and abs(value) < 1e21:
        return str(int(value))
    shown = repr(value)
    if "e" not in shown:
        if abs(value) >= 1e-6:
            return shown
        shown = f"{Decimal(shown).normalize():e}"
    mantissa, _, power = shown.partition("e")
    return f"{mantissa.removesuffix('.0')}e{power[0] if power[0] in '+-' else '+'}{power.lstrip('+-').zfill(2)}"


def bounded(value: int) -> int:
    """`value`; BudgetExceeded where it has too many bits."""
    if value.bit_length() > MOST_BITS:
        raise too_large(value.bit_length(), MOST_BITS)
    return value


def integral(value: Number) -> int | None:
    """The int that a number of any spelling is (big.Rat.IsInt); None of others. BudgetExceeded of very large ones."""
    if type(value) is int:
        return value
    decimal = exact(value)
    if decimal.adjusted() > MOST_DIGITS:
        raise too_large(decimal.adjusted(), MOST_DIGITS)
    if decimal.adjusted() < 0 and decimal:
        return None
    whole = int(decimal)
    return whole if decimal == whole else None


def plain_integer(value: Number) -> int | None:
    """The int64 that a number's text is, where that is digits and perhaps a point and zeros (util.Atoi64)."""
    if type(value) is int:
        number = value
    else:
        shown = number_text(value)
        digits, _, rest = shown.partition(".")
        if not re.fullmatch("[+-]?[0-9]*", digits) or rest.strip("0") or len(shown.lstrip("+-")) > 19 or \
                not (digits.strip("+-") or rest):
            return None
        number = int(digits) if digits.strip("+-") else 0
    return number if -1 << 63 <= number < 1 << 63 else None


# --- binary numbers of a bounded precision: math/big.Float

class Binary(NamedTuple):
    """± mantissa · 2^exponent; the mantissa has at most `precision` bits."""

    negative: bool
    mantissa: int
    exponent: int
    precision: int = 64

    def signed(self) -> int:
        return -self.mantissa if self.negative else self.mantissa


def _rounded(negative: bool, mantissa: int, exponent: int, precision: int, sticky: bool = False) -> Binary:
    """To nearest, halves to even. `sticky`: there is more below the mantissa, which then has bits to spare."""
    spare = mantissa.bit_length() - precision
    if spare > 0:
        rest, half = mantissa & ((1 << spare) - 1), 1 << (spare - 1)
        mantissa >>= spare
        exponent += spare
        if rest > half or (rest == half and (sticky or mantissa & 1)):
            mantissa += 1
    if mantissa:
        zeros = (mantissa & -mantissa).bit_length() - 1
        mantissa, exponent = mantissa >> zeros, exponent + zeros
    else:
        exponent = 0
    return Binary(negative, mantissa, exponent, precision)


def of_integer(value: int, precision: int = 64) -> Binary:
    return _rounded(value < 0, abs(value), 0, max(precision, value.bit_length()))


def binary(value: Number, precision: int = 64) -> Binary:
    """big.Float.SetString."""
    if type(value) is int:
        return _rounded(value < 0, abs(value), 0, precision)
    sign, digits, power = exact(value).as_tuple()
    assert isinstance(power, int)
    mantissa = int("".join(map(str, digits)))
    if power >= 0:
        return _rounded(bool(sign), mantissa * 5**power, power, precision)
    return _divided(bool(sign), mantissa, 5**-power, power, precision)


def _divided(negative: bool, top: int, bottom: int, exponent: int, precision: int) -> Binary:
    shift = max(0, precision + 2 + bottom.bit_length() - top.bit_length())
    quotient, rest = divmod(top << shift, bottom)
    return _rounded(negative, quotient, exponent - shift, precision, rest != 0)


def add(left: Binary, right: Binary) -> Binary:
    precision = max(left.precision, right.precision)
    if not left.mantissa or not right.mantissa:
        if not left.mantissa and not right.mantissa:
            return Binary(left.negative and right.negative, 0, 0, precision)
        return _rounded(*(left if left.mantissa else right)[:3], precision)
    large, small = sorted((left, right), key=lambda term: term.exponent + term.mantissa.bit_length(), reverse=True)
    if large.exponent - small.exponent - small.mantissa.bit_length() > precision + 4:  # far below: only its sign counts
        shift = precision + 4
        small = Binary(small.negative, 1, large.exponent - shift)
    low = min(large.exponent, small.exponent)
    made = (large.signed() << (large.exponent - low)) + (small.signed() << (small.exponent - low))
    return _rounded(made < 0, abs(made), low, precision)


def subtract(left: Binary, right: Binary) -> Binary:
    return add(left, right._replace(negative=not right.negative))


def multiply(left: Binary, right: Binary, precision: int = 0) -> Binary:
    return _rounded(left.negative != right.negative, left.mantissa * right.mantissa, left.exponent + right.exponent,
                    precision or max(left.precision, right.precision))


def divide(left: Binary, right: Binary) -> Binary:
    """The caller has seen that `right` is not zero."""
    return _divided(left.negative != right.negative, left.mantissa, right.mantissa, left.exponent - right.exponent,
                    max(left.precision, right.precision))


def truncated(value: Binary) -> int:
    if value.exponent > MOST_BITS:
        raise too_large(value.exponent, MOST_BITS)
    whole = value.mantissa << value.exponent if value.exponent >= 0 else value.mantissa >> -value.exponent
    return -whole if value.negative else whole


def _decimal(mantissa: int, exponent: int) -> tuple[str, int]:
    """Digits without zeros at the end, and where the point is: 0.25 is ("25", 0)."""
    if exponent >= 0:
        digits = f"{Decimal(mantissa << exponent):f}"
        return digits.rstrip("0"), len(digits)
    digits = f"{Decimal(mantissa * 5**-exponent):f}"
    return digits.rstrip("0"), len(digits) + exponent


def result(value: Binary) -> Number:
    """The number that OPA makes of it: the fewest digits that read back, whole ones without an exponent."""
    sign = "-" if value.negative else ""
    if not value.mantissa:
        return Numeral("-0") if sign else 0
    top = value.exponent + value.mantissa.bit_length()
    if abs(top) > 4 * _MOST_EXPONENT:
        raise too_large(abs(top), _MOST_EXPONENT)
    digits, point = _shortest(value)
    if value.exponent >= 0:
        if point > MOST_DIGITS:
            raise too_large(point, MOST_DIGITS)
        return int(sign + digits.ljust(point, "0"))
    if -4 <= point - 1 < 6:
        shown = f"0.{'0' * -point}{digits}" if point <= 0 else \
            digits[:point].ljust(point, "0") + ("." + digits[point:] if len(digits) > point else "")
    else:
        power = point - 1
        shown = f"{digits[0]}{'.' + digits[1:] if len(digits) > 1 else ''}e{'-' if power < 0 else '+'}{abs(power):02d}"
    return read(sign + shown)


def _shortest(value: Binary) -> tuple[str, int]:
    """The fewest digits between the halves of the last bit around it; as far as they go alike, digit by digit."""
    digits, point = _decimal(value.mantissa, value.exponent)
    shift = value.precision + 1 - value.mantissa.bit_length()
    wide, exponent = value.mantissa << shift, value.exponent - shift
    lower, upper = _decimal(wide - 1, exponent)[0], _decimal(wide + 1, exponent)[0]
    inclusive = wide & 2 == 0
    for at, digit in enumerate(digits):
        low, high = lower[at:at + 1] or "0", upper[at:at + 1] or "0"
        down = low != digit or (inclusive and at + 1 == len(lower))
        up = digit != high and (inclusive or int(digit) + 1 < int(high) or at + 1 < len(upper))
        if down or up:
            return _cut(digits, point, at + 1, up and (not down or _nearer_up(digits, at + 1)))
    return digits, point


def _nearer_up(digits: str, count: int) -> bool:
    """Halves to even."""
    rest = digits[count:]
    if rest == "5":
        return int(digits[count - 1]) % 2 == 1
    return rest[:1] >= "5"


def _cut(digits: str, point: int, count: int, up: bool) -> tuple[str, int]:
    if count >= len(digits):
        return digits, point
    if not up:
        return digits[:count].rstrip("0"), point
    made = str(int(digits[:count]) + 1)
    return made.rstrip("0"), point + len(made) - count
