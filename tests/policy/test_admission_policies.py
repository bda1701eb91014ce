"""ValidatingAdmissionPolicy and its bindings: what the API server says of the same."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import CustodyError
from custody.policy.decide import decide
from custody.policy.kubernetes.validating import BINDING, POLICY
from custody.policy.kyverno.messages import blocked
from custody.policy.load import PolicySet
from custody.policy.model import Decision, Request, Verdict
from custody.policy.phases import Course
from custody.ports.lookup import Absent, Answer, Answered, ApiCall, Failed, NamespaceLabels, Question
from tests.fuzz.admission_policies import API, LONG
from tests.fuzz.validating import NOW

POD: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
                       "spec": {"containers": [{"name": "a", "image": "b"}]}}
PODS = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}
PARAM = ApiCall("/api/v1/namespaces/default/configmaps/limits")


def policy(*expressions: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": POLICY, "metadata": {"name": "p"}, "spec": {
        "matchConstraints": PODS, "validations": [{"expression": expression} for expression in expressions], **spec}}


def binding(name: str = "b", actions: tuple[str, ...] = ("Deny",), **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": BINDING, "metadata": {"name": name}, "spec": {
        "policyName": "p", "validationActions": list(actions), **spec}}


def judged(*documents: dict[str, Any], answers: dict[Question, Answer] | None = None) -> Decision:
    return decide(Request.create(POD), {}, PolicySet([*documents]), NOW, at=Course.VALIDATING, answers=answers or {})


def test_without_a_binding_it_does_not_speak_and_says_why() -> None:
    decision = judged(policy("false"))
    assert decision.verdict is Verdict.NOT_JUDGED
    assert [silent.reason for silent in decision.silent] == ["no ValidatingAdmissionPolicyBinding names it"]


def test_it_denies_in_the_api_servers_words() -> None:
    decision = judged(policy("object.spec.containers.size() > 1"), binding())
    said = ("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: "
            "object.spec.containers.size() > 1")
    assert blocked(Request.create(POD), decision.results) == said
    assert decision.results[0].properties["reason"] == "Invalid"


def test_each_binding_has_its_own_actions() -> None:
    decision = judged(policy("false"), binding("warns", ("Warn",)), binding("audits", ("Audit",)))
    assert decision.verdict is Verdict.ALLOWED
    assert decision.warnings == (
        "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'warns': failed expression: false",)
    assert '"expressionIndex":0' in decision.results[1].properties[
        "validation.policy.admission.k8s.io/validation_failure"]


@pytest.mark.parametrize(("failure_policy", "verdict"), [("Fail", Verdict.DENIED), ("Ignore", Verdict.ALLOWED)])
def test_an_error_is_the_failure_policys(failure_policy: str, verdict: Verdict) -> None:
    decision = judged(policy("object.none == 1", failurePolicy=failure_policy), binding())
    assert (decision.verdict, decision.warnings) == (verdict, ())
    assert decision.results[0].message == "expression 'object.none == 1' resulted in error: no such key: none"


def test_what_costs_too_much_is_an_error() -> None:
    decision = judged(policy(LONG), binding())
    assert decision.verdict is Verdict.DENIED
    assert decision.results[0].message.endswith("actual cost limit exceeded")


def test_variables_are_paid_for_too() -> None:
    inner = LONG.replace("[0,1,2,3,4,5,6,7,8,9].all(f, ", "").replace(" + f < 100)", " < 100")
    variables = [{"name": f"v{at}", "expression": inner} for at in range(12)]
    decision = judged(policy(" && ".join(f"variables.v{at}" for at in range(12)), variables=variables), binding())
    assert "cost" in decision.results[0].message
    assert decision.verdict is Verdict.DENIED


def test_old_objects_that_are_not_there_are_null() -> None:
    assert judged(policy("oldObject == null"), binding()).verdict is Verdict.ALLOWED


def test_match_resources_of_the_binding_narrow_it() -> None:
    selects = {"objectSelector": {"matchLabels": {"app": "web"}}}
    assert judged(policy("false"), binding(matchResources=selects)).verdict is Verdict.NOT_JUDGED
    namespaces = {"namespaceSelector": {"matchLabels": {"env": "prod"}}}
    question = NamespaceLabels("default")
    bound = (policy("false"), binding(matchResources=namespaces))
    assert judged(*bound).asks.questions == (question,)
    assert judged(*bound, answers={question: Answered({"env": "prod"})}).verdict is Verdict.DENIED
    assert judged(*bound, answers={question: Answered({})}).verdict is Verdict.NOT_JUDGED
    assert judged(*bound, answers={question: Absent()}).verdict is Verdict.DENIED


# ── parameters ──────────────────────────────────────────────────────────────────────────────────────────────────────

KIND = {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}


def limited(action: str = "Deny", **ref: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    ref = ref or {"name": "limits"}
    return (policy("object.spec.containers.size() <= int(params.data.limit)", **KIND),
            binding(paramRef={"parameterNotFoundAction": action, **ref}))


def limits(limit: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": "limits", "labels": labels}, "data": {"limit": limit}}


def test_a_parameter_is_asked_for_where_the_request_is() -> None:
    assert judged(*limited()).asks.questions == (PARAM,)
    assert judged(*limited(), answers={PARAM: Answered(limits("1"))}).verdict is Verdict.ALLOWED
    assert judged(*limited(), answers={PARAM: Answered(limits("0"))}).verdict is Verdict.DENIED


def test_a_parameter_that_is_not_there() -> None:
    denied = judged(*limited("Deny"), answers={PARAM: Absent()})
    assert denied.verdict is Verdict.DENIED
    assert denied.results[0].message == ("failed to configure binding: no params found for policy binding with `Deny` "
                                         "parameterNotFoundAction")
    assert judged(*limited("Allow"), answers={PARAM: Absent()}).verdict is Verdict.NOT_JUDGED


def test_a_parameter_that_could_not_be_had_is_not_one_that_is_not_there() -> None:
    decision = judged(*limited("Allow"), answers={PARAM: Failed("403")})
    assert decision.verdict is Verdict.DENIED
    assert "403" in decision.results[0].message


def test_a_selector_judges_by_each_parameter() -> None:
    question = ApiCall("/api/v1/namespaces/default/configmaps")
    bound = limited(selector={"matchLabels": {"a": "b"}})
    several = Answered({"items": [limits("0"), limits("5", a="b"), limits("0", a="b")]})
    assert judged(*bound, answers={question: several}).verdict is Verdict.DENIED
    one = Answered({"items": [limits("0"), limits("5", a="b")]})
    assert judged(*bound, answers={question: one}).verdict is Verdict.ALLOWED


def test_a_kind_that_custody_does_not_know_is_looked_up() -> None:
    bound = (policy("params.spec.yes == true", paramKind={"apiVersion": "example.com/v1", "kind": "Cactus"}),
             binding(paramRef={"name": "c", "parameterNotFoundAction": "Deny"}))
    served = ApiCall("/apis/example.com/v1")
    assert judged(*bound).asks.questions == (served,)
    answers: dict[Question, Answer] = {
        served: Answered({"resources": [{"name": "cacti", "kind": "Cactus", "namespaced": False}]}),
        ApiCall("/apis/example.com/v1/cacti/c"): Answered({"spec": {"yes": True}})}
    assert judged(*bound, answers=answers).verdict is Verdict.ALLOWED


def test_who_may_is_asked_of_the_api_server() -> None:
    bound = (policy("authorizer.group('').resource('pods').check('create').allowed()"), binding())
    question = judged(*bound).asks.questions[0]
    assert isinstance(question, ApiCall)
    assert (question.method, question.path) == ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews")
    assert judged(*bound, answers={question: Answered({"status": {"allowed": True}})}).verdict is Verdict.ALLOWED
    assert judged(*bound, answers={question: Answered({"status": {"allowed": False}})}).verdict is Verdict.DENIED
    assert judged(*bound, answers={question: Failed("403")}).verdict is Verdict.DENIED


@pytest.mark.parametrize(("document", "words"), [
    (binding(actions=("Deny", "Warn")), "not Deny and Warn together"), (binding(actions=()), "got 'nothing'"),
    (binding(paramRef={"name": "a"}), r"spec\.paramRef\.parameterNotFoundAction"),
    (binding(paramRef={"parameterNotFoundAction": "Deny"}), "one of name and selector"),
    (policy("true", validations=[{"expression": "true", "reason": "Unauthorized"}]), r"validations\[0\]\.reason"),
    (policy("true", matchConstraints={}), r"spec\.matchConstraints\.resourceRules"),
    (policy("params.x == 1"), "undeclared reference"), (policy("true", autogen={}), r"spec\.autogen"),
    (policy("true") | {"apiVersion": "admissionregistration.k8s.io/v2"}, "v2 .* is not evaluated")])
def test_refused_by_its_path(document: dict[str, Any], words: str) -> None:
    with pytest.raises(CustodyError, match=words):
        PolicySet([document])


def test_a_binding_that_names_no_policy_binds_nothing() -> None:
    assert not PolicySet([binding()]).policies
