"""Rules that generate, that change what lies there, and cleanup policies as policies of CEL: the same is done."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import UnsupportedError
from custody.policy.kinds import builtin
from custody.policy.migrate.outcome import Migrated
from custody.policy.migrate.rules import migrate

NAMESPACE = ("Namespace",)


def policy(field: str, said: dict[str, Any], kinds: tuple[str, ...] = NAMESPACE, *, spec: dict[str, Any] | None = None,
           **beside: Any) -> dict[str, Any]:
    rule = {"name": "r", "match": {"any": [{"resources": {"kinds": [*kinds]}}]}, field: said, **beside}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
            "spec": {**(spec or {}), "rules": [rule]}}


def translated(document: dict[str, Any]) -> Migrated:
    (rule,) = migrate(document, builtin(), count=80)
    return rule


QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "name": "q", "namespace": "{{ request.object.metadata.name }}",
         "data": {"spec": {"hard": {"pods": 5, "requests.cpu": "4"}}}}
SECRET = {"apiVersion": "v1", "kind": "Secret", "name": "regcred", "namespace": "{{ request.object.metadata.name }}",
          "clone": {"namespace": "default", "name": "regcred"}}
SEVERAL = {"namespace": "{{ request.object.metadata.name }}", "cloneList": {
    "namespace": "default", "kinds": ["v1/Secret", "v1/ConfigMap"], "selector": {"matchLabels": {"copy": "me"}}}}
EACH = {"foreach": [{"list": "request.object.metadata.finalizers", "preconditions": {"all": [
    {"key": "{{ element }}", "operator": "NotEquals", "value": "x"}]}, "apiVersion": "v1", "kind": "ConfigMap",
    "name": "c-{{ elementIndex }}", "namespace": "{{ request.object.metadata.name }}",
    "data": {"data": {"for": "{{ element }}"}}}]}


@pytest.mark.parametrize("generate", [QUOTA, {**QUOTA, "synchronize": True, "orphanDownstreamOnPolicyDelete": True},
                                      SECRET, {**SECRET, "synchronize": True}, SEVERAL, EACH])
def test_the_same_is_generated(generate: dict[str, Any]) -> None:
    rule = translated(policy("generate", generate))
    assert rule.refused is None, (rule.refused, rule.difference, rule.documents)
    assert rule.denied > 0
    assert rule.documents[0]["kind"] == "GeneratingPolicy"


def test_when_it_generates_is_kept() -> None:
    (made,) = translated(policy("generate", {**QUOTA, "synchronize": True}, spec={"generateExisting": True})).documents
    assert made["spec"]["evaluation"] == {"synchronize": {"enabled": True}, "generateExisting": {"enabled": True}}


def test_nothing_is_cloned_into_where_it_is() -> None:
    (made,) = translated(policy("generate", SECRET)).documents
    assert made["spec"]["generate"] == [{"expression": (
        "object.metadata.name == 'default' || generator.Apply(object.metadata.name, "
        "[resource.Get('v1', 'secrets', 'default', 'regcred')])")}]


@pytest.mark.parametrize(("generate", "path", "words"), [
    ({**SECRET, "name": "another"}, "generate.clone.name", "keeps the name"),
    ({**QUOTA, "kind": "{{ request.name }}"}, "generate.kind", "computed"),
    ({**SEVERAL, "cloneList": {**SEVERAL["cloneList"], "selector": {"matchExpressions": [
        {"key": "a", "operator": "Exists"}]}}}, "generate.cloneList.selector", "equal labels"),
    ({**QUOTA, "data": {"spec": {"hard": {"pods": "{{ parse_yaml('x') }}"}}}}, "generate.data.spec.hard.pods",
     "parse_yaml"),
])
def test_what_generates_and_has_no_words_is_refused(generate: dict[str, Any], path: str, words: str) -> None:
    refused = translated(policy("generate", generate)).refused
    assert isinstance(refused, UnsupportedError)
    assert path in refused.message
    assert words in refused.message


LABEL = {"patchStrategicMerge": {"metadata": {"annotations": {"changed": "{{ request.object.metadata.name }}"}}}}
DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "default"}


@pytest.mark.parametrize("target", [
    DEPLOYMENT, {**DEPLOYMENT, "name": "we*"}, {"apiVersion": "apps/v1", "kind": "Deployment"},
    {**DEPLOYMENT, "name": "{{ request.object.metadata.name }}"},
    {"apiVersion": "apps/v1", "kind": "Deployment", "selector": {"matchLabels": {"a": "b"}}},
    {**DEPLOYMENT, "name": "", "preconditions": {"all": [
        {"key": "{{ target.metadata.labels.a || '' }}", "operator": "NotEquals", "value": "x"}]}},
])
def test_the_same_targets_are_changed(target: dict[str, Any]) -> None:
    rule = translated(policy("mutate", {**LABEL, "targets": [target]}, ("ConfigMap",)))
    assert rule.refused is None, (rule.refused, rule.difference, rule.documents)
    assert rule.denied > 0
    spec = rule.documents[0]["spec"]
    assert spec["evaluation"] == {"mutateExisting": {"enabled": True}}
    assert spec["targetMatchConditions"][0] == {"name": "trigger", "expression": "request.kind.kind == 'ConfigMap'"}


def test_what_is_there_stands_in_the_patch() -> None:
    patch = {"patchStrategicMerge": {"metadata": {"annotations": {"a": "{{ @ }} and {{ request.name }}"}}}}
    rule = translated(policy("mutate", {**patch, "targets": [{**DEPLOYMENT, "name": ""}]}, ("ConfigMap",)))
    assert rule.refused is None, (rule.refused, rule.difference)


@pytest.mark.parametrize(("mutate", "kinds"), [
    ({**LABEL, "targets": [{**DEPLOYMENT, "name": "{{ request.name }}"}]}, ("Deployment",)),
    ({**LABEL, "targets": [DEPLOYMENT], "mutateExistingOnPolicyUpdate": True}, ("ConfigMap",)),
    ({**LABEL, "targets": [DEPLOYMENT], "mutateExistingOnPolicyUpdate": True}, ("Deployment",)),
])
def test_what_would_be_changed_when_the_policy_comes_is_refused(mutate: dict[str, Any], kinds: tuple[str, ...]) -> None:
    refused = translated(policy("mutate", mutate, kinds)).refused
    assert isinstance(refused, UnsupportedError)
    assert "comes" in refused.message or "its translation: nothing" in refused.message


def test_a_target_of_the_triggers_kind_is_not_its_own_trigger() -> None:
    rule = translated(policy("mutate", {**LABEL, "targets": [DEPLOYMENT]}, ("Deployment",), preconditions={"all": [
        {"key": "{{ request.name }}", "operator": "NotEquals", "value": "web"}]}))
    assert rule.refused is None, (rule.refused, rule.difference)
    assert rule.documents[0]["spec"]["targetMatchConditions"][0]["expression"] == (
        "request.name != object.metadata.name || request.namespace != object.metadata.?namespace.orValue('')")


def cleanup(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v2", "kind": "ClusterCleanupPolicy", "metadata": {"name": "c"}, "spec": {
        "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "schedule": "*/5 * * * *", **spec}}


def when(key: str, operator: str, value: Any) -> dict[str, Any]:
    return {"all": [{"key": key, "operator": operator, "value": value}]}


@pytest.mark.parametrize("spec", [
    {"exclude": {"any": [{"resources": {"selector": {"matchLabels": {"keep": "yes"}}}}]}},
    {"match": {"any": [{"resources": {"kinds": ["Pod"], "namespaces": ["default", "x*"], "names": ["s*"]}}]}},
    {"match": {"any": [{"resources": {"kinds": ["Deployment"], "names": ["s*"]}}, {"resources": {"kinds": ["Job"]}}]}},
    {"conditions": when("{{ target.metadata.labels.a || '' }}", "Equals", "b"), "deletionPropagationPolicy": "Orphan"},
    {"conditions": when("{{ time_since('', '{{ target.metadata.creationTimestamp }}', '') }}", "GreaterThan", "1h")},
])
def test_the_same_is_deleted(spec: dict[str, Any]) -> None:
    rule = translated(cleanup(**spec))
    assert rule.refused is None, (rule.refused, rule.difference, rule.documents)
    assert rule.denied > 0
    (made,) = rule.documents
    assert made["kind"] == "DeletingPolicy"
    assert made["spec"]["schedule"] == "*/5 * * * *"
    assert "request." not in str(made["spec"])


def test_a_policy_of_a_namespace_stays_one() -> None:
    document = cleanup(deletionPropagationPolicy="Foreground")
    document |= {"kind": "CleanupPolicy", "metadata": {"name": "c", "namespace": "default"}}
    (made,) = translated(document).documents
    assert (made["kind"], made["metadata"]) == ("NamespacedDeletingPolicy", {"name": "c", "namespace": "default"})
    assert made["spec"]["deletionPropagationPolicy"] == "Foreground"


@pytest.mark.parametrize(("said", "kind"), [
    ({"mutate": {"patchStrategicMerge": {"metadata": {"labels": {"a": "{{ cm.data.y }}"}}}},
      "context": [{"name": "cm", "configMap": {"name": "x", "namespace": "default"}}]}, "NamespacedMutatingPolicy"),
    ({"mutate": {"patchStrategicMerge": {"metadata": {"labels": {"a": "b"}}}, "targets": [
        {"apiVersion": "v1", "kind": "Secret", "name": "s", "namespace": "default"}]}}, "NamespacedMutatingPolicy"),
    ({"generate": {"apiVersion": "v1", "kind": "Secret", "name": "s", "namespace": "default",
                   "data": {"type": "Opaque"}}}, "NamespacedGeneratingPolicy"),
])
def test_policies_of_a_namespace(said: dict[str, Any], kind: str) -> None:
    (field, *_) = said
    document = policy(field, said[field], ("ConfigMap",), **{key: value for key, value in said.items() if key != field})
    document |= {"kind": "Policy", "metadata": {"name": "p", "namespace": "default"}}
    rule = translated(document)
    assert rule.refused is None, (rule.refused, rule.difference, rule.documents)
    assert [made["kind"] for made in rule.documents] == [kind]
    assert rule.documents[0]["metadata"]["namespace"] == "default"


def test_a_clone_within_a_namespace_is_refused() -> None:
    document = policy("generate", {**SECRET, "namespace": "default"}, ("ConfigMap",))
    document |= {"kind": "Policy", "metadata": {"name": "p", "namespace": "default"}}
    refused = translated(document).refused
    assert refused is not None
    assert "is its source" in refused.message
