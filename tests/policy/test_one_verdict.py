"""One verdict: generated requests have one answer, whoever asks; and what can be sent to the fold."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from typing import Any

import msgspec
import pytest

from custody.admission import judging
from custody.admission.judging import Judged, Judging
from custody.admission.webhook import Admission
from custody.errors import MalformedError
from custody.evidence.model import EvidenceSet
from custody.formats import jsonpatch
from custody.policy.decide import decide
from custody.policy.engines import ENGINES
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Outcome, Request, Verdict
from custody.policy.phases import Course
from custody.policy.record import replay
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import Answer, Answered, Failed, Lookup, NamespaceLabels, Question
from tests.fuzz.verdicts.compare import ask
from tests.policy import toy_engine
from tests.policy.test_images import DIGEST, IMAGE, NOW, keyless, pod, policies, reason, statement
from tests.policy.toy_engine import LabelRule, label

VERIFY = policies(**keyless()).documents[0]
TEAM = NamespaceLabels("default")
EVIDENCE = {IMAGE: EvidenceSet(subject=DIGEST, verified=(statement(),))}


@pytest.fixture(autouse=True)
def _row(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, engine in toy_engine.ROW.items():
        monkeypatch.setitem(ENGINES, kind, engine)


SEEN = [
    *(f"verdict: {verdict}" for verdict in Verdict), *(f"request: {operation}" for operation in (
        "CREATE", "UPDATE", "DELETE", "CREATE subresource", "UPDATE subresource", "CONNECT subresource")),
    "LabelRule: pass", "LabelRule: error", "ModeRule: pass", "ModeRule: fail", "ModeRule: skip", "ModeRule: error",
    "LabelsRule: pass", "LabelsRule: fail", "ValidateRule: pass", "ValidateRule: fail", "ValidateRule: skip",
    "ValidateRule: error", "VerifyRule: pass", "VerifyRule: fail", "VerifyRule: skip",
    "a failure that does not deny", "a patch that does not fit", "patch applied", "dry run",
    "denied when it is asked again",
    "looked up nothing, or could not", "check of the object alone", "a rule in the background",
    "silent: its match does not select this request", "silent: its exclude leaves this request out",
    "silent: it has nothing to judge in this request", "silent: its policy is about requests alone",
    "silent: it reads request.operation", "silent: it reads subjects"]


def test_webhook_check_replay_and_background_say_the_same() -> None:
    logging.getLogger("custody.policy.decide").setLevel(logging.CRITICAL)
    seen = ask(300, 13, batch=10)
    assert (seen["requests"], seen["differences"], seen["internal error"]) == (300, 0, 0)
    assert [name for name in SEEN if not seen[name]] == []


# Asked again


def test_what_is_only_audited_counts_where_it_is_first_seen_when_asked_again() -> None:
    """The mutating webhook leaves out a skipped image; the validating one misses its digest."""
    entry = {"imageReferences": ["*"], "skipImageReferences": ["ghcr.io/myorg/*"], "mutateDigest": False,
             "attestors": VERIFY["spec"]["rules"][0]["verifyImages"][0]["attestors"]}
    policy = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {"rules": [{
        "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
        "verifyImages": [entry | {"failureAction": "Audit"}]}]}}
    audited = of(policy)
    assert audited.verdict is Verdict.ALLOWED
    assert [(result.outcome, result.message) for result in audited.results] == [
        (Outcome.SKIP, f"skipping image reference image {IMAGE}, policy p ruleName r"),
        (Outcome.FAIL, f"missing digest for {IMAGE}")]
    # One that denies counts also where the same image had an audited failure before.
    missing = entry | {"failureAction": "Audit"}
    missing["skipImageReferences"] = []
    missing["attestors"] = [{"entries": [{"keyless": {
        "issuer": "https://i", "subject": "nobody", "rekor": {"url": "https://rekor.sigstore.dev"}}}]}]
    policy["spec"]["rules"][0]["verifyImages"] = [missing, entry | {"failureAction": "Enforce"}]  # type: ignore[index]
    both = of(policy)
    assert both.verdict is Verdict.DENIED
    assert [result.message for result in both.results if result.denies] == [f"missing digest for {IMAGE}"]


# Patches


def of(*documents: dict[str, Any], resource: dict[str, Any] | None = None, **given: Any) -> Decision:
    return decide(Request.create(resource or pod(), "default"), EVIDENCE, PolicySet(documents), Context(now=NOW),
                  **given)


def patching(name: str, *operations: dict[str, Any]) -> dict[str, Any]:
    return label(name, patch=list(operations))


def test_an_image_that_a_patch_removes_is_not_judged_and_one_that_stays_is() -> None:
    resource = pod(initContainers=[{"name": "i", "image": "ghcr.io/myorg/unsigned:1"}])
    assert of(VERIFY, resource=resource).verdict is Verdict.DENIED
    decision = of(VERIFY, patching("toy", {"op": "remove", "path": "/spec/initContainers"}), resource=resource)
    assert decision.verdict is Verdict.ALLOWED
    assert [result.image for result in decision.results if result.policy == "p"] == [IMAGE]
    assert [change["path"] for change in decision.patch if change["op"] == "replace"] == ["/spec/containers/0/image"]


def test_a_pod_without_its_spec_has_no_image_and_nothing_to_allow() -> None:
    decision = of(VERIFY, patching("toy", {"op": "move", "from": "/spec", "path": "/was"}))
    assert decision.verdict is Verdict.NOT_JUDGED
    assert [silent.reason for silent in decision.silent] == ["it has nothing to judge in this request"]


@pytest.mark.parametrize(("operations", "said"), [
    ([{"op": "remove", "path": "/spec/containers/0"}],
     "patch[2].path: got '0', expected no index: the list is empty (remove /spec/containers/0)"),
    ([{"op": "replace", "path": "/spec/nowhere/deep", "value": 1}],
     "patch[2].path: got \"no 'nowhere'\", expected a field that is there (replace /spec/nowhere/deep)"),
    ([{"op": "test", "path": "/spec/hostNetwork", "value": True}], "(test /spec/hostNetwork)"),
    ([{"op": "test", "path": "/kind", "value": "Job"}], "expected the value that is tested for (test /kind)"),
    ([{"op": "replace", "path": "", "value": []}], "got a list, expected one that leaves an object"),
    ([5], "patch[2]: got a number, expected an operation: a map"),
    ([{"op": "copy", "from": "/spec", "path": f"/spec/x{at}"} for at in range(40)], "1000000 values copied"),
])
def test_a_patch_that_does_not_fit_what_is_there_by_then_is_its_rules_error(operations: Any, said: str) -> None:
    first = patching("first", {"op": "remove", "path": "/spec/containers/0"})
    decision = of(first, patching("second", {"op": "test", "path": "/kind", "value": "Pod"}, *operations))
    failed = [result for result in decision.results if result.outcome is Outcome.ERROR]
    assert [(result.policy, result.rule) for result in failed] == [("second", "label")]
    assert said in failed[0].message
    assert decision.verdict is Verdict.DENIED
    assert decision.patch == []


def test_verify_rules_whose_patches_conflict_are_not_both_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of custody's does so: each pins an image by one digest."""
    other = {**VERIFY, "metadata": {"name": "q"}}
    removal = {"op": "remove", "path": "/spec/containers/0"}
    loaded = PolicySet([VERIFY, other])
    for rule in loaded.rules:
        monkeypatch.setattr(rule, "_pins", lambda given, rule=rule: iter(
            [removal, {"op": "test", "path": f"/metadata/{'name' if rule.policy.name == 'p' else 'no'}",
                       "value": "p"}]))
    decision = decide(Request.create(pod()), EVIDENCE, loaded, Context(now=NOW), at=Course.MUTATING)
    assert decision.verdict is Verdict.DENIED
    assert "(test /metadata/no)" in reason(decision)
    assert [result.policy for result in decision.results if result.denies] == ["q"]


