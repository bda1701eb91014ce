"""What is no program in any of the languages: an error with its line, its column and the reason."""

from __future__ import annotations

import re
from typing import Any

import pytest

from policylang.errors import LanguageError
from policylang.source import SourceError, read_source
from tests.languages.hostile import Case, compiled, run

_PLACE = re.compile(r"[^\s:]+:(\d+):(\d+): ")
_INFINITE, _NONE = float("inf"), float("nan")
# Conditions of Falco begin at column 15 of line 6 of the rule that is made of them.
_BAD: dict[str, list[tuple[str, tuple[int, int], str]]] = {
    "cel": [
        ("'abc", (1, 1), "token recognition error"), ('"abc', (1, 1), "token recognition error"),
        ("x ==\n  'a\nb'", (2, 3), "token recognition error"), ("(1", (1, 3), "'<EOF>'"),
        ("[1", (1, 3), "'<EOF>'"), ("1 +", (1, 4), "mismatched input '<EOF>'"), ("", (1, 1), "'<EOF>'"),
        ("x\n ? 1", (2, 5), "expecting ':'"), ("x == é", (1, 6), "token recognition error at: 'é'"),
        ("'\\z'", (1, 2), "token recognition error"), ("'\\ud800'", (1, 2), "invalid unicode code point"),
        ("a\x00b", (1, 2), "token recognition error"), ("'a\ud800'", (1, 3), "half of a surrogate pair"),
        ("1e999", (1, 1), "invalid double literal"), ("-1e999", (1, 1), "invalid double literal"),
        ("9" * 5000, (1, 1), "invalid int literal"), ("9" * 5000 + "u", (1, 1), "invalid uint literal"),
        ("class", (1, 1), "undeclared reference to 'class'"), ("x +\nimport", (2, 1), "reserved identifier: import"),
        ("NaN", (1, 1), "undeclared reference to 'NaN'"), ("x.all(1, true)", (1, 7), "must be a simple name"),
        ("1 2", (1, 3), "input '2'"), (f"'{'a' * 10_000_000}'", (1, 1), "10000002 characters"),
    ],
    "rego": [
        ('x := "abc', (2, 6), "non-terminated string"), ("x := `abc", (2, 6), "non-terminated string"),
        ('x := "a\nb"', (2, 6), "non-terminated string"), ("x := (1", (2, 8), "non-terminated expression"),
        ("x := [1", (2, 8), "unexpected eof"), ('x := {"a":', (2, 11), "unexpected eof"),
        ("x := 1 +", (2, 9), "unexpected eof"), ("y := 1\nx if {", (3, 7), "unexpected eof"),
        ("x := é", (2, 6), "illegal token 'é'"), ('x := "\\z"', (2, 6), "illegal string escape sequence"),
        ("x := a\x00b", (2, 7), "NUL"), ('x := "\ud800"', (2, 7), "half of a surrogate pair"),
        ("x := 1e99999", (2, 6), "number too big"), ("x := " + "9" * 100_000, (2, 6), "number too big"),
        ("x := 01", (2, 6), "illegal number format"), ("if := 1", (2, 1), "unexpected if keyword"),
        ("x := some", (2, 6), "unexpected some keyword"), ("x := NaN", (2, 6), "var NaN is unsafe"),
        ("y if x\nx if y", (2, 1), "recursive"), ("f(a) := f(a)\nx := f(1)", (2, 1), "data.p.f is recursive"),
        (f'x := "{"a" * 10_000_000}"', (1, 1), "characters"),
    ],
    "jmespath": [
        ("'abc", (1, 5), "Unclosed delimiter: '"), ('"abc', (1, 5), 'Unclosed delimiter: "'),
        ("`abc", (1, 5), "Unclosed delimiter: `"), ("(a", (1, 3), "Expected tRparen"),
        ("a[", (1, 3), "received: tEOF"), ("a ||\n  b ||", (2, 7), "Incomplete expression"),
        ("", (1, 1), "Incomplete expression"), ("a.é", (1, 3), "Unknown char"), ("a b", (1, 3), "Unexpected token"),
        ('"\\z"', (1, 1), "in string escape code"), ("a\x00b", (1, 2), "NUL"),
        ("'\ud800'", (1, 2), "half of a surrogate pair"), ("`1e999`", (1, 1), "cannot unmarshal number 1e999"),
        ("`NaN`", (1, 1), "invalid character 'N'"), (f"a[{'9' * 30}]", (1, 3), "value out of range"),
        (f"'{'a' * 10_000_000}'", (1, 1), "10000002 characters"),
    ],
    "falco": [
        ("proc.name = 'a", (6, 27), "expected a string value"), ("proc.name in (a", (6, 30), "expected a ')' token"),
        ("(proc.name = a", (6, 29), "expected a ')' token"), ("proc.name =", (6, 26), "expected a string value"),
        ("proc.name", (6, 24), "expected a valid check operator"), ("", (6, 14), "Value must be non-empty"),
        ("proc.name = a proc.name = b", (6, 29), "unexpected token after 'a'"),
        ("é = 1", (6, 15), "expected a '(' token"), ("a\x00b", (6, 16), "unexpected token after 'a'"),
        ("proc.name = 'a\x00'", (6, 27), "expected a string value"),
        ("proc.name = '\ud800'", (6, 28), "half of a surrogate pair"),
        ("fd.num = 1e999", (6, 24), "1e999 is not a valid number"),
        ("fd.num = NaN", (6, 24), "NaN is not a valid number"),
        ("fd.num = " + "9" * 5000, (6, 24), "is not a valid number"), ("class", (6, 15), "Undefined macro 'class'"),
        ("for.in = 1", (6, 15), "nonexistent field for.in"), ("- list: 'abc", (1, 13), "unexpected end of stream"),
        ("- macro: a\n  condition: a\n", (2, 14), "reference loop in macro 'a'"),
        ("- list: a\n  items: [" + "a," * 5_000_000 + "]", (1, 1), "characters"),
    ],
}


