"""Documents of rules whose heads are references, beside base data, under `with`, and asked for through variables.

What is expected is what OPA 1.22.2 answers; `python -m tests.fuzz.documents` asks it for tens of thousands more.
"""

from __future__ import annotations

from typing import Any

import pytest

from policylang import rego

VALUES: dict[str, tuple[str, str, Any, Any]] = {  # what it is about → modules, query, base data, value
    "a constant path and one with a variable": (
        'package p\nq.a.b := 1\nq[x].c contains y if { some x in ["a", "d"]; y := 2 }', "data.p.q", {},
        {"a": {"b": 1, "c": [2]}, "d": {"c": [2]}}),
    "sets and objects below one another": (
        'package p\nq[x] contains 1 if some x in ["a", "b"]\nq.a contains 2', "data.p.q", {}, {"a": [1, 2], "b": [1]}),
    "rules of a package below a rule with a variable": (
        'package p\nq[x] := 1 if x := "a"\n&&package p.q\nr.s := 2', "data.p.q", {}, {"a": 1, "r": {"s": 2}}),
    "parts that ask for one another": (
        'package p\nq.a := q.b + 1\nq.b := 2\nq[x].y := 3 if x := "z"', "data.p.q", {},
        {"a": 3, "b": 2, "z": {"y": 3}}),
    "no default of a part, and an else-branch where the index passes by what is before it": (
        'package p\nq[x] := 1 if some x in ["a"]\ndefault q.c := 7\nq.d := 3 if false\nelse := 4'
        '\nq.e := 3 if { input.k == "z" } else := 4', "data.p.q", {}, {"a": 1, "e": 4}),
    "a default alone": ("package p\ndefault q[input.k] := 3", "data.p.q", {}, 3),
    "a key that is a number": ("package p\nq[1].a := 2\nq[true] := 3", "data.p.q[1].a", {}, 2),
    "base data stays where no rule is": (
        "package p\nq.r := 1", "data.p", {"p": {"q": {"s": 2}, "t": 3}}, {"q": {"r": 1, "s": 2}, "t": 3}),
    "base data wins in a whole document": ("package p\nq := 1", "data.p", {"p": {"q": 2}}, {"q": 2}),
    "a rule wins where it is asked for": ("package p\nq := 1", "data.p.q", {"p": {"q": 2}}, 1),
    "numbers are names of base data": ("package p\nq := data.b[1]", "data.p.q", {"b": {"1": "one"}}, "one"),
    "system is no part of data": (
        "package p\nq := 1\n&&package system\nr := 1", "data", {"system": 1}, {"p": {"q": 1}}),
    "a variable bound to a constant": ('package p\nq := data.p[x] if x := "r"\nr := 2', "data.p.q", {}, 2),
    "a variable that goes through constants": (
        'package p\nq contains data.p[x] if some x in ["r", "s"]\nr := 2\ns := 3', "data.p.q", {}, [2, 3]),
    "variables over packages": (
        'package t.a\np := 1\n&&package t.b\np := 2\n&&package s\nq := {x: y | y := data.t[x].p}', "data.s.q", {},
        {"a": 1, "b": 2}),
    "negation over a package": (
        'package t\np := 1\n&&package s\nq if { x := "z"; not data.t[x] }', "data.s.q", {}, True),
    "with over a package": (
        "package t\np := 1\n&&package s\nq := x if x := data.t with data.t as {\"z\": 1}", "data.s.q", {}, {"z": 1}),
    "with below with": (
        'package s\nq := x if { x := data.t.a with data.t as {"a": {"b": 1}} with data.t.a.b as 2 }', "data.s.q", {},
        {"b": 2}),
    "with above what a rule asks for": (
        "package t\np := data.v.w\n&&package s\nq := x if x := data.t.p with data.v as {\"w\": 5}", "data.s.q", {}, 5),
    "a conflict under another key is passed by": (
        "package p\nq[x] := y if some x, y in [1, 2]\nq[x] := y if some x, y in [3]\nr := q[1]", "data.p.r", {}, 2),
    "a query that iterates drops false": ("package p\nq := false\nr := 1", "data.p[_]", {}, 1),
}


@pytest.mark.parametrize("name", VALUES)
def test_value(name: str) -> None:
    modules, query, data, wanted = VALUES[name]
    policy = rego.Policy({f"m{at}.rego": text for at, text in enumerate(modules.split("&&"))})
    [result] = policy.query(query)(data, {"k": "a"})
    assert rego.to_json(result.expressions[0]) == wanted


