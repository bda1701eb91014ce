"""Versions as bytes: they sort as `compare` says, wherever both versions have a place in the row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import CustodyError
from custody.versions import compare, sortable
from custody.versions.sorting import encode
from tests.conftest import oracle
from tests.contents.test_versions import _ECOSYSTEMS, _TEXT
from tests.oracles.version_order import pairs

_MAVEN = st.lists(st.sampled_from(["", "0", "1", "12", ".0", ".1", "-0", "-1", ".", "-", "alpha", "-alpha", ".rc",
                                   "rc1", "-foo", ".foo", "sp", "-sp", "ga", "-ga", ".ga", "final", "-snapshot",
                                   "jre"]),
                  min_size=1, max_size=6).map("".join)


@pytest.mark.parametrize("ecosystem", [*_ECOSYSTEMS, "cpan", "luarocks"])
@given(left=_TEXT, right=_TEXT)
def test_bytes_sort_as_versions_do(ecosystem: str, left: str, right: str) -> None:
    _agree(ecosystem, left, right)


@given(_MAVEN, _MAVEN)
def test_maven_has_keys_where_its_order_is_one(left: str, right: str) -> None:
    _agree("Maven", left, right)


@pytest.mark.parametrize("version", ["1.foo", "1.0.rc", "1.ga.5"])
def test_maven_versions_that_go_in_a_circle_have_no_key(version: str) -> None:
    assert sortable("Maven", version) is None


@pytest.mark.parametrize("version", ["2.17.0", "1.0-SNAPSHOT", "31.1-jre", "4.1.2.RC1", "5.0.0.Final", "1.0.0.RELEASE"])
def test_maven_versions_that_people_publish_have_one(version: str) -> None:
    assert sortable("Maven", version) is not None


def test_unsure_versions_have_no_key() -> None:
    assert sortable("luarocks", "1.0") is None  # as new as 1.0-1 and as 1.0-2
    assert sortable("npm", "latest") is None
    assert sortable("Nobody's", "1.0") is None
    assert sortable("npm", "1" * 2000) is None
    assert sortable("Debian", "~" * 1000) is None


@given(st.lists(st.text(), max_size=3).map(tuple), st.lists(st.text(), max_size=3).map(tuple))
def test_texts_sort_by_code_point(left: tuple[str, ...], right: tuple[str, ...]) -> None:
    assert (encode(left) < encode(right), encode(left) == encode(right)) == (left < right, left == right)


@given(st.lists(st.integers(), max_size=3).map(tuple), st.lists(st.integers(), max_size=3).map(tuple))
def test_numbers_sort_by_value(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    try:
        assert (encode(left) < encode(right), encode(left) == encode(right)) == (left < right, left == right)
    except ValueError:
        assert min(left + right) < -(1 << 190)


def test_all_of_the_oracle() -> None:
    keyed = bare = 0
    for _, ecosystem, left, _, right in pairs(oracle("version-order")):
        try:
            order = compare(ecosystem, left, right)
        except CustodyError:
            continue
        smaller, larger = sortable(ecosystem, left), sortable(ecosystem, right)
        if smaller is None or larger is None:
            bare += 1
            assert ecosystem == "Maven", (ecosystem, left, right)
        else:
            keyed += 1
            assert (smaller > larger) - (smaller < larger) == order, (ecosystem, left, right)
    assert bare < keyed / 25


def _agree(ecosystem: str, left: str, right: str) -> None:
    smaller, larger = sortable(ecosystem, left), sortable(ecosystem, right)
    if smaller is not None and larger is not None:
        assert (smaller > larger) - (smaller < larger) == compare(ecosystem, left, right)
