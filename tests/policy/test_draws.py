"""random(): the same text for the same decision, another one for another rule, request, moment or call."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from custody.errors import CustodyError
from custody.policy.decide import decide
from custody.policy.draws import Draws
from custody.policy.given import Given
from custody.policy.load import PolicySet
from custody.policy.lookup import Answers
from custody.policy.model import Context, Request
from custody.policy.phases import Course
from tests.policy.test_images import NOW, pod

MATCH = {"any": [{"resources": {"kinds": ["Pod"]}}]}
PODS = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}
DRAW = "{{ random('[0-9a-z]{8}') }}"
LABELS = [("a", f"x-{DRAW}-{DRAW}"), ("b", "{{ made }}-{{ made }}")]


def kyverno() -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {"rules": [
        {"name": name, "match": MATCH,
         "context": [{"name": "made", "variable": {"value": f"{DRAW}"}}],
         "mutate": {"patchStrategicMerge": {"metadata": {"labels": {name: value}}}}} for name, value in LABELS]}}


def cel(name: str = "q") -> dict[str, Any]:
    return {"apiVersion": "policies.kyverno.io/v1", "kind": "MutatingPolicy", "metadata": {"name": name}, "spec": {
        "matchConstraints": PODS, "variables": [{"name": "made", "expression": "random()"}],
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": f"""
            Object{{metadata: Object.metadata{{labels: {{"{name}": variables.made + "-" + variables.made + "-" +
            random("[a-f]{{6}}") + "-" + random("[a-f]{{6}}")}}}}}}"""}}]}}


def labels(*documents: dict[str, Any], request: Request | None = None, later: float = 0) -> dict[str, str]:
    request = request or Request.create(pod())
    context = Context(now=NOW + timedelta(seconds=later))
    decision = decide(request, {}, PolicySet([*documents]), context, at=Course.MUTATING)
    assert not [result for result in decision.results if result.outcome != "pass"]
    after = Given(request, context, {}, Answers({})).changed(decision.patch)
    assert after.object is not None
    return {name: value for name, value in after.object["metadata"]["labels"].items() if name in ("a", "b", "q", "r")}


def test_the_same_decision_draws_the_same() -> None:
    made = labels(kyverno(), cel(), cel("r"))
    assert made == labels(kyverno(), cel(), cel("r"))
    assert re.fullmatch("x-[0-9a-z]{8}-[0-9a-z]{8}", made["a"])
    _, first, second = made["a"].split("-")
    once, again = made["b"].split("-")
    assert once == again  # an entry of the context is evaluated once
    assert len({first, second, once}) == 3
    for name in ("q", "r"):
        left, right, third, fourth = made[name].split("-")
        assert left == right
        assert re.fullmatch("[0-9a-z]{8}", left)
        assert re.fullmatch("[a-f]{6}", third)
        assert third != fourth
    assert made["q"] != made["r"]


@pytest.mark.parametrize("documents", [[kyverno()], [cel()]], ids=["JMESPath", "CEL"])
def test_another_request_or_moment_draws_others(documents: list[dict[str, Any]]) -> None:
    made = labels(*documents)
    later = labels(*documents, later=0.000001)
    elsewhere = labels(*documents, request=Request.create(pod() | {"spec": pod()["spec"] | {"hostname": "elsewhere"}}))
    for name, value in made.items():
        assert len({value, later[name], elsewhere[name]}) == 3


def test_each_call_of_a_validation_draws() -> None:
    document = {"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": "v"}, "spec": {
        "matchConstraints": PODS, "validations": [{"expression": "random() == random()", "message": "differs"}]}}
    decision = decide(Request.create(pod()), {}, PolicySet([document]), Context(now=NOW))
    assert [(result.outcome, result.message) for result in decision.results] == [("fail", "differs")]


@pytest.mark.parametrize(("pattern", "words"), [
    ("", "no pattern provided"), ("(?i)a", "flags in a pattern"), ("[", "missing closing ]"),
    ("[a-z]{99999}", "invalid repeat count")])
def test_a_pattern_that_is_none_is_an_error_of_the_rule(pattern: str, words: str) -> None:
    document = kyverno()
    document["spec"]["rules"] = [{"name": "x", "match": MATCH, "validate": {"deny": {"conditions": {"all": [
        {"key": f"{{{{ random('{pattern}') }}}}", "operator": "Equals", "value": "never"}]}}}}]
    document["spec"]["validationFailureAction"] = "Enforce"
    decision = decide(Request.create(pod()), {}, PolicySet([document]), Context(now=NOW))
    assert decision.verdict == "denied"
    assert words in decision.results[0].message


def test_what_is_no_rule_draws_nothing() -> None:
    document = {"apiVersion": "kyverno.io/v2", "kind": "ClusterCleanupPolicy", "metadata": {"name": "c"}, "spec": {
        "match": MATCH, "schedule": "* * * * *",
        "conditions": {"all": [{"key": DRAW, "operator": "Equals", "value": "x"}]}}}
    with pytest.raises(CustodyError, match="a function that asks for random is not evaluated here"):
        PolicySet([document])


def test_numbers_are_below_their_bound_and_even() -> None:
    policy = PolicySet([kyverno()]).policies[0]
    draws = Draws(Given(Request.create(pod()), Context(now=NOW), {}, Answers({})), policy.rules[0])
    drawn = [draws.below(3) for _ in range(3000)]
    assert {*drawn} == {0, 1, 2}
    assert all(900 < drawn.count(number) < 1100 for number in range(3))
    assert draws.below(1) == 0
