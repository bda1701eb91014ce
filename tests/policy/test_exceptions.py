"""PolicyExceptions: what Kyverno makes of them, when they end, and what they leave to a rule."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from custody.errors import CustodyError
from custody.policy.counting import SIGNATURE, Counting, sign
from custody.policy.decide import decide
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request, Verdict
from custody.policy.phases import Course
from custody.policy.record import record, replay
from custody.ports.lookup import Answered, ApiCall, Failed
from custody.sign.keys import generate_key
from tests.fuzz.validating import NOW, custody
from tests.policy.exception_cases import (
    ANSWERS,
    CASES,
    RESOURCES,
    exception,
    of_rules,
    pod,
    policy,
    rules,
)

_ANSWERS = json.loads(ANSWERS.read_text())


@pytest.mark.parametrize("at", range(len(CASES)))
def test_as_kyverno_says(at: int) -> None:
    made, exceptions = CASES[at]
    said = custody(PolicySet([made, *exceptions]), copy.deepcopy(RESOURCES))
    assert sorted(map(_settled, said.elements())) == sorted(map(_settled, _ANSWERS[at]))


def _settled(row: Sequence[str]) -> list[object]:
    """Kyverno says the checks that a pod fails in any order, where an exclusion was asked."""
    head, *checks = row[3].split("(Forbidden reason")
    return [*row[:3], head, sorted(checks)]


def decided(*documents: dict[str, Any], now: datetime = NOW.now, at: Course = Course.VALIDATING,
            existing: bool = False) -> Decision:
    request = msgspec.structs.replace(Request.create(pod("web")), existing=existing)
    return decide(request, {}, PolicySet([*documents]), Context(now=now), at=at)


EXPIRES = "policies.custody.internal/exception-expires"


@pytest.mark.parametrize("kind", ["policies.kyverno.io", "kyverno.io"])
@pytest.mark.parametrize("at", [Course.VALIDATING, Course.ADMISSION, Course.BACKGROUND])
def test_an_exception_ends_with_its_last_moment(kind: str, at: Course) -> None:
    ends = datetime(2026, 12, 1, tzinfo=UTC)
    made, excused = (policy(), exception(expiresAt="2026-12-01T00:00:00Z"))
    if kind == "kyverno.io":
        made, excused = rules(), of_rules()
        excused["metadata"]["annotations"] = {EXPIRES: "2026-12-01T00:00:00Z"}
    before, after = (decided(made, excused, now=now, at=at, existing=at is Course.BACKGROUND)
                     for now in (ends, ends + timedelta(seconds=1)))
    assert before.verdict is Verdict.NOT_JUDGED
    assert "due to policy exception" in before.results[0].message
    assert after.verdict is Verdict.DENIED


def test_a_replay_judges_by_the_time_that_was_recorded() -> None:
    policies = PolicySet([policy(), exception(expiresAt="2026-12-01T00:00:00Z")])
    request, now = Request.create(pod("web")), Context(now=datetime(2026, 11, 30, tzinfo=UTC))
    decision = decide(request, {}, policies, now)
    kept = record(request, {}, policies, now, at=Course.ADMISSION, decision=decision)
    assert replay(kept) == decision
    assert decision.verdict is Verdict.NOT_JUDGED


def test_an_exception_is_part_of_what_was_decided_on() -> None:
    assert decided(policy()).inputs_digest != decided(policy(), exception()).inputs_digest
    assert PolicySet([policy()]).digest != PolicySet([policy(), exception()]).digest


def test_who_excepted_and_why_is_said() -> None:
    excused = exception(properties={"team": "a"})
    excused["metadata"]["annotations"] = {
        "policies.custody.internal/exception-reason": "migration", "policies.custody.internal/exception-ticket": "T-1",
        "policies.custody.internal/exception-approver": "ann"}
    assert decided(policy(), excused).results[0].properties == {
        "exceptions": "e", "exception-reason": "migration", "exception-ticket": "T-1", "exception-approver": "ann",
        "exception-team": "a"}


def test_an_exception_of_a_part_leaves_the_rest_to_the_rule() -> None:
    made = policy("object.spec.containers.all(c, c.image in exceptions.allowedImages)")
    assert decided(made, exception(images=["b"])).verdict is Verdict.ALLOWED
    assert decided(made, exception(images=["c"])).verdict is Verdict.DENIED


def test_controls_do_not_leave_out_a_whole_pod_security_rule() -> None:
    made = rules(validate={"podSecurity": {"level": "restricted", "version": "latest"}})
    assert decided(made, of_rules(podSecurity=[{"controlName": "Seccomp"}])).verdict is Verdict.DENIED
    assert decided(made, of_rules()).verdict is Verdict.NOT_JUDGED


def test_an_exception_for_admission_alone() -> None:
    excused = of_rules(background=False)
    assert decided(rules(), excused).verdict is Verdict.NOT_JUDGED
    assert decided(rules(), excused, at=Course.BACKGROUND, existing=True).verdict is Verdict.DENIED


def test_an_exception_by_who_asks_holds_for_nobody_unknown() -> None:
    subjects = {"any": [{"resources": {"kinds": ["Pod"]}, "subjects": [{"kind": "User", "name": "ann"}]}]}
    assert decided(rules(), of_rules(match=subjects, background=False)).verdict is Verdict.DENIED


def test_exceptions_that_name_no_rule_change_nothing() -> None:
    policies = PolicySet([policy(), exception(policyRefs=[{"name": "other", "kind": "ValidatingPolicy"}])])
    assert not any(rule.exceptions for rule in policies.rules)


def test_one_webhook_of_several_keeps_the_exceptions_of_its_policies() -> None:
    part = PolicySet([policy(), exception(), rules(), of_rules()]).only(lambda made: made.name == "p")
    assert [document["kind"] for document in part.documents] == ["ValidatingPolicy", "PolicyException"]
    assert all(rule.exceptions for rule in part.rules)


def test_an_autogenerated_rule_is_excepted_too() -> None:
    excused = PolicySet([policy(), exception()])
    template = copy.deepcopy(RESOURCES[-1])
    assert decide(Request.create(template), {}, excused, NOW).verdict is Verdict.NOT_JUDGED


def test_what_its_condition_asks_is_asked_first() -> None:
    policies = PolicySet([policy(), exception(conditions=["namespaceObject.metadata.labels.a == 'b'"])])
    question, request = ApiCall("/api/v1/namespaces/default"), Request.create(pod("web"))
    assert decide(request, {}, policies, NOW).asks.questions == (question,)
    namespace = {"metadata": {"name": "default", "labels": {"a": "b"}}}
    assert decide(request, {}, policies, NOW, answers={question: Answered(namespace)}).verdict is Verdict.NOT_JUDGED
    failed = decide(request, {}, policies, NOW, answers={question: Failed("403")})
    assert failed.verdict is Verdict.DENIED
    assert "403" in failed.results[0].message


@pytest.mark.parametrize(("namespaces", "counts"), [
    ((), False), (("other",), False), (("ex",), True), (("*",), True)])
@pytest.mark.parametrize("made", [(policy(), exception()), (rules(), of_rules())])
def test_exceptions_count_in_the_namespaces_that_are_named(
        made: tuple[dict[str, Any], ...], namespaces: tuple[str, ...], counts: bool) -> None:
    policies = PolicySet.load(made, exceptions=Counting(namespaces))
    decision = decide(Request.create(pod("web")), {}, policies, NOW)
    assert decision.verdict is (Verdict.NOT_JUDGED if counts else Verdict.DENIED)
    assert [reason for _, reason in policies.uncounted] == ([] if counts else [
        f"PolicyException {made[1]['metadata']['name']} lies in namespace ex, and exceptions count in "
        f"{namespaces[0] if namespaces else 'none'} (setting `exceptions`)"])
    assert len(policies.documents) == (2 if counts else 1)  # a replay knows no other


@pytest.mark.parametrize(("document", "words"), [
    (exception(expiresAt="tomorrow"), r"spec\.expiresAt: got 'tomorrow', expected a time"),
    (exception(expiresAt="2026-12-01"), r"spec\.expiresAt: got '2026-12-01'"),
    (exception(reportResult="fail"), r"spec\.reportResult: got 'fail', expected skip or pass"),
    (exception(policyRefs=[]), r"spec\.policyRefs: got 'nothing'"),
    (exception(rules=[]), r"spec\.rules: not evaluated"),
    (exception(evaluationMode="Envoy"), r"spec\.evaluationMode: 'Envoy' is not evaluated"),
    (exception(conditions=["1"]), r"spec\.matchConditions\[0\]\.expression"),
    (of_rules(podSecurity=[{"images": ["a"]}]), r"spec\.podSecurity\[0\]\.controlName: got 'nothing'"),
    (of_rules(podSecurity=[{"controlName": "Capabilities"}]), "expected images for Capabilities"),
    (of_rules(podSecurity=[{"controlName": "Sysctls", "images": ["a"]}]), "expected no images for Sysctls"),
    (of_rules(match={"any": [{"subjects": [{"kind": "User", "name": "chip"}], "resources": {"kinds": ["Pod"]}}]}),
     r"spec\.match\.any\[0\]\.subjects: got 'who asks', expected none, or background: false"),
    (of_rules(match={"any": []}), r"spec\.match")])
def test_refused_by_its_path(document: dict[str, Any], words: str) -> None:
    with pytest.raises(CustodyError, match=words):
        PolicySet([document])


def test_an_annotation_that_custody_does_not_know() -> None:
    excused = exception()
    excused["metadata"]["annotations"] = {"policies.custody.internal/exception-reasn": "x"}
    with pytest.raises(CustodyError, match="custody has no such annotation"):
        PolicySet([excused])


def _changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    part = after = copy.deepcopy(document)
    *steps, last = path.split("/")
    for step in steps:
        part = part.setdefault(step, {})
    part[last] = value
    return after


@pytest.mark.parametrize("made", [(policy(), exception()), (rules(), of_rules())], ids=["CEL", "rules"])
def test_an_exception_is_signed_where_keys_are_named(made: tuple[dict[str, Any], ...]) -> None:
    key, stranger = generate_key(), generate_key()
    counting = Counting(("ex",), [key.public])
    unsigned = _changed(made[1], "metadata/annotations", {
        "policies.custody.internal/exception-expires": "2099-01-01T00:00:00Z",
        "policies.custody.internal/exception-approver": "eve"})
    document = sign(unsigned, key.sign)
    name = made[1]["metadata"]["name"]

    def fault(changed: dict[str, Any]) -> str:
        reason = counting.fault(changed)
        loaded = PolicySet.load([made[0], changed], exceptions=counting)
        assert [said for _, said in loaded.uncounted] == ([reason] if reason else [])
        decision = decide(Request.create(pod("web")), {}, loaded, NOW)
        assert decision.verdict is (Verdict.DENIED if reason else Verdict.NOT_JUDGED)
        return reason.removeprefix(f"PolicyException {name} ").removesuffix(" (setting `exception_keys`)")

    assert fault(document) == ""
    # What the API server and tools write beside it is not signed.
    beside = {"uid": "u", "resourceVersion": "7", "labels": {"a": "b"}}
    stored = {**document, "metadata": {**document["metadata"], **beside}}
    assert fault(_changed(stored, "status", {})) == ""
    assert fault(unsigned) == "is not signed"
    assert fault(sign(unsigned, stranger.sign)) == "is not what a key that counts has signed"
    for annotation, value in (("exception-expires", "2100-01-01T00:00:00Z"), ("exception-approver", "ann")):
        after = copy.deepcopy(document)
        after["metadata"]["annotations"][f"policies.custody.internal/{annotation}"] = value
        assert fault(after) == "is not what a key that counts has signed"
    broken = {**document["metadata"]["annotations"], SIGNATURE: "no base64!"}
    assert fault(_changed(document, "metadata/annotations", broken)) == "has a signature that is none"
    other = sign(_changed(unsigned, "metadata/name", "other"), key.sign)
    moved = _changed(document, "metadata/annotations", other["metadata"]["annotations"])
    assert fault(moved) == "is not what a key that counts has signed"
    elsewhere = _changed(document, "metadata/namespace", "team")
    assert "lies in namespace team" in counting.fault(elsewhere)
    everywhere = Counting(("*",), [key.public])
    assert "is not what a key that counts has signed" in everywhere.fault(elsewhere)


def test_what_the_api_server_adds_to_a_signed_exception() -> None:
    key = generate_key()
    document = sign(exception(), key.sign)
    assert Counting(("ex",), [key.public]).fault(_changed(document, "spec/reportResult", "skip")) == ""
    assert "has signed" in Counting(("ex",), [key.public]).fault(_changed(document, "spec/reportResult", "pass"))