def test_a_pin_of_an_image_that_another_verify_rule_took_out_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = PolicySet([VERIFY, {**VERIFY, "metadata": {"name": "q"}}])
    monkeypatch.setattr(loaded.rules[0], "_pins", lambda _: iter([{"op": "remove", "path": "/spec/containers/0"}]))
    monkeypatch.setattr(loaded.rules[1], "_pins", lambda _: iter(
        [{"op": "replace", "path": "/spec/containers/0/image", "value": "ghcr.io/x/y:1"}]))
    for course in (Course.MUTATING, Course.ADMISSION):
        decision = decide(Request.create(pod()), EVIDENCE, loaded, Context(now=NOW), at=course)
        assert [result.policy for result in decision.results if result.denies][:1] == ["q"]
        assert "its patch does not fit" in reason(decision)


# Questions


class Cluster(Lookup):
    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[Question] = []

    async def answer(self, question: Question) -> Answer:
        self.asked.append(question)
        return self.answers.pop(0)


async def _signed(snapshot: Snapshot, images: list[str]) -> dict[str, EvidenceSet]:
    return {image: EvidenceSet(subject=DIGEST, verified=(statement(),)) for image in images}


def judged(loaded: PolicySet, lookup: Any) -> Judged:
    return asyncio.run(Judging(_signed, lambda: NOW, lookup).judge(
        Request.create(pod(), "default"), Snapshot(loaded), Course.ADMISSION))


