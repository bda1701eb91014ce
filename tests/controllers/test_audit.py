"""The audit of constraints over a population of objects: what statuses say, and what stops one and no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from custody.admission.judging import Judging
from custody.errors import NetworkError
from custody.policy.kinds import Kinds, builtin
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot
from custody.ports.cluster import ApiError, Listing
from custody.services.controllers.audit import Audit
from custody.services.controllers.exporting import Exporting
from tests.policy.gatekeeper.test_inventory import config
from tests.policy.gatekeeper.world import constraint, pod, template

NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)
MESSAGE = 'you must provide labels: {"team"}'
Json = dict[str, Any]


class Population:
    def __init__(self, documents: Sequence[Json], failing: dict[str, Exception] | None = None) -> None:
        self._documents, self._failing = documents, failing or {}
        self.statuses: dict[str, Json] = {}
        self.listed: list[str] = []

    async def pages(self, served: Any, *_: Any, **__: Any) -> AsyncIterator[Listing]:
        self.listed.append(served.kind)
        if served.kind in self._failing:
            raise self._failing[served.kind]
        documents = [document for document in self._documents if document["kind"] == served.kind]
        for at in range(0, len(documents), 2):
            yield Listing(documents[at:at + 2], "1")

    async def resource(self, _api_version: str, kind: str) -> str:
        return kind

    async def patch(self, _kind: str, name: str, _namespace: str, patch: Json, *, subresource: str) -> None:
        assert subresource == "status"
        if name in self._failing:
            raise self._failing[name]
        self.statuses[name] = patch["status"]


async def _nothing(*_: Any) -> Json:
    return {}


def audited(population: Population, *documents: Json, limit: int = 20,
            unknown: Sequence[tuple[str, str]] = ()) -> dict[str, Json]:
    asyncio.run(auditing(population, *documents, limit=limit, unknown=unknown).once())
    return population.statuses


def auditing(population: Population, *documents: Json, limit: int = 20, unknown: Sequence[tuple[str, str]] = (),
             exporting: Exporting | None = None) -> Audit:
    snapshot = Snapshot(PolicySet.load(documents), None)

    async def kinds() -> Any:
        return Kinds(builtin().resources, source="https://k", unknown=unknown)

    return Audit(population, Judging(_nothing, lambda: NOW), lambda: snapshot, kinds,  # type: ignore[arg-type]
                 lambda: NOW, limit=limit, share=0, exporting=exporting)


PODS = [pod(f"p{number}", labels={"team": "a"} if number % 3 == 0 else {}) for number in range(10)]
KINDS = {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}


def test_a_status_counts_all_and_names_the_first() -> None:
    status = audited(Population(PODS), template(), constraint(match=KINDS), limit=2)["must-have"]
    violation = {"group": "", "version": "v1", "kind": "Pod", "namespace": "default", "message": MESSAGE,
                 "enforcementAction": "deny"}
    assert status == {"auditTimestamp": "2026-11-29T12:00:00Z", "totalViolations": 6,
                      "violations": [{**violation, "name": "p1"}, {**violation, "name": "p2"}]}
    clean = audited(Population(PODS[:1]), template(), constraint(match=KINDS))["must-have"]
    assert (clean["totalViolations"], clean["violations"]) == (0, None)


def test_scoped_actions_are_those_of_the_audit() -> None:
    def scoped(*actions: tuple[str, str]) -> dict[str, Json]:
        return audited(Population(PODS), template(), constraint(
            match=KINDS, enforcementAction="scoped", scopedEnforcementActions=[
                {"action": action, "enforcementPoints": [{"name": point}]} for action, point in actions]))

    status = scoped(("warn", "audit.gatekeeper.sh"), ("deny", "validation.gatekeeper.sh"), ("dryrun", "*"))["must-have"]
    assert status["totalViolations"] == 6
    assert (status["violations"][0]["enforcementAction"], status["violations"][0]["enforcementActions"]) == (
        "scoped", ["warn", "dryrun"])
    elsewhere = scoped(("deny", "validation.gatekeeper.sh"))["must-have"]
    assert (elsewhere["totalViolations"], elsewhere["violations"]) == (0, None), "the audit is no point of it"


def test_only_what_constraints_are_about_is_listed() -> None:
    population = Population(PODS)
    audited(population, template(), constraint(match=KINDS))
    assert population.listed == ["Pod"]
    every = Population([*PODS, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}])
    status = audited(every, template(), constraint())["must-have"]
    assert status["totalViolations"] == 7
    assert {"Pod", "Namespace", "Deployment"} <= {*every.listed}
    assert not {"TokenReview", "SubjectAccessReview", "Binding"} & {*every.listed}
    assert len(every.listed) == len({*every.listed}) or every.listed.count("Event") == 2, "each kind in one version"


def test_a_constraint_that_does_not_speak_here_fails_at_nothing() -> None:
    selected = {**KINDS, "namespaceSelector": {"matchLabels": {"a": "b"}}}
    elsewhere = constraint(match=selected, enforcementAction="scoped", scopedEnforcementActions=[
        {"action": "deny", "enforcementPoints": [{"name": "gator.gatekeeper.sh"}]}])
    assert audited(Population(PODS), template(), elsewhere)["must-have"]["totalViolations"] == 0


def test_namespaces_are_left_out_by_config() -> None:
    pods = [*PODS, *(pod(f"q{number}", namespace="kube-system") for number in range(3))]
    left_out = config(match=[{"excludedNamespaces": ["kube-*"], "processes": ["audit"]}])
    assert audited(Population(pods), template(), constraint(match=KINDS))["must-have"]["totalViolations"] == 9
    assert audited(Population(pods), template(), constraint(match=KINDS), left_out)["must-have"]["totalViolations"] == 6


def test_what_cannot_be_evaluated_is_a_violation_with_its_reason() -> None:
    broken = template('package k8srequiredlabels\nviolation[{"msg": "x"}] { data.inventory.cluster }')
    status = audited(Population(PODS), broken, constraint(match=KINDS))["must-have"]
    assert status["totalViolations"] == len(PODS)
    assert "the inventory of the cluster" in status["violations"][0]["message"]


def test_a_kind_that_may_not_be_listed_is_passed_over_and_a_cluster_that_does_not_answer_changes_no_status() -> None:
    both = {"kinds": [{"apiGroups": [""], "kinds": ["Pod", "Secret"]}]}
    forbidden = ApiError("GET secrets", {"reason": "Forbidden"}, 403)
    status = audited(Population(PODS, {"Secret": forbidden}), template(), constraint(match=both, name="named"),
                     constraint(name="every"), constraint(match=KINDS, name="pods"))
    assert {name: said["totalViolations"] for name, said in status.items()} == {"every": 6, "pods": 6}, (
        "how many there are of a kind that is named and cannot be read nobody knows")
    silent = Population(PODS, {"Secret": NetworkError("no answer")})
    with pytest.raises(NetworkError):
        audited(silent, template(), constraint(match=both))
    assert silent.statuses == {}, "half an audit is none"


def test_a_status_that_cannot_be_written_stops_no_other() -> None:
    refused = ApiError("PATCH", {"reason": "Invalid"}, 422)
    statuses = audited(Population(PODS, {"one": refused}), template(), constraint(match=KINDS, name="one"),
                       constraint(match=KINDS, name="two"))
    assert [*statuses] == ["two"]


def test_long_messages_are_cut_as_gatekeeper_cuts_them() -> None:
    long = template('package k8srequiredlabels\nviolation[{"msg": concat("", ["x" | numbers.range(1, 300)[_]])}]')
    long["spec"]["targets"][0]["rego"] = (
        'package k8srequiredlabels\nviolation[{"msg": msg}] { msg := concat("", ["x" | numbers.range(1, 300)[_]]) }')
    status = audited(Population(PODS[:1]), long, constraint(match=KINDS))["must-have"]
    assert status["violations"][0]["message"] == "x" * 253 + "..."


def test_a_constraint_that_names_a_group_that_gives_no_answer_keeps_its_status(
        caplog: pytest.LogCaptureFixture) -> None:
    named = {"kinds": [KINDS["kinds"][0], {"apiGroups": ["metrics.k8s.io"], "kinds": ["PodMetrics"]}]}
    documents = template(), constraint(match=KINDS), constraint(match=named, name="of-metrics")
    assert {*audited(Population(PODS), *documents, unknown=[("metrics.k8s.io", "v1beta1")])} == {"must-have"}
    assert "metrics.k8s.io/v1beta1 is not audited" in caplog.text
    assert {*audited(Population(PODS), *documents)} == {"must-have", "of-metrics"}
