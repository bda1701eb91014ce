"""Text of others: no control character, no line of its own, no command of a CI service."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.kit.visible import inert, visible

SERVICES = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION")


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SERVICES:
        monkeypatch.delenv(name, raising=False)


def commands(text: str) -> list[str]:
    """The lines of which actions/runner (ActionCommand.cs) or Azure's agent would make a command."""
    return [line for line in text.split("\n") if line.lstrip().startswith("::") or re.search(r"##[A-Za-z]*\[", line)]


def test_controls(at_home: None) -> None:
    assert visible("\x1b[2Ka\rb\nc\td\u202e\x9b\x00") == r"\x1b[2Ka\rb\nc\td\u202e\x9b\x00"
    assert visible("a\n\tb\x1b", "\n\t") == "a\n\tb\\x1b"
    assert visible("\udcff") == r"\udcff"
    assert visible("::error::x ##[error]") == "::error::x ##[error]"  # nobody reads it here


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(("text", "shown"), [
    ("::error::x", r"\::error::x"), ("  ::add-mask::x", r"  \::add-mask::x"), ("::1 and ::2", r"\::1 and ::2"),
    ("a ::error::b", "a ::error::b"), ("a\n ::error::b", "a\n \\::error::b"), ("x ##[error]y", r"x #\#[error]y"),
    ("##vso[task.setvariable]", r"#\#vso[task.setvariable]"), ("##teamcity[x]", r"#\#teamcity[x]"),
    ("###[group]", r"##\#[group]"), ("## A heading", "## A heading"), (":", ":"), ("::", r"\::"),
])
def test_commands_of_ci_services(service: str, text: str, shown: str, at_home: None,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(service, "true")
    assert visible(text, "\n") == shown


@given(st.lists(st.sampled_from(["::", ":", "#", "##[", "##vso[", "[", " ", "\t", "\n", "\r", "\x1b", "a", "\u2028"]),
                max_size=20).map("".join), st.sampled_from(["", "\n", "\n\t"]))
def test_nothing_acts(text: str, keep: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("CI", "1")
        shown = visible(text, keep)
    assert not commands(shown)
    assert all(char.isprintable() or char in keep for char in shown)


@pytest.mark.parametrize(("document", "read"), [
    (json.dumps({"a": "x ##vso[task.setvariable]y ###[error]", "b": ["::error::z", "\n::set-env name=a::"]}, indent=1),
     json.loads),
    ("<a b='##[error]x'>\n::error::y\n  ::warning::z\n##teamcity[x] ###</a>", lambda text: [
        (element.text, element.attrib) for element in ElementTree.fromstring(text).iter()])])
def test_a_document_is_the_same_and_no_command(document: str, read: Callable[[str], object], at_home: None,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    assert inert(document) == document
    monkeypatch.setenv("TF_BUILD", "1")
    printed = inert(document)
    assert read(printed) == read(document)
    assert not re.search(r"##[A-Za-z]*\[|^\s*::", printed, re.MULTILINE)
    assert visible(printed, "\n") == printed
