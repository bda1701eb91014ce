"""policies.kyverno.io ValidatingPolicy: what matches, what is said, what autogen makes of it, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from custody.admission.rules import entries, to_rules
from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.policy.decide import decide
from custody.policy.kinds import builtin
from custody.policy.kyverno.messages import blocked
from custody.policy.load import PolicySet
from custody.policy.model import Decision, Kind, Outcome, Request, Resource, User, Verdict
from custody.policy.phases import Course
from custody.ports.lookup import Answered, ApiCall, Failed, NamespaceLabels
from tests.fuzz.validating import NOW

PODS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["pods"]}
POD: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
                       "spec": {"containers": [{"name": "a", "image": "b"}]}}


def policy(*expressions: str, name: str = "p", kind: str = "ValidatingPolicy", match: Any = None,
           **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "policies.kyverno.io/v1", "kind": kind, "metadata": {"name": name}, "spec": {
        "matchConstraints": match or {"resourceRules": [PODS]},
        "validations": [{"expression": expression} for expression in expressions], **spec}}


def template(kind: str, spec: dict[str, Any], version: str = "apps/v1") -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "web", "namespace": "default"},
            "spec": {"template": {"metadata": {"labels": {}}, "spec": spec}}}


def judged(document: dict[str, Any] | Request, *policies: dict[str, Any], at: Course = Course.VALIDATING,
           **answers: Any) -> Decision:
    request = document if isinstance(document, Request) else Request.create(document, "default")
    return decide(request, {}, PolicySet([*policies]), NOW, at=at, answers=answers.get("answers", {}))


def said(decision: Decision) -> list[tuple[str, str]]:
    return [(str(result.outcome), result.message) for result in decision.results]


def test_all_validations_hold() -> None:
    decision = judged(POD, policy("object.spec.containers.size() == 1"))
    assert decision.verdict is Verdict.ALLOWED
    assert said(decision) == [("pass", "success")]


def test_the_first_that_does_not_hold_denies_in_kyvernos_words() -> None:
    denied = policy("true", "object.metadata.name != 'web'", "false")
    denied["spec"]["validations"][1]["messageExpression"] = "'no ' + object.metadata.name"
    decision = judged(POD, denied)
    assert said(decision) == [("fail", "no web")]
    assert decision.results[0].properties == {"cel.validationIndex": "1"}
    request = Request.create(POD)
    assert blocked(request, decision.results) == "Policy p failed: no web"


def test_without_a_message_it_says_which() -> None:
    assert said(judged(POD, policy("false"))) == [("fail", "CEL expression validation failed at index 0")]


@pytest.mark.parametrize(("actions", "verdict", "warnings"), [
    (["Deny"], Verdict.DENIED, ()), (["Audit"], Verdict.ALLOWED, ()),
    (["Warn"], Verdict.ALLOWED, ("Policy p failed: CEL expression validation failed at index 0",))])
def test_what_a_failure_does(actions: list[str], verdict: Verdict, warnings: tuple[str, ...]) -> None:
    decision = judged(POD, policy("false", validationActions=actions))
    assert (decision.verdict, decision.warnings) == (verdict, warnings)


@pytest.mark.parametrize("failure_policy", ["Fail", "Ignore"])
def test_what_cannot_be_evaluated_denies_under_either_failure_policy(failure_policy: str) -> None:
    decision = judged(POD, policy("object.spec.none == 1", failurePolicy=failure_policy))
    assert decision.verdict is Verdict.DENIED
    assert said(decision) == [("error", "error: no such key: none")]


@pytest.mark.parametrize(("failure_policy", "outcome"), [("Fail", "error"), ("Ignore", "skip")])
def test_a_match_condition_that_cannot_be_evaluated(failure_policy: str, outcome: str) -> None:
    conditions = [{"name": "c", "expression": "object.none == 1"}]
    decision = judged(POD, policy("false", matchConditions=conditions, failurePolicy=failure_policy))
    assert said(decision)[0][0] == outcome
    assert decision.verdict is (Verdict.DENIED if outcome == "error" else Verdict.NOT_JUDGED)


def test_one_match_condition_that_does_not_hold_outweighs_errors() -> None:
    conditions = [{"name": "c", "expression": "object.none == 1"}, {"name": "d", "expression": "false"}]
    assert said(judged(POD, policy("false", matchConditions=conditions))) == [("skip", "skip")]


def test_variables_are_computed_where_they_are_used_and_errors_stay_errors() -> None:
    variables = [{"name": "broken", "expression": "object.none.x"},
                 {"name": "names", "expression": "object.spec.containers.map(c, c.name)"},
                 {"name": "first", "expression": "variables.names[0]"}]
    assert said(judged(POD, policy("variables.first == 'a' || variables.broken == 1", variables=variables))) == [
        ("pass", "success")]
    assert said(judged(POD, policy("variables.broken == 1", variables=variables))) == [
        ("error", "error: no such key: none")]


def test_a_variable_knows_only_those_before_it() -> None:
    variables = [{"name": "a", "expression": "variables.b"}, {"name": "b", "expression": "1"}]
    with pytest.raises(MalformedError, match=r"spec\.variables\[0\]\.expression: got 'variables\.b'.*undefined field"):
        PolicySet([policy("true", variables=variables)])


# ── what matches ────────────────────────────────────────────────────────────────────────────────────────────────────

def asks(**rule: Any) -> dict[str, Any]:
    return {"resourceRules": [PODS | rule]}


@pytest.mark.parametrize(("match", "speaks"), [
    (asks(), True), (asks(apiGroups=["*"], resources=["*"]), True), (asks(resources=["*/*"]), True),
    (asks(resources=["pods/*"]), True), (asks(resources=["pods/exec"]), False), (asks(apiVersions=["v2"]), False),
    (asks(operations=["DELETE"]), False), (asks(operations=["*"]), True), (asks(scope="Cluster"), False),
    (asks(scope="Namespaced"), True), (asks(resourceNames=["web"]), True), (asks(resourceNames=["we"]), False),
    ({**asks(), "excludeResourceRules": [PODS | {"resourceNames": ["web"]}]}, False),
    ({**asks(), "excludeResourceRules": [PODS | {"resourceNames": ["db"]}]}, True),
    ({**asks(), "objectSelector": {"matchLabels": {"app": "web"}}}, False),
    ({**asks(), "objectSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}}, True)])
def test_match_constraints(match: dict[str, Any], speaks: bool) -> None:
    assert bool(said(judged(POD, policy("true", match=match, autogen={"podControllers": {"controllers": []}})))
                ) is speaks


def test_a_label_of_either_object_selects_an_update() -> None:
    old = copy.deepcopy(POD)
    old["metadata"]["labels"] = {"app": "web"}
    request = Request(operation="UPDATE", kind=Kind("Pod"), name="web", namespace="default", object=POD, old_object=old)
    match = {**asks(), "objectSelector": {"matchLabels": {"app": "web"}}}
    assert said(judged(request, policy("true", match=match)))


def test_labels_of_the_namespace_are_asked_for() -> None:
    match = {**asks(), "namespaceSelector": {"matchLabels": {"env": "prod"}}}
    question = NamespaceLabels("default")
    assert judged(POD, policy("false", match=match)).asks.questions == (question,)
    prod, test = ({question: Answered({"env": env})} for env in ("prod", "test"))
    assert judged(POD, policy("false", match=match), answers=prod).verdict is Verdict.DENIED
    assert judged(POD, policy("false", match=match), answers=test).verdict is Verdict.NOT_JUDGED
    failed = judged(POD, policy("true", match=match, failurePolicy="Ignore"), answers={question: Failed("403")})
    assert failed.verdict is Verdict.DENIED
    assert "403" in failed.results[0].message


def test_a_generated_name_is_known_by_how_it_begins() -> None:
    document = copy.deepcopy(POD)
    document["metadata"] = {"generateName": "web-", "namespace": "default"}
    assert said(judged(document, policy("true", match=asks(resourceNames=["web"]))))
    assert not said(judged(document, policy("true", match=asks(resourceNames=["db"]))))


def test_a_namespaced_policy_speaks_of_its_namespace_alone() -> None:
    document = policy("false", kind="NamespacedValidatingPolicy")
    document["metadata"]["namespace"] = "team"
    assert judged(POD, document).verdict is Verdict.NOT_JUDGED
    inside = copy.deepcopy(POD)
    inside["metadata"]["namespace"] = "team"
    decision = judged(inside, document)
    assert decision.verdict is Verdict.DENIED
    assert decision.results[0].policy == "team/p"


def test_the_api_server_is_told_what_is_matched() -> None:
    policies = PolicySet([policy("true", autogen={"podControllers": {"controllers": ["deployments"]}})])
    rules = to_rules(entries(policies.rules, builtin(), mutate=False))
    named = sorted((rule["apiGroups"][0], *rule["resources"], *rule["operations"]) for rule in rules)
    assert named == [("", "pods", "pods/ephemeralcontainers", "CREATE", "UPDATE"),
                     ("apps", "deployments", "CREATE", "UPDATE")]


def test_who_asks_is_not_known_in_a_background_scan() -> None:
    document = policy("request.userInfo.username == 'ann'")
    request = Request(operation="CREATE", kind=Kind("Pod"), name="web", namespace="default", object=POD,
                      user=User(username="ann"))
    assert judged(request, document).verdict is Verdict.ALLOWED
    decision = judged(msgspec.structs.replace(request, existing=True), document, at=Course.BACKGROUND)
    assert not decision.results
    assert "request.userInfo" in decision.silent[0].reason


def test_the_old_object_of_a_creation_is_an_empty_map() -> None:
    assert said(judged(POD, policy("oldObject == {} && request.oldObject == null"))) == [("pass", "success")]


def test_the_namespace_object_is_looked_up() -> None:
    document = policy("namespaceObject.metadata.labels.env == 'prod'")
    question = ApiCall("/api/v1/namespaces/default")
    assert question in judged(POD, document).asks.questions
    answers = {question: Answered({"metadata": {"name": "default", "labels": {"env": "prod"}}})}
    assert judged(POD, document, answers=answers).verdict is Verdict.ALLOWED


# ── autogen ─────────────────────────────────────────────────────────────────────────────────────────────────────────

HOST = {"containers": [{"name": "a", "image": "b"}], "hostNetwork": True}


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet", "ReplicaSet", "StatefulSet"])
def test_a_template_is_judged_as_its_pods_would_be(kind: str) -> None:
    document = policy("!object.spec.?hostNetwork.orValue(false)")
    assert judged(template(kind, HOST), document).verdict is Verdict.DENIED
    assert judged(template(kind, POD["spec"]), document).verdict is Verdict.ALLOWED


def test_a_cron_jobs_template_stands_deeper() -> None:
    job = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "web", "namespace": "default"},
           "spec": {"jobTemplate": {"spec": {"template": {"spec": HOST}}}}}
    assert judged(job, policy("!object.spec.?hostNetwork.orValue(false)")).verdict is Verdict.DENIED


def test_the_namespace_stays_that_of_the_object() -> None:
    document = policy("object.metadata.namespace == 'default' && object.metadata.labels == {}")
    assert judged(template("Deployment", HOST), document).verdict is Verdict.ALLOWED


@pytest.mark.parametrize("match", [
    {**asks(), "objectSelector": {"matchLabels": {"a": "b"}}}, asks(resourceNames=["web"]),
    asks(resources=["pods", "services"]), asks(apiGroups=["*"]), {**asks(), "excludeResourceRules": [PODS]}])
def test_only_a_policy_about_all_pods_speaks_of_templates(match: dict[str, Any]) -> None:
    assert len(PolicySet([policy("true", match=match)]).rules) == 1


def test_controllers_that_are_named() -> None:
    some = policy("true", autogen={"podControllers": {"controllers": ["cronjobs", "jobs"]}})
    none = policy("true", autogen={"podControllers": {"controllers": []}})
    assert [rule.name for rule in PolicySet([some]).rules] == ["", "autogen-cronjobs", "autogen-defaults"]
    assert [rule.name for rule in PolicySet([none]).rules] == [""]
    with pytest.raises(MalformedError, match=r"controllers\[0\]: got 'deploymets', expected"):
        PolicySet([policy("true", autogen={"podControllers": {"controllers": ["deploymets"]}})])


def test_templates_of_custom_resources_are_found() -> None:
    document = policy("!object.spec.?hostNetwork.orValue(false)",
                      autogen={"podControllers": {"controllers": ["jobsets.v1alpha2.jobset.x-k8s.io"]}})
    jobs = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"name": "j", "namespace": "n"},
            "spec": {"replicatedJobs": [{"template": {"spec": {"template": {"spec": POD["spec"]}}}},
                                        {"template": {"spec": {"template": {"spec": HOST}}}}]}}
    decision = judged(jobs, document)
    assert said(decision) == [("fail", "CEL expression validation failed at index 0 (pod template at "
                                       "spec.replicatedJobs[1].template.spec.template)")]
    jobs["spec"] = {}
    assert said(judged(jobs, document)) == [
        ("error", "error: extraction mode: no pod template found in jobset.x-k8s.io/v1alpha2/JobSet")]


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize(("spec", "words"), [
    ({"matchConstraints": {}}, "spec.matchConstraints.resourceRules: got .nothing"),
    ({"matchConstraints": asks(operations=["PATCH"])}, "operations: got 'PATCH'"),
    ({"evaluation": {"mode": "Envoy"}}, "spec.evaluation.mode: 'Envoy' is not evaluated"),
    ({"failurePolicy": "Open"}, "spec.failurePolicy: got 'Open'"), ({"paramKind": {}}, "spec.paramKind"),
    ({"validationActions": ["Block"]}, "spec.validationActions: got 'Block'"),
    ({"validations": [{"expression": "1"}]}, r"spec.validations\[0\].expression: got \"'1', which is int\""),
    ({"validations": [{"expression": "object."}]}, r"spec.validations\[0\].expression: got 'object.'.*Syntax error"),
    ({"webhookConfiguration": {"timeoutSeconds": 31}}, "spec.webhookConfiguration.timeoutSeconds: got 31"),
    ({"matchConditions": [{"name": "a", "expression": "'x'"}]}, r"spec.matchConditions\[0\].expression")])
def test_refused_by_its_path(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(CustodyError, match=words):
        PolicySet([policy("true", **spec)])


def test_other_versions_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"policies\.kyverno\.io/v2 ValidatingPolicy is not evaluated"):
        PolicySet([policy("true") | {"apiVersion": "policies.kyverno.io/v2"}])


def test_a_json_document_is_judged_by_json_policies_alone() -> None:
    policies = [policy("object.a == 1", evaluation={"mode": "JSON"}), policy("false", name="q")]
    payload = Request(operation="", kind=Kind(""), object={"a": 2})
    decision = judged(payload, *policies)
    assert [(result.policy, result.outcome) for result in decision.results] == [("p", Outcome.FAIL)]
    assert [silent.policy for silent in judged(POD, *policies).silent if "JSON" in silent.reason] == ["p"]


def test_a_subresource_is_matched_by_its_resource() -> None:
    match = asks(resources=["pods/exec"], operations=["CONNECT"])
    request = Request(operation="CONNECT", kind=Kind("PodExecOptions"), name="web", namespace="default",
                      resource=Resource("pods"), subresource="exec", object={"command": ["sh"]})
    assert judged(request, policy("object.command[0] != 'sh'", match=match)).verdict is Verdict.DENIED


def test_admission_may_be_left_to_background_scans() -> None:
    document = policy("false", evaluation={"admission": {"enabled": False}})
    assert judged(POD, document).verdict is Verdict.NOT_JUDGED
    assert judged(POD, document, at=Course.BACKGROUND).verdict is Verdict.DENIED
