"""Policies and objects with one field broken: a clear error or a bounded decision. `tests.fuzz.broken` breaks more."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import MalformedError
from custody.policy.bounds import MAX_DEPTH, MAX_VALUES, MAX_VARIABLES
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from policylang.errors import Shape, shown
from tests.fuzz.broken import BREAKS, NOW, Case, cases, judged, stocks, watch
from tests.policy.test_misspelt import policy


@pytest.mark.parametrize("part", range(6))
def test_one_field_broken(part: int) -> None:
    watch()
    stock = stocks(None)
    wrong = [(case.title, fault) for case in cases(stock, 40, 1000 + part) for fault in judged(case)]
    assert wrong == []


@pytest.mark.parametrize("change", BREAKS, ids=lambda change: change.name)
def test_each_way_to_break_the_part_that_is_compiled(change: Any) -> None:
    watch()
    stock = stocks(None)[0]
    wrong = [(case.title, fault) for document in stock.policies[:6]
             for case in [Case(stock, document, ("spec", "rules", 0, "validate"), change)] for fault in judged(case)]
    assert wrong == []


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(("pattern", "words"), [
    (deep(5000), f"got more than {MAX_DEPTH} levels, expected at most {MAX_DEPTH} in a policy"),
    ({"a": ["x"] * (MAX_VALUES + 1)}, "spec.rules[0].validate.pattern.a: got 50002 values, expected at most 50000"),
    ({"a": "{{x}}" * (MAX_VARIABLES + 1)}, "spec.rules[0].validate.pattern.a: got 2001 variables, expected at most"),
    ({"a": "x" * 2_000_000}, "spec.rules[0].validate.pattern.a: got 2000000 characters, expected at most 1572864")])
def test_what_is_too_large_is_named(pattern: Any, words: str) -> None:
    with pytest.raises(MalformedError) as refused:
        PolicySet([policy(validate={"message": "m", "pattern": pattern})])
    assert words in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_an_object_that_is_nested_too_deep_is_denied_with_the_reason() -> None:
    policies = PolicySet([policy(validate={"message": "m", "deny": {"conditions": {"all": [
        {"key": "{{ request.object.spec | to_string(@) }}", "operator": "Equals", "value": "a"}]}}})])
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b"}, "spec": deep(900)}
    decision = decide(Request.create(pod), {}, policies, Context(now=NOW))
    assert not any("internal" in result.message for result in decision.results)


def test_shapes_are_named_in_yaml_s_words() -> None:
    assert [str(Shape(value)) for value in (None, True, 1, 1.5, "", [], {}, b"", object())] == [
        "null", "a boolean", "a number", "a number", "a string", "a list", "a map", "bytes", "something else than JSON"]
    assert [shown(value) for value in (None, True, False, 1, "a", Shape([]))] == [
        "null", "true", "false", "1", "'a'", "a list"]
    assert len(shown("x" * 10**6)) == 120
