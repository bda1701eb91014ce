"""ExpansionTemplates: what will come of an object is judged with it."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import CustodyError
from custody.policy.load import PolicySet
from custody.policy.model import Verdict
from tests.policy.gatekeeper.test_mutators import assign
from tests.policy.gatekeeper.world import Json, asked, constraint, judged, messages, pod, template

MESSAGE = '[Implied by pods] you must provide labels: {"team"}'


def expansion(name: str = "pods", **spec: Any) -> Json:
    return {"apiVersion": "expansion.gatekeeper.sh/v1beta1", "kind": "ExpansionTemplate", "metadata": {"name": name}, "spec": {
        "applyTo": [{"groups": ["apps"], "versions": ["v1"], "kinds": ["Deployment"]}], "templateSource": "spec.template",
        "generatedGVK": {"group": "", "version": "v1", "kind": "Pod"}, **spec}}


def deployment(labels: Json | None = None, **template_spec: Any) -> Json:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default", "labels": {}},
            "spec": {"template": {"metadata": {"labels": labels or {}}, "spec": template_spec}}}


PODS = {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}


def test_a_deployment_is_judged_as_its_pods() -> None:
    policies = [template(), constraint(match=PODS), expansion()]
    decision = judged(policies, deployment())
    assert (decision.verdict, messages(decision)) == (Verdict.DENIED, [MESSAGE])
    assert decision.results[0].told == f"[must-have] {MESSAGE}"
    assert judged(policies, deployment({"team": "x"})).verdict is Verdict.ALLOWED
    assert messages(judged([template(), constraint(match=PODS)], deployment())) == []
    assert messages(judged(policies, asked(deployment(), existing=True))) == [MESSAGE]


def test_the_action_of_the_template_comes_before_that_of_the_constraint() -> None:
    policies = [template(), constraint(match=PODS), expansion(enforcementAction="warn")]
    decision = judged(policies, deployment())
    assert (decision.verdict, len(decision.warnings)) == (Verdict.ALLOWED, 1)


def test_constraints_that_mean_one_source() -> None:
    generated = [template(), constraint(match={**PODS, "source": "Generated"}), expansion()]
    assert messages(judged(generated, deployment())) == [MESSAGE]
    assert messages(judged(generated, pod())) == []
    original = [template(), constraint(match={**PODS, "source": "Original"}), expansion()]
    assert messages(judged(original, deployment())) == []
    assert len(messages(judged(original, pod()))) == 1


def test_mutators_shape_what_will_come() -> None:
    labelled = {"apiVersion": "mutations.gatekeeper.sh/v1", "kind": "AssignMetadata", "metadata": {"name": "m"}, "spec": {
        "location": "metadata.labels.team", "parameters": {"assign": {"value": "x"}}, "match": {"source": "Generated"}}}
    assert judged([template(), constraint(match=PODS), expansion(), labelled], deployment()).verdict is Verdict.ALLOWED


def test_what_comes_of_what_comes() -> None:
    jobs = expansion("jobs", applyTo=[{"groups": ["batch"], "versions": ["v1"], "kinds": ["CronJob"]}], templateSource=(
        "spec.jobTemplate"), generatedGVK={"group": "batch", "version": "v1", "kind": "Job"})
    pods = expansion(applyTo=[{"groups": ["batch"], "versions": ["v1"], "kinds": ["Job"]}])
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "namespace": "default"}, "spec": {
        "jobTemplate": {"spec": {"template": {"metadata": {}, "spec": {}}}}}}
    assert messages(judged([template(), constraint(match=PODS), jobs, pods], cron)) == [MESSAGE]


def test_an_object_without_its_source_denies() -> None:
    broken = {**deployment(), "spec": {}}
    decision = judged([template(), constraint(match=PODS), expansion()], broken)
    assert decision.verdict is Verdict.DENIED
    assert "of which template pods makes a Pod" in messages(decision)[0]


@pytest.mark.parametrize(("documents", "reason"), [
    ([expansion(generatedGVK={"group": "apps", "version": "v1", "kind": "Deployment"})], "another kind than it is for"),
    ([expansion(applyTo=[])], "at least one entry"), ([expansion(templateSource="")], "templateSource"),
    ([expansion(enforcementAction="block")], "enforcementAction"), ([expansion(applyTo=[{"kinds": ["Pod"]}])], "groups, versions"),
    ([expansion(), expansion("back", applyTo=[{"groups": [""], "versions": ["v1"], "kinds": ["Pod"]}],
                             generatedGVK={"group": "apps", "version": "v1", "kind": "Deployment"})], "expansion cycle")])
def test_templates_that_are_refused(documents: list[Json], reason: str) -> None:
    with pytest.raises(CustodyError, match=reason):
        PolicySet.load(documents)


def test_assignments_of_other_kinds_leave_it_alone() -> None:
    assert messages(judged([template(), constraint(match=PODS), expansion(), assign("spec.x", 1)], deployment())) == [MESSAGE]
