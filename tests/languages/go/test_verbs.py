"""fmt.Sprintf: facts of Go's documentation, and every verb with every flag as OPA's sprintf fills them in."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import peer
from tests.languages.rego_builtins.opa import serving

from policylang.go.verbs import sprintf

VALUES = (0, 1, -5, 65, 12345678901234567890123, 1.5, -2.25, 0.000001234, 1e100, 123456.789, "", "abc", 'hé\n"q`',
          "x`y")
VERBS = "vdsqxXtfeEgGbocOUTz"
FLAGS = ("", "+", "-", "#", " ", "0", "8", "-8", "08", "+08", ".3", ".0", "8.3", "-8.3", "08.3", "+.2", "# ", " 8")
SHAPES = ("%s %s", "%[2]s %[1]s", "%[3]s", "%[2]*[1]d", "%*d", "%.*f", "%-*d|", "%!", "%", "%d %", "%5%", "%[1]",
          "%[x]d", "%[1]d %d", "%[2]d", "100%", "%s%", "%  d", "%v%%", "%[1]v %[1]q %T",
          "%.[2]*[1]f", "%*s", "%z %v", "%é")
ARGUMENTS: tuple[list[Any], ...] = ([], [1], [2, 3], ["a", "b"], [1.5, 2], ["a"], [3, "x"], [-3, 7], [1, 2, 3])


@pytest.mark.parametrize(("form", "arguments", "shown"), [
    ("%v %v %v %v", [None, True, [1, "a", None], {"b": 1, "a": [2.0]}], "<nil> true [1 a <nil>] map[a:[2] b:1]"),
    ("%t %q %x", [False, "a\tb", b"\x01\xff"], 'false "a\\tb" 01ff'),
    ("%#v %#v", [["a", None], {"k": 1}], '[]interface {}{"a", interface {}(nil)} map[string]interface {}{"k":1}'),
    ("%d", ["x"], "%!d(string=x)"), ("%s", [], "%!s(MISSING)"), ("x", [1, None], "x%!(EXTRA int64=1, <nil>)"),
    ("%d", [None], "%!d(<nil>)"), ("%T %T", [None, {}], "<nil> map[string]interface {}"),
    ("%5.1f|%-6d|%06d", [3.14159, 42, -42], "  3.1|42    |-00042"),
    ("%c %U %#U", [0x1F600, 0x41, 0x263A], "😀 U+0041 U+263A '☺'"),
    ("%x %X %#o %b", [255, "hi", 8, 5], "ff 6869 010 101"),
])
def test_facts(form: str, arguments: list[Any], shown: str) -> None:
    assert sprintf(form, arguments) == shown


@pytest.mark.peer
def test_all_verbs_and_flags_as_opa_fills_them_in(tmp_path: Path) -> None:
    asked = [(f"%{flags}{verb}", [value]) for value, verb, flags in product(VALUES, VERBS, FLAGS)]
    asked += [(form, arguments) for form, arguments in product(SHAPES, ARGUMENTS)]
    with serving(peer("opa"), tmp_path) as opa:
        answers = opa.calls([("sprintf", list(each)) for each in asked])
    wrong = [(form, arguments, theirs[1], sprintf(form, arguments))
             for (form, arguments), theirs in zip(asked, answers, strict=True)
             if theirs != ("value", sprintf(form, arguments))]
    assert [each for each in wrong if not (each[0].startswith("%#") and each[0][-1] in "xX")] == []  # hex floats
