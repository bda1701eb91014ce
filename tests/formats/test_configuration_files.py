"""`.env`, INI, properties, ignore files and XML, as conftest reads them; `tests.fuzz.configurations` asks it about more."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import time
from typing import Any

import pytest

from custody.errors import MalformedError
from custody.formats import dotenv, ignoreentries, ini, properties, xmldata


@pytest.mark.parametrize(("text", "expected"), [
    ("A=1\nexport B = 2 # c\nC: d\n# x\n", {"A": "1", "B": "2", "C": "d"}), ("A='x $B'\nB=\"y\\n${A}\"", {"A": "x $B", "B": "y\nx $B"}),
    ("A=\"x\ny\"\nB=1", {"A": "x\ny", "B": "1"}), ("A=$HOST $NONE.", {"A": "here ."}), ("A=\\$B", {"A": "$B"}), ("A=a#b", {"A": "a"})])
def test_dotenv(text: str, expected: dict[str, str]) -> None:
    assert dotenv.parse(text.encode(), ".env", {"HOST": "here"}) == expected


@pytest.mark.parametrize("text", ["A", "=b", "A-B=1", "A=\"x", "export A"])
def test_dotenv_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MalformedError, match=r"\.env"):
        dotenv.parse(text.encode(), ".env", {})


@pytest.mark.parametrize("line", ["A=$A$A", "A=\"${A}x${A}\"", "B=$A$A$A\nA=$B"])
def test_dotenv_that_multiplies_is_refused(line: str) -> None:
    text = "A=" + "x" * 1000 + "\n" + (line + "\n") * 40
    with pytest.raises(MalformedError, match="whose variables make too much of it', expected at most 16777216 characters"):
        dotenv.parse(text.encode(), ".env", {})


def test_dotenv_may_be_long_without() -> None:
    """Of more than a value may be of others' words, each line its own."""
    text = "".join(f"A{at}={'x' * 60_000}\n" for at in range(200))
    assert len(dotenv.parse(text.encode(), ".env", {})) == 200


@pytest.mark.parametrize(("text", "expected"), [
    ("a=1\n[s]\nb = 2 ; c\nc: true\nd = \"x # y\"\n[t.u]\n- = p\n- = q\n", {"s": {"b": 2.0, "c": True, "d": "\"x"}, "t.u": {"#1": "p", "#2": "q"}}),
    ("[s]\na = `x\ny`\nb = x\\\n  z\n\"k=\" = 1_0\n[s]\na = 3", {"s": {"a": 3.0, "b": "xz", "k=": 10.0}})])
def test_ini(text: str, expected: dict[str, Any]) -> None:
    assert ini.parse(text.encode(), "a.ini") == expected


@pytest.mark.parametrize("text", ["[s", "[]", "a", "=b", "[s]\na = `x"])
def test_ini_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MalformedError, match=r"a\.ini"):
        ini.parse(text.encode(), "a.ini")


@pytest.mark.parametrize(("text", "expected"), [
    ("a=1\nb : c\\\n   d\n! x\ne\nf\\=g=\\u00e9\\t", {"a": "1", "b": "cd", "e": "", "f=g": "é\t"}), ("a=${b}\nb=1", {"a": "${b}", "b": "1"})])
def test_properties(text: str, expected: dict[str, str]) -> None:
    assert properties.parse(text.encode(), "a.properties", {}) == expected


@pytest.mark.parametrize(("text", "reason"), [("a=\\u00", "four digits"), ("=b", "name=value"), ("a=${a}", "refers to itself"), ("a=${b", r"\$\{name\}"),
                                              ("a=b\\", "backslash")])
def test_properties_that_are_none_are_refused(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        properties.parse(text.encode(), "a.properties", {})


def test_references_that_multiply_are_refused() -> None:
    text = "a0=" + "x" * 100 + "\n" + "\n".join(f"a{at + 1}=${{a{at}}}${{a{at}}}" for at in range(40))
    begun = time.monotonic()
    with pytest.raises(MalformedError, match="refers to too much"):
        properties.parse(text.encode(), "a.properties", {})
    assert time.monotonic() - begun < 5


def test_a_long_value_refers_to_nothing() -> None:
    assert len(properties.parse(b"a=" + b"x" * 1_500_000, "a.properties", {})["a"]) == 1_500_000
    with pytest.raises(MalformedError, match="a, which refers to too much"):
        properties.parse(b"a=${b}\nb=" + b"x" * 1_500_000, "a.properties", {})


def test_many_continued_lines_take_no_longer_each() -> None:
    lines = b"[s]\na = " + b"x" * 40 + b"\\\n" + (b"y" * 40 + b"\\\n") * 200_000 + b"z"
    begun = time.monotonic()
    assert len(ini.parse(lines, "a.ini")["s"]["a"]) == 40 * 200_001 + 1
    assert time.monotonic() - begun < 5


def test_ignore_entries() -> None:
    assert [(entry["Kind"], entry["Value"]) for entry in ignoreentries.parse(b"*.pyc  \n!a\\ b\n# c\n", ".gitignore")[0]] == [
        ("Path", "*.pyc"), ("NegatedPath", "a b"), ("Comment", "c"), ("Empty", "")]


def test_xml() -> None:
    assert xmldata.parse(b'<a x="1"><b>1</b><n:b xmlns:n="u">2</n:b> t <!-- c --> z </a>', "a.xml") == {
        "a": {"#content": "z", "-x": "1", "b": ["1", {"#content": "2", "-n": "u"}]}}


@pytest.mark.parametrize("text", ["<a>", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "<a>" * 200 + "</a>" * 200, ""])
def test_xml_that_is_none_or_has_entities_is_refused(text: str) -> None:
    with pytest.raises(MalformedError, match=r"a\.xml"):
        xmldata.parse(text.encode(), "a.xml")
