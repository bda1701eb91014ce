"""Versions against their own tools, and the laws that every order keeps."""

from __future__ import annotations

import shutil
import subprocess
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from custody.errors import CustodyError, UnsupportedError
from custody.versions import compare, key
from tests.conftest import oracle
from tests.oracles import purl_spec, version_order
from tests.oracles.__main__ import SCORES

_ECOSYSTEMS = [
    "Debian:12",
    "Alpine:v3.19",
    "AlmaLinux:9",
    "npm",
    "Go",
    "crates.io",
    "PyPI",
    "Maven",
    "RubyGems",
    "Packagist",
    "NuGet",
    "Pub",
    "CRAN",
]
_TEXT = st.one_of(
    st.from_regex(
        r"[0-9]{1,2}(\.[0-9]{1,2}){0,3}([-_.~+^]?(a|b|rc|alpha|beta|dev|pre|r|p|post)[0-9]?)?", fullmatch=True
    ),
    st.text("0123456789.-_~^+:abcprv", min_size=1, max_size=12),
)


@pytest.mark.parametrize("ecosystem", _ECOSYSTEMS)
@given(versions=st.lists(_TEXT, min_size=3, max_size=3))
def test_every_order_is_an_order(ecosystem: str, versions: list[str]) -> None:
    try:
        one, two, three = sorted(versions, key=lambda version: key(ecosystem, version))
    except CustodyError:
        return
    assert compare(ecosystem, one, one) == 0
    assert compare(ecosystem, one, two) == -compare(ecosystem, two, one)
    assert max(compare(ecosystem, one, two), compare(ecosystem, two, three), compare(ecosystem, one, three)) <= 0


@given(_TEXT, _TEXT)
def test_python_as_packaging_orders(left: str, right: str) -> None:
    try:
        expected = (Version(left) > Version(right)) - (Version(left) < Version(right))
    except ValueError:
        return
    assert compare("PyPI", left, right) == expected


@pytest.mark.peer
def test_debian_as_dpkg_orders() -> None:
    if shutil.which("dpkg") is None:
        pytest.skip("peer dpkg is not installed")
    versions = [
        "1.0",
        "1.0~rc1",
        "1:0.1",
        "1.0-1",
        "1.0-1+b1",
        "1.0+dfsg-1",
        "1.0-0ubuntu1",
        "1.a",
        "1.0~~",
        "1.",
        "2.36-9+deb12u8",
    ]
    for left in versions:
        for right in versions:
            older = subprocess.run(["dpkg", "--compare-versions", left, "lt", right], check=False).returncode == 0
            assert (compare("Debian", left, right) < 0) == older, (left, right)


def test_what_is_no_version_is_refused_and_not_guessed() -> None:
    for ecosystem, version in (
        ("npm", "latest"),
        ("Alpine", "1-r-1"),
        ("Debian", "x:1"),
        ("CRAN", "1.a"),
        ("npm", "9" * 5000),
    ):
        with pytest.raises(CustodyError, match="version"):
            key(ecosystem, version)
    with pytest.raises(UnsupportedError, match="Nowhere"):
        key("Nowhere", "1")


@pytest.mark.parametrize(("name", "runner"), [("version-order", version_order), ("purl-spec", purl_spec)])
def test_scores_do_not_drop(name: str, runner: object) -> None:
    reasons = [reason for _, reason in runner.run(oracle(name))]  # type: ignore[attr-defined]
    assert reasons.count(None) >= tomllib.loads(SCORES.read_text())[name]["right"]
