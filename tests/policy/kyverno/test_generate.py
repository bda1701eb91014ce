"""Rules about other objects: generate, and mutate with targets. What is wanted, and what is looked up for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from custody.errors import CustodyError
from custody.policy.load import PolicySet
from custody.policy.model import Change, Decision
from custody.policy.phases import Course
from custody.ports.lookup import Absent, Answer, Answered, ApiCall, Failed, Question
from tests.policy.kyverno import rules

SHOP: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "uid": "abc"}}
LABELS = {"app.kubernetes.io/managed-by": "kyverno", "generate.kyverno.io/policy-name": "p",
          "generate.kyverno.io/policy-namespace": "", "generate.kyverno.io/rule-name": "rule-0",
          "generate.kyverno.io/trigger-group": "", "generate.kyverno.io/trigger-kind": "Namespace",
          "generate.kyverno.io/trigger-namespace": "", "generate.kyverno.io/trigger-uid": "abc",
          "generate.kyverno.io/trigger-version": "v1"}
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "name": "cm", "namespace": "{{ request.object.metadata.name }}"}


def decided(block: dict[str, Any], answers: Mapping[Question, Answer] = {}, **spec: Any) -> Decision:
    return rules.decided(rules.policy(block, kinds=("Namespace",), **spec), SHOP, answers, Course.GENERATING)


def generated(generate: dict[str, Any], answers: Mapping[Question, Answer] = {}, **spec: Any) -> list[Change]:
    return list(decided({"generate": generate}, answers, **spec).changes)


def test_data_is_made_with_kyvernos_labels() -> None:
    (change,) = generated({**CONFIG, "data": {"metadata": {"labels": {"x": "y"}}, "data": {"a": "{{ request.name }}"}}})
    assert change.object == {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "shop"},
                             "metadata": {"name": "cm", "namespace": "shop", "labels": {"x": "y"} | LABELS}}
    assert (change.verb, change.synchronize, change.source) == ("create", False, None)


def test_what_is_synchronized_is_applied() -> None:
    (change,) = generated({**CONFIG, "synchronize": True, "orphanDownstreamOnPolicyDelete": True, "data": {}},
                          useServerSideApply=True)
    assert (change.verb, change.synchronize, change.orphan, change.server_side) == ("apply", True, True, True)


SOURCE = ApiCall("/api/v1/namespaces/default/secrets/s")
SECRET = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "b"}, "metadata": {
    "name": "s", "namespace": "default", "uid": "u", "resourceVersion": "7", "labels": {"l": "m"},
    "ownerReferences": [{"name": "o"}], "managedFields": []}}


def test_a_clone_is_looked_up_and_cleaned() -> None:
    clone = {"apiVersion": "v1", "kind": "Secret", "name": "t", "namespace": "shop",
             "clone": {"namespace": "default", "name": "s"}}
    assert decided({"generate": clone}).asks.questions == (SOURCE,)
    (change,) = generated(clone, {SOURCE: Answered(SECRET)})
    assert change.source == {"apiVersion": "v1", "kind": "Secret", "namespace": "default", "name": "s"}
    assert change.object["data"] == {"a": "b"}
    assert change.object["metadata"] == {"name": "t", "namespace": "shop", "labels": {"l": "m"} | LABELS | {
        "generate.kyverno.io/source-group": "", "generate.kyverno.io/source-version": "v1",
        "generate.kyverno.io/source-kind": "Secret", "generate.kyverno.io/source-namespace": "default",
        "generate.kyverno.io/source-uid": "u"}}


@pytest.mark.parametrize(("answer", "reason"), [
    (Absent(), "source resource v1/Secret/shop/t not found: it is not in the cluster"),
    (Failed("timed out"), "timed out")], ids=["absent", "failed"])
def test_a_source_that_is_not_had_is_an_error(answer: Answer, reason: str) -> None:
    clone = {"apiVersion": "v1", "kind": "Secret", "name": "t", "namespace": "shop",
             "clone": {"namespace": "default", "name": "s"}}
    decision = decided({"generate": clone}, {SOURCE: answer})
    assert decision.results[0].outcome == "error"
    assert decision.results[0].message.endswith(reason)
    assert decision.changes == ()


def test_lists_of_kinds_are_cloned_but_not_into_their_own_namespace() -> None:
    several = {"namespace": "shop", "cloneList": {"namespace": "default", "kinds": ["v1/Secret", "v1/ConfigMap"],
                                                  "selector": {"matchLabels": {"a": "b"}}}}
    query = "?labelSelector=a%3Db"
    answers: dict[Question, Answer] = {
        ApiCall(f"/api/v1/namespaces/default/secrets{query}"): Answered({"items": [SECRET]}),
        ApiCall(f"/api/v1/namespaces/default/configmaps{query}"): Answered({"items": [
            {"metadata": {"name": "here", "namespace": "shop"}}]})}
    changes = generated(several, answers)
    assert [change.object["metadata"]["name"] for change in changes] == ["s"]


def test_foreach_makes_one_for_each_element_and_says_what_it_cannot_make() -> None:
    loop = {"list": "['a', 'b']", **CONFIG, "name": "cm-{{ element }}",
            "preconditions": {"all": [{"key": "{{ element }}", "operator": "NotEquals", "value": "a"}]},
            "data": {"data": {"n": "{{ elementIndex }}"}}}
    assert [change.object["metadata"]["name"] for change in generated({"foreach": [loop]})] == ["cm-b"]
    bad = {**loop, "data": {"data": {"n": "{{ request.object.nope }}"}}}
    decision = decided({"generate": {"foreach": [bad]}})
    assert decision.changes == ()
    assert decision.results[0].message.startswith(
        "failed to process 0 foreach in rule rule-0: failed to process 1 element: failed to resolve request.object.nope")


def test_too_many_objects_are_refused() -> None:
    loop = {"list": "items(request.object.metadata.many, 'key', 'value')", **CONFIG, "data": {}}
    resource = {**SHOP, "metadata": {**SHOP["metadata"], "many": {f"k{at}": at for at in range(1001)}}}
    decision = rules.decided(rules.policy({"generate": {"foreach": [loop]}}, kinds=("Namespace",)), resource, {},
                             Course.GENERATING)
    assert len(decision.changes) == 1000
    assert "more than 1000 objects are generated" in decision.results[0].message


def test_a_policy_of_a_namespace_generates_there_alone() -> None:
    document = rules.policy({"generate": {**CONFIG, "namespace": "other", "data": {}}}, kinds=("ConfigMap",))
    document |= {"kind": "Policy", "metadata": {"name": "p", "namespace": "shop"}}
    resource = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "shop"}}
    decision = rules.decided(document, resource, {}, Course.GENERATING)
    assert decision.changes == ()
    assert "a namespaced policy cannot generate resources in other namespaces" in decision.results[0].message


@pytest.mark.parametrize(("generate", "path"), [
    (CONFIG, "spec.rules[0].generate"), ({**CONFIG, "data": {}, "clone": {"name": "a"}}, "spec.rules[0].generate"),
    ({**CONFIG, "data": {}, "weird": 1}, "spec.rules[0].generate.weird"),
    ({"data": {}}, "spec.rules[0].generate"), ({"cloneList": {"kinds": []}}, "spec.rules[0].generate.cloneList.kinds"),
], ids=lambda part: str(part)[:50])
def test_what_is_refused_when_it_is_loaded(generate: dict[str, Any], path: str) -> None:
    with pytest.raises(CustodyError) as refused:
        PolicySet([rules.policy({"generate": generate}, kinds=("Namespace",))])
    assert f"{path}: " in refused.value.message


# ── targets ─────────────────────────────────────────────────────────────────────────────────────────────────────────

DEPLOYMENTS = ApiCall("/apis/apps/v1/namespaces/shop/deployments?labelSelector=app%3Dweb")
WEB = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop",
                                                                   "labels": {"app": "web"}}}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "{{ request.name }}",
          "selector": {"matchLabels": {"app": "web"}}}
PATCH = {"metadata": {"labels": {"of": "{{ target.metadata.labels.app }}-{{ request.object.metadata.name }}"}}}


def test_targets_are_looked_up_and_patched() -> None:
    block = {"mutate": {"targets": [TARGET], "patchStrategicMerge": PATCH}}
    assert decided(block).asks.questions == (DEPLOYMENTS,)
    decision = decided(block, {DEPLOYMENTS: Answered({"items": [WEB]})})
    (change,) = decision.changes
    assert (change.verb, change.before) == ("patch", WEB)
    assert change.object["metadata"]["labels"] == {"app": "web", "of": "web-shop"}
    assert decision.results[0].message == "mutated Deployment/web in namespace shop"


def test_preconditions_and_context_of_a_target() -> None:
    target = {**TARGET, "context": [{"name": "app", "variable": {"jmesPath": "target.metadata.labels.app"}}],
              "preconditions": {"all": [{"key": "{{ app }}", "operator": "Equals", "value": "db"}]}}
    decision = decided({"mutate": {"targets": [target], "patchStrategicMerge": PATCH}},
                       {DEPLOYMENTS: Answered({"items": [WEB]})})
    assert (decision.results[0].outcome, decision.results[0].message) == ("skip", "preconditions not met")
    assert decision.changes == ()


def test_one_target_by_its_name_and_none_where_it_is_not_there() -> None:
    target = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "c"}
    block = {"mutate": {"targets": [target], "patchesJson6902": "- {op: add, path: /data/a, value: b}"}}
    question = ApiCall("/api/v1/namespaces/shop/configmaps/c")
    (change,) = decided(block, {question: Answered({"metadata": {"name": "c"}})}).changes
    assert change.object["data"] == {"a": "b"}
    assert decided(block, {question: Absent()}).changes == ()


def test_names_of_targets_may_have_wildcards() -> None:
    target = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "sh*", "name": "c?"}
    block = {"mutate": {"targets": [target], "patchStrategicMerge": {"data": {"a": "b"}}}}
    items = [{"metadata": {"name": name, "namespace": namespace}}
             for name, namespace in (("c1", "shop"), ("d1", "shop"), ("c2", "other"))]
    changes = decided(block, {ApiCall("/api/v1/configmaps"): Answered({"items": items})}).changes
    assert [change.object["metadata"]["name"] for change in changes] == ["c1"]


def test_rules_about_other_objects_are_not_asked_at_admission() -> None:
    block = {"generate": {**CONFIG, "data": {}}}
    assert rules.decided(rules.policy(block, kinds=("Namespace",)), SHOP).changes == ()
