"""Variables that are computed once for several policies: the same values, and never more budget than the API server has."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from custody.policy.fields import Fields
from custody.policy.given import Given
from custody.policy.kubernetes import budgeted, checks
from custody.policy.kubernetes.checks import Checks, Judged
from custody.policy.lookup import Answers
from custody.policy.model import Context, Request
from policylang.cel.compile.program import Program
from policylang.cel.kubernetes.costs import Budget

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b"}, "spec": {
    "containers": [{"name": "c", "image": f"registry.example.com/app-{at}:1"} for at in range(9)]}}
VARIABLES = [{"name": "containers", "expression": "object.spec.containers"},
             {"name": "names", "expression": "variables.containers.map(c, c.name + c.image)"},
             {"name": "banned", "expression": "variables.names.filter(n, n.contains(params.spec.word))"},
             {"name": "wanted", "expression": "has(params.spec.none) ? params.spec.none : params.spec.word + '!'"},
             {"name": "broken", "expression": "object.spec.nothing.at.all"}]


def given() -> Given:
    return Given(Request.create(POD), Context(now=datetime(2026, 1, 1, tzinfo=UTC)), {}, Answers({}))


def made(*expressions: str) -> Checks:
    return Checks(Fields({"variables": VARIABLES, "validations": [
        {"expression": expression, "messageExpression": "'banned: ' + variables.banned.join(',') + variables.wanted"} for expression in expressions]}, "spec"),
        params=True, fails=True)


def params(word: str) -> dict[str, Any]:
    return {"spec": {"word": word}}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The expressions that are evaluated."""
    evaluated: list[str] = []
    measure = Program.measure

    def noting(self: Program, *arguments: Any) -> Any:
        evaluated.append(self.source.text)
        return measure(self, *arguments)
    monkeypatch.setattr(Program, "measure", noting)
    return evaluated


def alone(policy: Checks, word: str) -> Judged:
    """With nothing kept."""
    fresh = Checks(Fields({"variables": VARIABLES, "validations": [
        {"expression": validation.text, "messageExpression": "'banned: ' + variables.banned.join(',') + variables.wanted"}
        for validation in policy._validations]}, "spec"), params=True, fails=True)
    fresh._memory = None
    return fresh.judge(given(), params(word))


def test_a_second_policy_says_the_same_and_computes_less(counted: list[str]) -> None:
    first, second = made("size(variables.banned) == 0"), made("size(variables.banned) < 2", "variables.broken == 1")
    request, parameters = given(), params("app-1")
    for policy in (first, second):
        assert policy.judge(request, parameters) == alone(policy, "app-1")
    counted.clear()
    second.judge(request, parameters)
    assert "object.spec.containers" not in counted
    assert VARIABLES[1]["expression"] not in counted
    assert VARIABLES[3]["expression"] not in counted  # of the parameters alone
    assert VARIABLES[2]["expression"] in counted  # of both


def test_other_parameters_and_other_requests_have_their_own() -> None:
    policy = made("size(variables.banned) == 0")
    request = given()
    for word in ("app-1", "none", "app-1", "app"):
        assert policy.judge(request, params(word)) == alone(policy, word)
    other = Given(Request.create({**POD, "spec": {"containers": []}}), request.context, {}, Answers({}))
    assert policy.judge(other, params("app-1")).decisions[0].outcome == "pass"


def test_where_the_budget_would_not_be_enough_all_is_computed_as_the_api_server_does(
        counted: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    policy, request, parameters = made("size(variables.banned) == 0"), given(), params("app-1")
    policy.judge(request, parameters)
    for total in range(40, 900, 20):
        monkeypatch.setattr(checks, "Budget", lambda limit=total: Budget(limit))
        assert policy.judge(request, parameters) == alone(policy, "app-1"), total


def test_a_variable_whose_reads_are_not_known_is_not_kept() -> None:
    policy = Checks(Fields({"variables": [
        {"name": "a", "expression": "1"}, {"name": "b", "expression": "variables"}], "validations": [
            {"expression": "true"}]}, "spec"), params=True, fails=True)
    assert policy._memory is not None
    assert [*policy._memory.places] == ["a"]


def test_memories_are_bounded() -> None:
    policy, request = made("size(variables.banned) == 0"), given()
    kept = [params(str(at)) for at in range(budgeted._MOST + 50)]
    for parameters in kept:
        policy.judge(request, parameters)
    assert policy._memory is not None
    assert len(policy._memory._by_parameters) <= budgeted._MOST
