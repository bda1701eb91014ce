"""Policies that delete by a schedule, and entries of the global context."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from custody.errors import CustodyError
from custody.policy.decide import decide
from custody.policy.kyverno.globalcontext import Called, GlobalContext, Watched, compile_entry
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request
from custody.policy.phases import Course
from custody.ports.lookup import Absent, Answered, ApiCall, ConfigMap, Failed, HttpCall
from tests.policy.kyverno.rules import NOW, POD


def cleaning(kind: str = "ClusterCleanupPolicy", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v2", "kind": kind, "metadata": {"name": "c", **(
        {"namespace": "shop"} if kind == "CleanupPolicy" else {})}, "spec": {
            "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "schedule": "*/5 * * * *", **spec}}


def asked(document: dict[str, Any], resource: dict[str, Any] = POD, *, existing: bool = True,
          answers: Any = None) -> Decision:
    request = msgspec.structs.replace(Request.create(resource), existing=existing)
    return decide(request, {}, PolicySet([document]), Context(now=NOW), at=Course.GENERATING, answers=answers or {})


def condition(key: str, value: Any) -> dict[str, Any]:
    return {"all": [{"key": key, "operator": "Equals", "value": value}]}


def test_what_matches_is_to_be_deleted() -> None:
    (change,) = asked(cleaning(deletionPropagationPolicy="Orphan")).changes
    assert (change.verb, change.object, change.propagation) == ("delete", POD, "Orphan")


def test_nothing_is_deleted_because_of_a_request() -> None:
    decision = asked(cleaning(), existing=False)
    assert decision.changes == ()
    assert decision.silent[0].reason.startswith("its policy is about what lies in the cluster")


@pytest.mark.parametrize(("conditions", "count", "outcome"), [
    (condition("{{ target.metadata.labels.app }}", "web"), 1, "pass"),
    (condition("{{ target.metadata.labels.app }}", "db"), 0, "skip"),
    (condition("{{ target.nope }}", "db"), 0, "error"),
], ids=["hold", "do not hold", "fail"])
def test_conditions_speak_of_the_target(conditions: Any, count: int, outcome: str) -> None:
    decision = asked(cleaning(conditions=conditions))
    assert (len(decision.changes), decision.results[0].outcome) == (count, outcome)


@pytest.mark.parametrize(("answer", "count"), [
    (Answered({"data": {"app": "web"}}), 1), (Absent(), 0), (Failed("gone"), 0), (None, 0)], ids=str)
def test_what_cannot_be_looked_up_deletes_nothing(answer: Any, count: int) -> None:
    document = cleaning(context=[{"name": "cm", "configMap": {"name": "c"}}],
                        conditions=condition("{{ target.metadata.labels.app }}", "{{ cm.data.app }}"))
    answers = {} if answer is None else {ConfigMap("default", "c"): answer}
    assert len(asked(document, answers=answers).changes) == count


def test_a_policy_of_a_namespace_deletes_there_alone() -> None:
    other = {**POD, "metadata": {**POD["metadata"], "namespace": "other"}}
    assert len(asked(cleaning("CleanupPolicy")).changes) == 1
    assert asked(cleaning("CleanupPolicy"), other).changes == ()


def test_when_it_is_due() -> None:
    (policy,) = PolicySet([cleaning()]).policies
    (rule,) = policy.rules
    due = rule.schedule.after(datetime(2026, 1, 1, 0, 2, tzinfo=UTC))  # type: ignore[attr-defined]
    assert due == datetime(2026, 1, 1, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(("document", "path"), [
    (cleaning(schedule="never"), "schedule"), (cleaning(weird=1), "spec.weird"),
    (cleaning(deletionPropagationPolicy="Later"), "spec.deletionPropagationPolicy"),
    (cleaning(match={"any": [{"resources": {"kinds": ["Pod"]}, "subjects": [{"kind": "User", "name": "a"}]}]}),
     "spec.match.any[0].subjects"),
    ({**cleaning(), "apiVersion": "kyverno.io/v9"}, "kind"),
], ids=lambda part: str(part)[-60:])
def test_what_is_refused_when_it_is_loaded(document: dict[str, Any], path: str) -> None:
    with pytest.raises(CustodyError) as refused:
        PolicySet([document])
    assert path in refused.value.message


# ── the global context ──────────────────────────────────────────────────────────────────────────────────────────────

def entry(**spec: Any) -> GlobalContext:
    return compile_entry({"apiVersion": "kyverno.io/v2beta1", "kind": "GlobalContextEntry", "metadata": {"name": "g"},
                          "spec": spec})


def test_what_is_watched_and_projected() -> None:
    made = entry(kubernetesResource={"group": "apps", "version": "v1", "resource": "deployments", "namespace": "shop"},
                 projections=[{"name": "names", "jmesPath": "[].metadata.name"}, {"name": "bad",
                                                                                  "jmesPath": "to_number(@)"}])
    assert made.source == Watched("apps", "v1", "deployments", "shop")
    assert made.source.path == "/apis/apps/v1/namespaces/shop/deployments"
    data = [{"metadata": {"name": "a"}}]
    assert made.answer(data, "", NOW) == Answered(data)
    assert made.answer(data, "names", NOW) == Answered(["a"])
    assert made.answer(data, "none", NOW) == Absent()


def test_what_is_called_and_how_often() -> None:
    assert entry(apiCall={"urlPath": "/a", "refreshInterval": "1m30s"}).source == Called(ApiCall("/a"), 90.0, 3)
    service = {"url": "https://e/", "headers": [{"key": "A", "value": "b"}], "caBundle": "pem"}
    assert entry(apiCall={"service": service, "method": "POST", "data": [{"key": "k", "value": 1}], "retryLimit": 5}
                 ).source == Called(HttpCall("POST", "https://e/", (("A", "b"),), '{"k":1}', "pem"), 600.0, 5)


@pytest.mark.parametrize("spec", [
    {}, {"kubernetesResource": {"version": "v1", "resource": "pods"}, "apiCall": {"urlPath": "/a"}},
    {"kubernetesResource": {"version": "v1beta1", "resource": "pods"}}, {"apiCall": {}},
    {"apiCall": {"urlPath": "/a", "refreshInterval": "0s"}}, {"apiCall": {"urlPath": "/a", "method": "PUT"}},
    {"apiCall": {"urlPath": "/a"}, "projections": [{"name": "g", "jmesPath": "a"}]},
    {"apiCall": {"urlPath": "/a"}, "projections": [{"name": "p", "jmesPath": "a["}]},
    {"apiCall": {"urlPath": "/a"}, "weird": 1},
], ids=str)
def test_entries_that_are_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(CustodyError):
        entry(**spec)
