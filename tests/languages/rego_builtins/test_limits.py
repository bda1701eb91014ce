"""Values that grow are stopped by the budget before they are made, patterns before they are compiled."""

from __future__ import annotations

from typing import Any

import pytest

from policylang.budget import BudgetExceeded, Limits, Meter
from policylang.rego.builtins import BUILTINS
from policylang.rego.declare import BuiltinError, Context

LONG = "a" * 600_000
BIG = 10**3_900


@pytest.mark.parametrize(("name", "arguments"), [
    ("concat", ["", [LONG, LONG]]), ("replace", ["a" * 10_000, "a", "b" * 10_000]),
    ("replace", ["a" * 2_000, "", LONG]),
    ("strings.replace_n", [{"a": LONG}, "aaaa"]), ("sprintf", ["%1000000d%1000000d", [1, 1]]),
    ("sprintf", ["%s%s", [LONG, LONG]]), ("numbers.range", [0, 10**9]),
    ("numbers.range", [0, 10**30]), ("numbers.range_step", [0, 10**12, 2]), ("bits.lsh", [1, 10**6]),
    ("mul", [BIG, BIG]), ("array.concat", [[1] * 600_000, [1] * 600_000]), ("net.cidr_expand", ["10.0.0.0/8"]),
    ("net.cidr_expand", ["::/0"]), ("regex.replace", ["a" * 3_000, "a", "b" * 3_000]),
    ("strings.render_template", ["{{range .a}}{{$.b}}{{end}}", {"a": [1] * 100, "b": "x" * 100_000}]),
    ("json.marshal", [[LONG, LONG]]),
])
def test_large_values(name: str, arguments: list[Any]) -> None:
    found = BUILTINS[name]
    with pytest.raises(BudgetExceeded):
        found.call(*([Context(Meter())] if found.context else []), *arguments)


@pytest.mark.parametrize(("name", "arguments"), [
    ("regex.match", ["(((a{100}){100}){100}){100}", "a"]), ("regex.match", ["a" * 20_000, "a"]),
    ("regex.match", ["(?<=a)b", "ab"]), ("json.unmarshal", ["[" * 100_000]), ("to_number", ["9" * 10_000]),
    ("yaml.unmarshal", ["a: &a [x]\n" + "b: [*a,*a]\n" * 2_000]), ("units.parse", ["1e999999999K"]),
    ("glob.match", ["{" * 1_000, [], "a"]), ("graphql.parse_query", ["{a" * 5_000]),
    ("strings.render_template", ["{{if .a}}" * 200, {}]),
    ("strings.render_template", ["{{.__class__.__init__}}", {"__class__": 1}]),
    ("json.match_schema", ["{}", {"$ref": "#"}]),
])
def test_hostile_operands(name: str, arguments: list[Any]) -> None:
    found = BUILTINS[name]
    with pytest.raises(BuiltinError):
        found.call(*([Context(Meter())] if found.context else []), *arguments)


def test_a_width_that_go_refuses() -> None:
    assert BUILTINS["sprintf"].call(Context(Meter()), "%*d", [99_000_000, 1]).startswith("%!(BADWIDTH)")


def test_loops_are_paid_for() -> None:
    graph = {str(each): [str(other) for other in range(12)] for each in range(12)}
    with pytest.raises(BudgetExceeded):
        BUILTINS["graph.reachable_paths"].call(Context(Meter(Limits(steps=10_000))), graph, ["0"])
    with pytest.raises(BudgetExceeded):
        BUILTINS["walk"].call(Context(Meter(Limits(steps=100))), [[1] * 50] * 50)
