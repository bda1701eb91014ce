"""JSON patches of admission policies: the messages are those of gopkg.in/evanphx/json-patch.v4 4.13."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from custody.formats.kubernetes import patches
from custody.formats.kubernetes.apply import MergeError
from custody.formats.kubernetes.patches import TestFailedError

_DOCUMENT = {"a": {"b": 1, "x/y": "s"}, "l": [1, 2, 3], "n": None}


def _apply(*operations: dict[str, Any]) -> Any:
    before = copy.deepcopy(_DOCUMENT)
    try:
        return patches.apply(before, operations)
    finally:
        assert before == _DOCUMENT, "it is not changed in place"


@pytest.mark.parametrize(("operation", "expected"), [
    ({"op": "add", "path": "/l/-", "value": 4}, {"l": [1, 2, 3, 4]}),
    ({"op": "add", "path": "/l/-1", "value": 4}, {"l": [1, 2, 3, 4]}),
    ({"op": "add", "path": "/l/0", "value": 4}, {"l": [4, 1, 2, 3]}),
    ({"op": "remove", "path": "/l/-1"}, {"l": [1, 2]}),
    ({"op": "replace", "path": "/new", "value": {}}, {"new": {}}),
    ({"op": "replace", "path": "/a/x~1y", "value": 1}, {"a": {"b": 1, "x/y": 1}}),
    ({"op": "copy", "from": "/a/b", "path": "/c"}, {"c": 1}),
    ({"op": "test", "path": "/none", "value": None}, {}),
    ({"op": "test", "path": "/n", "value": None}, {}),
])
def test_what_a_patch_does(operation: dict[str, Any], expected: dict[str, Any]) -> None:
    assert _apply(operation) == {**_DOCUMENT, **expected}


def test_what_is_moved_is_gone_from_where_it_was() -> None:
    assert _apply({"op": "move", "from": "/a/b", "path": "/l/0"}) == {
        **_DOCUMENT, "a": {"x/y": "s"}, "l": [1, 1, 2, 3]}


@pytest.mark.parametrize(("operation", "message"), [
    ({"op": "add", "path": "/none/x", "value": 1},
     'add operation does not apply: doc is missing path: "/none/x": missing value'),
    ({"op": "remove", "path": "/a/none"},
     "error in remove for path: '/a/none': Unable to remove nonexistent key: none: missing value"),
    ({"op": "remove", "path": "/l/7"},
     "error in remove for path: '/l/7': Unable to access invalid index: 7: invalid index referenced"),
    ({"op": "replace", "path": "/none/x", "value": 1},
     "replace operation does not apply: doc is missing path: /none/x: missing value"),
    ({"op": "replace", "path": "/l/9", "value": 1},
     "replace operation does not apply: doc is missing key: /l/9: missing value"),
    ({"op": "test", "path": "/none/x", "value": 1},
     "test operation does not apply: is missing path: /none/x: missing value"),
    ({"op": "copy", "from": "/none/x", "path": "/a"},
     "copy operation does not apply: doc is missing from path: /none/x: missing value"),
    ({"op": "move", "from": "/a/none", "path": "/a"},
     "error in move for path: 'none': Unable to remove nonexistent key: none: missing value"),
    ({"op": "add", "path": "/l/x", "value": 1},
     "error in add for path: '/l/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": "
     "invalid syntax"),
    ({"op": "merge", "path": "/a"}, "Unexpected kind: merge"),
    ({"op": "add", "path": "", "value": {}}, 'add operation does not apply: doc is missing path: "": missing value'),
])
def test_what_does_not_fit_is_said_in_the_librarys_words(operation: dict[str, Any], message: str) -> None:
    with pytest.raises(MergeError) as caught:
        _apply(operation)
    assert caught.value.message == message


@pytest.mark.parametrize("operation", [
    {"op": "test", "path": "/a/b", "value": 2}, {"op": "test", "path": "/x", "value": 1},
    {"op": "test", "path": "", "value": {}}])
def test_a_test_that_does_not_hold_is_told_apart(operation: dict[str, Any]) -> None:
    with pytest.raises(TestFailedError, match=r"testing value .* failed: test failed"):
        _apply(operation)


def test_copies_of_copies_and_many_operations_are_bounded() -> None:
    doubling = [{"op": "copy", "from": "", "path": "/a"}]
    with pytest.raises(MergeError, match="doc is missing from path"):
        _apply(*doubling)
    doubling = [{"op": "copy", "from": "/l", "path": "/l/-"}] * 40
    with pytest.raises(MergeError, match="copies of more than 100000 values"):
        _apply(*doubling)
    with pytest.raises(MergeError, match="expected at most 10000"):
        _apply(*[{"op": "add", "path": "/x", "value": 1}] * 10_001)
