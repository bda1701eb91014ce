from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policylang.falco.syntax import tree
from policylang.falco.syntax.parser import parse
from policylang.source import Source, SourceError


def _parsed(text: str) -> tree.Condition:
    return parse(Source(text))


def _right(text: str) -> object:
    found = _parsed(text)
    assert isinstance(found, tree.Compare)
    return found.right


@pytest.mark.parametrize("text", [
    "evt.type=open", "evt.type = open", "evt.type==open", "evt.type\n=\topen", "not evt.type=open", "not not a",
    "not(a)", "a or(b)", "a and(b) and c", "a or b and c", "(((a)))", "proc.name exists", "proc.name in (a,b, c )",
    "proc.name in ()", "proc.name in a", "proc.name pmatch (/a, /b)", "fd.num<=0x1F", "fd.num >= -1",
    "fd.num < 1.5e+3", "proc.aname[2]=x", "proc.env[\"A B\"] = x", "evt.arg.flags contains O_CREAT",
    "proc.name startswith anyof (a, b)", "proc.name = allof (a)", "proc.name != anyof", "toupper(proc.name) = A",
    "tolower(toupper(proc.name)) = a", "proc.name = val(proc.pname)", "proc.name = toupper(proc.pname)",
    "len(proc.name) > 3", 'concat(fd.rip, ":", fd.rport) in ("8.8.8.8:53")', 'join(",", (proc.name, proc.pname)) = x',
    'getopt(proc.args, "nt:")[t] = x', "proc.name regex '^a.*b$'", "proc.name glob *a*", "a\r\nand\r\nb",
    "proc.name intersects (a)", "proc.name in val(proc.pname)", "proc.name=a-b.c/d:e", "lambda or None or class"])
def test_accepted(text: str) -> None:
    _parsed(text)


@pytest.mark.parametrize(("text", "reason", "column"), [
    ("", "filter input string is empty", 1),
    ("evt.type", "expected a valid check operator: one of 'exists'", 9),
    ("evt.type=", "expected a string value or a field with a valid transformer: 'val'", 10),
    ("a b", "unexpected token after 'a', expecting 'or', 'and'", 3),
    ("a and", "expected blank or '(' after 'and'", 6),
    ("a or ", "expected a '(' token, a field check, or an identifier", 6),
    ("a orb", "expected blank or '(' after 'or'", 5),
    ("(a", "expected a ')' token", 3),
    ("not", "expected", 0),
    ("fd.num < x", "expected a number value or a field with a valid transformer", 10),
    ("proc.name in (a,)", "expected a string value", 17),
    ("proc.name in (a b)", "expected a ')' token", 17),
    ("proc.name in )", "expected a list, an identifier, or a field", 14),
    ("proc.name startswith", "expected a valid check operator", 21),
    ("proc.name startswith(a)", "expected a valid check operator", 21),
    ("proc.aname[", "expected a valid field argument: a quoted string or a bare string", 12),
    ("proc.aname[2 = x", "expected a ']' token", 13),
    ("proc.name = \"a", "expected a string value", 13),
    ("proc.name = \"a\\d\"", "unsupported string escape sequence: \\d", 15),
    ("proc.name = \"a\\'\"", "invalid \\' escape in \"-quoted string", 15),
    ("proc.name = val(x)", "expected a field within 'val' transformer", 17),
    ("proc.name = val(proc.pname", "expected a ')' token closing the transformer", 27),
    ("toupper(x) = a", "expected field transformer argument", 9),
    ("toupper(proc.name = a", "expected a ')' token closing the transformer", 19),
    ("proc.name = __class__)", "unexpected token after '__class__', expecting 'or', 'and'", 22)])
def test_refused(text: str, reason: str, column: int) -> None:
    if text == "not":  # is a name like any other
        assert _parsed(text) == tree.Macro("not")
        return
    with pytest.raises(SourceError) as caught:
        _parsed(text)
    assert caught.value.reason.startswith(reason)
    assert caught.value.kind == "LOAD_ERR_COMPILE_CONDITION"
    assert (caught.value.line, caught.value.column) == (1, column)


@pytest.mark.parametrize(("text", "value"), [
    (r'"a\"b"', 'a"b'), (r"'a\'b'", "a'b"), (r'"\b\f\n\r\t\\\/"', "\b\f\n\r\t\\/"), (r'"a\ b"', "a\\b"),
    ('"a\nb"', "a\nb"), ("a\"", "a"), ('""', ""), ("10.0.0.0/8", "10.0.0.0/8"), ("'\"x\"'", '"x"')])
def test_texts(text: str, value: str) -> None:
    if text == 'a"':
        with pytest.raises(SourceError):
            _parsed(f"proc.name={text}")
        return
    assert _right(f"proc.name={text}") == tree.Literal(value)


def test_precedence_and_places() -> None:
    found = _parsed("a or not b and c")
    assert found == tree.Or((tree.Macro("a"), tree.And((tree.Not(tree.Macro("b")), tree.Macro("c")))))
    check = _parsed("  proc.aname[2] in (a, \"b c\")")
    assert isinstance(check, tree.Compare)
    assert (check.start, check.end) == (2, 29)
    assert check.left == tree.Field("proc.aname", "2")
    assert check.right == (tree.Literal("a"), tree.Literal("b c"))
    assert _parsed("proc.name==a") == _parsed("proc.name = a")
    oneof = _parsed("proc.name contains oneof (a)")
    assert isinstance(oneof, tree.Compare)
    assert oneof.modifier == "oneof"
    assert _right("proc.name contains oneof") == tree.Literal("oneof")


def test_depth() -> None:
    _parsed("(" * 90 + "a" + ")" * 90)
    for text in ("(" * 100_000, "not(" * 100_000, "toupper(" * 100_000, "a and (" * 50_000):
        with pytest.raises(SourceError, match="exceeded max depth limit"):
            _parsed(text)
    _parsed("not " * 50_000 + "a")
    _parsed(" or ".join(["a"] * 20_000))


@given(st.text(st.sampled_from("ab.x_09[]()\"'\\ \n=<>!,"), max_size=60))
@example("\\" * 100 + '"' * 100)
@example("a" * 10_000)
@example('proc.name="' + "\\" * 99_999)
def test_hostile(text: str) -> None:
    with suppress(SourceError):
        _parsed(text)


@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    with suppress(SourceError):
        _parsed(text)
