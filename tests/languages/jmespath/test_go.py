"""What behaves as Go does: JSON, YAML, quantities, durations, printing; properties that hold for any text."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policylang import jmespath
from policylang.go import durations, quantities
from policylang.go.jsontext import JSONError, decode
from policylang.go.printing import indented, marshal
from policylang.go.x509 import CertificateError, decode_pem
from policylang.go.yamltext import YAMLError, decode_yaml

JSON = st.recursive(st.none() | st.booleans() | st.integers(-2**53, 2**53) | st.floats(allow_nan=False,
                    allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.text(st.characters(exclude_categories=["Cs"]), max_size=3), inner, max_size=3), max_leaves=8)


@given(JSON)
def test_what_is_written_reads_back(value: Any) -> None:
    text = marshal(value)
    assert decode(text) == value == decode(indented(value))
    zero = re.search(r"-0(?![.0-9])", text)  # in YAML a whole number, which has no sign
    if text.isascii() and text.isprintable() and "e" not in text and not zero:
        assert marshal(decode_yaml(text)) == text


@given(st.text("{}[]\",:0123456789.eE+-truefalsn\\u \n", max_size=20))
def test_any_text_is_json_or_has_gos_reason(text: str) -> None:
    reason = ""
    try:
        value = decode(text)
    except JSONError as wrong:
        reason = str(wrong)
    if reason:
        assert reason.startswith(("unexpected end of JSON input", "invalid character ", "json: cannot unmarshal "))
    else:
        assert json.loads(text) == value


@given(st.text("ab:-[]{},&*!|>'\"#%@ \n\t01.~", max_size=24))
def test_any_text_is_yaml_or_refused(text: str) -> None:
    try:
        decode_yaml(text)
    except YAMLError:
        pass


@given(st.integers(-10**8, 10**8), st.sampled_from(["", "n", "u", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "e3"]))
def test_quantities_print_what_they_are(number: int, unit: str) -> None:
    found = quantities.parse(f"{number}{unit}")
    assert found is not None
    again = quantities.parse(str(found))
    assert again is not None
    assert again.value == found.value


def test_quantities_beyond_exa_lose_their_unit() -> None:
    """As Kubernetes' own do: there is no suffix for 10^21."""
    assert str(quantities.parse("25000000000000000000k")) == "25"


@given(st.text("0123456789.hmsnuµ+-", max_size=16))
def test_any_text_is_a_duration_or_not(text: str) -> None:
    nanoseconds = durations.parse(text)
    assert nanoseconds is None or durations.parse(durations.show(nanoseconds)) == nanoseconds


@given(st.binary(max_size=200))
def test_any_bytes_are_a_certificate_or_refused(data: bytes) -> None:
    from base64 import encodebytes
    with pytest.raises(CertificateError):
        decode_pem(f"-----BEGIN CERTIFICATE-----\n{encodebytes(data).decode()}-----END CERTIFICATE-----\n")


def test_the_clock_is_asked_only_where_it_was_given() -> None:
    program = jmespath.compile("time_now_utc()")
    with pytest.raises(jmespath.QueryError, match="no clock was given"):
        program({}, jmespath.Env())
    assert program({}, jmespath.Env(datetime(2026, 1, 2, tzinfo=UTC))) == "2026-01-02T00:00:00Z"
