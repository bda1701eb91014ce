"""Patterns as programs: both functions of one agree, hostile ones are refused, resources cannot stall or fool them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policylang import kpattern
from policylang.conditions import OPERATORS
from policylang.errors import InvalidError
from policylang.kpattern import matcher
from policylang.kpattern.scalars import leaf
from tests.languages.kpattern.cases import POD

KEYS = st.sampled_from(["a", "b", "(a)", "(b)", "=(a)", "=(b)", "X(b)", "^(a)", "<(a)", "<(b)", "metadata", "labels",
                        "=(metadata)", "=(labels)", "a*", "(?)", "=(b*)"])
LEAVES = st.sampled_from(["x", "x*", "!x", "?", "*", "?*", ">1", "1-3", "x | y", "!x & !y", "1", 1, 1.0, True, False,
                          None])
PATTERNS = st.recursive(LEAVES, lambda inner: st.lists(inner, min_size=1, max_size=2)
                        | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12)
RESOURCES = st.recursive(st.sampled_from(["x", "y", "xy", "1", "", 1, 2, 1.0, True, False, None]),
                         lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
                             st.sampled_from(["a", "b", "ab", "metadata", "labels"]), inner, max_size=3), max_leaves=12)


@settings(max_examples=200)
@given(PATTERNS, RESOURCES)
def test_what_matches_is_what_needs_no_reason(pattern: Any, resource: Any) -> None:
    try:
        match = matcher(pattern)
    except InvalidError:
        return
    quick = match._check(resource)
    why = match._compiled(match.pattern, explain=True)(resource, "/", {})
    assert (quick is None) == (why is None)
    if quick is not None:
        assert (quick.kind in ("direct", "wrapped")) == (why.kind in ("direct", "wrapped"))


@given(st.text("!<>=-|&*? 1aGi.hm", max_size=10),
       st.sampled_from(["", "a", "1", "1Gi", "1h", "a1", 1, 2.5, True, None, []]))
def test_what_is_inlined_is_what_is_called(pattern: str, value: Any) -> None:
    assert (matcher({"k": pattern})({"k": value}) is None) == (
        value is not None if pattern == "*" else leaf(pattern)(value))


def test_deep_and_empty_patterns_are_refused() -> None:
    deep: Any = "x"
    for _ in range(5_000):
        deep = {"a": deep}
    with pytest.raises(InvalidError, match="levels"):
        matcher(deep)
    with pytest.raises(InvalidError, match="add anchor"):
        matcher({"a": [{"+(b)": 1}]})
    with pytest.raises(InvalidError, match="at least one element"):
        matcher({"a": []})


def test_lists_in_lists_beyond_what_python_nests() -> None:
    pattern: Any = "x"
    resource: Any = "x"
    for _ in range(28):
        pattern, resource = {"a": [pattern]}, {"a": [resource, resource]} if len(str(resource)) < 1000 else {
            "a": [resource]}
    assert matcher(pattern)(resource) is None


def test_keys_that_python_would_read_otherwise() -> None:
    names = ["__class__", "class", "None", "k1", "value", "seen", "path", "{x}", "a'b\"c\\", "\n", "é", "__builtins__"]
    match = matcher(dict.fromkeys(names, "x"))
    assert match(dict.fromkeys(names, "x")) is None
    for name in names:
        found = match({**dict.fromkeys(names, "x"), name: "y"})
        assert found is not None
        assert found.path == f"/{name}/"
    assert match._check.__globals__["__builtins__"] == {}


def test_a_resource_cannot_stall_it() -> None:
    match = matcher({"a": "*a" * 40 + "?b", "b": "!" + "*x*" * 20})
    assert match({"a": "a" * 50_000, "b": "x" * 50_000}) is not None


def test_matchers_pickle() -> None:
    match = pickle.loads(pickle.dumps(matcher({"spec": {"containers": [{"image": "ghcr.io/*"}]}}, "p")))
    assert match(POD).path == "/spec/containers/1/image/"


def test_whole_numbers_are_written_with_all_digits() -> None:
    """As Kyverno's webhook reads them. Its CLI has floats, `3.6E+03`, in which `36??` finds nothing."""
    assert matcher({"spec": {"activeDeadlineSeconds": "36??", "priority": "?"}})(POD) is None


@given(st.sampled_from(sorted(OPERATORS)), RESOURCES, RESOURCES)
def test_any_condition_has_an_answer(operator: str, key: Any, value: Any) -> None:
    if operator in ("In", "NotIn") and isinstance(key, list):
        return
    assert OPERATORS[operator](key, value) in (True, False)


def test_anchors() -> None:
    assert [kpattern.anchor(key) for key in ("(a)", "=(a)", "X((a))", "a", "(a", "Y(a)", " <(a) ")] == [
        ("", "a"), ("=", "a"), ("X", "(a)"), (None, "a"), (None, "(a"), (None, "Y(a)"), ("<", "a")]
