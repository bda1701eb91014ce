"""Protocol buffers as bytes: what is written is read, and each way in which bytes are no message has its reason."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats.protowire import Fields, message

KNOWN: dict[int, tuple[str, type[int] | type[bytes]]] = {1: ("number", int), 2: ("text", bytes)}


def fields(data: bytes) -> Fields:
    return Fields(data, KNOWN, "here")


@given(st.integers(0, (1 << 63) - 1), st.text(max_size=300))
def test_what_is_written_is_read(number: int, text: str) -> None:
    read = fields(message((1, number), (2, text.encode())))
    assert (read.natural("number"), read.text("text"), read.has("text")) == (number, text, True)


def test_what_is_left_out() -> None:
    read = fields(b"")
    assert (read.natural("number"), read.text("text"), read.data("text"), read.all("text")) == (0, "", b"", ())
    assert not read.has("text")


@pytest.mark.parametrize(("data", "words"), [
    (message((1, b"x")), "here.number: got 'wire type 2', expected the field's own"),
    (message((2, 1)), "here.text: got 'wire type 0', expected the field's own"),
    (b"\x0d\0\0\0\0", "here.number: got 'wire type 5'"),
    (b"\x12\x03ab", "here.text: got '2 bytes', expected 3 bytes"),
    (b"\x08", "a varint of 64 bits in its shortest form"),  # cut off before it
    (b"\x08\x80", "a varint of 64 bits in its shortest form"),  # and in it
    (b"\x08\x81\x00", "here: got '8100', expected a varint of 64 bits in its shortest form"),
    (b"\x88\x00\x01", "a varint of 64 bits in its shortest form"),  # the field's own number
    (b"\x08" + b"\xff" * 9 + b"\x02", "a varint of 64 bits in its shortest form"),  # 2^65 - 1
    (b"\x08" + b"\x80" * 10 + b"\x01", "a varint of 64 bits in its shortest form"),  # eleven bytes
    (message((2, b"")) * 1025, "here: got 'more fields', expected at most 1024")])
def test_what_is_no_message(data: bytes, words: str) -> None:
    with pytest.raises(MalformedError) as raised:
        fields(data)
    assert words in raised.value.message


def test_a_field_that_nobody_knows() -> None:
    with pytest.raises(UnsupportedError, match="here: field 3 is not known"):
        fields(message((3, 1)))


def test_what_may_stand_once() -> None:
    read = fields(message((1, 1), (1, 1), (2, b"a"), (2, b"b")))
    assert read.all("text") == (b"a", b"b")
    for reading, name in ((read.natural, "number"), (read.data, "text"), (read.text, "text")):
        with pytest.raises(MalformedError, match=rf"here\.{name}: got 'it twice', expected once"):
            reading(name)
    assert fields(message((2, b"")) * 1024).all("text") == (b"",) * 1024


def test_what_is_no_text_and_no_natural_number() -> None:
    with pytest.raises(MalformedError, match=r"here\.text: got b'\\xff', expected UTF-8"):
        fields(message((2, b"\xff"))).text("text")
    with pytest.raises(MalformedError, match=r"here\.number: got -1, expected a number that is not negative"):
        fields(b"\x08" + b"\xff" * 9 + b"\x01").natural("number")


@given(st.binary(max_size=60))
def test_no_bytes_break_it(data: bytes) -> None:
    with contextlib.suppress(CustodyError):
        read = fields(data)
        read.natural("number")
        read.text("text")
