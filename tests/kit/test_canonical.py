"""Canonical JSON: the same bytes as the rfc8785 package, and what I-JSON cannot carry is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from custody.errors import MalformedError
from custody.kit.canonical import canonical

WHOLE = st.integers(-(2**53) + 1, 2**53 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN = st.recursive(st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
                     lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)


@given(PLAIN)
@example({"\U0001f600": 1, "\ufb33": 2, "\r": 3, "1": 4, "\x80": 5, "ö": 6, "€": 7})  # RFC 8785 section 3.2.3
@example([333333333.33333329, 1e30, 4.5, 2e-3, 1e-27, -0.0, 5e-324, 1e21, 1e20, 1e-6, 1e-7])
@example("€$\x0f\nA'B\"\\\\\"/\x7f\u2028")
def test_same_bytes_as_rfc8785(value: Any) -> None:
    written = canonical(value)
    assert written == rfc8785.dumps(value)
    read = json.loads(written, parse_int=float)  # JSON's numbers are doubles; 2^60 is written with zeros at the end
    assert read == value
    assert canonical(read) == written


@pytest.mark.parametrize(("value", "reason"), [
    (2**53, "within ±"), (-(2**53), "within ±"), (float("nan"), "finite"), (float("-inf"), "finite"),
    ("\ud800", "lone surrogate"), ({"\udfff": 1}, "lone surrogate"), ({1: 2}, "text as every key"),
    (b"bytes", "plain JSON"), ({1, 2}, "plain JSON"),
])
def test_refused(value: Any, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        canonical(value)