def asking(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Label rules ask about `count` namespaces, and make of each failure what they like."""
    def evaluate(self: LabelRule, given: Any) -> Any:
        for at in range(count):
            try:
                given.answers.value(NamespaceLabels(f"n{at}"))
            except Exception as error:
                if "not known yet" not in str(error):
                    raise
        return evaluated(self, given)

    evaluated = LabelRule.evaluate
    monkeypatch.setattr(LabelRule, "evaluate", evaluate)


def test_more_questions_than_are_looked_up_have_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    asking(monkeypatch, judging.QUESTIONS + 5)
    cluster = Cluster(*[Answered({})] * judging.QUESTIONS)
    result = judged(PolicySet([label(), VERIFY]), cluster)
    assert len(cluster.asked) == judging.QUESTIONS
    assert result.decision.verdict is Verdict.DENIED
    assert "more than 1000 questions are asked about one request" in reason(result.decision)
    assert replay(result.record()) == result.decision


def test_an_answer_of_fifty_megabytes_has_failed() -> None:
    result = judged(PolicySet([label(fromNamespace=True)]), Cluster(Answered({"team": "x" * 50_000_000})))
    assert result.decision.verdict is Verdict.DENIED
    assert "its answer has 50000011 bytes, and 16777216 are left" in reason(result.decision)
    assert len(result.record()) < 10_000


def test_what_is_no_json_is_no_answer() -> None:
    result = judged(PolicySet([label(fromNamespace=True)]), Cluster(Answered(object())))
    assert "its answer is no JSON" in reason(result.decision)


def test_a_question_of_two_rules_is_asked_once_and_answered_alike() -> None:
    both = [label(fromNamespace=True), label("later", fromNamespace=True, computed=True)]
    cluster = Cluster(Answered({"team": "blue"}), Failed("the second time"))
    result = judged(PolicySet(both), cluster)
    assert cluster.asked == [TEAM]
    assert {result.message for result in result.decision.results} == {"label blue"}
    failed = judged(PolicySet(both), Cluster(Failed("the first time"), Answered({"team": "blue"})))
    assert [result.outcome for result in failed.decision.results] == [Outcome.ERROR, Outcome.ERROR]


def test_a_question_that_an_earlier_rule_asked_is_none_that_a_later_one_may_pass_over(
        monkeypatch: pytest.MonkeyPatch) -> None:
    asking(monkeypatch, 1)
    decision = of(label(), label("later"))
    assert [result.outcome for result in decision.results] == [Outcome.ERROR, Outcome.ERROR]
    assert len(decision.asks.questions) == 1


def test_a_rule_whose_needs_cannot_be_said_is_not_the_others_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def needs(self: LabelRule, given: Any) -> Any:
        raise ValueError("secret")

    monkeypatch.setattr(LabelRule, "needs", needs)
    cluster = Cluster(Answered({"team": "blue"}))
    result = judged(PolicySet([label(fromNamespace=True), VERIFY]), cluster)
    assert result.decision.verdict is Verdict.ALLOWED  # it was asked when it was evaluated
    assert cluster.asked == [TEAM]


# Snapshots and records


def review(resource: dict[str, Any]) -> bytes:
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "kind": {"kind": "Pod", "version": "v1", "group": ""}, "name": "p", "namespace": "default",
        "operation": "CREATE", "object": resource}}).encode()


def test_policies_that_are_swapped_between_the_two_webhooks_judge_what_begins_then() -> None:
    """A review ends with the snapshot that it began with, and the next one has nothing of it."""
    loaded, stricter = PolicySet([VERIFY]), PolicySet([policies(**keyless(subject="https://nobody")).documents[0]])
    used: list[Snapshot] = []

    async def main() -> list[dict[str, Any]]:
        async def gather(snapshot: Snapshot, images: list[str]) -> dict[str, EvidenceSet]:
            used.append(snapshot)
            admission.swap(Snapshot(stricter))
            return await _signed(snapshot, images)

        admission = Admission(loaded, gather, lambda: NOW)
        first = json.loads(await admission.review(review(pod()), mutate=True))["response"]
        patched = jsonpatch.apply(pod(), json.loads(base64.b64decode(first["patch"])))
        return [first, json.loads(await admission.review(review(patched)))["response"]]

    first, second = asyncio.run(main())
    assert [snapshot.policies for snapshot in used] == [loaded, stricter]
    assert (first["allowed"], second["allowed"]) == (True, False)


@pytest.mark.parametrize("part", ["answers", "evidence"])
def test_a_record_without_what_was_known_is_no_record(part: str) -> None:
    audited = json.loads(json.dumps(VERIFY))  # what cannot be evaluated does not deny
    audited["spec"]["validationFailureAction"] = "Audit"
    audited["spec"]["rules"][0]["verifyImages"][0]["mutateDigest"] = False
    result = judged(PolicySet([label(fromNamespace=True), audited]), Cluster(Answered({"team": "blue"})))
    assert result.decision.allowed
    kept = json.loads(result.record())
    assert replay(msgspec.json.encode(kept)) == result.decision
    edited = {**kept, part: type(kept[part])()}
    about = {"answers": "nothing about the labels of namespace 'default'", "evidence": f"the evidence of {IMAGE}"}
    with pytest.raises(MalformedError, match="everything that was decided on") as refused:
        replay(msgspec.json.encode(edited))
    assert about[part] in refused.value.message
