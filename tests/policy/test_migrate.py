"""Policies of kyverno.io as ValidatingPolicies: what is said, what is refused, and that a wrong one is found out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from custody.errors import CustodyError, UnsupportedError
from custody.policy.kinds import builtin
from custody.policy.migrate.equivalence import Comparison, checked, requests
from custody.policy.migrate.matching import Named
from custody.policy.migrate.rules import Migrated, migrate


def policy(validate: dict[str, Any], kinds: tuple[str, ...] = ("Pod",), **beside: Any) -> dict[str, Any]:
    spec = beside.pop("spec", {})
    rule = {"name": "r", "match": {"any": [{"resources": {"kinds": [*kinds]}}]}, "validate": validate, **beside}
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"},
            "spec": {**spec, "rules": [rule]}}


def translated(document: dict[str, Any]) -> Migrated:
    (rule,) = migrate(document, builtin(), count=80)
    return rule


def expressions(document: dict[str, Any]) -> str:
    rule = translated(document)
    assert rule.refused is None, rule.refused
    return rule.documents[0]["spec"]["validations"][0]["expression"]


PATTERN = {"message": "m", "pattern": {"spec": {"containers": [{"image": "ghcr.io/*"}]}}}


def test_a_pattern_becomes_an_expression() -> None:
    assert expressions(policy(PATTERN)) == (
        "has(object.spec.containers) && object.spec.containers.all(element, has(element.image) && "
        "string(element.image).startsWith('ghcr.io/'))")


@pytest.mark.parametrize("validate", [
    {"pattern": {"spec": {"=(hostNetwork)": False}}},
    {"pattern": {"metadata": {"labels": {"app": "?*"}}}},
    {"pattern": {"spec": {"containers": [{"resources": {"limits": {"memory": "<=4Gi"}}}]}}},
    {"pattern": {"spec": {"containers": [{"(name)": "c*", "image": "!*:latest"}]}}},
    {"pattern": {"spec": {"X(hostPID)": "null"}}},
    {"pattern": {"spec": {"^(volumes)": [{"name": "a"}]}}},
    {"anyPattern": [{"spec": {"hostPID": True}}, {"spec": {"securityContext": {"runAsNonRoot": True}}}]},
    {"deny": {"conditions": {"any": [{"key": "{{ request.object.spec.hostIPC || '' }}", "operator": "Equals",
                                      "value": True}]}}},
    {"deny": {"conditions": {"all": [{"key": "{{ request.object.metadata.labels.team || '' }}",
                                      "operator": "AnyNotIn", "value": ["a", "b*"]}]}}},
    {"foreach": [{"list": "request.object.spec.[containers, initContainers][]",
                  "pattern": {"image": "ghcr.io/*"}}]},
])
@pytest.mark.parametrize("action", ["Audit", "Enforce"])
def test_what_is_said_in_cel_is_the_same(validate: dict[str, Any], action: str) -> None:
    rule = translated(policy({"message": "m", **validate}, spec={"validationFailureAction": action}))
    assert rule.refused is None, rule.refused
    assert 0 < rule.denied < rule.judged
    assert rule.documents[0]["spec"]["validationActions"] == ["Deny" if action == "Enforce" else "Audit"]


def denied(*conditions: tuple[Any, str, Any]) -> dict[str, Any]:
    return {"message": "m", "deny": {"conditions": {"any": [
        {"key": key, "operator": operator, "value": value} for key, operator, value in conditions]}}}


NAMES = {"name": "names", "configMap": {"name": "names", "namespace": "default"}}
SERVICES = {"name": "services", "apiCall": {"urlPath": "/api/v1/namespaces/{{request.namespace}}/services",
                                            "jmesPath": "items[?spec.type == 'NodePort'].metadata.name"}}


@pytest.mark.parametrize(("context", "validate", "words"), [
    ([NAMES], denied(("{{ request.object.metadata.labels.team || '' }}", "AnyNotIn", "{{ names.data.teams }}")),
     "resource.Get('v1', 'configmaps', 'default', 'names')"),
    ([SERVICES], denied(("{{ length(services) }}", "GreaterThan", 2)),
     "resource.List('v1', 'services', request.namespace)"),
    ([SERVICES], denied(("{{ request.object.metadata.labels.service || '' }}", "AnyIn", "{{ services }}")),
     "resource.List('v1', 'services', request.namespace)"),
    ([{"name": "of", "apiCall": {"urlPath": "/api/v1/namespaces/{{request.namespace}}",
                                 "jmesPath": "metadata.annotations.team || ''"}}],
     denied(("{{ of }}", "Equals", "")), "resource.Get('v1', 'namespaces', '', request.namespace)"),
    ([{"name": "teams", "globalReference": {"name": "teams", "jmesPath": "[].name"}}],
     denied(("{{ request.object.metadata.labels.team || '' }}", "AnyIn", "{{ teams }}")),
     "globalContext.Get('teams', '')"),
])
def test_what_is_looked_up_is_a_variable(context: list[dict[str, Any]], validate: dict[str, Any], words: str) -> None:
    rule = translated(policy(validate, ("ConfigMap",), context=context))
    assert rule.refused is None, rule.refused
    assert 0 < rule.denied < rule.judged
    spec = rule.documents[0]["spec"]
    assert words in spec["variables"][0]["expression"]
    assert f"variables.{context[0]['name']}" in spec["validations"][0]["expression"]


@pytest.mark.parametrize("validate", [
    denied(("{{ request.object.data.kept }}", "Equals", "{{ request.object.data.said }}")),
    denied(("{{ request.object.data.kept }}", "NotEquals", "{{ request.object.data.said }}")),
    denied(("{{ request.object.data.kept }}", "GreaterThan", "{{ request.object.data.said }}")),
    denied(("{{ request.object.data.age }}", "GreaterThan", "24h")),
    denied(("{{ request.object.data.age }}", "DurationLessThanOrEquals", "90s")),
    denied(("{{ request.object.data.size }}", "LessThan", "10Mi")),
    denied(("{{ request.object.data.version }}", "LessThan", "1.2.3")),
    denied(("{{ request.object.data.ports }}", "AnyNotIn", "5000-6000")),
    denied(("app-{{ request.object.metadata.labels.app }}-{{ request.namespace }}", "Equals", "app-x-default")),
    denied(("{{ request.object.data.kept }}", "AllNotIn", "{{ request.object.data.said }}")),
    denied(("{{ request.object.data.list.split(@, ',')[0] }}", "Equals", "x")),
    denied((["x", "y"], "AnyIn", "{{ request.object.metadata.finalizers[] }}")),
    denied(("x", "In", "{{ request.object.metadata.finalizers }}")),
])
def test_computed_values_mean_what_they_mean_there(validate: dict[str, Any]) -> None:
    rule = translated(policy(validate, ("ConfigMap",)))
    assert rule.refused is None, rule.refused
    assert 0 < rule.denied < rule.judged


def test_an_error_is_not_hidden_by_what_stands_beside_it() -> None:
    rule = translated(policy(denied(("{{ length(services) }}", "GreaterThan", 2), ("{{ request.namespace }}", "Equals",
                                                                                  "default")), ("ConfigMap",),
                             context=[SERVICES]))
    assert rule.refused is None, rule.refused
    (made, *_) = rule.documents
    expression = made["spec"]["validations"][0]["expression"]
    assert "? true :" in expression
    made["spec"]["validations"][0]["expression"] = expression.replace("? true :", "||")
    difference = checked(Comparison([policy(denied(
        ("{{ length(services) }}", "GreaterThan", 2), ("{{ request.namespace }}", "Equals", "kube-system")),
        ("ConfigMap",), context=[SERVICES])], [made], builtin()), iter(()))
    assert difference is None


def test_kinds_that_are_not_known_are_told_by_their_kind() -> None:
    rule = translated(policy({"message": "m", "pattern": {"spec": {"suspend": "false"}}}, ("example.com/v1/Widget",)))
    assert rule.refused is None, rule.refused
    spec = rule.documents[0]["spec"]
    assert spec["matchConstraints"]["resourceRules"][0]["resources"] == ["*"]
    assert spec["matchConstraints"]["resourceRules"][0]["apiGroups"] == ["example.com"]
    assert spec["matchConditions"][0]["expression"] == "request.kind.kind == 'Widget'"


@pytest.mark.parametrize(("entry", "path", "words"), [
    ({"apiCall": {"urlPath": "/version"}}, "apiCall.urlPath", "objects alone"),
    ({"apiCall": {"urlPath": "/api/v1/pods", "default": []}}, "apiCall.default", "where a call fails"),
    ({"apiCall": {"service": {"url": "https://x"}}}, "apiCall.service", "adds the status"),
    ({"apiCall": {"urlPath": "/api/v1/pods?labelSelector=a!%3Db"}}, "apiCall.urlPath", "labels and their values"),
])
def test_what_cannot_be_looked_up_is_refused(entry: dict[str, Any], path: str, words: str) -> None:
    refused = translated(policy(denied(("{{ length(x) }}", "GreaterThan", 2)), ("ConfigMap",),
                                context=[{"name": "x", **entry}])).refused
    assert refused is not None
    assert refused.message.startswith(f"spec.rules[0].context[0].{path}")
    assert words in refused.message


def test_a_policy_of_a_namespace_looks_up_nothing_elsewhere() -> None:
    document = policy(denied(("{{ names.data.x }}", "Equals", "x")), ("ConfigMap",), context=[
        {"name": "names", "configMap": {"name": "names", "namespace": "apart"}}])
    document |= {"kind": "Policy", "metadata": {"name": "p", "namespace": "home"}}
    refused = translated(document).refused
    assert refused is not None
    assert "its own namespace alone" in refused.message


def test_pod_controllers_are_those_of_autogen() -> None:
    document = policy(PATTERN)
    document["metadata"]["annotations"] = {"pod-policies.kyverno.io/autogen-controllers": "CronJob,Deployment"}
    (made, *_) = translated(document).documents
    assert made["spec"]["autogen"] == {"podControllers": {"controllers": ["cronjobs", "deployments"]}}
    assert "annotations" not in made["metadata"]


def test_no_pod_controllers_and_what_is_added_to_pods() -> None:
    document = policy(PATTERN)
    document["metadata"]["annotations"] = {"pod-policies.kyverno.io/autogen-controllers": "none"}
    (made,) = translated(document).documents
    assert made["spec"]["matchConstraints"]["resourceRules"][0]["resources"] == ["pods", "pods/ephemeralcontainers"]


def test_what_is_deleted_is_asked_about_by_a_policy_of_its_own() -> None:
    rule = translated(policy({"message": "m", "deny": {"conditions": {"any": [
        {"key": "{{ request.object.metadata.labels.keep || '' }}", "operator": "Equals", "value": "yes"}]}}},
        ("ConfigMap",)))
    assert [made["metadata"]["name"] for made in rule.documents] == ["p", "p-on-delete"]
    assert "oldObject.metadata" in rule.documents[1]["spec"]["validations"][0]["expression"]


def test_exclusions_and_preconditions_are_conditions() -> None:
    rule = translated(policy(PATTERN, exclude={"any": [{"resources": {"namespaces": ["kube-*"]}}]}, preconditions={
        "all": [{"key": "{{ request.operation }}", "operator": "NotEquals", "value": "DELETE"}]}))
    assert [entry["expression"] for entry in rule.documents[0]["spec"]["matchConditions"]] == [
        "!(request.kind.kind == 'Namespace' ? request.name : request.namespace).startsWith('kube-')",
        "request.operation != 'DELETE'"]


@pytest.mark.parametrize(("document", "path", "words"), [
    (policy({"pattern": {"metadata": {"labels": {"*": "x"}}}}), "spec.rules[0].validate.pattern", "wildcards"),
    (policy({"pattern": {"spec": {"x": "{{ request.name }}"}}}), "spec.rules[0].validate.pattern", "computed"),
    (policy({"pattern": {"spec": {"x": ">10s"}}}), "spec.rules[0].validate.pattern.spec.x", "durations"),
    (policy(PATTERN, match={"any": [{"resources": {"kinds": ["Pod"]}, "roles": ["a:b"]}]}),
     "spec.rules[0].match.any[0].roles", "roles"),
    (policy({"message": "{{ path_canonicalize(request.name) }}", "pattern": {"spec": {"x": "y"}}}),
     "spec.rules[0].validate.message", "path_canonicalize()"),
])
def test_what_has_no_words_is_refused_by_its_path(document: dict[str, Any], path: str, words: str) -> None:
    refused = translated(document).refused
    assert isinstance(refused, UnsupportedError)
    assert refused.message.startswith(path)
    assert words in refused.message


def test_a_rule_that_no_request_proves_is_refused() -> None:
    refused = translated(policy({"pattern": {"kind": "ConfigMap"}}, ("ConfigMap",))).refused
    assert refused is not None
    assert "there is none that it is against" in refused.message


def test_a_translation_that_says_another_thing_is_found_out() -> None:
    document = policy(PATTERN)
    (made, *_) = translated(document).documents
    made["spec"]["validations"][0]["expression"] = "object.spec.containers.exists(c, c.image.startsWith('ghcr.io/'))"
    difference = checked(Comparison([document], [made], builtin()), requests(
        document["spec"]["rules"][0], [Named("", "v1", "pods", "Pod")], ("CREATE",), builtin(), 80))
    assert difference is not None
    assert (difference.said, difference.says) == ("against", "for")


def test_other_kinds_are_refused() -> None:
    with pytest.raises(CustodyError, match="ValidatingPolicy is not migrated"):
        migrate({"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy"}, builtin())


def test_files_are_written_only_for_what_is_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents = [policy(PATTERN), policy({"pattern": {"metadata": {"labels": {"*": "x"}}}})]
    documents[1]["metadata"] = {"name": "q"}
    (tmp_path / "in.yaml").write_text(yaml.safe_dump_all(documents))
    assert run(["policy", "migrate", str(tmp_path / "in.yaml"), "-o", str(tmp_path / "out"), "--samples", "60"]) == 1
    said = capsys.readouterr().err
    assert "✓ p/r: p; both say the same of" in said
    assert "✗ q/r: spec.rules[0].validate.pattern" in said
    assert "1 rule stays behind" in said
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["p.yaml"]
    assert yaml.safe_load((tmp_path / "out/p.yaml").read_text())["kind"] == "ValidatingPolicy"


def test_two_rules_become_no_one_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`a` with its rule `b`, and `a-b`: applied, the second would take the first away."""
    documents = [policy(PATTERN), policy(PATTERN)]
    rules = documents[0]["spec"]["rules"]
    documents[0]["metadata"], documents[1]["metadata"] = {"name": "a"}, {"name": "a-b"}
    documents[0]["spec"]["rules"] = [{**rules[0], "name": "b"}, {**rules[0], "name": "c"}]
    (tmp_path / "in.yaml").write_text(yaml.safe_dump_all(documents))
    assert run(["policy", "migrate", str(tmp_path / "in.yaml"), "-o", str(tmp_path / "out"), "--samples", "60"]) == 1
    said = capsys.readouterr().err
    assert "✗ a-b/r: metadata.name: got 'a-b', expected another name: a/b becomes this ValidatingPolicy" in said
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a-b.yaml", "a-c.yaml"]


