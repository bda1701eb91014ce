"""Templates and constraints: what they judge, what a violation leads to, and what is refused."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from custody.admission.rules import entries
from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.policy.gatekeeper.constraint import SchemaError
from custody.policy.kyverno.messages import blocked
from custody.policy.load import PolicySet
from custody.policy.model import Verdict
from custody.ports.lookup import Absent, Answered, ApiCall, Failed, Inventory, NamespaceLabels
from tests.policy.gatekeeper.world import asked, constraint, judged, messages, pod, provider, question, template

MESSAGE = 'you must provide labels: {"team"}'
NATIVE = {"validations": [{"expression": "variables.anyObject.metadata.?labels.team.hasValue()",
                           "messageExpression": "'team is missing in ' + variables.anyObject.metadata.name"}]}


@pytest.mark.parametrize(("rule", "shape"), [
    ("violation { true }", "true or false"), ('violation { input.review.name == "x" }', "true or false"),
    ("default violation = false", "true or false"), ('violation = "s" { true }', "one value"),
    ("violation = 3", "one value"), ('violation = {"msg": "no"} { true }', "an object"),
    ('violation = [{"msg": "no"}] { true }', "a list"),
    ('violation = {{"msg": "no"}} { false } else = "s" { true }', "one value")])
def test_a_violation_that_is_no_set_is_refused(rule: str, shape: str) -> None:
    """Nobody could find one in it, so that all would be allowed; Gatekeeper's check of types refuses it, too."""
    with pytest.raises(CustodyError, match=rf"spec\.targets\[0\]\.rego: got 'violation as {shape}'"):
        PolicySet.load([template(f"package x\n{rule}\n"), constraint()])


@pytest.mark.parametrize("value", ["true", '"s"', "3", "null"])
def test_a_violation_that_turns_out_to_be_no_set_is_an_error(value: str) -> None:
    decision = judged([template(f"package x\nviolation = x {{ x := {value} }}\n"), constraint()], pod())
    assert decision.verdict is Verdict.DENIED
    assert "its violation has no msg" in messages(decision)[0]
    none = judged([template("package x\nviolation = x { false; x := true }\n"), constraint()], pod())
    assert none.verdict is Verdict.ALLOWED


def test_a_violation_denies_and_names_its_constraint() -> None:
    decision = judged([template(), constraint()], pod())
    [result] = decision.results
    assert (decision.verdict, result.policy, result.kind, result.message, result.told) == (
        Verdict.DENIED, "must-have", "K8sRequiredLabels", MESSAGE, f"[must-have] {MESSAGE}")
    assert result.properties == {"enforcementAction": "deny", "details": '{"missing": ["team"]}'}
    assert judged([template(), constraint()], pod(labels={"team": "a"})).verdict is Verdict.ALLOWED


@pytest.mark.parametrize(("action", "verdict", "warnings"), [
    ("deny", Verdict.DENIED, 0), ("warn", Verdict.ALLOWED, 1), ("dryrun", Verdict.ALLOWED, 0)])
def test_actions(action: str, verdict: Verdict, warnings: int) -> None:
    decision = judged([template(), constraint(enforcementAction=action)], pod())
    assert (decision.verdict, messages(decision), len(decision.warnings)) == (verdict, [MESSAGE], warnings)


def test_scoped_actions_hold_at_their_points_alone() -> None:
    policies = [template(), constraint(enforcementAction="scoped", scopedEnforcementActions=[
        {"action": "warn", "enforcementPoints": [{"name": "validation.gatekeeper.sh"}]},
        {"action": "deny", "enforcementPoints": [{"name": "audit.gatekeeper.sh"}]}])]
    assert judged(policies, pod()).verdict is Verdict.ALLOWED
    assert len(judged(policies, pod()).warnings) == 1
    assert judged(policies, asked(pod(), existing=True)).results[0].enforce
    webhook_only = [template(), constraint(enforcementAction="scoped", scopedEnforcementActions=[
        {"action": "deny", "enforcementPoints": [{"name": "validation.gatekeeper.sh"}]}])]
    decision = judged(webhook_only, asked(pod(), existing=True))
    assert (decision.results, [silent.reason for silent in decision.silent]) == (
        (), ["its policy is about requests alone (background: false)"])


