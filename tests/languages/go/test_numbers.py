"""strconv: floats, integers and quoted strings."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policylang.go.numbers import NumError, format_float, parse_float, parse_int, quote


@pytest.mark.parametrize(("value", "verb", "precision", "shown"), [
    (1.0, "g", -1, "1"), (1e21, "g", -1, "1e+21"), (123456789.0, "g", -1, "1.23456789e+08"),
    (0.00001, "g", -1, "1e-05"),
    (1.5, "f", -1, "1.5"), (1e21, "f", -1, "1000000000000000000000"), (0.1, "e", -1, "1e-01"), (2.5, "f", 0, "2"),
    (1.0, "x", -1, "0x1p+00"), (1.999, "x", 1, "0x1.0p+01"), (5e-324, "x", -1, "0x1p-1074"),
    (0.1, "b", -1, "7205759403792794p-56"), (-0.0, "f", 1, "-0.0"), (math.inf, "f", 2, "+Inf"),
    (math.nan, "g", -1, "NaN"), (1e6, "G", -1, "1E+06")])
def test_format_float(value: float, verb: str, precision: int, shown: str) -> None:
    assert format_float(value, verb, precision) == shown


def test_format_float_of_32_bits() -> None:
    assert format_float(0.10000000149011612, "g", -1, 32) == "0.1"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_fewest_digits_read_back(value: float) -> None:
    for verb in "efgx":
        assert parse_float(format_float(value, verb)) == value


@pytest.mark.parametrize(("text", "base", "value"), [("10", 10, 10), ("-7f", 16, -127), ("0x1F", 0, 31), ("0b11", 0, 3),
                                                     ("017", 0, 15), ("1_000", 0, 1000),
                                                     ("9223372036854775807", 10, 2**63 - 1)])
def test_parse_int(text: str, base: int, value: int) -> None:
    assert parse_int(text, base) == value


@pytest.mark.parametrize(("text", "why"), [("", "invalid syntax"), ("1.5", "invalid syntax"), ("1_0", "invalid syntax"),
                                           ("9223372036854775808", "value out of range"),
                                           ("9" * 9_999, "out of range")])
def test_no_integers(text: str, why: str) -> None:
    with pytest.raises(NumError, match=why):
        parse_int(text)


@pytest.mark.parametrize("text", ["", ".", "1e", "abc", "1_0", "0x1", " 1", "1e400"])
def test_no_floats(text: str) -> None:
    with pytest.raises(NumError):
        parse_float(text)


def test_quote() -> None:
    assert quote('a"b\\\n\x00\x7fé☺\u200b\U0001f600') == '"a\\"b\\\\\\n\\x00\\x7fé☺\\u200b😀"'
    assert quote("é😀", ascii_only=True) == '"\\u00e9\\U0001f600"'
    assert quote("'", mark="'") == "'\\''"
