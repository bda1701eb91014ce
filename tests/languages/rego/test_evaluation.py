"""What compiled policies give: rules of all kinds, documents, replacements, conflicts, budgets, traces."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from policylang import rego
from policylang.budget import BudgetExceeded, Limits, Meter
from policylang.rego.declare import Context


def value(text: str, given: Any = rego.UNDEFINED, data: Any = None, *, path: str = "data.a.p", **options: Any) -> Any:
    found = rego.Policy({"a.rego": f"package a\n{text}"}, **options).entry(path)(given, data)
    return found if found is rego.UNDEFINED else rego.to_json(found)


CASES = {
    "complete": ("p := 1 if { input.x }", {"x": True}, 1),
    "undefined": ("p := 1 if { input.x }", {}, rego.UNDEFINED),
    "false is not undefined": ("p := input.x", {"x": False}, False),
    "default": ("default p := 7\np := 1 if { input.x }", {}, 7),
    "default comprehension": ("default p := [x | x := input.a[_]]\np := 1 if { input.x }", {"a": [1]}, [1]),
    "else": ("p := 1 if { input.x } else := 2 if { input.y } else := 3", {"y": 1}, 2),
    "set": ("p contains x if { some x in input.a }", {"a": [2, 1, 2]}, [1, 2]),
    "set knows true from 1": ("p contains x if { some x in input.a }", {"a": [1, True, 1.0]}, [True, 1]),
    "object": ("p[k] := v if { some k, v in input.a }", {"a": {"x": 1}}, {"x": 1}),
    "object below an object": ("p[k][v] := 1 if { some k, v in input.a }", {"a": {"x": "y"}}, {"x": {"y": 1}}),
    "set below an object": ("p[k] contains v if { some k, v in input.a }", {"a": {"x": "y"}}, {"x": ["y"]}),
    "name with dots": ("p.q.r := 1\np.q.s := 2", {}, {"q": {"r": 1, "s": 2}}),
    "function": ("p := f(2, [3])\nf(x, [y]) := x + y", {}, 5),
    "function of a constant": ('p := f("a")\nf("a") := 1\nf("b") := 2', {}, 1),
    "function default": ("p := f(1)\ndefault f(_) := 9\nf(2) := 3", {}, 9),
    "function with its result as argument": ("p := y if { f(2, y) }\nf(x) := x + 1", {}, 3),
    "function without arguments": ("p := f() + 1\nf() := 2", {}, 3),
    "unification": ("p := [x, y] if { [x, 2, y] = input.a }", {"a": [1, 2, 3]}, [1, 3]),
    "unification of objects": ('p := x if { {"k": x} = input }', {"k": 5}, 5),
    "unification both ways": ("p := [x, y] if { [x, 1] = [2, y] }", {}, [2, 1]),
    "order of expressions": ("p := y if { y = x + 1; x = input.x }", {"x": 1}, 2),
    "iteration binds keys": ("p := [k | input.a[k] == 2]", {"a": {"x": 1, "y": 2, "z": 2}}, ["y", "z"]),
    "variable as key and value": ("p := x if { x = input.a[x] }", {"a": [2, 1, 0]}, 1),
    "wild": ("p if { input.a[_].b[_] == 3 }", {"a": [{"b": [1]}, {"b": [3]}]}, True),
    "some in": ("p := [[k, v] | some k, v in input.a]", {"a": ["x", "y"]}, [[0, "x"], [1, "y"]]),
    "some in with a pattern": ('p := [x | some {"n": x, "on": true} in input.a]',
                               {"a": [{"n": 1, "on": True}, {"n": 2, "on": False}]}, [1]),
    "every": ("p if { every x in input.a { x > 0 } }", {"a": [1, 2]}, True),
    "every of nothing": ("p if { every x in input.a { x > 0 } }", {"a": []}, True),
    "every that fails": ("p if { every x in input.a { x > 0 } }", {"a": [1, 0]}, rego.UNDEFINED),
    "every over no collection": ("p if { every x in input.a { x > 0 } }", {"a": 5}, rego.UNDEFINED),
    "not": ("p if { not input.x }", {}, True),
    "not false": ("p if { not input.x }", {"x": False}, True),
    "not true": ("p if { not input.x }", {"x": 0}, rego.UNDEFINED),
    "member": ('p if { "a" in input.s; not "b" in input.s }', {"s": ["a"]}, True),
    "comprehension sees outer variables": ("p := [y | y := x + input.a[_]] if { x := 10 }", {"a": [1, 2]}, [11, 12]),
    "object comprehension": ("p := {k: v | some v, k in input.a}", {"a": ["x"]}, {"x": 0}),
    "with input": ("p := v if { v := q with input.x as 5 }\nq := input.x + input.y", {"x": 1, "y": 2}, 7),
    "with a rule": ("p := v if { v := q with data.a.r as 5 }\nq := r + 1\nr := 1", {}, 6),
    "with data": ("p := v if { v := q with data.z.k as 5 }\nq := data.z.k", {}, 5),
    "with a function": ('p := v if { v := q with f as "x" }\nq := f(1)\nf(_) := 1', {}, "x"),
    "with a builtin": ("p := v if { v := q with count as f }\nq := count([1])\nf(_) := 9", {}, 9),
    "with a function by a builtin": ("p := v if { v := f([1, 2]) with f as count }\nf(_) := 9", {}, 2),
    "with is undone": ("p := [x, y] if { x := q with input.x as 5; y := q }\nq := input.x", {"x": 1}, [5, 1]),
    "template": ('p := $"{input.x} is {input.y}"', {"x": [1]}, "[1] is <undefined>"),
    "builtin error is undefined": ('p := to_number("x")', {}, rego.UNDEFINED),
    "numbers are equal by value": ("p if { 1 == 1.0; not 1 == input.t }", {"t": True}, True),
    "rule names win over base data": ("p := data.a.q\nq := 1", {}, 1),
    "python's words are names": ("class := 1\np := [lambda | lambda := class]", {}, [1]),
    "dunder names are keys": ("p := [input.__class__, input.x.__init__]", {"__class__": 1, "x": {"__init__": 2}},
                              [1, 2]),
    "attributes are out of reach": ("p := input.__class__", {}, rego.UNDEFINED),
    "methods are out of reach": ("p := input.s.upper", {"s": "text"}, rego.UNDEFINED),
    "text has no members": ("p := input.s[0]", {"s": "text"}, rego.UNDEFINED),
    "no index from the end": ("p := input.a[input.i]", {"a": [1, 2], "i": -1}, rego.UNDEFINED),
}


@pytest.mark.parametrize("name", CASES)
def test_value(name: str) -> None:
    text, given, wanted = CASES[name]
    assert value(text, given) == wanted


def test_documents_merge_rules_over_data() -> None:
    policy = rego.Policy({"a.rego": "package x.y\np := 1", "b.rego": "package x\nq := 2"})
    [result] = policy.query("data.x = v")({"x": {"z": 3, "y": {"k": 4, "p": 0}}})
    assert rego.to_json(result.bindings["v"]) == {"q": 2, "z": 3, "y": {"p": 0, "k": 4}}  # as OPA


def test_a_variable_in_a_path_asks_only_for_what_it_meets() -> None:
    policy = rego.Policy({"a.rego": "package x.one\np := 1", "b.rego": 'package x.two\nq := to_number("no")'})
    results = policy.query("data.x[n].p = v")({}, strict=True)
    assert [result.bindings for result in results] == [{"n": "one", "v": 1}]


def test_a_query_gives_all_solutions_in_order() -> None:
    results = rego.Policy({}).query("x = input.a[i]; x > 1")({}, {"a": [3, 1, 2]})
    assert [result.bindings for result in results] == [{"x": 3, "i": 0}, {"x": 2, "i": 2}]


CONFLICTS = {
    "rule": ("p := 1\np := 2 if { input.x }", "rule data.a.p produced conflicting values"),
    "function": ("p := f(1)\nf(x) := x\nf(x) := 2 if { input.x; x }",
                 "function data.a.f produced conflicting values for the same inputs"),
    "object": ("p[k] := v if { some v in [1, 2]; k := input.x }", "object keys must be unique"),
    "object comprehension": ("p := {k: v | some v in [1, 2]; k := input.x}", "object keys must be unique"),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_two_values_in_one_place_are_a_conflict(name: str) -> None:
    text, words = CONFLICTS[name]
    with pytest.raises(rego.EvaluationError, match=words) as caught:
        value(text, {"x": "k"})
    assert caught.value.kind == "eval_conflict_error"
    assert str(caught.value).startswith("a.rego:")


def test_a_strict_evaluation_ends_at_a_builtin_error() -> None:
    entry = rego.Policy({"a.rego": 'package a\np := to_number("x")'}).entry("data.a.p")
    with pytest.raises(rego.EvaluationError, match=r"a\.rego:2: eval_builtin_error: to_number: "):
        entry(strict=True)


@pytest.mark.parametrize("text", [
    "p contains [a, b, c] if { some a in r; some b in r; some c in r }\nr := numbers.range(0, 1000)",
    "\n".join(f"f{n}(x) := f{n - 1}(x) + f{n - 1}(x + 1)" for n in range(1, 60)) + "\nf0(x) := x\np := f59(1)",
    "\n".join(f"x{n} := [x{n - 1}, x{n - 1}]" for n in range(1, 60)) + "\nx0 := [1]\np := json.marshal(x59)",
    "\n".join(f"x{n} := [x{n - 1}, x{n - 1}]\ny{n} := [y{n - 1}, y{n - 1}]" for n in range(1, 60))
    + "\nx0 := [1]\ny0 := [1]\np if { x59 == y59 }",
    "\n".join(f"x{n} := {{[a, b] | some a in x{n - 1}; some b in x{n - 1}}}" for n in range(1, 10))
    + "\nx0 := {1, 2}\np := x9",
])
def test_steps_run_out(text: str) -> None:
    with pytest.raises(BudgetExceeded, match="evaluation took more steps than its budget"):
        value(text)


def test_aliases_are_paid_for() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(BudgetExceeded, match="more steps than its budget"):
        value("p := count(yaml.unmarshal(input))", "\n".join(lines))


@pytest.mark.parametrize("text", [
    "p := numbers.range(0, 1000000000)",
    "\n".join(f'x{n} := concat("", [x{n - 1}, x{n - 1}])' for n in range(1, 60)) + '\nx0 := "aaaaaaaaaa"\np := x59',
    "\n".join(f"x{n} := x{n - 1} * x{n - 1}" for n in range(1, 60)) + "\nx0 := 99999999999\np := x59",
    "\n".join(f"x{n} := array.concat(x{n - 1}, x{n - 1})" for n in range(1, 60)) + "\nx0 := [1, 2]\np := x59",
    "\n".join(f'x{n} := replace(x{n - 1}, "a", "aaaaaaaaaa")' for n in range(1, 20)) + '\nx0 := "a"\np := x19',
    "p := bits.lsh(1, 10000000000)",
    "p := 1e4000 * 1e4000",
])
def test_values_do_not_grow_without_end(text: str) -> None:
    with pytest.raises(BudgetExceeded, match="evaluation would make a value of size"):
        value(text)


def test_a_budget_is_each_evaluation_s_own() -> None:
    entry = rego.Policy({"a.rego": "package a\np := count([x | some x in input.a])"}).entry("data.a.p")
    given = {"a": list(range(60))}
    for _ in range(5):
        assert entry(given, limits=Limits(steps=100)) == 60
    with pytest.raises(BudgetExceeded):
        entry(given, limits=Limits(steps=50))
    assert entry(given, limits=Limits(steps=100)) == 60


def test_more_loops_than_python_nests() -> None:
    loops = "; ".join(f"some x{n} in input.a" for n in range(40))
    assert value(f"p := [x0, x39] if {{ {loops} }}", {"a": [7]}) == [7, 7]
    assert value(f"p if {{ not q }}\nq if {{ {loops}; x39 == 8 }}", {"a": [7]}) is True


def test_an_index_over_many_clauses_changes_nothing() -> None:
    clauses = "\n".join(f'p contains {n} if {{ input.method == "M{n}"; input.x == {n} }}' for n in range(40))
    entry = rego.Policy({"a.rego": f"package a\n{clauses}\np contains 99 if {{ input.y }}"}).entry("data.a.p")
    assert rego.to_json(entry({"method": "M7", "x": 7})) == [7]
    assert rego.to_json(entry({"method": "M7", "x": 8})) == []
    assert rego.to_json(entry({"y": 1})) == [99]
    assert rego.to_json(entry({"method": ["M7"], "y": 1})) == [99]


def test_a_trace_tells_what_held() -> None:
    query = rego.Policy({"a.rego": "package a\np if { x := input.x; x > 1; x < 3 }"}).query("data.a.p", traced=True)
    context = Context(Meter())
    assert query({}, {"x": 5}, context=context) == []
    steps = [(query.places[step.place], step.done, step.bindings) for step in context.steps]
    shown = [(place.source.text[place.at:place.end], done, bindings) for place, done, bindings in steps]
    assert shown == [("data.a.p", False, {}), ("x := input.x", False, {}), ("x := input.x", True, {"x": 5}),
                     ("x > 1", False, {}), ("x > 1", True, {"x": 5}), ("x < 3", False, {})]


def test_print_goes_to_the_context() -> None:
    entry = rego.Policy({"a.rego": 'package a\np if { print("x is", input.x, input.nothing) }'}).entry("data.a.p")
    context = Context(Meter())
    assert entry({"x": [1, "a"]}, context=context) is True
    assert context.printed == ['x is [1, "a"] <undefined>']


def test_the_world_is_asked_only_where_it_was_given() -> None:
    entry = rego.Policy({"a.rego": "package a\np := time.now_ns()"}).entry("data.a.p")
    for strict in (True, False):  # undefined could allow something
        with pytest.raises(rego.EvaluationError, match=r"time\.now_ns: a clock is not given"):
            entry(strict=strict)


def test_policies_queries_and_entries_pickle() -> None:
    policy = rego.Policy({"a.rego": "package a\np contains x if { some x in input.a }"})
    for program in (policy.entry("data.a.p"), pickle.loads(pickle.dumps(policy.entry("data.a.p")))):
        assert rego.to_json(program({"a": [2, 1]})) == [1, 2]
    again = pickle.loads(pickle.dumps(policy.query("count(data.a.p) = n")))
    assert again({}, {"a": [2, 1]})[0].bindings == {"n": 2}
    assert pickle.loads(pickle.dumps(rego.Set.of([1, True, [2]]))) == rego.Set.of([True, [2], 1.0])


def test_annotations_are_read_by_the_rule_below_them() -> None:
    text = "# METADATA\n# title: T\n# custom:\n#   level: 3\np := rego.metadata.rule().custom.level"
    assert value(text) == 3


NEGATED = {  # what OPA gives where `input` is {"y": 1, "xs": [1, 2]}
    "a comparison of what is missing": ("p if { not input.x > 3 }", rego.UNDEFINED),
    "equality with what is missing": ("p if { not input.x == 3 }", True),
    "inequality with what is missing": ("p if { not input.x != 3 }", rego.UNDEFINED),
    "a function of what is missing": ("p if { not f(input.x) }\nf(x) if { x == 1 }", rego.UNDEFINED),
    "a builtin of what is missing": ("p if { not is_string(input.x) }", rego.UNDEFINED),
    "a call in a comparison": ('p if { not upper(input.x) == "A" }', rego.UNDEFINED),
    "a missing name in a path": ("p if { not input.xs[input.x] }", rego.UNDEFINED),
    "what is missing in an array": ("p if { not [input.x] == [1] }", rego.UNDEFINED),
    "membership in what is missing": ('p if { not "a" in input.x }', rego.UNDEFINED),
    "what is missing alone": ("p if { not input.x.z }", True),
    "a call goes through what it names": ("p if { not abs(input.xs[_]) == 1 }", True),
    "a call that is always so": ("p if { not abs(input.xs[_]) > 0 }", rego.UNDEFINED),
    "the head of a path": ("p if { not [abs(input.x)][0] }", rego.UNDEFINED),
}


@pytest.mark.parametrize("name", NEGATED)
def test_negation_is_opa_s(name: str) -> None:
    text, wanted = NEGATED[name]
    assert value(text, {"y": 1, "xs": [1, 2]}) == wanted


def test_an_else_branch_has_the_arguments() -> None:
    assert value("p := f([1], 2)\nf(a, b) := c if { c := a[i]; i == 5 } else := b") == 2


def test_a_with_needs_its_value_first() -> None:
    with pytest.raises(rego.SourceError, match="var i is unsafe"):
        rego.Policy({"a.rego": "package a\np if { input.a[i] == 1 with input.n as i }"})


def test_print_keeps_the_order_after_a_trace() -> None:
    policy = rego.Policy({"m.rego": "package m\n\nimport rego.v1\n\np if { some x in {3, 1, 2}; print(x); false }\n"})
    policy.query("data.m.p", traced=True)
    context = Context(Meter())
    policy.query("data.m.p")(context=context)
    assert context.printed == ["1", "2", "3"]