REFUSED: dict[str, tuple[str, str]] = {  # what is wrong → modules, the error
    "a value and a set": ("package p\nq := 1\nq contains 2", "rego_type_error: conflicting rules data.p.q found"),
    "a set and an object of sets": (
        "package p\nq contains 1\nq[x] contains 2 if x := 1", "rego_type_error: conflicting rules data.p.q[x] found"),
    "a rule below a value": (
        "package p\nq := 1\nq[x].r := 2 if x := 1", "rego_type_error: conflicting rules data.p.q[x]"),
    "a constant rule below a value": (
        "package p\nq := 1\nq.r := 2",
        "rego_type_error: rule data.p.q conflicts with:\n  rule data.p.q.r at m0.rego:3"),
    "a function below a variable": (
        "package p\nq[x] := 1 if x := 1\nq.f(y) := y", "rego_type_error: rule data.p.q[x] conflicts with:"),
    "a package and a rule": (
        "package p\nq := 1\n&&package p.q\nr := 1", "rego_type_error: package p.q conflicts with rule data.p.q"),
    "a function with a variable in its name": (
        "package p\nq[x].f(y) := y if x := 1", "rego_type_error: function data.p.q"),
    "else after a variable": (
        "package p\nq[x] := 1 if { x := 1 } else := 2",
        "rego_parse_error: else keyword cannot be used on rules with variables in head"),
    "with on part of a rule": (
        "package p\nq := {}\nr if q with q.a as 1",
        "rego_compile_error: with keyword cannot partially replace virtual document(s)"),
    "with on nothing": (
        "package p\nq if true with nothing as 1",
        "rego_type_error: with keyword target must reference existing input, data, or a function"),
    "with on a relation": (
        "package p\nq if true with walk as 1",
        "rego_compile_error: with keyword replacing built-in function: target must not be a relation"),
    "a variable that may be any rule": (
        "package p\nq := data.p[input.k]", "rego_recursion_error: rule data.p.q is recursive"),
    "a number where a package is": (
        "package p\nq := 1\nr := data.p[1]", "rego_type_error: undefined ref: data.p[1]"),
    "a function as a value": (
        "package p\nf(x) := x\nq := data.p.f", "rego_type_error: function data.p.f used as reference, not called"),
    "a variable of every that is not used": (
        "package p\nq if every v in [1] { true }", "rego_compile_error: declared var v unused"),
    "members of a number": (
        "package p\nq := 1\nr if { some x in q; x }", "rego_type_error: undefined ref: data.p.q[_]"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    modules, wanted = REFUSED[name]
    with pytest.raises(rego.SourceError) as caught:
        rego.Policy({f"m{at}.rego": text for at, text in enumerate(modules.split("&&"))})
    assert wanted in caught.value.message
    assert caught.value.kind == wanted.partition(":")[0]


CONFLICTS: dict[str, str] = {
    "two values of a key": "package p\nq[x] := y if some x, y in [1]\nq[x] := y if some x, y in [2]",
    "a value below a value": 'package p\nq[x] := 1 if x := "a"\nq.a.b := 2',
    "a set and a value": 'package p\nq[x] := 1 if x := "a"\nq.a contains 2',
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_conflict(name: str) -> None:
    query = rego.Policy({"m.rego": CONFLICTS[name]}).query("data.p.q")
    with pytest.raises(rego.EvaluationError) as caught:
        query({})
    assert caught.value.kind == "eval_conflict_error"
    assert caught.value.reason == "object keys must be unique"


def test_unused_variables_are_told_beside_other_faults() -> None:
    with pytest.raises(rego.SourceError) as caught:
        rego.Policy({"m.rego": "package p\nq if { some x; true }\nr := s(1)"})
    assert [fault.kind for fault in (caught.value, *caught.value.others)] == ["rego_compile_error", "rego_type_error"]


def test_base_data_at_a_rules_place_is_refused_where_they_are_loaded() -> None:
    policy = rego.Policy({"m.rego": "package p\nq.r := 1"})
    policy.check_data({"p": {"q": {"s": 1}}})
    with pytest.raises(rego.SourceError, match="rego_compile_error: conflicting rule for data path p/q/r found"):
        policy.check_data({"p": {"q": {"r": None}}})


def test_a_set_that_another_rule_made_is_not_changed() -> None:
    policy = rego.Policy({"m.rego": 'package p\ns := {1}\nq[x] := s if x := "a"\nq.a contains 2'})
    [result] = policy.query("[data.p.q, data.p.s]")({})
    assert rego.to_json(result.expressions[0]) == [{"a": [1, 2]}, [1]]
