"""Generated expressions beside `kyverno jp query` and the jmespath library; differences that were found."""

from __future__ import annotations

import pytest

from policylang import jmespath
from policylang.jmespath import Env, QueryError
from tests.conftest import peer
from tests.fuzz.jmespath import against_kyverno, against_the_library
from tests.languages.jmespath.cases import DATA, NOW


@pytest.mark.peer
def test_generated_expressions_beside_kyverno() -> None:
    assert list(against_kyverno(peer("kyverno"), 150, 7)) == []


def test_generated_expressions_beside_the_library() -> None:
    assert list(against_the_library(1_000, 7)) == []


def test_what_kyverno_panics_over_becomes_null_nowhere() -> None:
    for query in ("merge(`2.5`, cpu)[]", "contains(nested, `[1]`)[?a]", "map(&k, items(solo, 'k', 'v')).*"):
        with pytest.raises(QueryError, match=r"interface conversion|uncomparable"):
            jmespath.compile(query)(DATA, Env(NOW))


@pytest.mark.parametrize(("query", "value"), [
    ("'a'[0]", None), ("`1`[1:]", None), ("'a' == 'a'", True), ("`1` == 'a'", False),
    ("list[?'a']", [3, 1, 2]), ("'a'.[kind]", [None]), ("list[?`null`]", []),
])
def test_constants_where_data_is_expected(query: str, value: object) -> None:
    """Python warns of what such programs would be if they were written like that."""
    assert jmespath.compile(query)(DATA, Env(NOW)) == value