def test_a_file_that_cannot_be_read_leaves_the_others_of_its_folder(tmp_path: Path,
                                                                    capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "chart.yaml").write_text("{{- if .Values.on }}\nkind: ClusterPolicy\n{{- end }}\n")
    (tmp_path / "in" / "good.yaml").write_text(yaml.safe_dump(policy(PATTERN)))
    assert run(["policy", "migrate", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--samples", "60"]) == 1
    said = capsys.readouterr().err
    assert f"✗ {tmp_path}/in/chart.yaml: got 'did not find expected node content at line 1', expected YAML" in said
    assert "helm template" in said
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["p.yaml"]
    assert run(["policy", "migrate", str(tmp_path / "in" / "chart.yaml")]) == 2  # it was named


def test_two_policies_of_one_name_are_not_written_over_each_other(tmp_path: Path,
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(policy(PATTERN)))
    assert run(["policy", "migrate", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"), "-o", str(tmp_path / "out"),
                "--samples", "60"]) == 1
    assert "✗ p/r: metadata.name: got 'p', expected another name: p/r becomes this" in capsys.readouterr().err


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_comments_before_a_policy_stay_whatever_mark_is_before_them(mark: str, tmp_path: Path) -> None:
    (tmp_path / "in.yaml").write_text(f"{mark}# why\n{yaml.safe_dump(policy(PATTERN))}")
    assert run(["policy", "migrate", str(tmp_path / "in.yaml"), "-o", str(tmp_path / "out"), "--samples", "60"]) == 0
    (file,) = (tmp_path / "out").iterdir()
    assert file.read_bytes().startswith(b"# why\napiVersion: ")


@pytest.mark.parametrize(("document", "words"), [
    ({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolcy"},
     "kind: kyverno.io/v1 ClusterPolcy is not migrated by custody\n    did you mean ClusterPolicy?"),
    ({"apiVersion": "policy.sigstore.dev/v1beta1", "kind": "ClusterImagePolicy"}, "`custody policy import` reads it"),
    ({"application": {"validators": []}}, "kind: a document without apiVersion and kind is not migrated by custody"),
    ({**policy(PATTERN), "spec": {"rules": [{"name": "r", "mach": {}}]}},
     "in.yaml: spec.rules[0].match: got 'nothing', expected what the rule speaks of\n"
     "    there is mach: did you mean match?"),
])
def test_what_is_no_policy_is_said_with_what_was_meant(document: dict[str, Any], words: str, tmp_path: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.yaml").write_text(yaml.safe_dump(document))
    assert run(["policy", "migrate", str(tmp_path / "in.yaml")]) == 1
    assert words in capsys.readouterr().err


def test_what_is_made_up_is_the_same_in_each_process() -> None:
    """Or a rule would migrate once and stay behind the next time."""
    script = """
import json
from custody.policy.kinds import builtin
from custody.policy.migrate import equivalence
asked = []
class Recorded(equivalence.Answers):
    def answer(self, question):
        asked.append(str(question))
        return super().answer(question)
equivalence.Answers = Recorded
entries = [{"name": f"c{at}", "configMap": {"name": f"m{at}", "namespace": "n"}} for at in range(8)]
conditions = [{"key": "{{ c%d.data.x }}" % at, "operator": "Equals", "value": "y"} for at in range(8)]
rule = {"name": "r", "match": {"any": [{"resources": {"kinds": ["ConfigMap"]}}]}, "context": entries,
        "validate": {"message": "m", "deny": {"conditions": {"any": conditions}}}}
policy = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {"rules": [rule]}}
cel = {"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": "q"}, "spec": {
    "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                                            "resources": ["configmaps"]}]},
    "validations": [{"expression": " && ".join(
        f"resource.Get('v1', 'configmaps', 'n', 'm{at}').?data.x.orValue('') != 'y'" for at in reversed(range(8)))}]}}
comparison = equivalence.Comparison([policy], [cel], builtin(), rule)
target = equivalence.Named("", "v1", "configmaps", "ConfigMap")
equivalence.checked(comparison, equivalence.requests(rule, [target], ["CREATE"], builtin(), 6))
print(json.dumps(asked))
"""
    asked = {subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={
        **os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}).stdout
        for seed in ("1", "2", "3")}
    assert len(asked) == 1
    assert len(asked.pop()) > 200
