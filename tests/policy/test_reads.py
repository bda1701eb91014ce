"""Objects that differ only in what no rule reads get the same answer; what cannot be bounded is not compared at all."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from custody.errors import CustodyError
from custody.policy.load import PolicySet
from custody.policy.migrate.pods import Pods
from custody.policy.reads import Part, Projection, Reads
from policylang.conditions import reads as language
from policylang.conditions.reads import UnboundedError
from tests.conftest import oracle
from tests.policy.kyverno_cases import BARE, POD, cases, policy
from tests.policy.likeness import Asker, beside, told_apart

_MORE: dict[str, dict[str, Any]] = {
    "labels with wildcards": {"validate": {"pattern": {"metadata": {"labels": {"app*": "?*", "t?er": "front"}}}}},
    "a selector": {"match": {"any": [{"resources": {"kinds": ["Pod"], "selector": {"matchLabels": {"app": "w*"}}}}]},
                   "validate": {"pattern": {"spec": {"nodeName": "?*"}}}},
    "names and annotations": {
        "match": {"all": [{"resources": {"kinds": ["Pod"], "names": ["p*"], "annotations": {"owner": "*"}}}]},
        "exclude": {"any": [{"resources": {"namespaces": ["kube-*"]}},
                            {"subjects": [{"kind": "Group", "name": "dev"}]}]},
        "validate": {"pattern": {"spec": {"nodeName": "?*"}}}},
    "who asks": {"validate": {"deny": {"conditions": {"any": [
        {"key": "{{ serviceAccountName }}", "operator": "Equals", "value": "b"},
        {"key": "{{ request.userInfo.username || '' }}", "operator": "Equals", "value": "ann"}]}}}},
    "images": {"validate": {"deny": {"conditions": {"any": [
        {"key": "{{ images.containers.*.registry }}", "operator": "AnyIn", "value": ["docker.io"]}]}}}},
    "lists in lists": {"validate": {"message": "{{ element.name }} of {{ request.object.metadata.name }}", "foreach": [
        {"list": "request.object.spec.containers", "preconditions": {"all": [
            {"key": "{{ length(element.ports || `[]`) }}", "operator": "GreaterThan", "value": 0}]},
         "foreach": [{"list": "element.ports", "deny": {"conditions": {"any": [
             {"key": "{{ element.containerPort }}", "operator": "LessThan", "value": 1024},
             {"key": "{{ request.object.spec.containers[{{elementIndex0}}].image }}", "operator": "Equals",
              "value": "*latest"}]}}}]},
        {"list": "request.object.spec.volumes[].{name: name, path: hostPath.path}", "deny": {"conditions": {"all": [
            {"key": "{{ element.path || '' }}", "operator": "Equals", "value": "/var/*"}]}}}]}},
    "patterns of elements": {"validate": {"message": "{{ element.image }}", "foreach": [
        {"list": "request.object.spec.[initContainers, containers][]", "pattern": {"=(image)": "*/*"}},
        {"list": "request.object.spec.containers", "elementScope": False, "pattern": {"spec": {"priority": ">1"}}},
        {"list": "request.object.spec.volumes[?hostPath]",
         "anyPattern": [{"name": "v"}, {"hostPath": {"path": "/x*"}}]}]}},
    "variables of its own": {
        "context": [{"name": "tags", "variable": {"jmesPath": "request.object.spec.containers[].image | sort(@)"}},
                    {"name": "tier", "variable": {"value": "{{ request.object.metadata.labels.tier }}",
                                                  "default": "x"}}],
        "validate": {"message": "{{ tier }} {{ tags }} {{ request.object.metadata.name }}", "deny": {"conditions": {
            "any": [{"key": "{{ tags }}", "operator": "AnyIn", "value": ["*:latest"]},
                    {"key": "{{ tier }}", "operator": "Equals", "value": "front"}]}}}},
    "keys, values, flattening": {"validate": {"deny": {"conditions": {"any": [
        {"key": "{{ request.object.spec.volumes[].keys(@)[] | [?@ != 'name'] }}", "operator": "AnyNotIn",
         "value": ["emptyDir", "hostPath"]},
        {"key": "{{ request.object.metadata.labels.* }}", "operator": "AnyIn", "value": ["front"]},
        {"key": "{{ request.object.spec.containers[].ports[].containerPort }}", "operator": "AnyIn", "value": [8080]},
        {"key": "{{ request.object.spec.containers[1:].name }}", "operator": "AnyIn", "value": ["x"]},
        {"key": "{{ request.object.spec.containers[-1].env[0].[name, value] }}", "operator": "AnyIn", "value": ["A"]},
        {"key": "{{ !request.object.spec.hostNetwork && request.object.spec.securityContext }}", "operator": "Equals",
         "value": False}]}}}},
    "standards without images": {"validate": {"podSecurity": {"level": "restricted", "exclude": [
        {"controlName": "Capabilities", "images": ["ghcr.io/*"]}, {"controlName": "Seccomp"}]}}},
    "filters": {"validate": {"deny": {"conditions": {"any": [
        {"key": "{{ request.object.spec.containers[?imagePullPolicy == 'Always'].name }}", "operator": "AnyIn",
         "value": ["side", "x"]},
        {"key": "{{ length(request.object.spec.volumes[?hostPath]) }}", "operator": "Equals", "value": 0}]}}}},
    "passed over": {"validate": {"foreach": [
        {"list": "request.object.spec.containers", "preconditions": {"any": [
            {"key": "{{ element.imagePullPolicy || '' }}", "operator": "Equals", "value": "Always"}]},
         "deny": {"conditions": {"all": [{"key": "{{ element.name }}", "operator": "Equals", "value": "*"}]}}}]}},
    "the old object": {"validate": {"deny": {"conditions": {"any": [
        {"key": "{{ request.oldObject.spec.priority || `0` }}", "operator": "Equals", "value": 7},
        {"key": "{{ request.oldObject.metadata.labels.app || '' }}", "operator": "NotEquals",
         "value": "{{ request.object.metadata.labels.app || '' }}"}]}}}},
    "emptiness": {"validate": {"deny": {"conditions": {"any": [
        {"key": "{{ request.object.spec.securityContext.runAsUser || `5` }}", "operator": "Equals", "value": 5},
        {"key": "{{ request.object.spec.securityContext && 'set' }}", "operator": "Equals", "value": "set"}]}}}},
    "what was there before": {"validate": {"allowExistingViolations": True, "failureAction": "Enforce", "message": "no",
                                           "pattern": {"spec": {"containers": [{"image": "!*:latest"}]}}}},
}


def _seen(blocks: dict[str, dict[str, Any]], objects: list[dict[str, Any]], count: int) -> Counter[str]:
    total, amiss = Counter[str](), []
    for at, (name, block) in enumerate(blocks.items()):
        document: Any = policy("p", block)
        document["spec"]["validationFailureAction"] = "Enforce" if at % 2 else "Audit"
        try:
            policies = PolicySet([document])
        except CustodyError:  # of cases about what is refused
            continue
        counts, wrong = told_apart(Asker(policies, at), objects, count)
        assert counts["alike"], name
        amiss += [f"{name}: {line}" for line in wrong]
        total += counts
    assert amiss == []
    return total


def test_patterns_and_conditions() -> None:
    blocks = {name: block for name, block, _ in cases()}
    total = _seen(blocks, [POD, BARE], 24)
    assert total["known denied"] > 150
    assert total["known allowed"] > 1500


def test_rules_of_every_form() -> None:
    total = _seen(_MORE, [POD, BARE], 300)
    assert total["known denied"] > 150


@pytest.mark.parametrize("level", ["baseline", "restricted"])
@pytest.mark.parametrize("excluded", [[], [{"controlName": "Seccomp", "images": ["nginx"]}]])
@pytest.mark.parametrize("kind", ["Pod", "Deployment", "CronJob"])
def test_the_standards(level: str, excluded: list[dict[str, Any]], kind: str) -> None:
    version = "v1.18" if level == "baseline" else "latest"
    block: dict[str, Any] = {"level": level, "version": version, "exclude": excluded}
    document = policy("p", {"validate": {"podSecurity": block}})
    document["metadata"]["annotations"] = {}
    pods = [{"kind": kind, **_held(kind, pod)} for pod in Pods(block).objects(120)]
    counts, wrong = told_apart(Asker(PolicySet([document])), pods, 150)
    assert wrong == []
    assert counts["alike"] > 30


def test_the_standards_read_images_where_some_are_left_out() -> None:
    exclude = [{"controlName": "Privileged Containers", "images": ["ghcr.io/*"]}]
    for excluded, alike in (([], True), (exclude, False)):
        block = {"level": "baseline", "exclude": excluded}
        asker = Asker(PolicySet([policy("p", {"validate": {"podSecurity": block}})]))
        ours, theirs = (asker.asked(asker.request({**BARE, "spec": {"containers": [
            {"name": "one", "image": image, "securityContext": {"privileged": True}}]}}, 0))
            for image in ("ghcr.io/x", "docker.io/x"))
        assert ours.like is not None
        assert theirs.like is not None
        assert (ours.like.digest == theirs.like.digest) is alike
        assert (ours.decision.verdict == theirs.decision.verdict) is alike


def _held(kind: str, pod: dict[str, Any]) -> dict[str, Any]:
    if kind == "Pod":
        return {"apiVersion": "v1", **pod}
    if kind == "Deployment":
        return {"apiVersion": "apps/v1", "metadata": {"name": "x"}, "spec": {"template": pod}}
    job = {"metadata": pod["metadata"], "spec": {"template": {"spec": pod["spec"]}}}
    return {"apiVersion": "batch/v1", "metadata": {"name": "x"}, "spec": {"jobTemplate": job}}


def test_policies_of_others_together() -> None:
    """What one rule reads is a part of what all read: lists here, maps there, all keys or some of them."""
    documents = [policy(f"p{at}", block) for at, block in enumerate(
        [*_MORE.values(), *(block for _, block, _ in cases()[::7])])]
    counts, wrong = told_apart(Asker(PolicySet(documents)), [POD, BARE], 150)
    assert wrong == []
    assert counts["alike"] > 15


def test_beside_policies_that_may_read_anything() -> None:
    kept = [policy(f"p{at}", _MORE[name]) for at, name in enumerate(
        ("a selector", "filters", "what was there before"))]
    strangers = [policy("images", {"context": [{"name": "tags", "variable": {"jmesPath": "request.object"}}], **_denies(
        "{{ tags.spec.containers[0].name }}")}),
                 policy("cel", {"validate": {"cel": {"expressions": [{"expression": "object.spec.priority != 0"}]}}})]
    counts, wrong = told_apart(Asker(PolicySet([*kept, *strangers])), [POD, BARE], 400)
    assert wrong == []
    assert counts["beside others"] > 100
    assert min(counts["known denied"], counts["known allowed"]) > 20


@pytest.mark.parametrize("folder", ["best-practices", "pod-security", "psa", "other", "istio", "velero"])
def test_policies_of_others(folder: str) -> None:
    known = 0
    for file, policies, objects in beside(oracle("kyverno-policies") / folder):
        counts, wrong = told_apart(Asker(policies), objects, 24)
        assert wrong == [], file
        known += counts["known"]
    assert known


# ── what is not bounded ─────────────────────────────────────────────────────────────────────────────────────────────

def _denies(key: str) -> dict[str, Any]:
    return {"validate": {"deny": {"conditions": {"any": [{"key": key, "operator": "Equals", "value": "x"}]}}}}


@pytest.mark.parametrize("block", [
    _denies("{{ time_since('', request.object.metadata.creationTimestamp, '') }}"),
    _denies("{{ random('[a-z]{4}') }}"),
    _denies("{{ request.object.metadata.labels.{{ request.object.metadata.name }} }}"),
    _denies("{{ request.roles }}"),
    {"validate": {"cel": {"expressions": [{"expression": "true"}]}}},
    {"context": [{"name": "image", "imageRegistry": {"reference": "x"}}], **_denies("{{ image.registry }}")},
    {"context": [{"name": "v", "variable": {"jmesPath": "request.object.{{ request.name }}"}}], **_denies("{{ v }}")},
    {"context": [{"name": "v", "apiCall": {"urlPath": "/api", "jmesPath": "time_now()"}}], **_denies("{{ v }}")},
    {"match": {"any": [{"resources": {"kinds": ["Pod"]}, "roles": ["a:b"]}]}, **_denies("{{ request.clusterRoles }}")},
])
def test_what_may_read_anything_is_not_bounded(block: dict[str, Any]) -> None:
    [rule] = PolicySet([policy("p", block)]).rules
    assert not rule.note_reads(Reads())


@pytest.mark.parametrize("key", ["{{ request.object }}", "{{ to_string(request) }}", "{{ keys(request.object) }}",
                                 "{{ request.object || 'x' }}"])
def test_who_reads_the_whole_object_has_nothing_in_common(key: str) -> None:
    [rule] = PolicySet([policy("p", _denies(key))]).rules
    reads = Reads()
    assert rule.note_reads(reads)
    with pytest.raises(UnboundedError):
        Projection(reads.object)


# ── what is read ────────────────────────────────────────────────────────────────────────────────────────────────────

def _of(expression: str, document: str) -> bytes | None:
    part = Part()
    language.document(f"{{{{ {expression} }}}}", ({"o": (part,)},))
    return Projection(part)(msgspec.Raw(document.encode()))


@pytest.mark.parametrize(("expression", "document", "read"), [
    ("o.a.b", '{"a":{"b":1,"c":2},"d":3}', b'{"a":{"b":1}}'),
    ("o.a.b", '{"a":null}', b'{"a":null}'), ("o.a.b", "{}", b"{}"), ("o.a.b", '{"a":{"c":1}}', b'{"a":{}}'),
    ("o.a.b", '{"a":[1]}', None), ("o.a.b", '{"a":"x"}', None), ("o.a.b", "null", b"null"),
    ("o.a[].b", '{"a":[{"b":1,"c":2},null,{}]}', b'{"a":[{"b":1},null,{}]}'),
    ("o.a[].b", '{"a":[[{"b":1}]]}', None), ("o.a[].b", '{"a":{"b":1}}', None),
    ("length(o.a[].b)", '{"a":[{"b":1,"c":2}]}', b'{"a":[{"b":1}]}'),
    ("length(o.a)", '{"a":{"b":1}}', b'{"a":{"b":1}}'),
    ("keys(o.a)", '{"a":{"b":1,"c":2}}', b'{"a":[["b","c"],{}]}'), ("keys(o.a)", '{"a":[1]}', None),
    ("o.a.* | [0]", '{"a":{"b":1,"c":2},"d":3}', b'{"a":{"b":1,"c":2}}'),
    ("o.a[?b == 'x'].c", '{"a":[{"b":1,"c":2,"d":3}]}', b'{"a":[{"b":1,"c":2}]}'),
    ("o.a || o.b.c", '{"a":{"x":1},"b":{"c":1,"d":2}}', b'{"a":{"x":1},"b":{"c":1}}'),
    ("o.a && o.a.b", '{"a":{"x":1}}', b'{"a":{"x":1}}'), ("!(o.a) || o.a.b", '{"a":{"x":1}}', b'{"a":{"x":1}}'),
    ("o.a[0].{x: b}.x", '{"a":[{"b":1,"c":2}]}', b'{"a":[{"b":1}]}'),
    ("o.\"a b\".c", '{"a b":{"c":1,"d":2}}', b'{"a b":{"c":1}}')])
def test_what_an_expression_reads(expression: str, document: str, read: bytes | None) -> None:
    assert _of(expression, document) == read


@pytest.mark.parametrize(("pattern", "document", "read"), [
    ({"a": {"=(b)": "?*", "X(c)": "null"}}, '{"a":{"b":1,"c":2,"d":3}}', b'{"a":{"b":1,"c":2}}'),
    ({"a": [{"(b)": "x"}]}, '{"a":[{"b":1,"d":3}]}', b'{"a":[{"b":1}]}'),
    ({"^(a)": [{"b": "x"}, {"c": "x"}]}, '{"a":[{"b":1,"c":2,"d":3}]}', b'{"a":[{"b":1,"c":2}]}'),
    ({"a": ["x"]}, '{"a":["y",{"z":1}]}', b'{"a":["y",{"z":1}]}'),
    ({"metadata": {"labels": {"x/*": "?*", "y": "z"}}}, '{"metadata":{"labels":{"x/1":"a","y":"b","z":"c"}}}',
     b'{"metadata":{"labels":[[],{"x/1":"a","y":"b"}]}}'),
    ({"a": {}}, '{"a":{"b":1}}', b'{"a":{"b":1}}')])
def test_what_a_pattern_reads(pattern: Any, document: str, read: bytes) -> None:
    part = Part()
    language.pattern(pattern, (part,))
    assert Projection(part)(msgspec.Raw(document.encode())) == read


@pytest.mark.parametrize("key", ["{{ length([request.name][*]) }}", "{{ length([request.name][0:1]) }}",
                                 "{{ length([request.{a: name}][*].a) }}", "{{ length([request.userInfo][*]) }}"])
def test_what_is_taken_of_a_request_is_read_whatever_is_made_of_it(key: str) -> None:
    """A list of one thing is empty where that is null."""
    [written] = PolicySet([policy("p", {"validate": {"deny": {"conditions": {"all": [
        {"key": key, "operator": "Equals", "value": 0}]}}}})]).policies
    reads = Reads()
    assert written.rules[0].note_reads(reads)
    assert reads.user if "userInfo" in key else reads.name
