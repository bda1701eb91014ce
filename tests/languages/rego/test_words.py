"""What OPA refuses, with its code and its words: one thing wrong in each module."""

from __future__ import annotations

import pytest

from policylang import rego

PARSE, COMPILE, TYPE, UNSAFE = "rego_parse_error", "rego_compile_error", "rego_type_error", "rego_unsafe_var_error"
AND_OR = "import future.keywords.and\nimport future.keywords.or\n"

REFUSED: dict[str, tuple[int, str, str, str]] = {  # what is wrong → version, module, code, words
    "a builtin's call as a rule": (0, "count(1)", PARSE, "rule name conflicts with built-in function"),
    "a comparison as a rule": (1, "p == 1", PARSE, "rule name conflicts with built-in function"),
    "a template in v0": (0, 'p = $"{input.x}"', PARSE, "template strings are not supported by current capabilities"),
    "a template cut off inside a body that may be a term": (1, 'p if{x=$"{""[}"', PARSE, "unexpected eof token"),
    "a negated rule": (1, "not p", PARSE, "negated expressions cannot be used for rule head"),
    "a rule under with": (1, "p := 1 with input as 2", PARSE, "expressions using with keyword cannot be used for"),
    "a number as a rule": (1, "1 = 1", PARSE, "number cannot be used for rule name"),
    "an empty set as a rule": (0, "set() = true", PARSE, "set cannot be used for rule name"),
    "a keyword as a function": (1, "every(x) := 1", PARSE, "every keyword cannot be used for rule name"),
    "a name of three parts alone": (1, "a.b.c", PARSE, "rule must have value assignment and/or body declaration"),
    "an object after else if": (1, "p if false\nelse := 1 if {}", PARSE, "found empty body"),
    "some under not": (1, "p if not some x in [1]", PARSE, "illegal negation of 'some'"),
    "an assignment to a text in an array": (1, 'p if ["a", x] := input', COMPILE, "cannot assign to string"),
    "an assignment under not": (1, "p if not x := 1", COMPILE, "cannot assign vars inside negated expression"),
    "a call among arguments": (1, "f(x + 1) := 1", COMPILE, "rule arguments cannot contain calls"),
    "a reference among arguments": (1, "f([input.x]) := 1", UNSAFE, "var input is unsafe"),
    "some in itself": (1, "p := [x | some x in [x]]", COMPILE, "var x assigned before"),
    "a reference that begins with what it is to bind": (1, "p if x = x[_]", UNSAFE, "var x is unsafe"),
    "a reference in its own index": (1, "p := x if x = y[y]", UNSAFE, "var y is unsafe"),
    "a call's result among its arguments": (1, "p if to_number(j, j)", UNSAFE, "var j is unsafe"),
    "a computed function": (1, "q[1] := 2\np := q[1].f(2)", TYPE, "undefined function q[1].f"),
    "a composite key where texts are": (
        1, 'p := strings.replace_n({["a"]: "X"}, "")', TYPE, "strings.replace_n: invalid argument(s)"),
    "a keyword in a rule's name": (
        1, "q.if := 1\nq.if contains 2", TYPE, 'conflicting rules data.p.q["if"] found'),
    "a missing member": (1, "q := {1}\np := q.a", TYPE, "undefined ref: data.p.q.a"),
    "an object beside and": (
        1, AND_OR + 'p if input.a and {"a": 1}', PARSE, "operand of `and` cannot begin with `{` unless the"),
    "a set's test before and": (
        1, AND_OR + "p if { {1, 2} == {1, 2} and true }", PARSE, "operand of `and` cannot begin with `{`"),
    "empty braces beside or": (1, AND_OR + "p if input.a or {}", PARSE, "found empty body"),
    "a union in braces beside or": (1, AND_OR + "p if input.x or {1 | true}", PARSE, "ambiguous `{ ... | ... }`"),
    "with before or": (
        1, AND_OR + "p if input.x with input.x as 1 or true", PARSE, "`with` modifier is not allowed on operand of"),
    "an assignment beside and": (
        1, AND_OR + "p if { x := 1 and true }", COMPILE, "cannot assign vars inside implicit and operand"),
    "some before or": (1, AND_OR + "p if { some x in [1] or true }", PARSE, "unexpected or keyword"),
    "every after or": (1, AND_OR + "p if { true or every x in [1] { x } }", PARSE, "unexpected every keyword"),
    "not before an object": (
        1, 'import future.keywords.not\np if { not {"a": 1} }', PARSE, "`{...}` in an operand position must contain"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    version, text, code, words = REFUSED[name]
    with pytest.raises(rego.SourceError) as caught:
        rego.Policy({"m.rego": "package p\n" + text}, version=version)
    assert caught.value.kind == code
    assert words in caught.value.message


VALUES: dict[str, tuple[int, str, object]] = {  # module → data.p.p
    "a default without a value": (1, "default p", True),
    "two bodies after if": (1, 'p if "" { false }', True),
    "with after or is for both sides": (1, AND_OR + "p if input.x == 2 or false with input.x as 2", True),
    "with in parentheses is for one side": (
        1, AND_OR + "p := x if { x := 1; (input.x == 2 with input.x as 2) and input.x == 1 }", 1),
    "sides in braces after if": (1, AND_OR + "p if {false} or {input.x}", True),
    "an import after rules in v0": (0, "q { true }\nimport future.keywords.if\np if q", True),
    "three parts alone in v0": (0, "p.b.c", {"b": {"c": True}}),
    "a rule named input in v0": (0, "input.a = 7\np = input.a", 7),
    "numbers that are equal as keys": (1, "p if {1: 1} == {1.0: 1}", True),
    "keys with one text: the last in order": (1, 'p := json.marshal({"1": 1, 1: 2})', '{"1":1}'),
    "composite keys are sorted as texts": (
        1, 'p := json.marshal({[2]: 1, 10: 6, "b": 4, 2: 7, null: 9})', '{"10":6,"2":7,"[2]":1,"b":4,"null":9}'),
    "composite keys on lines of their own": (
        1, 'p := json.marshal_with_options({[1]: 2}, {"pretty": true})', '{\n\t"[1]": 2\n}'),
    "a moment before Unix in a UUID": (
        1, 'p := uuid.parse("00000000-0000-1000-8000-000000000000").time', 6227451273709551616)}


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str) -> None:
    version, text, wanted = VALUES[name]
    policy = rego.Policy({"m.rego": "package p\n" + text}, version=version)
    [result] = policy.query("data.p.p")({}, {"x": 1})
    assert rego.to_json(result.expressions[0]) == wanted