@pytest.mark.parametrize(("language", "program", "place", "reason"), [
    pytest.param(language, *each, id=f"{language} {ascii(each[0])[:40]}") for language, every in _BAD.items()
    for each in every])
def test_bad_input_is_refused_with_its_place(language: str, program: str, place: tuple[int, int], reason: str) -> None:
    with pytest.raises(SourceError) as caught:
        compiled(language, program)
    message = str(caught.value)
    assert reason in message
    assert len(message) < 1000 + 2 * min(len(program), 100_000)
    found = _PLACE.search(message)
    assert found is not None
    assert (int(found[1]), int(found[2])) == place


@pytest.mark.parametrize(("language", "program"), [
    (language, program) for language, opening in
    [("cel", "[("), ("rego", "[({"), ("jmespath", "[({!&"), ("falco", "(")]
    for program in (letter * 100_000 for letter in opening)])
def test_a_hundred_thousand_brackets_are_refused_with_a_place(language: str, program: str) -> None:
    with pytest.raises(SourceError) as caught:
        compiled(language, f"x := {program}" if language == "rego" else program)
    assert _PLACE.search(str(caught.value))


def test_deep_patterns_are_refused_by_their_path() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = {"class": [deep]}
    with pytest.raises(LanguageError, match=r"pattern\.class\[0\]\.class.*of more than 60 levels"):
        compiled("pattern", deep)


@pytest.mark.parametrize(("data", "place", "reason"), [
    (b"ab\n c\xff", (2, 3), "byte 0xff is not UTF-8"), (b"\xc0\xaf", (1, 1), "byte 0xc0 is not UTF-8"),
    (b"a\xed\xa0\x80", (1, 2), "byte 0xed is not UTF-8"), (b"\xfe\xffa", (1, 1), "byte 0xfe is not UTF-8"),
    (b"a\nb\0", (2, 2), "NUL"), (b"x" * 10_000_000, (1, 1), "10000000 bytes")])
def test_bytes_that_are_no_text(data: bytes, place: tuple[int, int], reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as caught:
        read_source(data, limit=1_000_000)
    found = _PLACE.search(str(caught.value))
    assert found is not None
    assert (int(found[1]), int(found[2])) == place


def test_rule_files_that_are_no_text() -> None:
    with pytest.raises(SourceError, match=r"rules:2:3: byte 0xff is not UTF-8"):
        compiled("falco", b"- list: a\n  \xff")
    with pytest.raises(SourceError, match=r"rules:1:10: .*NUL"):
        compiled("falco", b"- list: a\0")


@pytest.mark.parametrize("word", ["class", "None", "True", "def", "lambda", "import", "__class__", "__builtins__"])
@pytest.mark.parametrize(("language", "program"), [
    ("cel", "[1].exists(@, @ == x.@)"), ("rego", "@ := input.@\nx := @ == 1"),
    ("rego", "@(@) := @ == 1\nx := data.p.@(1)"), ("jmespath", "@ == `1`"), ("jmespath", "{@: @}.@ == `1`"),
    ("pattern", {"@": 1}), ("falco", "- macro: @\n  condition: proc.name = @\n- rule: @\n  desc: @\n  output: @\n"
                                      "  priority: INFO\n  warn_evttypes: false\n  condition: @ or evt.type = open\n")])
def test_words_of_python_are_names_like_others(language: str, program: Any, word: str) -> None:
    if language == "pattern":
        assert compiled(language, {word: 1})({word: 1}) is None
    elif word == "import" and language in ("cel", "rego"):  # reserved there too
        with pytest.raises(SourceError, match=r"import|expected data, input, future"):
            compiled(language, program.replace("@", word))
    elif word.startswith("_") and language == "falco":
        with pytest.raises(SourceError, match="Macro has an invalid name"):
            compiled(language, program.replace("@", word))
    else:
        found = compiled(language, program.replace("@", word))({word: 1, "proc.name": word})
        assert found in (True, [word])


@pytest.mark.parametrize(("case", "outcome"), [
    (Case("cel", "not a number", "x == x", "harmless", "False", _NONE), "harmless"),
    (Case("cel", "not a number to int", "int(x)", "failed", "integer overflow", _NONE), "failed"),
    (Case("cel", "infinity to int", "int(x)", "failed", "integer overflow", _INFINITE), "failed"),
    (Case("jmespath", "not a number", "[@ == @, @ < `1`]", "harmless", "[False, False]", _NONE), "harmless"),
    (Case("jmespath", "not a number as text", "to_string(@)", "failed", "unsupported value: NaN", _NONE), "failed"),
    (Case("jmespath", "infinity", "modulo(`1`, @)", "failed", "Non-integer", _INFINITE), "failed"),
    (Case("pattern", "not a number", '">1"', "harmless", "does not match", _NONE), "harmless"),
    (Case("falco", "not a number", "thread.cpu < 3", "harmless", "[]", {"thread.cpu": _NONE}), "harmless"),
], ids=lambda each: each.name if isinstance(each, Case) else "")
def test_values_that_are_no_numbers(case: Case, outcome: str) -> None:
    found = run(case)
    assert (found.outcome, case.reason in found.reason) == (outcome, True)
