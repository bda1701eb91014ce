"""One reading tells all faults of a stage."""

from __future__ import annotations

import pytest

from policylang import rego


@pytest.mark.parametrize(("modules", "words"), [
    ({"a.rego": 'package a\np := "x', "b.rego": "package b\nq := [1"}, ["non-terminated string", "unexpected eof"]),
    ({"a.rego": "package a\np if { a := 1; a := 2 }\nq if { some b; true }"},
     ["var a assigned", "declared var b unused"]),
    ({"a.rego": "package a\np if { x > 1 }\nq := nothing(1)"}, ["var x is unsafe", "undefined function nothing"]),
    ({"a.rego": 'package a\np := count(5)\nq if { 1 == "a" }'}, ["count: invalid argument(s)", "match error"]),
])
def test_all_faults_of_a_stage_are_told(modules: dict[str, str], words: list[str]) -> None:
    with pytest.raises(rego.SourceError) as caught:
        rego.Policy(modules)
    faults = [caught.value, *caught.value.others]
    assert len(faults) == len(words)
    assert all(word in str(fault) for word, fault in zip(words, faults, strict=True))


def test_imports_may_follow_rules() -> None:
    policy = rego.Policy({"a.rego": "\ufeffpackage a\np := foo.x\nimport data.foo\n"})
    assert policy.entry("data.a.p")({}, {"foo": {"x": 1}}) == 1
    with pytest.raises(rego.SourceError, match="an import that changes the language comes before rules"):
        rego.Policy({"a.rego": "package a\np = 1\nimport rego.v1\n"}, version=0)


def test_faults_are_counted_up_to_ten() -> None:
    with pytest.raises(rego.SourceError) as caught:
        rego.Policy({"a.rego": "package a\n" + "\n".join(f"p{n} if {{ x{n} > 1 }}" for n in range(100))})
    assert len(caught.value.others) == 9