def test_everything_that_is_asked_for_counts() -> None:
    both = [template(), constraint(), constraint({"labels": ["team", "owner"]}, name="more")]
    assert messages(judged(both, pod())) == [MESSAGE, 'you must provide labels: {"owner", "team"}']


@pytest.mark.parametrize(("match", "expected"), [
    ({}, True), ({"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}, True),
    ({"kinds": [{"apiGroups": ["apps"], "kinds": ["Pod"]}]}, False),
    ({"kinds": [{"apiGroups": ["*"], "kinds": ["*"]}]}, True), ({"kinds": [{"kinds": ["Service"]}]}, False),
    ({"namespaces": ["prod"]}, False), ({"namespaces": ["def*"]}, True), ({"namespaces": ["*fault"]}, True),
    ({"namespaces": ["*efa*"]}, True), ({"excludedNamespaces": ["def*"]}, False),
    ({"excludedNamespaces": ["kube-*"]}, True), ({"scope": "Cluster"}, False), ({"scope": "Namespaced"}, True),
    ({"scope": "odd"}, True), ({"name": "we*"}, True), ({"name": "*x"}, False), ({"source": "Generated"}, False),
    ({"source": "Original"}, True), ({"labelSelector": {"matchLabels": {"a": "b"}}}, False),
    ({"labelSelector": {"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}}, True)])
def test_match(match: dict[str, Any], expected: bool) -> None:
    assert bool(messages(judged([template(), constraint(match=match)], pod()))) is expected


def test_a_match_holds_of_what_was_there_before_too() -> None:
    policies = [template(), constraint(match={"labelSelector": {"matchLabels": {"a": "b"}}})]
    assert messages(judged(policies, asked(pod(), "UPDATE", pod(labels={"a": "b"})))) == [MESSAGE]
    assert messages(judged(policies, asked(pod(), "UPDATE", pod()))) == []


def test_labels_of_a_namespace_are_asked_for_and_never_guessed() -> None:
    policies = [template(), constraint(match={"namespaceSelector": {"matchLabels": {"env": "prod"}}})]
    question = NamespaceLabels("default")
    assert judged(policies, pod()).asks.questions == (question,)
    assert messages(judged(policies, pod(), {question: Answered({"env": "prod"})})) == [MESSAGE]
    assert judged(policies, pod(), {question: Answered({})}).results == ()
    for answer in (Absent(), Failed("the API server is down")):
        decision = judged(policies, pod(), {question: answer})
        assert decision.verdict is Verdict.DENIED
        assert "labels of namespace 'default'" in messages(decision)[0]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "labels": {"env": "prod"}}}
    assert messages(judged(policies, namespace)) == [MESSAGE]


def test_a_deletion_shows_the_object_that_goes() -> None:
    deleting = ["DELETE"]
    assert messages(judged([template(operations=deleting), constraint()], asked(pod(), "DELETE"))) == [MESSAGE]
    native = [template(NATIVE, operations=deleting), constraint()]
    assert messages(judged(native, asked(pod(), "DELETE"))) == ["team is missing in web"]


def test_operations_of_a_template() -> None:
    policies = [template(operations=["UPDATE"]), constraint()]
    assert judged(policies, pod()).silent[0].reason == "its template is about UPDATE"
    assert messages(judged(policies, asked(pod(), "UPDATE", pod()))) == [MESSAGE]
    assert messages(judged([template(operations=["*"]), constraint()], asked(pod(), "DELETE"))) == [MESSAGE]
    unsaid = judged([template(), constraint()], asked(pod(), "DELETE"))
    assert (unsaid.verdict, unsaid.silent[0].reason) == (Verdict.NOT_JUDGED, "its template is about CREATE, UPDATE")


def test_cel_comes_before_rego() -> None:
    written = template(NATIVE)
    written["spec"]["targets"][0]["code"].append({"engine": "Rego", "source": {"rego": template()["spec"]["targets"][0]["rego"]}})
    assert messages(judged([written, constraint()], pod())) == ["team is missing in web"]


def test_cel_that_fails_is_a_violation_unless_that_is_ignored() -> None:
    failing = {"validations": [{"expression": "object.spec.nothing == 1"}]}
    [message] = messages(judged([template(failing), constraint()], pod()))
    assert message.endswith("no such key: nothing")
    ignoring = [template({**failing, "failurePolicy": "Ignore"}), constraint()]
    assert judged(ignoring, pod()).verdict is Verdict.ALLOWED


def test_cel_reads_parameters_and_conditions() -> None:
    source = {"matchCondition": [{"name": "pods", "expression": "request.kind.kind == 'Pod'"}],
              "variables": [{"name": "wanted", "expression": "variables.params.labels"}],
              "validations": [{"expression": "variables.wanted.all(l, l in object.metadata.labels)", "message": "lacks"}]}
    assert messages(judged([template(source), constraint()], pod())) == ["lacks"]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "default", "labels": {}}}
    assert messages(judged([template(source), constraint()], service)) == []


REVIEW = 'package x\nviolation[{"msg": json.marshal(input.review.%s)}] { true }'


@pytest.mark.parametrize(("field", "expected"), [
    ("operation", '"CREATE"'), ("kind", '{"group":"","kind":"Pod","version":"v1"}'), ("name", '"web"'), ("options", "null"),
    ("namespaceObject", "null"), ("userInfo", "{}")])
def test_review(field: str, expected: str) -> None:
    policies = [template(REVIEW % field, schema=None), constraint({})]
    del policies[1]["spec"]["parameters"]
    answers = {ApiCall("/api/v1/namespaces/default"): Absent()}
    assert messages(judged(policies, pod(), answers)) == [expected]
    if field == "operation":  # nobody asked for what is there
        assert messages(judged(policies, asked(pod(), existing=True))) == ['""']


def test_the_inventory_is_asked_for_however_its_name_is_written() -> None:
    for written in ("data.inventory.cluster", 'data["inventory"].cluster', 'data["inv\\u0065ntory"].cluster'):
        source = f'package x\nviolation[{{"msg": "two"}}] {{ {written}["v1"].Namespace.other }}'
        decision = judged([template(source), constraint()], pod())
        assert decision.verdict is Verdict.DENIED, written
        assert "the inventory of the cluster" in decision.results[0].message
        known = {Inventory(): Answered({"cluster": {"v1": {"Namespace": {"other": {}}}}})}
        assert messages(judged([template(source), constraint()], pod(), known)) == ["two"]


def test_the_inventory_is_asked_for_where_rego_names_it() -> None:
    source = """package x
violation[{"msg": msg}] {
  other := data.inventory.namespace[ns]["v1"]["Pod"][name]
  other.metadata.labels.team == input.review.object.metadata.labels.team
  msg := sprintf("%v/%v has it", [ns, name])
}"""
    policies = [template(source), constraint()]
    held = {"namespace": {"a": {"v1": {"Pod": {"p": pod("p", namespace="a", labels={"team": "x"})}}}}}
    assert judged(policies, pod(labels={"team": "x"})).asks.questions == (Inventory(),)
    assert messages(judged(policies, pod(labels={"team": "x"}), {Inventory(): Answered(held)})) == ["a/p has it"]
    failed = judged(policies, pod(labels={"team": "x"}), {Inventory(): Failed("not kept yet")})
    assert failed.verdict is Verdict.DENIED
    assert "not kept yet" in messages(failed)[0]


def test_external_data() -> None:
    source = """package x
violation[{"msg": msg}] {
  response := external_data({"provider": "scan", "keys": [input.review.object.spec.containers[_].image]})
  msg := sprintf("%v|%v|%v", [response.responses, response.errors, response.system_error])
}"""
    policies, asks = [template(source), constraint(), provider("scan")], question("scan", "nginx")
    item = {"key": "nginx", "value": "bad"}
    answers = {asks: Answered({"response": {"items": [item, {"key": "x", "error": "unknown"}], "systemError": ""}})}
    assert messages(judged(policies, pod(), answers)) == ['[["nginx", "bad"]]|[["x", "unknown"]]|']
    assert judged(policies, pod()).asks.questions == (asks,)
    assert judged(policies, pod()).verdict is Verdict.DENIED
    assert "timed out" in messages(judged(policies, pod(), {asks: Failed("timed out")}))[0]
    lying = judged(policies, pod(), {asks: Answered("odd")})
    assert lying.verdict is Verdict.DENIED
    assert "expected a response" in messages(lying)[0]


def test_libraries() -> None:
    source = 'package x\nimport data.lib.names\nviolation[{"msg": names.of(input.review.object)}] { true }'
    library = "package lib.names\nof(object) = object.metadata.name"
    written = template(source, libs=[library])
    assert messages(judged([written, constraint()], pod())) == ["web"]


def test_rego_of_version_1() -> None:
    source = {"engine": "Rego", "source": {"version": "v1", "rego": 'package x\nviolation contains {"msg": "v1"} if true'}}
    written = template()
    written["spec"]["targets"][0] = {"target": "admission.k8s.gatekeeper.sh", "code": [source]}
    assert messages(judged([written, constraint()], pod())) == ["v1"]


@pytest.mark.parametrize(("source", "reason"), [
    ('package x\nviolation[{"message": "typo"}] { true }', "its violation has no msg"),
    ('package x\nviolation[{"msg": 1}] { true }', "its violation has no msg"),
    ('package x\nviolation[{"msg": "a"}] { f(1) == 1 }\nf(x) = 1 { true }\nf(x) = 2 { true }', "produced conflicting values"),
    ('package x\nviolation[{"msg": "a"}] { numbers.range(1, 100000000)[_] == 0 }', "budget")])
def test_rego_that_cannot_be_evaluated_denies(source: str, reason: str) -> None:
    decision = judged([template(source), constraint()], pod())
    assert decision.verdict is Verdict.DENIED
    assert reason in messages(decision)[0]


@pytest.mark.parametrize(("source", "reason"), [
    ("package x\nviolation[", "expected Rego that parses"), ("package x\nallow = true", "no rule violation"),
    ("package x\nviolation[{\"msg\": x}] { true }", "expected Rego that compiles"),
    ("package x\nimport data.other\nviolation[{\"msg\": \"a\"}] { true }", "import data.other"),
    ("package x\nimport input.review\nviolation[{\"msg\": \"a\"}] { true }", "import input.review"),
    ("package x\nviolation[{\"msg\": \"a\"}] { data.secrets }", "data.secrets"),
    ("package x\nviolation[{\"msg\": \"a\"}] { x := data; x.a }", "got 'data'"),
    ("package x\nviolation[{\"msg\": \"a\"}] { data[y] == 1; y := \"a\" }", "got 'data'"),
    ("package x\nviolation[{\"msg\": \"a\"}] { x := [z | z := data.secrets]; count(x) > 0 }", "data.secrets")])
def test_rego_that_is_refused(source: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason.replace("[", r"\[")):
        PolicySet.load([template(source)])


@pytest.mark.parametrize(("change", "reason"), [
    ({"metadata": {"name": "other"}}, "metadata.name: got 'other'"),
    ({"apiVersion": "templates.gatekeeper.sh/v2"}, "not evaluated by custody yet")])
def test_templates_that_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(CustodyError, match=reason):
        PolicySet.load([{**template(), **change}])


@pytest.mark.parametrize(("target", "reason"), [
    ({"target": "other"}, "targets\\[0\\].target: got 'other'"), ({"operations": ["CREAT"]}, "operations: got 'CREAT'"),
    ({"rego": None}, "no code"), ({"code": [{"engine": "Wasm", "source": {"x": 1}}]}, "Wasm is not evaluated"),
    ({"code": [{"engine": "K8sNativeValidation", "source": {"matchConditions": []}}]}, "matchConditions"),
    ({"code": [{"engine": "K8sNativeValidation", "source": {"variables": [{"name": "params", "expression": "1"}]}}]}, "taken"),
    ({"code": [{"engine": "K8sNativeValidation", "source": {"failurePolicy": "Maybe"}}]}, "failurePolicy: got 'Maybe'"),
    ({"code": [{"engine": "K8sNativeValidation", "source": {"validations": [{"expression": "objekt"}]}}]}, "objekt")])
def test_targets_that_are_refused(target: dict[str, Any], reason: str) -> None:
    written = template()
    written["spec"]["targets"][0] |= target
    with pytest.raises(CustodyError, match=reason):
        PolicySet.load([written])


@pytest.mark.parametrize(("change", "reason"), [
    ({"enforcementAction": "denied"}, "enforcementAction: got 'denied'"),
    ({"enforcementAction": "scoped"}, "scopedEnforcementActions: got 'nothing'"),
    ({"enforcementAction": "scoped", "scopedEnforcementActions": [{"action": "deny"}]}, "enforcementPoints: got 'nothing'"),
    ({"enforcementAction": "scoped", "scopedEnforcementActions": [
        {"action": "deny", "enforcementPoints": [{"name": "webhook"}]}]}, "name: got 'webhook'"),
    ({"match": {"kind": ["Pod"]}}, "spec.match.kind: got 'a field that nobody described"),
    ({"parameters": {"label": ["x"]}}, "spec.parameters.label: got 'a field that nobody described"),
    ({"match": {"name": "Web"}}, "should match"), ({"match": {"source": "Some"}}, "Unsupported value"),
    ({"match": {"labelSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}, "In with 0 values")])
def test_constraints_that_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(CustodyError, match=reason):
        PolicySet.load([template(), constraint(**change)] if "parameters" not in change else [
            template(), constraint(change["parameters"])])


def test_parameters_of_another_type_are_refused_by_the_schema() -> None:
    with pytest.raises(SchemaError, match='must be of type array: "string"'):
        PolicySet.load([template(), constraint({"labels": "team"})])


def test_a_constraint_without_its_template_is_refused() -> None:
    with pytest.raises(MalformedError, match="expected a kind of which there is a ConstraintTemplate"):
        PolicySet.load([template(), constraint(kind="K8sOther")])
    with pytest.raises(UnsupportedError, match="v1 K8sRequiredLabels"):
        PolicySet.load([template(), {**constraint(), "apiVersion": "constraints.gatekeeper.sh/v1"}])


def test_defaults_of_a_schema_are_parameters() -> None:
    schema = {"type": "object", "properties": {"labels": {"type": "array", "items": {"type": "string"}, "default": ["team"]}}}
    assert messages(judged([template(schema=schema), constraint({})], pod())) == [MESSAGE]


def test_a_policy_of_kyverno_and_one_of_gatekeeper_judge_together() -> None:
    policy = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "k"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{"name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
                                                         "validate": {"message": "no", "pattern": {"spec": {"x": 1}}}}]}}
    assert {result.kind for result in judged([template(), constraint(), policy], pod()).results} == {
        "K8sRequiredLabels", "ClusterPolicy"}


@pytest.mark.parametrize(("change", "reason"), [
    ({"url": "http://scan.example/"}, "spec.url"), ({"url": "https://"}, "spec.url"), ({"url": None}, "spec.url"),
    ({"url": "https://ann:secret@scan.example/"}, "spec.url"), ({"url": "https://scan.example/#a"}, "spec.url"),
    ({"url": "https://scan.example:99999/"}, "spec.url"), ({"url": "https://scan.example/a b"}, "spec.url"),
    ({"timeout": None}, "spec.timeout"), ({"timeout": 0}, "spec.timeout"), ({"timeout": 31}, "spec.timeout"),
    ({"timeout": "5s"}, "spec.timeout"), ({"caBundle": None}, "spec.caBundle"), ({"caBundle": "?"}, "spec.caBundle"),
    ({"caBundle": "aGVsbG8="}, "spec.caBundle"), ({"insecureTLSSkipVerify": True}, "spec.insecureTLSSkipVerify"),
    ({"maxRetry": 3}, "spec.maxRetry")])
def test_providers_that_are_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(CustodyError, match=reason):
        PolicySet.load([provider("scan", **change)])


def test_providers_are_read_in_both_versions_and_each_once() -> None:
    PolicySet.load([provider("scan"), provider("other", version="v1alpha1")])
    with pytest.raises(CustodyError, match="v1 Provider is not evaluated"):
        PolicySet.load([provider("scan", version="v1")])
    with pytest.raises(CustodyError, match="scan twice"):
        PolicySet.load([provider("scan"), provider("scan", version="v1alpha1")])


def test_a_part_of_the_policies_has_the_providers_that_it_may_ask() -> None:
    assign = {"apiVersion": "mutations.gatekeeper.sh/v1", "kind": "Assign", "metadata": {"name": "m"}, "spec": {
        "applyTo": [{"groups": [""], "versions": ["v1"], "kinds": ["Pod"]}], "location": "spec.nodeName",
        "parameters": {"assign": {"externalData": {"provider": "scan"}}}}}
    policies = PolicySet.load([template(), constraint(), provider("scan"), assign])
    for name in ("must-have", "gatekeeper-mutators"):
        part = policies.only(lambda policy, name=name: policy.name == name)  # type: ignore[misc]
        assert [policy.name for policy in part.policies] == [name]
        again = PolicySet(part.documents)
        assert "Provider" in {document["kind"] for document in again.documents}
        assert [policy.name for policy in again.policies] == [name]


def test_a_provider_that_no_document_names_is_a_failure() -> None:
    source = """package x
violation[{"msg": "listed"}] { external_data({"provider": "none", "keys": ["a"]}).responses[_][1] == "listed" }"""
    [result] = judged([template(source), constraint()], pod()).results
    assert (result.outcome, result.enforce) == ("error", True)
    assert "provider none: got 'no Provider of this name'" in result.message


def entries_of(*documents: dict[str, Any], mutate: bool = False) -> set[tuple[str, str, str]]:
    """(group, resource, operation) that the API server is told to ask about."""
    policies = PolicySet.load(list(documents))
    return {(entry.group, entry.resource, entry.operation)
            for entry in entries(policies.rules, policies.kinds, mutate=mutate)}


def test_the_api_server_is_told_to_ask_what_constraints_match() -> None:
    kinds = {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}, {"apiGroups": ["apps"], "kinds": ["*"]}]}
    asked_about = entries_of(template(operations=["CREATE"]), constraint(match=kinds))
    assert {("", "pods", "CREATE"), ("apps", "deployments", "CREATE")} <= asked_about
    assert {operation for _, _, operation in asked_about} == {"CREATE"}
    assert not {resource for _, resource, _ in asked_about} & {"services", "pods/status", "deployments/scale"}
    every = entries_of(template(), constraint())
    assert ("*", "*", "UPDATE") in every
    assert ("", "pods/eviction", "CREATE") in every
    assert not {entry for entry in every if entry[2] not in ("CREATE", "UPDATE") or entry[1].endswith("/status")}
    scales = entries_of(template(), constraint(match={"kinds": [{"apiGroups": ["autoscaling"], "kinds": ["Scale"]}]}))
    assert ("apps", "deployments/scale", "UPDATE") in scales
    assert entries_of(template(), constraint(match={"kinds": [{"apiGroups": ["x.y"], "kinds": ["Z"]}]})) == set()
    assert entries_of(template(), constraint(), mutate=True) == set()


def test_the_denial_has_a_line_for_each_violation() -> None:
    request = asked(pod())
    results = [judged([template(), constraint(name=name)], request).results[0] for name in ("one", "two")]
    assert blocked(request, results) == f"[one] {MESSAGE}\n[two] {MESSAGE}"
    kyverno = msgspec.structs.replace(results[0], policy="vpol", told="Policy vpol failed: no")
    assert blocked(request, [results[0], kyverno]) == f"Policy vpol failed: no\n[one] {MESSAGE}"
