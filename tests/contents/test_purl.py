"""Package URLs: one canonical spelling, and nothing that is not one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError, MalformedError
from custody.formats.purl import build, parse

_PART = st.text(min_size=1, max_size=12).filter(lambda text: text.strip("/") == text and max(text) < "\ud800")


@given(_PART, st.none() | _PART, st.none() | _PART, st.dictionaries(st.sampled_from(["arch", "distro", "a.b"]), _PART))
def test_round_trip(name: str, namespace: str | None, version: str | None, qualifiers: dict[str, str]) -> None:
    made = build("generic", name, namespace=namespace, version=version, qualifiers=qualifiers)
    assert parse(str(made)) == made
    assert str(parse(str(made))) == str(made)


@given(st.text(max_size=60).map(lambda text: "pkg:" + text) | st.text(max_size=60))
def test_any_text_is_a_purl_or_our_error(text: str) -> None:
    try:
        made = parse(text)
    except CustodyError:
        return
    assert parse(str(made)) == made


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("npm/a@1", "pkg:type/name"),
        ("pkg:npm", "a type and a name"),
        ("pkg:np m/a", "type"),
        ("pkg:npm/@1", "name"),
        ("pkg:pypi/a/b@1", "no namespaces"),
        ("pkg:deb/curl@1", "requires"),
        ("pkg:npm/a?b", "key=value"),
        ("pkg:npm/a?b=1&B=2", "twice"),
        ("pkg:npm/a@%ff", "UTF-8"),
        ("pkg:julia/A@1", "uuid"),
        ("pkg:npm/a\ud800", "lone surrogates"),
    ],
)
def test_what_is_wrong_is_named(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        parse(text)
