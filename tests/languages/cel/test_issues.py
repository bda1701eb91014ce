"""Programs that do not parse or check: cel-go's words, with line and column."""

from __future__ import annotations

import pytest

from policylang import cel
from policylang.cel.libraries import ext
from policylang.source import SourceError

ENV = cel.Env(ext.everything(), {"object": cel.DYN, "a": cel.INT, "names": cel.list_of(cel.STRING)})


@pytest.mark.parametrize(("text", "message"), [
    ("a + x", "ERROR: <input>:1:5: undeclared reference to 'x' (in container '')\n | a + x\n | ....^"),
    ("1 + 'a'", "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n"
                " | 1 + 'a'\n | ..^"),
    ("a.b", "ERROR: <input>:1:2: type 'int' does not support field selection\n | a.b\n | .^"),
    ("'a'.nope(1)", "ERROR: <input>:1:9: undeclared reference to 'nope' (in container '')\n | 'a'.nope(1)\n"
                    " | ........^"),
    ("a.startsWith('x')", "ERROR: <input>:1:13: found no matching overload for 'startsWith' applied to 'int.(string)'\n"
                          " | a.startsWith('x')\n | ............^"),
    ("a.all(x, true)", "ERROR: <input>:1:1: expression of type 'int' cannot be range of a comprehension (must be list, "
                       "map, or dynamic)\n | a.all(x, true)\n | ^"),
    ("names.all(n.x, true)", "ERROR: <input>:1:12: argument must be a simple name\n | names.all(n.x, true)\n"
                             " | ...........^"),
    ("has(a)", "ERROR: <input>:1:5: invalid argument to has() macro\n | has(a)\n | ....^"),
    ("1 +", "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', "
            "'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 1 +\n | ...^"),
    ("if", "ERROR: <input>:1:1: reserved identifier: if\n | if\n | ^"),
    ("'é' + x", "ERROR: <input>:1:7: undeclared reference to 'x' (in container '')\n | 'é' + x\n | ...．..^"),  # noqa: RUF001
    ("object.x &&\n\ty", "ERROR: <input>:2:2: undeclared reference to 'y' (in container '')\n |  y\n | .^"),
    ("a ? 1 : 2", "ERROR: <input>:1:3: found no matching overload for '_?_:_' applied to '(int, int, int)'\n"
                  " | a ? 1 : 2\n | ..^"),
])
def test_messages(text: str, message: str) -> None:
    with pytest.raises(cel.CompileError) as caught:
        ENV.compile(text)
    # Columns of wide characters count once; what stands before them is drawn as wide as they are.
    assert caught.value.message.replace("．", ".") == message.replace("．", ".")  # noqa: RUF001


def test_all_issues_are_reported_in_order() -> None:
    with pytest.raises(cel.CompileError) as caught:
        ENV.compile("x + y + (a ? 1 : 2)")
    assert [issue.message for issue in caught.value.issues] == [
        "undeclared reference to 'x' (in container '')", "undeclared reference to 'y' (in container '')",
        "found no matching overload for '_?_:_' applied to '(int, int, int)'"]


@pytest.mark.parametrize(("text", "line", "column"), [
    ("'abc", 1, 1),
    ('"""abc', 1, 3), ("'a\nb'", 1, 1), ("1 @ 2", 1, 3), ("[1, 2", 1, 6), ("{'a' 1}", 1, 6), ("f(1", 1, 4),
    ("a..b", 1, 3), ("1 2", 1, 3), ("'\\q'", 1, 2), ("'\\ud800'", 1, 2), ("b'\\u0041'", 1, 3), ("'\\U00110000'", 1, 2),
    ("99999999999999999999", 1, 1), ("-99999999999999999999", 1, 1), ("18446744073709551616u", 1, 1), ("0x", 1, 2),
    ("1e999", 1, 1), ("9" * 5000, 1, 1), ("a.true", 1, 3), ("a in", 1, 5), ("true.x(", 1, 8), ("\n\n  ]", 3, 3),
    ("&& a", 1, 1), ("a ?", 1, 4), ("a ? 1", 1, 6), ("{1}", 1, 3), ("a\0b", 1, 2), ("'\ud800'", 1, 2), ("🙂", 1, 1),
    ("a.`x y`()", 1, 8), ("[?1]", 1, 3), ("math.greatest()", 1, 1), ("cel.bind(1, 2, 3)", 1, 10),
    ("names.transformMap(k, k, 1)", 1, 23), ("", 1, 1),
])
def test_places(text: str, line: int, column: int) -> None:
    with pytest.raises(SourceError) as caught:
        ENV.compile(text)
    assert (caught.value.line, caught.value.column) == (line, column), caught.value.message


@pytest.mark.parametrize("text", [
    "(" * 100_000, "[" * 50_000 + "]" * 49_999, "-" * 100_000, "a" + ".b" * 50_000, "a" + "[0]" * 30_000,
    "1" + " + 1" * 20_000, "{'a':" * 15_000, "true ? " * 10_000, "!" * 99_999 + "a", "f(" * 40_000,
    "'" + "a" * 10_000_000, "[0].map(x, " * 300 + "1" + ")" * 300, "(" * 251 + "1" + ")" * 251,
])
def test_what_is_too_deep_or_too_long_is_refused(text: str) -> None:
    with pytest.raises(SourceError):
        ENV.compile(text)


@pytest.mark.parametrize("text", [
    "(" * 200 + "1" + ")" * 200, "1" + " + 1" * 200, "[0].map(x, " * 60 + "1" + ")" * 60,
    "object" + ".b" * 200 + " == 1",
    "true ? 1 : " * 200 + "2", "!" * 200 + "true", "-" * 200 + "1", "[" * 200 + "1" + "]" * 200,
    "object.a || " * 2000 + "true", "cel.bind(x, 1, " * 100 + "x" + ")" * 100,
])
def test_what_cel_go_takes_is_taken(text: str) -> None:
    program = ENV.compile(text)
    if text.startswith("object.b"):
        with pytest.raises(cel.CelError, match="no such key: b"):
            program({"object": {}, "a": 1, "names": []})
    else:
        assert program({"object": {}, "a": 1, "names": []}) is not None


def test_python_keywords_are_names_like_others() -> None:
    names = ["class", "def", "lambda", "None", "True", "nonlocal", "async", "yield", "__class__", "__builtins__", "run",
             "v"]
    env = cel.Env(variables=dict.fromkeys(names, cel.INT))
    for at, name in enumerate(names):
        assert env.compile(f"{name} + 1")({name: at}) == at + 1
        assert env.compile(f"[1].map({name}, {name} + 1)")({}) == [2]
