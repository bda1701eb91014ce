"""JSON Patch: the cases of RFC 6902's appendix A, refusals by name, and properties over generated documents."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.errors import MalformedError
from custody.formats import jsonpatch
from custody.formats.jsonpatch import apply, diff, equal, escaped, resolve, steps

Json = Any
_KEYS = st.sampled_from(["a", "b", "a/b", "m~n", "", "0", "-", "~1"])
DOCUMENTS = st.recursive(st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([1.0, "x", ""]),
                         lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
                         max_leaves=8)

APPENDIX = [  # A.1 to A.16
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo", "foo": "bar"}),
    ({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
     [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
     {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}),
    ({"foo": ["all", "grass", "cows", "eat"]}, [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
     {"foo": ["all", "cows", "eat", "grass"]}),
    ({"baz": "qux", "foo": ["a", 2, "c"]}, [{"op": "test", "path": "/baz", "value": "qux"},
                                            {"op": "test", "path": "/foo/1", "value": 2}],
     {"baz": "qux", "foo": ["a", 2, "c"]}),
    ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], None),
    ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
     {"foo": "bar", "child": {"grandchild": {}}}),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}], None),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}], None),
    ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}], {"foo": ["bar", ["abc", "def"]]}),
]


@pytest.mark.parametrize(("document", "patch", "expected"), APPENDIX)
def test_the_cases_of_the_rfc(document: Json, patch: list[dict[str, Any]], expected: Json) -> None:
    before = copy.deepcopy(document)
    if expected is None:
        with pytest.raises(MalformedError, match=r"patch\[0\]"):
            apply(document, patch)
    else:
        assert apply(document, patch) == expected
    assert document == before


REFUSED = [
    ({"op": "spin", "path": ""}, "patch[0].op: got 'spin'"),
    ({"path": "/a"}, "patch[0].op: got null"),
    ({"op": "add", "value": 1}, "patch[0].path: got 'nothing'"),
    ({"op": "add", "path": "a", "value": 1}, "patch[0].path: got 'a', expected a JSON Pointer"),
    ({"op": "add", "path": 7, "value": 1}, "patch[0].path: got a number"),
    ({"op": "add", "path": "/~2", "value": 1}, "patch[0].path: got '/~2', expected ~0 or ~1"),
    ({"op": "add", "path": "/a"}, "patch[0].value: got 'nothing'"),
    ({"op": "copy", "path": "/a"}, "patch[0].from: got 'nothing'"),
    ({"op": "move", "path": "/m/x", "from": "/m"}, "patch[0].path: got '/m/x', expected a place outside"),
    ({"op": "remove", "path": ""}, "patch[0].path: got 'the whole document'"),
    ({"op": "remove", "path": "/no"}, "patch[0].path: got \"no 'no'\""),
    ({"op": "replace", "path": "/no", "value": 1}, "expected a field that is there"),
    ({"op": "replace", "path": "/l/-", "value": 1}, "patch[0].path: got '-'"),
    ({"op": "add", "path": "/l/01", "value": 1}, "patch[0].path: got '01', expected an index up to 2"),
    ({"op": "add", "path": "/l/3", "value": 1}, "expected an index up to 2"),
    ({"op": "add", "path": "/l/-1", "value": 1}, "expected an index up to 2"),
    ({"op": "add", "path": "/l/\u0661", "value": 1}, "expected an index up to 2"),
    ({"op": "remove", "path": "/e/0"}, "expected no index: the list is empty"),
    ({"op": "add", "path": "/t/x", "value": 1}, "of a str"),
    ("add", "patch[0]: got a string"),
]


@pytest.mark.parametrize(("operation", "message"), REFUSED)
def test_what_does_not_fit_is_refused_by_name(operation: Any, message: str) -> None:
    with pytest.raises(MalformedError) as refused:
        apply({"l": [1, 2], "e": [], "t": "x", "m": {}}, [operation])
    assert message in refused.value.message


def test_a_patch_is_whole_or_nothing_and_not_endless() -> None:
    document = {"a": {"b": 1}}
    with pytest.raises(MalformedError, match=r"patch\[1\]"):
        apply(document, [{"op": "remove", "path": "/a/b"}, {"op": "remove", "path": "/a/b"}])
    assert document == {"a": {"b": 1}}
    with pytest.raises(MalformedError, match="10001 operations"):
        apply(document, [{"op": "test", "path": "", "value": document}] * 10_001)


def test_json_values_are_equal_as_the_rfc_says() -> None:
    assert equal({"a": [1, 2.0]}, {"a": [1.0, 2]})
    assert not equal(True, 1)
    assert not equal([0], [False])
    assert not equal({"a": None}, {})
    assert not equal("1", 1)
    assert not equal([1], {"0": 1})


def places(document: Json, pointer: str = "") -> list[str]:
    inner: Any = document.items() if isinstance(document, dict) else (
        enumerate(document) if isinstance(document, list) else ())
    return [pointer, *(place for key, value in inner for place in places(value, f"{pointer}/{escaped(key)}"))]


@given(DOCUMENTS, DOCUMENTS, st.data())
@settings(max_examples=200)
def test_operations_do_what_they_say_wherever_they_point(document: Json, value: Json, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(document)))
    text = json.dumps(document)
    assert equal(resolve(apply(document, [{"op": "replace", "path": place, "value": value}]), place), value)
    copied = apply({"d": document}, [{"op": "copy", "from": f"/d{place}", "path": "/x"}])
    assert equal(copied, {"d": document, "x": resolve(document, place)})
    if place:
        removed = apply(document, [{"op": "remove", "path": place}])
        put_back = apply(removed, [{"op": "add", "path": place, "value": resolve(document, place)}])
        assert equal(put_back, document)
        moved = apply({"d": document, "x": 0}, [{"op": "move", "from": f"/d{place}", "path": "/x"}])
        assert equal(moved, {"d": removed, "x": resolve(document, place)})
    assert json.dumps(document) == text


@given(st.lists(st.dictionaries(st.sampled_from(["op", "path", "from", "value"]),
                                st.sampled_from(["add", "remove", "move", "copy", "test", "replace", "", "/a", "/0",
                                                 "/-", "/a/0", "/~", None, 1, [], {}]) | DOCUMENTS, max_size=4),
                max_size=4), DOCUMENTS)
@settings(max_examples=300)
def test_any_patch_applies_or_is_malformed(patch: list[dict[str, Any]], document: Json) -> None:
    text = json.dumps(document)
    with contextlib.suppress(MalformedError):
        apply(document, patch)
    assert json.dumps(document) == text


@given(st.lists(st.text(max_size=4), max_size=4))
def test_pointers_are_read_as_they_are_written(tokens: list[str]) -> None:
    assert steps("".join(f"/{escaped(token)}" for token in tokens)) == tokens
    assert jsonpatch.steps("") == []


@given(DOCUMENTS, DOCUMENTS)
@settings(max_examples=300)
def test_a_difference_is_a_patch(before: Json, after: Json) -> None:
    patch = diff(before, after)
    assert equal(apply(before, patch), after)
    assert bool(patch) != equal(before, after)
    assert equal(apply(after, diff(after, after)), after)


def test_how_large_a_patch_is_is_found_out_without_writing_it() -> None:
    """Values that are shared are written each time: these would be 10 GB."""
    text = "a" * 1_000_000
    patch: list[dict[str, Any]] = [{"op": "add", "path": f"/l{at}", "value": [text]} for at in range(10_000)]
    assert not jsonpatch.fits(patch)
    assert jsonpatch.fits(patch[:2])
    assert not jsonpatch.fits(patch[:2], 1_000_000)
    assert jsonpatch.fits([{"op": "add", "path": "/a", "value": {"b": [None, 1, True]}}], 80)
