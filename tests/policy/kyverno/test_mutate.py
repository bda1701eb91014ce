"""Mutate rules: what becomes of objects, and what is said. Expected values are the answers of Kyverno 1.19.1's CLI."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import CustodyError, MalformedError
from custody.formats import jsonpatch
from custody.policy.load import PolicySet
from custody.policy.model import Outcome
from tests.policy.kyverno.rules import POD, after, decided, policy, said


def merge(patch: dict[str, Any], **rule: Any) -> dict[str, Any]:
    return {"mutate": {"patchStrategicMerge": patch}, **rule}


def patch(text: str, **rule: Any) -> dict[str, Any]:
    return {"mutate": {"patchesJson6902": text}, **rule}


def containers(rule: dict[str, Any]) -> Any:
    return after(rule)["spec"]["containers"]


def _name(container: dict[str, Any]) -> str:
    return str(container["name"])


WEB, SIDE = POD["spec"]["containers"]


@pytest.mark.parametrize(("part", "expected"), [
    ([{"(name)": "*", "tty": True}], [{**WEB, "tty": True}, {**SIDE, "tty": True}]),
    ([{"(image)": "*:latest", "imagePullPolicy": "Always"}], [{**WEB, "imagePullPolicy": "Always"}, SIDE]),
    ([{"name": "side", "+(tty)": True}], [{**SIDE, "tty": True}, {**WEB, "tty": True}]),
    ([{"name": "new", "image": "q"}], [{"name": "new", "image": "q"}, WEB, SIDE]),
    ([{"name": "side", "$patch": "delete"}], [WEB]),
    ([{"name": "side", "image": None}], [{"name": "side"}, WEB]),
    ([{"<(image)": "busybox*", "tty": True}], [WEB, SIDE]),
], ids=["all", "some", "an add anchor makes an element stand for all", "new", "delete", "null", "global"])
def test_lists_are_merged_by_their_key(part: Any, expected: Any) -> None:
    result = containers(merge({"spec": {"containers": part}}))
    assert sorted(result, key=_name) == sorted(expected, key=_name)


def test_lists_of_other_kinds_are_replaced() -> None:
    resource = {**POD, "apiVersion": "v9", "kind": "Pod"}
    result = after(merge({"spec": {"containers": [{"name": "new"}]}}), resource)
    assert result["spec"]["containers"] == [{"name": "new"}]


@pytest.mark.parametrize(("part", "labels"), [
    ({"+(app)": "x", "+(new)": "y"}, {"app": "web", "new": "y"}),
    ({"(app)": "w*", "new": "y"}, {"app": "web", "new": "y"}),
    ({"(app)": "db", "new": "y"}, {"app": "web"}),
    ({"app": None}, {}),
    ({"app": 5}, {"app": "5"}),
    ({"new": "{{ request.object.metadata.name }}-{{ request.namespace }}"}, {"app": "web", "new": "p-shop"}),
], ids=str)
def test_anchors_in_maps(part: dict[str, Any], labels: dict[str, str]) -> None:
    assert after(merge({"metadata": {"labels": part}}))["metadata"].get("labels", {}) == labels


@pytest.mark.parametrize(("rule", "message"), [
    (merge({"metadata": {"labels": {"a": "b"}}}), "pass: mutated Pod/p in namespace shop"),
    (merge({"metadata": {"labels": {"app": "web"}}}), "skip: no patches applied"),
    (merge({"spec": {"(hostNetwork)": True, "priority": 1}}), "skip: no patches applied"),
    (merge({"metadata": {"labels": {"a": "{{ request.object.nope }}"}}}),
     "error: variable substitution failed: failed to resolve request.object.nope at path "
     '/mutate/patchStrategicMerge/metadata/labels/a: JMESPath query failed: Unknown key "nope" in path'),
    (merge({"metadata": {"labels": {"a": "b"}}}, context=[{"name": "x",
                                                           "variable": {"value": "{{ request.object.nope }}"}}]),
     "error: variable substitution failed: failed to resolve request.object.nope at path /context/0/variable/value: "
     'JMESPath query failed: Unknown key "nope" in path'),
    (merge({"metadata": {"labels": {"a": "b"}}}, preconditions={"all": [{"key": "a", "operator": "Equals",
                                                                         "value": "b"}]}),
     "skip: preconditions not met"),
    (patch("- {op: replace, path: /spec/nope, value: 1}"),
     "error: failed to patch resource: replace operation does not apply: doc is missing key: /spec/nope: missing "
     "value"),
    (patch("- {op: remove, path: /spec/nope/x}"), "skip: no patches applied"),
    (patch("- {op: test, path: /metadata/name, value: q}"),
     "error: failed to patch resource: testing value /metadata/name "
     "failed: test failed"),
], ids=lambda part: str(part)[:60])
def test_what_is_said(rule: dict[str, Any], message: str) -> None:
    assert said(rule) == message


@pytest.mark.parametrize(("text", "path", "expected"), [
    ("- {op: add, path: /metadata/annotations/a~1b, value: c}", "/metadata/annotations", {"a/b": "c"}),
    ("- {op: add, path: /spec/containers/-1, value: {name: z}}", "/spec/containers/2", {"name": "z"}),
    ("- {op: add, path: /spec/new/0/k, value: v}", "/spec/new", [{"k": "v"}]),
    ("- {op: replace, path: /spec/containers/-1/image, value: q}", "/spec/containers/1/image", "q"),
    ("- {op: add, path: /spec/list/2, value: q}", "/spec/list", [None, None, "q"]),
    ('[{"op": "add", "path": "/metadata/labels/n", "value": "{{ request.namespace }}"}]', "/metadata/labels/n", "shop"),
], ids=lambda part: str(part)[:50])
def test_json_patches_make_their_way(text: str, path: str, expected: Any) -> None:
    assert jsonpatch.resolve(after(patch(text)), path) == expected


def test_the_value_of_a_variable_is_not_read_as_operations() -> None:
    resource = {**POD, "metadata": {"name": "p", "labels": {"app": '"\n- op: remove\n  path: /spec/containers/0\n#'}}}
    rule = patch('- op: add\n  path: /metadata/annotations/a\n  value: "{{ request.object.metadata.labels.app }}"\n')
    assert said(rule,
                resource) == ("error: failed to patch resource: failed to decode patches: the value of a variable is "
                                    "read as operations of its own")


def loop(**fields: Any) -> dict[str, Any]:
    return {"mutate": {"foreach": [{"list": "request.object.spec.containers", **fields}]}}


def test_foreach_patches_each_element() -> None:
    rule = loop(patchStrategicMerge={"spec": {"containers": [{"name": "{{ element.name }}",
                                                              "image": "r/{{ element.image }}"}]}})
    assert containers(rule) == [{"name": "web", "image": "r/nginx:latest"}, {"name": "side", "image": "r/busybox:1"}]
    assert said(rule) == "pass: mutated Pod/p in namespace shop"


def test_foreach_with_operations_goes_forward_and_knows_its_place() -> None:
    text = '- op: add\n  path: /metadata/annotations/n{{elementIndex}}\n  value: "{{element0.name}}"\n'
    rule = loop(patchesJson6902=text)
    assert after(rule)["metadata"]["annotations"] == {"n0": "web", "n1": "side"}


def test_preconditions_and_context_of_a_foreach() -> None:
    rule = loop(preconditions={"all": [{"key": "{{ short }}", "operator": "Equals", "value": "nginx"}]},
                context=[{"name": "short", "variable": {"jmesPath": "split(element.image, ':')[0]"}}],
                patchesJson6902="- {op: replace, path: '/spec/containers/{{elementIndex}}/image', "
                                "value: '{{ short }}'}")
    assert [container["image"] for container in containers(rule)] == ["nginx", "busybox:1"]


def test_loops_in_loops() -> None:
    inner = {"list": "['a', 'b']",
             "patchesJson6902":
             "- op: add\n  path: /metadata/annotations/{{ element0.name }}-{{ element1 }}\n"
             "  value: \"{{ elementIndex0 }}{{ elementIndex1 }}\"\n"}
    rule = {"mutate": {"foreach": [{"list": "request.object.spec.containers", "foreach": [inner]}]}}
    assert after(rule)["metadata"]["annotations"] == {"web-a": "00", "web-b": "01", "side-a": "10", "side-b": "11"}


@pytest.mark.parametrize(("rule", "message"), [
    (loop(patchStrategicMerge={"metadata": {"labels": {"app": "web"}}}), "skip: 0 elements processed"),
    ({"mutate": {"foreach": [{"list": "request.object.nope", "patchStrategicMerge": {"a": "b"}}]}},
     'error: failed to evaluate list request.object.nope: JMESPath query failed: Unknown key "nope" in path: JMESPath '
     'query failed: Unknown key "nope" in path'),
    (loop(patchStrategicMerge={"a": "{{ element.nope }}"}),
     "error: failed to mutate elements: variable substitution failed: failed to resolve element.nope at path "
     '/patchStrategicMerge/a: JMESPath query failed: Unknown key "nope" in path'),
], ids=["nothing", "no list", "no variable"])
def test_what_is_said_of_a_foreach(rule: dict[str, Any], message: str) -> None:
    assert said(rule) == message


def test_what_a_foreach_copies_is_bounded() -> None:
    resource = {**POD, "spec": {"containers": [{"name": f"c{at}", "image": "a"} for at in range(2_000)]}}
    rule = loop(patchesJson6902="- {op: add, path: '/metadata/annotations/a{{ elementIndex }}', value: b}")
    message = said(rule, resource)
    assert message.startswith("error: failed to mutate elements: foreach copies more than 4000000 values")


def test_a_huge_list_is_an_error_and_changes_nothing() -> None:
    resource = {**POD, "spec": {"containers": [{"name": f"c{at}"} for at in range(10_001)]}}
    rule = loop(patchesJson6902="- {op: add, path: /metadata/annotations/a, value: b}")
    assert said(rule, resource) == "error: the lists of foreach have more than 10000 elements together"


def test_rules_see_what_those_before_them_changed() -> None:
    first = merge({"metadata": {"labels": {"team": "{{ request.object.metadata.labels.app }}-team"}}})
    second = merge({"metadata": {"annotations": {"owner": "{{ request.object.metadata.labels.team }}"}}})
    decision = decided(policy(first, second))
    assert jsonpatch.apply(POD, decision.patch)["metadata"]["annotations"] == {"owner": "web-team"}


def test_an_error_denies_and_under_ignore_warns() -> None:
    rule = patch("- {op: replace, path: /spec/nope, value: 1}")
    assert not decided(policy(rule)).allowed
    ignored = decided(policy(rule, failurePolicy="Ignore"))
    assert ignored.allowed
    assert ignored.results[0].outcome is Outcome.ERROR
    assert ignored.patch == []


@pytest.mark.parametrize(("rule", "path"), [
    ({"mutate": {}}, "spec.rules[0].mutate"),
    ({"mutate": {"patchStrategicMerge": {"a": "b"}, "patchesJson6902": "[]"}}, "spec.rules[0].mutate"),
    (patch("- {op: jump, path: /a}"), "spec.rules[0].mutate.patchesJson6902"),
    (patch("a: b"), "spec.rules[0].mutate.patchesJson6902"),
    (loop(order="Sideways", patchStrategicMerge={"a": "b"}), "spec.rules[0].mutate.foreach[0].order"),
    (loop(patchStrategicMerge={"a": "b"}, weird=1), "spec.rules[0].mutate.foreach[0].weird"),
    ({**merge({"a": "b"}), "validate": {"pattern": {"a": "b"}}}, "spec.rules[0]"),
], ids=lambda part: str(part)[:60])
def test_what_is_refused_when_it_is_loaded(rule: dict[str, Any], path: str) -> None:
    with pytest.raises(CustodyError) as refused:
        PolicySet([policy(rule)])
    assert f"{path}: " in refused.value.message


def test_a_loop_in_loops_without_end_is_refused() -> None:
    inner: dict[str, Any] = {"list": "['a']", "patchStrategicMerge": {"a": "b"}}
    for _ in range(10):
        inner = {"list": "['a']", "foreach": [inner]}
    with pytest.raises(MalformedError, match="loops in each other"):
        PolicySet([policy({"mutate": {"foreach": [inner]}})])
