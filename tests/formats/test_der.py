"""DER: what is read is written again byte for byte, and each way in which bytes are not DER has its reason."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import MalformedError
from custody.formats.der import INTEGER, OCTETS, OID, SEQUENCE, SET, Reader, definite, element, oid, set_of


def read(data: str) -> Reader:
    return Reader(bytes.fromhex(data), "here")


def refused(reading: Callable[[], object], got: str, expected: str) -> None:
    with pytest.raises(MalformedError) as raised:
        reading()
    assert raised.value.message == f"here: got {got!r}, expected {expected}"


@pytest.mark.parametrize(("data", "got", "expected"), [
    ("", "no bytes", "a DER element of tag 0x04"), ("04", "04", "a DER element of tag 0x04"),
    ("0500", "tag 0x05", "tag 0x04"),
    ("0402aa", "1 bytes", "2 bytes"),
    ("048101", "048101", "a definite length in its shortest form"),  # has room in the short form
    ("0482008000", "04820080", "a definite length in its shortest form"),  # a byte fewer would do
    ("0480aa0000", "0480", "a definite length in its shortest form"),  # indefinite
    ("04850100000000", "04850100000000", "a definite length in its shortest form"),  # more than 4 bytes of it
    ("0482", "0482", "a definite length in its shortest form")])  # cut off
def test_what_is_no_element(data: str, got: str, expected: str) -> None:
    refused(lambda: read(data).content(OCTETS), got, expected)


def test_what_stands_behind() -> None:
    reader = read("0401aa05")
    assert (reader.content(OCTETS), reader.peek(), reader.position) == (b"\xaa", 5, 3)
    refused(reader.done, "1 more bytes", "nothing more")
    assert read("").peek() is None
    read("").done()


@pytest.mark.parametrize(("content", "number"), [("00", 0), ("7f", 127), ("0080", 128), ("ff", -1), ("80", -128),
                                                 ("ff7f", -129)])
def test_integers(content: str, number: int) -> None:
    assert Reader(element(INTEGER, bytes.fromhex(content)), "here").integer() == number


@pytest.mark.parametrize("content", ["", "007f", "0000", "ff80", "ffff"])
def test_integers_that_could_be_shorter(content: str) -> None:
    refused(Reader(element(INTEGER, bytes.fromhex(content)), "here").integer, content or "no bytes",
            "an integer in its shortest form")


@pytest.mark.parametrize(("content", "expected"), [
    ("", "an object identifier"), ("2a86", "an object identifier"),  # ends within a number
    ("2a8001", "an object identifier in its shortest form"), ("8001", "an object identifier in its shortest form"),
    ("2a" + "ff" * 10 + "7f", "an object identifier of numbers below 2^64")])
def test_what_is_no_object_identifier(content: str, expected: str) -> None:
    refused(Reader(element(OID, bytes.fromhex(content)), "here").oid, content[:32] or "no bytes", expected)


@given(st.integers(0, 2), st.integers(0, 39), st.lists(st.integers(0, (1 << 63) - 1), max_size=5))
def test_object_identifiers(root: int, second: int, rest: list[int]) -> None:
    text = ".".join(map(str, (root, second, *rest)))
    assert Reader(oid(text), "here").oid() == text


@given(st.integers(0, 255), st.integers(0, 70_000))
def test_what_is_written_is_read(tag: int, size: int) -> None:
    whole = element(tag, b"\xaa" * size)
    reader = Reader(whole + b"x", "here")
    assert (reader.element(tag), reader.peek()) == (whole, ord("x"))


@pytest.mark.parametrize(("ber", "der"), [
    ("30800401aa0000", "30030401aa"),
    ("3080308004000000a0800000040100" + "0000", "300930020400a000040100"),
    ("3003040100", "3003040100"),  # is DER already
    ("300404800000", "300404800000"),  # what has a definite length is not looked into
    ("30800401aa0000ff", "30030401aaff")])  # what stands behind stays
def test_indefinite_lengths_are_closed(ber: str, der: str) -> None:
    assert definite(bytes.fromhex(ber), "here").hex() == der


@pytest.mark.parametrize(("ber", "got", "expected"), [
    ("", "no bytes", "a DER element"), ("3080", "an element without an end", "two zero bytes behind it"),
    ("30800401aa", "an element without an end", "two zero bytes behind it"),
    ("30800401aa00", "00", "a DER element"),
    ("0480aa0000", "0480", "a definite length in its shortest form"),  # of what holds no elements
    ("3080" * 9 + "0000" * 9, "more elements of indefinite length inside each other", "at most 8")])
def test_indefinite_lengths_that_are_none(ber: str, got: str, expected: str) -> None:
    refused(lambda: definite(bytes.fromhex(ber), "here"), got, expected)


def test_as_many_levels_as_are_read() -> None:
    assert definite(bytes.fromhex("3080" * 8 + "0000" * 8), "here").hex() == "300e300c300a3008300630043002" + "3000"


@given(st.binary(max_size=60))
def test_no_bytes_break_it(data: bytes) -> None:
    for reading in (lambda: definite(data, "here"), Reader(data, "here").element, Reader(data, "here").oid,
                    lambda: Reader(data, "here").enter(SEQUENCE).integer()):
        with contextlib.suppress(MalformedError):
            reading()


def test_a_set_is_in_the_order_of_its_encodings() -> None:
    long, short, number = element(OCTETS, b"aa"), element(OCTETS, b"b"), element(INTEGER, b"\5")
    assert set_of(long, short, number) == element(SET, number, short, long)
    assert set_of(short, long, tag=0xa0) == element(0xa0, short, long)
    assert set_of() == b"\x31\0"
