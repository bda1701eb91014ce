"""Zstandard streams: whole, in several frames, and cut off anywhere."""

from __future__ import annotations

import os

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import MalformedError
from custody.formats import zstd

WINDOW = 8 << 20


def read(packed: bytes, step: int = 1 << 16) -> bytes:
    return b"".join(zstd.decompress((packed[at:at + step] for at in range(0, len(packed), step)), "x", WINDOW))


@given(st.lists(st.binary(max_size=5000), max_size=4), st.integers(1, 5000))
def test_frames_one_after_the_other(parts: list[bytes], step: int) -> None:
    assert read(b"".join(map(zstandard.compress, parts)), step) == b"".join(parts)


@pytest.mark.parametrize("data", [bytes(3 << 20), os.urandom(1 << 20), b"abc" * 100_000, b"x"])
def test_a_stream_that_is_cut_off(data: bytes) -> None:
    packed = zstandard.compress(b"before") + zstandard.compress(data)
    start = len(zstandard.compress(b"before"))
    for end in {start + 1, start + 5, (start + len(packed)) // 2, len(packed) - 1}:
        with pytest.raises((MalformedError, zstandard.ZstdError)) as raised:
            read(packed[:end])
        if isinstance(raised.value, MalformedError):
            assert "the end in the middle of a Zstandard frame" in raised.value.message


def test_bytes_behind_the_last_frame() -> None:
    with pytest.raises(zstandard.ZstdError):
        read(zstandard.compress(b"x") + b"more")
