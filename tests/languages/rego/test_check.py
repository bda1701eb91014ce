"""What a policy is refused for before it runs: the class of error, its words, and where it points."""

from __future__ import annotations

import pytest

from policylang import rego
from policylang.errors import InputError

REFUSED = {
    "unterminated string": ('p := "abc', "rego_parse_error: non-terminated string", 2, 6),
    "bad escape": (r'p := "\q"', "rego_parse_error: illegal string escape sequence", 2, 6),
    "open bracket": ("p := [1, 2", "rego_parse_error: unexpected eof", 2, 11),
    "open brace": ("p := {1, 2", "rego_parse_error: unexpected eof", 2, 11),
    "body without if": ("p { true }", "rego_parse_error: `if` keyword is required before rule body", 2, 1),
    "set without contains": ("p[x] { x := 1 }", "rego_parse_error: `contains` keyword is required", 2, 1),
    "number with letters": ("p := 12ab", "rego_parse_error: illegal number format", 2, 6),
    "huge exponent": ("p := 1e999999999", "rego_parse_error: number too big", 2, 6),
    "unknown import": ("import foo.bar", "rego_parse_error: unexpected import path", 2, 8),
    "unknown keyword import": ("import future.keywords.x", "rego_parse_error: unexpected keyword", 2, 1),
    "default of a reference": ("default p := input.x",
        "rego_parse_error: illegal default rule (value cannot contain ref)",
                               2, 14),
    "not a module": ("}", "rego_parse_error: unexpected } token", 2, 1),
    "negated assignment": ("p if { not x := 1 }",
        "rego_compile_error: cannot assign vars inside negated expression", 2, 8),
    "assigned twice": ("p if { a := 1; a := 2 }", "rego_compile_error: var a assigned above", 2, 16),
    "declared twice": ("p if { some a; a := 2 }", "rego_compile_error: var a declared above", 2, 16),
    "used before it is assigned": ("p if { a == 1; a := 1 }", "rego_compile_error: var a referenced above", 2, 16),
    "declared and not used": ("p if { some a; true }", "rego_compile_error: declared var a unused", 2, 13),
    "argument declared again": ("f(a) := 1 if { a := 2 }", "rego_compile_error: arg a redeclared", 2, 16),
    "variable named input": ("p if { input := 1 }", "rego_compile_error: variables must not shadow input", 2, 8),
    "rule named data": ("data := 1", "rego_compile_error: rules must not shadow data", 2, 1),
    "assignment to a value": ("p if { 1 := input.x }", "rego_compile_error: cannot assign to number", 2, 8),
    "unsafe": ("p if { x > 1 }", "rego_unsafe_var_error: var x is unsafe", 2, 8),
    "unsafe in the head": ("p := x", "rego_unsafe_var_error: var x is unsafe", 2, 6),
    "unsafe under not": ("p if { not input.a[x] }", "rego_unsafe_var_error: var x is unsafe", 2, 20),
    "wild under not": ("p if { not input.a[_] }", "rego_unsafe_var_error: var _ is unsafe", 2, 20),
    "unsafe in every": ("p if { every a in [1] { a > b } }", "rego_unsafe_var_error: var b is unsafe", 2, 29),
    "two that need each other": ("p if { x = y; y = x }", "rego_unsafe_var_error: var x is unsafe", 2, 8),
    "arrays of two lengths": ("p if { [a, b] = [1] }", "rego_unsafe_var_error: var a is unsafe", 2, 9),
    "unknown function": ("p if { nothing(1) }", "rego_type_error: undefined function nothing", 2, 8),
    "unknown function of a package": ("p if { data.x.f(1) }", "rego_type_error: undefined function data.x.f", 2, 8),
    "imported twice": ("import data.x\nimport data.y as x\np := x",
                       "rego_compile_error: import must not shadow import", 3, 1),
    "deprecated builtin": ("p := any([true])", "rego_type_error: deprecated built-in function calls", 2, 6),
    "too many arguments": ("p if { startswith(1, 2, 3, 4) }", "rego_type_error: startswith: arity mismatch", 2, 8),
    "kind of an argument": ("p := count(5)", "rego_type_error: count: invalid argument(s)", 2, 6),
    "kind of a rule": ("s := 5\np := count(s)", "rego_type_error: count: invalid argument(s)", 3, 6),
    "kinds that never meet": ('p if { x := 1; x == "a" }', "rego_type_error: match error", 2, 16),
    "rules of two kinds": ("p := 1\np contains 2", "rego_type_error: conflicting rules data.a.p found", 2, 1),
    "functions of two arities": ("f(a) := a\nf(a, b) := b if { a }",
        "rego_type_error: conflicting rules data.a.f", 2, 1),
    "rule below a rule": ("p := 1\np.q := 2",
        "rego_type_error: rule data.a.p conflicts with:\n  rule data.a.p.q at a.rego:3", 2, 1),
    "two defaults": ("default p := 1\ndefault p := 2", "rego_type_error: multiple default rules data.a.p found", 3, 1),
    "recursion": ("p := q\nq := p",
        "rego_recursion_error: rule data.a.p is recursive: data.a.p -> data.a.q -> data.a.p",
                  2, 1),
    "recursion through a variable": ('p := data.a[x] if { x := "q" }\nq := p', "rego_recursion_error", 2, 1),
    "recursive function": ("f(x) := f(x)", "rego_recursion_error: rule data.a.f is recursive", 2, 1),
    "annotation without a rule": ("# METADATA\n# title: x", "rego_parse_error: annotation scope must be applied", 2, 1),
    "annotation that is no YAML": ("# METADATA\n# title: [\np := 1", "rego_parse_error: yaml: cannot read", 2, 1),
    "annotation with an unknown field": ("# METADATA\n# titel: x\np := 1",
        "invalid annotation: unknown field 'titel'", 2, 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_faulty_policy_is_refused_at_its_fault(name: str) -> None:
    text, words, line, column = REFUSED[name]
    with pytest.raises(rego.SourceError) as caught:
        rego.Policy({"a.rego": "package a\n" + text})
    assert words in str(caught.value)
    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value).startswith(f"a.rego:{line}:{column}: {caught.value.kind}")
    assert caught.value.pointed().endswith("^")


STRICT = {
    "assigned and not used": ("p if { a := 1; true }", "rego_compile_error: assigned var a unused"),
    "unused argument": ("f(a) := 1",
        "rego_compile_error: unused argument a. (hint: use _ (wildcard variable) instead)"),
    "unused import": ("import data.x\np := 1", "rego_compile_error: import data.x unused"),
}


@pytest.mark.parametrize("name", STRICT)
def test_strict_refuses_more(name: str) -> None:
    text, words = STRICT[name]
    rego.Policy({"a.rego": "package a\n" + text})
    with pytest.raises(rego.SourceError) as caught:
        rego.Policy({"a.rego": "package a\n" + text}, strict=True)
    assert words in str(caught.value)


def test_v0_has_its_own_syntax() -> None:
    policy = rego.Policy({"a.rego": 'package a\np[x] { x = input[_] }\nq { input.a }\nr["k"] = 1 { q }'}, version=0)
    assert rego.to_json(policy.entry("data.a.p")({"a": 3})) == [3]
    assert policy.query("data.a.r.k = x")({}, {"a": 3})[0].bindings == {"x": 1}


def test_import_of_v1_makes_a_v0_module_one_of_v1() -> None:
    with pytest.raises(rego.SourceError, match="`if` keyword is required"):
        rego.Policy({"a.rego": "package a\nimport rego.v1\np { true }"}, version=0)


def test_types_can_be_left_to_run_time() -> None:
    policy = rego.Policy({"a.rego": "package a\np := count(5)"}, types=False)
    assert policy.entry("data.a.p")() is rego.UNDEFINED
    with pytest.raises(rego.EvaluationError, match="eval_type_error: count: operand 1 must be one of"):
        policy.entry("data.a.p")(strict=True)


def test_an_unknown_entry_is_named() -> None:
    with pytest.raises(KeyError, match=r"data\.a\.q"):
        rego.Policy({"a.rego": "package a\np := 1"}).entry("data.a.q")


def test_modules_are_texts_by_name() -> None:
    with pytest.raises(InputError, match="modules: got str, expected texts by name"):
        rego.Policy("package p")  # type: ignore[arg-type]
