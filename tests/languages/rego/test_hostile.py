"""Programs that nobody means well with: any text either parses or is refused, quickly, with a place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policylang import rego
from policylang.rego.syntax.termparser import TermParser
from policylang.source import Source, SourceError, read_source

WORDS = ("package", "import", "p", "x", "if", "in", "some", "every", "not", "with", "as", "else", "default", "contains",
         "{", "}", "[", "]", "(", ")", ":=", "=", "==", "|", "&", "+", "-", ".", ",", ";", ":", "\n", '"a"', "`r`", "1",
         '$"{', "data", "input", "null", "# METADATA\n", "_", "1e5", "class", "__import__")


@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join))
@settings(max_examples=300, deadline=None)
def test_any_words_are_a_policy_or_an_error_with_a_place(text: str) -> None:
    for version in (0, 1):
        try:
            policy = rego.Policy({"a.rego": f"package a\n{text}"}, version=version)
        except SourceError as error:
            refused = (error.line, error.column)
        else:
            refused = (1, 1)
            policy.query("data.a = x")({}, {})
        assert refused >= (1, 1)


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_module_or_an_error(text: str) -> None:
    source = Source(text)
    try:
        about = rego.parse_module(source).source
    except SourceError as error:
        about = error.source
    assert about is source


DEEP = {
    "brackets": "p := " + "[" * 100_000 + "]" * 100_000,
    "parentheses": "p := " + "(" * 100_000 + "1" + ")" * 100_000,
    "braces": "p := " + '{"a":' * 50_000 + "1" + "}" * 50_000,
    "sums": "p := " + "+".join(["1"] * 100_000),
    "comprehensions": "p := " + "[x | x := " * 300 + "1" + "]" * 300,
    "templates": 'p := $"' + '{$"' * 500 + "1" + '"}' * 500 + '"',
    "references": "p := input" + "[input" * 5_000 + "]" * 5_000,
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_nesting_is_refused_with_its_place(name: str) -> None:
    with pytest.raises(SourceError, match="nested too deeply"):
        rego.Policy({"a.rego": f"package a\n{DEEP[name]}"})


def test_long_programs_are_refused_or_read_in_time() -> None:
    with pytest.raises(SourceError, match="expected at most"):
        rego.Policy({"a.rego": "package a\n" + "p := 1\n" * 1_500_000})
    chain = "; ".join(f"x{n} = x{n + 1}" for n in range(3_000))
    assert rego.Policy({"a.rego": f"package a\np if {{ {chain}; x3000 = 1 }}"}).entry("data.a.p")() is True


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(SourceError, match="byte 0xff is not UTF-8") as caught:
        read_source(b"package a\np := \xff", "a.rego")
    assert (caught.value.line, caught.value.column) == (2, 6)
    with pytest.raises(SourceError, match="illegal character NUL"):
        rego.Policy({"a.rego": 'package a\np := "\0"'})
    with pytest.raises(SourceError, match="surrogate"):
        rego.Policy({"a.rego": 'package a\np := "\ud800"'})


@pytest.mark.parametrize("opening", ["[", "{", '{"a":', "[[a | b, ", '{{"a": b | c, ', "{1 | {2 | ", "(a, ", "not {",
                                     "{x if {"])
def test_terms_are_read_once_however_they_are_nested(opening: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    term = TermParser._term
    monkeypatch.setattr(TermParser, "_term", lambda self: (read.append(self.at), term(self))[1])
    with pytest.raises(SourceError):
        rego.parse_module(Source("package a\nx if " + opening * 50 + "\n"))
    assert len(read) < 2000  # each was read twice for every bracket around it


@pytest.mark.parametrize("text", ["package a" + ".a" * 3000, "package a\np" + ".a" * 3000 + " := 1",
                                  "package a\np" + "[x]" * 3000 + " := 1 if x := 1",
                                  "package a\np if data" + ".a" * 3000])
def test_names_of_thousands_of_parts_are_refused(text: str) -> None:
    with pytest.raises(SourceError, match="parts, expected at most 200"):
        rego.Policy({"m.rego": text})
