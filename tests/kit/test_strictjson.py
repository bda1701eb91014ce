"""How deep a document is, counted a piece at a time: the same as by one look at all of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import MalformedError
from custody.kit import strictjson


def _depth(text: str) -> int:
    """The deepest level, and what is in a string counts for nothing."""
    deepest = depth = 0
    inside = escaped = False
    for char in text:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"':
            inside = not inside
        elif not inside and char in "[]{}":
            depth += 1 if char in "[{" else -1
            deepest = max(deepest, depth)
    return deepest


_VALUES = st.recursive(
    st.text('[]{}"\\a\u00fc', max_size=6), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text('[{"\\', max_size=3), inner, max_size=2), max_leaves=12)


@given(_VALUES, st.integers(1, 9), st.integers(1, 6))
def test_pieces(value: object, size: int, limit: int) -> None:
    text = json.dumps(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strictjson, "_PIECE", size)
        if _depth(text) > limit:
            with pytest.raises(MalformedError, match="nesting deeper than"):
                strictjson.loads(text, "x", max_depth=limit)
        else:
            assert strictjson.loads(text, "x", max_depth=limit) == value


@pytest.mark.parametrize("size", range(1, 9))
def test_an_escape_is_not_parted(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strictjson, "_PIECE", size)
    assert strictjson.loads(r'["\\\"[[[[", "\\", "[[["]', "x", max_depth=1) == ['\\"[[[[', "\\", "[[["]
    with pytest.raises(MalformedError, match="deeper than 1"):
        strictjson.loads(r'["\\", ["\\\""]]', "x", max_depth=1)


@pytest.mark.parametrize("number", ["1e999", "-1e309", "9" * 400 + ".0"])
def test_a_number_that_no_double_holds(number: str) -> None:
    """It would be infinity, which is written again as what is no JSON."""
    assert strictjson.loads('{"a": [1e308]}', "document") == {"a": [1e308]}
    with pytest.raises(MalformedError, match=r"document: got .*, expected a number that a double holds"):
        strictjson.loads(f'{{"a": [{number}]}}', "document")
