"""Gatekeeper's constraints as ValidatingPolicies: each way to match, what is refused, and that a wrong one is found out."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.policy_equivalent import standing_of
from custody.policy.gatekeeper.constraint import WEBHOOK, ConstraintRule
from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from custody.policy.migrate.constraints import _glob, translated
from custody.policy.migrate.gatekeeper import TARGETS, Constraints, unproven
from custody.policy.migrate.outcome import Migrated, Names
from tests.cli.commands import custody

Json = dict[str, Any]
PODS: Json = {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}
CHECK = "has(variables.anyObject.metadata.labels) && variables.params.labels.all(l, l in variables.anyObject.metadata.labels)"


def template(source: Json | None = None, **target: Any) -> Json:
    source = {"validations": [{"expression": CHECK, "message": "a label is missing"}]} if source is None else source
    return {"apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate", "metadata": {"name": "labelled"}, "spec": {
        "crd": {"spec": {"names": {"kind": "Labelled"}, "validation": {"openAPIV3Schema": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}},
        "targets": [{"target": "admission.k8s.gatekeeper.sh", **target, **(
            {} if "rego" in target else {"code": [{"engine": "K8sNativeValidation", "source": source}]})}]}}


def constraint(match: Json | None = None, name: str = "team", **spec: Any) -> Json:
    return {"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": "Labelled", "metadata": {"name": name},
            "spec": {"match": PODS if match is None else match, "parameters": {"labels": ["team"]}, **spec}}


def migrated(*documents: Json, target: str = TARGETS[0], count: int = 250) -> list[Migrated]:
    kinds = builtin()
    located = [(f"files[{at}]", document) for at, document in enumerate(documents)]
    return [*Constraints(located, kinds, standing_of(kinds)).migrated(target, count)]


@pytest.mark.parametrize("match", [
    PODS, {}, {"kinds": [{"apiGroups": ["*"], "kinds": ["*"]}]}, {"kinds": [{"apiGroups": ["apps"], "kinds": ["Deployment", "StatefulSet"]}, {"kinds": ["Namespace"]}]},
    {"kinds": [{"apiGroups": ["example.com"], "kinds": ["Widget"]}]}, {"kinds": [{"apiGroups": [""], "kinds": ["Service"]}]},
    {**PODS, "namespaces": ["shop-*", "default"]}, {**PODS, "excludedNamespaces": ["kube-*", "*-x", "*mid*"]}, {**PODS, "namespaces": ["*"], "excludedNamespaces": []},
    {"kinds": [{"apiGroups": [""], "kinds": ["Pod", "Namespace"]}], "excludedNamespaces": ["default"]}, {**PODS, "name": "web*"}, {**PODS, "name": "sample"}, {"kinds": [{"apiGroups": [""], "kinds": ["Node", "Namespace"]}], "scope": "Cluster", "excludedNamespaces": ["default"]},
    {"kinds": [{"apiGroups": [""], "kinds": ["Pod", "Namespace"]}], "scope": "Cluster"}, {**PODS, "scope": "Namespaced"}, {**PODS, "source": "Original"},
    {**PODS, "labelSelector": {"matchLabels": {"tier": "web"}}},
    {**PODS, "namespaceSelector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}}], ids=str)
def test_what_a_constraint_matches(match: Json) -> None:
    (made,) = migrated(template(), constraint(match))
    assert made.refused is None, made.refused
    assert 0 < made.denied < made.judged
    assert made.documents[0]["metadata"]["name"] == "labelled-team"


@pytest.mark.parametrize("source", [
    {"validations": [{"expression": CHECK}], "matchCondition": [{"name": "c", "expression": "object.metadata.name != 'x'"}]},
    {"variables": [{"name": "v", "expression": CHECK}], "validations": [{"expression": "variables.v", "messageExpression": "'no ' + variables.params.labels[0]"}, {"expression": "variables.anyObject.metadata.name != 'x'"}]},
    {"validations": [{"expression": "variables.anyObject.spec.missing == 'x' || " + CHECK}]}], ids=str)
def test_what_a_template_says(source: Json) -> None:
    (made,) = migrated(template(source), constraint())
    assert made.refused is None or "none that it is for" in made.refused.message, made.refused


@pytest.mark.parametrize("parameters", [
    {"labels": ["team"], "n": 1, "deep": {"a": [1, "b", None, {"c": 1.5}], "e": {}}, "text": "it's \"so\"\n\\ \u0000 ☃ 😀"}, {"labels": ["team"], "empty": [], "big": -9223372036854775808}])
def test_parameters_of_all_types(parameters: Json) -> None:
    (made,) = migrated(template(), constraint(parameters=parameters))
    assert made.refused is None, made.refused


def test_parameters_that_no_expression_can_hold_are_refused() -> None:
    (made,) = migrated(template(), constraint(parameters={"labels": ["team"], "big": 2**64}))
    assert "spec.variables[1].expression" in str(made.refused)


@pytest.mark.parametrize(("action", "actions"), [("deny", ["Deny"]), ("warn", ["Warn"]), ("dryrun", ["Audit"])])
def test_actions(action: str, actions: list[str]) -> None:
    (made,) = migrated(template(), constraint(enforcementAction=action))
    assert made.refused is None
    assert made.documents[0]["spec"]["validationActions"] == actions


def test_an_action_of_requests_alone_scans_nothing() -> None:
    scoped = [{"action": "deny", "enforcementPoints": [{"name": WEBHOOK}]}]
    (made,) = migrated(template(), constraint(enforcementAction="scoped", scopedEnforcementActions=scoped))
    assert made.documents[0]["spec"]["evaluation"] == {"background": {"enabled": False}}


REGO = "package labelled\nviolation[{\"msg\": \"no\"}] { not input.review.object.metadata.labels.team }"


@pytest.mark.parametrize(("documents", "words"), [
    ([template(rego=REGO), constraint()], "spec.targets[0]: Rego has no counterpart in CEL"),
    ([template({"validations": [{"expression": "params.metadata.name != 'x'"}]}), constraint()], "it reads the whole constraint (params)"),
    ([template({"failurePolicy": "Ignore", "validations": [{"expression": "true"}]}), constraint()], "failurePolicy: Ignore lets what cannot be evaluated pass"),
    ([template(), constraint({**PODS, "source": "Generated"})], "spec.match.source: Generated objects are not judged"),
    ([template(), constraint(enforcementAction="scoped", scopedEnforcementActions=[{"action": "deny", "enforcementPoints": [{"name": "audit.gatekeeper.sh"}]}])], "it says nothing to requests"),
    ([template(), constraint(enforcementAction="scoped", scopedEnforcementActions=[{"action": "deny", "enforcementPoints": [{"name": WEBHOOK}]}, {"action": "warn", "enforcementPoints": [{"name": "audit.gatekeeper.sh"}]}])], "has the same actions for both"),
    ([template(), constraint(enforcementAction="scoped", scopedEnforcementActions=[{"action": "deny", "enforcementPoints": [{"name": "*"}]}, {"action": "warn", "enforcementPoints": [{"name": "*"}]}])], "not denied and warned of"),
    ([template(), constraint(enforcementAction="Deny")], "files[1]: spec.enforcementAction: got 'Deny', expected deny"),
    ([template()], "none of its constraints is among the files"), ([constraint()], "its template, of kind Labelled, is not among the files"),
    ([template({"validations": [{"expression": "true"}]}), constraint()], "none that it is against"),
    ([template({"validations": [{"expression": "false"}]}), constraint()], "none that it is for"),
    ([{"apiVersion": "config.gatekeeper.sh/v1alpha1", "kind": "Config", "metadata": {"name": "config"}}], "Config is not migrated: what it leaves out"),
    ([{"apiVersion": "mutations.gatekeeper.sh/v1", "kind": "Assign", "metadata": {"name": "a"}}], "Assign is not migrated"),
    ([{"apiVersion": "expansion.gatekeeper.sh/v1beta1", "kind": "ExpansionTemplate", "metadata": {"name": "a"}}], "ExpansionTemplate is not migrated")], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_refused(documents: list[Json], words: str) -> None:
    (made,) = migrated(*documents)
    assert made.refused is not None
    assert words in made.refused.message
    assert not made.documents


@pytest.mark.parametrize("wrong", [
    lambda spec: spec["validations"][0].update(expression="true"), lambda spec: spec.update(validationActions=["Audit"]),
    lambda spec: spec["matchConstraints"]["resourceRules"][0].update(operations=["CREATE"]), lambda spec: spec["matchConditions"].clear(),
    lambda spec: spec["matchConstraints"]["resourceRules"][0].update(resources=["pods"]),
    lambda spec: spec["matchConditions"][0].update(expression="request.namespace != 'default'"),
    lambda spec: spec["variables"][1].update(expression="dyn({'labels': ['team', 'owner']})")])
def test_a_wrong_translation_is_found_out(wrong: Any) -> None:
    source, speaking = template(), constraint({**PODS, "namespaces": ["shop-*"]})
    (policy,) = PolicySet([source, speaking]).policies
    rule = policy.rules[0]
    assert isinstance(rule, ConstraintRule)
    kinds = builtin()
    searches = Constraints([("t", source), ("c", speaking)], kinds, standing_of(kinds))
    right = translated(rule, source, kinds)
    assert unproven(searches.searched(rule, source, [right], WEBHOOK, 600, strict=True)) is None
    other = copy.deepcopy(right)
    wrong(other["spec"])
    assert searches.searched(rule, source, [other], WEBHOOK, 2000, strict=True).difference is not None


@pytest.mark.parametrize(("pattern", "expression"), [
    ("*", "true"), ("**", "true"), ("a", "t == 'a'"), ("a*", "t.startsWith('a')"), ("*a", "t.endsWith('a')"),
    ("*a*", "t.contains('a')"), ("a*b", "t == 'a*b'"), ("it's*", 't.startsWith("it\'s")'), ("", "t == ''")])
def test_names_with_stars(pattern: str, expression: str) -> None:
    assert _glob(pattern, "t") == expression


def test_to_the_api_server_every_constraint_shares_one_policy() -> None:
    names = Names()
    made = [names.unlike(rule) for rule in migrated(template(), constraint(), constraint(name="other"), target=TARGETS[1])]
    assert [rule.refused for rule in made] == [None, None]
    assert [document["kind"] for rule in made for document in rule.documents] == [
        "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicyBinding"]


@pytest.mark.parametrize(("path", "value", "words"), [
    ("spec.crd", 5, "none of its constraints is among the files"), ("spec.crd.spec.names", [], "none of its constraints is among the files"),
    ("spec.targets", {}, "files[0]: spec.targets: got"), ("spec.targets", [5], "files[0]: spec.targets"), ("metadata", 5, "files[0]: metadata: got"), ("spec.targetz", [], "spec.targetz")])
def test_templates_that_are_none(path: str, value: Any, words: str) -> None:
    broken = template()
    *steps, last = path.split(".")
    holder: Any = broken
    for step in steps:
        holder = holder[step]
    holder[last] = value
    made = migrated(broken, constraint())
    assert all(rule.refused is not None and not rule.documents for rule in made)
    assert words in " ".join(str(rule.refused) for rule in made)


def test_a_second_template_of_one_kind_is_refused() -> None:
    first, second = migrated(template(), template({"validations": [{"expression": "true"}]}))
    assert "none of its constraints" in str(first.refused)
    assert "files[1]: got 'a second template of Labelled', expected each once" in str(second.refused)


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [
        template(), constraint(), constraint(name="other")]}))
    made = custody("policy", "migrate", "all.yaml", "-o", "out", "--samples", "60", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["labelled-other.yaml", "labelled-team.yaml"]
    assert "✓ Labelled team: labelled-team; both say the same of 300 requests" in made.stderr
    assert "tried" not in made.stderr
    loaded = custody("policy", "lint", "out", cwd=tmp_path)
    assert loaded.returncode == 0, loaded.stderr


def test_a_rule_that_becomes_another_kind_than_was_asked_for(tmp_path: Path) -> None:
    rule = {"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "validate": {"pattern": {"metadata": {"labels": {"team": "?*"}}}}}
    (tmp_path / "rule.yaml").write_text(yaml.safe_dump({
        "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {"rules": [rule]}}))
    made = custody("policy", "migrate", "rule.yaml", "--to", "ValidatingAdmissionPolicy", "--samples", "40", cwd=tmp_path)
    assert made.returncode == 1
    assert "--to: it becomes a ValidatingPolicy, and no ValidatingAdmissionPolicy" in made.stderr
    assert custody("policy", "migrate", "rule.yaml", "--to", "ValidatingPolicy", "--samples", "40", cwd=tmp_path).returncode == 0


def kind_of(document: Json, kind: str, name: str) -> Json:
    """A template or constraint as one of another kind."""
    made = copy.deepcopy(document)
    made["metadata"]["name"] = name
    if made["kind"] == "ConstraintTemplate":
        made["spec"]["crd"]["spec"]["names"]["kind"] = kind
    else:
        made["kind"] = kind
    return made


def test_a_binding_called_as_another_policy_hides_nothing(tmp_path: Path) -> None:
    """Policy `gatekeeper-foo-bar` is of template foo-bar, and the binding of Foo bar has that name too."""
    documents = [kind_of(template(), "Foo", "foo"), kind_of(constraint(), "Foo", "bar"),
                 kind_of(template(), "Foo-bar", "foo-bar"), kind_of(constraint(), "Foo-bar", "baz")]
    (tmp_path / "in.yaml").write_text(yaml.safe_dump_all(documents))
    run = custody("policy", "migrate", "in.yaml", "--to", TARGETS[1], "-o", "out", "--samples", "60", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    made = [yaml.safe_load(path.read_text()) for path in sorted((tmp_path / "out").iterdir())]
    assert sorted((document["kind"], document["metadata"]["name"]) for document in made) == [
        ("ValidatingAdmissionPolicy", "gatekeeper-foo"), ("ValidatingAdmissionPolicy", "gatekeeper-foo-bar"),
        ("ValidatingAdmissionPolicyBinding", "gatekeeper-foo-bar"), ("ValidatingAdmissionPolicyBinding", "gatekeeper-foo-bar-baz")]


def test_a_policy_is_written_with_the_first_binding_that_stays() -> None:
    """The one that would have brought it is refused, as its binding has the name of another one."""
    names = Names()
    made = [names.unlike(rule) for rule in migrated(
        kind_of(template(), "Foo", "foo"), kind_of(constraint(), "Foo", "bar-baz"), kind_of(template(), "Foo-bar", "foo-bar"),
        kind_of(constraint(), "Foo-bar", "baz"), kind_of(constraint(), "Foo-bar", "qux"), target=TARGETS[1])]
    assert "another name: Foo bar-baz becomes this ValidatingAdmissionPolicyBinding" in str(made[1].refused)
    assert [(document["kind"], document["metadata"]["name"]) for document in made[2].documents] == [
        ("ValidatingAdmissionPolicy", "gatekeeper-foo-bar"), ("ValidatingAdmissionPolicyBinding", "gatekeeper-foo-bar-qux")]


@pytest.mark.parametrize("target", TARGETS)
def test_constraints_without_a_spec(target: str) -> None:
    plain = {key: value for key, value in constraint(name="plain").items() if key != "spec"}
    source = {"validations": [{"expression": "!has(variables.anyObject.metadata.labels)"}]}
    made = migrated(template(source), plain, {**plain, "spec": None}, constraint(), target=target)
    assert made[0].refused is None, made[0].refused
    assert "spec in body must be of type object" in str(made[1].refused)
    assert made[2].refused is None, made[2].refused


def test_what_was_not_tried_is_said_and_kinds_that_are_named_are_tried() -> None:
    source = {"validations": [{"expression": "request.kind.kind != 'Role' || !has(object.metadata.labels)"}]}
    (made,) = migrated(template(source), constraint({}), count=1500)
    assert made.refused is None, made.refused
    assert "Role" not in made.untried
    assert {"ClusterRole", "ConfigMap"} <= {*made.untried}
    (made,) = migrated(template(), constraint())
    assert made.untried == []


@pytest.mark.parametrize(("resource", "words"), [
    ({"kind": "Pod", "metadata": {"name": "x"}}, "got 'no kind and apiVersion'"), ({"apiVersion": "v1", "kind": ["Pod"]}, "got 'no kind and apiVersion'"),
    ({"apiVersion": "v1", "kind": "Pod", "metadata": "x"}, "metadata: got"), ([5], "expected an object of Kubernetes")])
def test_objects_to_ask_about_that_are_none(resource: Any, words: str, tmp_path: Path) -> None:
    (tmp_path / "in.yaml").write_text(yaml.safe_dump_all([template(), constraint()]))
    (tmp_path / "objects.yaml").write_text(yaml.safe_dump(resource))
    run = custody("policy", "migrate", "in.yaml", "--resource", "objects.yaml", "-o", "out", cwd=tmp_path)
    assert run.returncode == 2
    assert words in run.stderr
    assert not (tmp_path / "out").exists()


def test_lists_of_objects_are_taken_apart_and_little_is_said_to_be(tmp_path: Path) -> None:
    source = {"validations": [{"expression": "variables.anyObject.metadata.name != 'a-name-that-nobody-makes-up'.substring(2) + 'q'"}]}
    (tmp_path / "in.yaml").write_text(yaml.safe_dump_all([template(source), constraint()]))
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "name-that-nobody-makes-upq"}}
    (tmp_path / "objects.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [pod]}))
    run = custody("policy", "migrate", "in.yaml", "--resource", "objects.yaml", "--samples", "1", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "; little was tried: " in run.stderr


def test_what_stays_behind_is_counted_by_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "in.yaml").write_text(yaml.safe_dump_all([template(rego=REGO), constraint()]))
    run = custody("policy", "migrate", "in.yaml", cwd=tmp_path)
    assert run.returncode == 1
    assert "error: 1 Gatekeeper document stays behind" in run.stderr
