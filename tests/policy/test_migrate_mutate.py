"""Rules with `mutate` as MutatingPolicies: what they become, and that both leave equal objects."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import UnsupportedError
from custody.policy.kinds import builtin
from custody.policy.migrate.clusters import Cluster
from custody.policy.migrate.effects import Effects
from custody.policy.migrate.outcome import Migrated
from custody.policy.migrate.rules import migrate
from custody.policy.model import Request
from custody.policy.phases import Course

NONE = {"pod-policies.kyverno.io/autogen-controllers": "none"}


def policy(mutate: dict[str, Any], kinds: tuple[str, ...] = ("Pod",), *, autogen: bool = False,
           **beside: Any) -> dict[str, Any]:
    rule = {"name": "r", "match": {"any": [{"resources": {"kinds": [*kinds]}}]}, "mutate": mutate, **beside}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy",
            "metadata": {"name": "p", **({} if autogen else {"annotations": NONE})}, "spec": {"rules": [rule]}}


def translated(document: dict[str, Any]) -> Migrated:
    (rule,) = migrate(document, builtin(), count=80)
    return rule


def merge(patch: dict[str, Any]) -> dict[str, Any]:
    return {"patchStrategicMerge": patch}


def containers(*elements: dict[str, Any]) -> dict[str, Any]:
    return merge({"spec": {"containers": [*elements]}})


def operations(*written: str) -> dict[str, Any]:
    return {"patchesJson6902": "\n".join(written)}


def foreach(patch: dict[str, Any], listed: str = "request.object.spec.containers", **beside: Any) -> dict[str, Any]:
    return {"foreach": [{"list": listed, **patch, **beside}]}


LATEST = {"all": [{"key": "{{ element.image }}", "operator": "Equals", "value": "*:latest"}]}
OWN = merge({"spec": {"containers": [{"name": "{{ element.name }}", "imagePullPolicy": "Always"}]}})


@pytest.mark.parametrize("mutate", [
    merge({"metadata": {"labels": {"team": "a", "x.io/y": "b"}}}),
    merge({"metadata": {"labels": {"+(team)": "a"}}}),
    merge({"metadata": {"+(annotations)": {"x/y": "b"}}}),
    merge({"metadata": {"labels": {"(team)": "a*", "owner": "b"}}}),
    merge({"metadata": {"<(name)": "!kube-*"}, "spec": {"priority": 5}}),
    merge({"spec": {"securityContext": {"runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}}}),
    merge({"spec": {"hostNetwork": None, "dnsPolicy": "Default"}}),
    merge({"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}}),
    merge({"metadata": {"finalizers": ["x.io/a", "x.io/b"]}}),
    merge({"spec": {"dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}}}),
    merge({"spec": {"(hostNetwork)": True, "dnsPolicy": "ClusterFirstWithHostNet"}}),
    merge({"metadata": {"annotations": {"by": "{{ request.object.metadata.name }}-x"}}}),
    merge({"spec": {"volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]}}),
    containers({"(name)": "*", "imagePullPolicy": "Always"}),
    containers({"(image)": "*:latest", "imagePullPolicy": "Always"}),
    containers({"(name)": "?*", "securityContext": {"capabilities": {"drop": ["ALL"]}}}),
    containers({"(name)": "*", "resources": {"requests": {"+(memory)": "100Mi", "+(cpu)": "1"}}}),
    containers({"(name)": "*", "resources": {"limits": {"x": "1"}, "requests": {"+(memory)": "100Mi"}}}),
    containers({"(name)": "*", "+(imagePullPolicy)": "Always"}),
    containers({"(name)": "*", "securityContext": {"(privileged)": True, "runAsUser": 7}}),
    containers({"name": "sidecar", "image": "side:1", "env": [{"name": "A", "value": "b"}]}),
    containers({"name": "sidecar", "image": "side:1"}, {"(name)": "*", "imagePullPolicy": "Never"}),
    merge({"spec": {"initContainers": [{"(name)": "*", "imagePullPolicy": "Always"}]}}),
    merge({"spec": {"volumes": [{"<(name)": "zz*"}], "priority": 3}}),
    operations("- {op: add, path: /metadata/labels/team, value: a}"),
    operations("- {op: add, path: /metadata/annotations/x.io~1y, value: '{{ request.namespace }}'}"),
    operations("- {op: add, path: /spec/volumes/-, value: {name: v, emptyDir: {}}}",
               "- {op: add, path: /spec/containers/0/volumeMounts/-, value: {name: v, mountPath: /v}}"),
    operations("- {op: remove, path: /spec/hostNetwork}", "- {op: remove, path: /metadata/labels/x}"),
    operations("- {op: replace, path: /spec/priority, value: 5}"),
    operations("- {op: copy, from: /metadata/name, path: /spec/hostname}"),
    foreach(OWN), foreach(OWN, preconditions=LATEST),
    foreach(operations("- {op: add, path: '/spec/containers/{{elementIndex}}/imagePullPolicy', value: Always}"),
            preconditions=LATEST),
    foreach(operations("- {op: add, path: '/spec/containers/{{elementIndex}}/securityContext/runAsUser', value: 5}")),
    foreach(operations("- {op: remove, path: '/spec/volumes/{{elementIndex}}'}"), "request.object.spec.volumes || `[]`",
            order="Descending", preconditions={"all": [{"key": "{{ element.name }}", "operator": "Equals",
                                                        "value": "name-*"}]}),
])
def test_both_leave_equal_objects(mutate: dict[str, Any]) -> None:
    rule = translated(policy(mutate))
    assert rule.refused is None, (rule.refused, rule.difference, rule.documents)
    assert rule.denied > 0
    assert [made["kind"] for made in rule.documents] == ["MutatingPolicy"]


def test_a_plain_merge_is_an_apply_configuration() -> None:
    (made,) = translated(policy(merge({"metadata": {"labels": {"a": "b"}}, "spec": {"priority": 5}}))).documents
    assert made["spec"]["mutations"] == [{"patchType": "ApplyConfiguration", "applyConfiguration": {
        "expression": "Object{metadata: Object.metadata{labels: Object.metadata.labels{a: 'b'}}, "
                      "spec: Object.spec{priority: 5}}"}}]
    assert made["spec"]["autogen"] == {"podControllers": {"controllers": []}}


def test_pod_controllers_have_policies_of_their_own() -> None:
    rule = translated(policy(containers({"(name)": "*", "imagePullPolicy": "Always"}), autogen=True))
    assert rule.refused is None, rule.refused
    assert [made["metadata"]["name"] for made in rule.documents] == ["p", "p-controllers", "p-cronjobs"]
    assert "object.spec.jobTemplate.spec.template.spec.containers.map(" in str(rule.documents[2]["spec"]["mutations"])


def test_conditions_of_anchors_and_of_the_rule_are_match_conditions() -> None:
    rule = translated(policy(merge({"spec": {"(hostNetwork)": True, "priority": 5}}), preconditions={"all": [
        {"key": "{{ request.operation }}", "operator": "NotEquals", "value": "DELETE"}]}))
    assert [entry["name"] for entry in rule.documents[0]["spec"]["matchConditions"]] == ["preconditions", "anchor"]


@pytest.mark.parametrize(("mutate", "path", "words"), [
    (merge({"spec": {"$patch": "replace"}}), "patchStrategicMerge.spec.$patch", "directives"),
    (merge({"metadata": {"labels": {"{{ request.name }}": "x"}}}), "patchStrategicMerge.metadata.labels", "computed"),
    (containers({"(name)": "a"}, {"(name)": "b"}), "patchStrategicMerge.spec.containers", "several"),
    (containers({"name": "a", "ports": [{"containerPort": 1}]}), "ports", "containerPort and protocol"),
    (merge({"spec": {"(priority)": "{{ request.name }}", "x": "y"}}), "(priority)", "wildcard"),
    (operations("- {op: test, path: /spec/priority, value: 5}"), "patchesJson6902[0]", "an error there"),
    (operations("- {op: add, path: '/metadata/labels/{{ request.name }}', value: a}"), "patchesJson6902[0].path",
     "another place"),
    (operations("- {op: add, path: /metadata/labels/x, value: {{ request.name }}}"), "patchesJson6902[0].value",
     "read as YAML"),
])
def test_what_has_no_words_is_refused_by_its_path(mutate: dict[str, Any], path: str, words: str) -> None:
    refused = translated(policy(mutate)).refused
    assert isinstance(refused, UnsupportedError)
    assert path in refused.message
    assert words in refused.message


def test_another_object_is_found_out() -> None:
    document = policy(merge({"metadata": {"labels": {"a": "b"}}}))
    (made,) = translated(document).documents
    made["spec"]["mutations"][0]["applyConfiguration"]["expression"] = (
        "Object{metadata: Object.metadata{labels: Object.metadata.labels{a: 'c'}}}")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "default"},
           "spec": {"containers": [{"name": "a", "image": "b"}]}}
    difference = Effects([document], [made], builtin(), Course.MUTATING, Cluster(builtin(), {})).difference(
        Request.create(pod))
    assert difference is not None
    assert (difference.said, difference.says) == ("done", "done")
    assert difference.messages[0] != difference.messages[1]
