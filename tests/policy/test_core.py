"""The core that engines share, by an engine that is none of custody's: `toy_engine`, one file and one row."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from custody.admission.configuration import configurations
from custody.admission.judging import ROUNDS, Judging
from custody.admission.webhook import Admission
from custody.errors import UnsupportedError
from custody.evidence.model import EvidenceSet
from custody.formats import jsonpatch
from custody.policy.decide import decide
from custody.policy.engines import ENGINES
from custody.policy.kinds import builtin
from custody.policy.lint import lint_all
from custody.policy.load import PolicySet
from custody.policy.lookup import Answers
from custody.policy.model import Change, Context, Decision, Kind, Outcome, Request, User, Verdict
from custody.policy.phases import Course, Phase
from custody.policy.record import read, replay
from custody.policy.scope import Block, Filter, LabelSelector, Named, Requirement, Scope, Subject
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import Absent, Answer, Answered, Failed, Lookup, NamespaceLabels, Question
from tests.policy import toy_engine
from tests.policy.test_images import DIGEST, IMAGE, NOW, keyless, pod, policies, reason, statement
from tests.policy.toy_engine import PAIRS, LabelRule, label

OTHER = "ghcr.io/myorg/other:1"
TEAM = NamespaceLabels("default")
KNOWN: dict[Question, Answer] = {TEAM: Answered({"team": "blue"})}
DEMANDS_TEAM = {
    "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "team"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
            "validate": {"message": "no team", "pattern": {"metadata": {"labels": {"team": "a|blue"}}}}}]}}


@pytest.fixture(autouse=True)
def _row(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, engine in toy_engine.ROW.items():
        monkeypatch.setitem(ENGINES, kind, engine)


class Cluster(Lookup):
    """A cluster that says what it is told to, and keeps what it was asked."""

    def __init__(self, answers: Mapping[Question, Answer] = KNOWN) -> None:
        self.answers = answers
        self.asked: list[Question] = []

    async def answer(self, question: Question) -> Answer:
        self.asked.append(question)
        return self.answers.get(question, Absent())


async def signed(snapshot: Snapshot, images: list[str]) -> dict[str, EvidenceSet]:
    return {image: EvidenceSet(subject=DIGEST, verified=(statement(),)) for image in images}


def of(loaded: PolicySet, at: Course = Course.ADMISSION, **given: Any) -> Decision:
    evidence = {IMAGE: EvidenceSet(subject=DIGEST, verified=(statement(),))}
    return decide(Request.create(pod()), evidence, loaded, Context(now=NOW), at=at, **given)


def judged(loaded: PolicySet, lookup: Any, at: Course = Course.ADMISSION) -> Any:
    return asyncio.run(Judging(signed, lambda: NOW, lookup).judge(
        Request.create(pod(), "default"), Snapshot(loaded), at))


def test_an_engine_is_a_row_and_its_versions_are_its_own() -> None:
    loaded = PolicySet([label(), DEMANDS_TEAM, label("other", value="b")])
    assert [(policy.name, policy.engine, policy.parts) for policy in loaded.policies] == [
        ("toy", "toy", (0,)), ("team", "kyverno", (1,)), ("other", "toy", (2,))]
    with pytest.raises(UnsupportedError, match=r"policies\[0\]: apiVersion: toy.example/v2 is not read"):
        PolicySet([{**label(), "apiVersion": "toy.example/v2"}])
    with pytest.raises(UnsupportedError, match="v1 Pod is not evaluated by custody yet") as refused:
        PolicySet([{"apiVersion": "v1", "kind": "Pod"}])
    assert "ClusterPolicy, Policy" in str(refused.value.hint)
    assert "Label of toy.example" in str(refused.value.hint)


def test_rules_see_what_those_before_them_changed() -> None:
    assert reason(of(PolicySet([DEMANDS_TEAM]))).startswith("validation error: no team")
    decision = of(PolicySet([DEMANDS_TEAM, label(), *policies(**keyless()).documents]))
    assert decision.verdict is Verdict.ALLOWED
    patched = jsonpatch.apply(pod(), decision.patch)
    assert patched["metadata"]["labels"] == {"team": "a"}
    assert patched["spec"]["containers"][0]["image"] == f"{IMAGE}@{DIGEST}"
    assert [result.policy for result in decision.results] == ["toy", "p", "team"]


def test_a_change_alone_allows_nothing() -> None:
    decision = of(PolicySet([label()]))
    assert decision.verdict is Verdict.NOT_JUDGED
    assert decision.patch


def test_the_webhooks_are_the_same_fold_stopped_and_begun_elsewhere() -> None:
    loaded = PolicySet([DEMANDS_TEAM, label()])
    first, second = of(loaded, Course.MUTATING), of(loaded, Course.VALIDATING)
    assert [result.policy for result in first.results] == ["toy"]
    assert first.patch == of(loaded).patch
    assert [result.policy for result in second.results] == ["team"]
    assert second.verdict is Verdict.DENIED  # whoever asked has no label on the pod
    assert second.patch == []


def test_each_change_is_seen_by_the_next_and_one_that_does_not_fit_is_an_error() -> None:
    second = label("second", value="b")
    third = label("third", path="/metadata/labels/team/x")
    decision = of(PolicySet([label(), second]))
    assert jsonpatch.apply(pod(), decision.patch)["metadata"]["labels"] == {"team": "b"}
    broken = of(PolicySet([label(), third]))
    assert broken.verdict is Verdict.DENIED
    assert "third" in [result.policy for result in broken.results if result.outcome is Outcome.ERROR]
    assert "its patch does not fit: patch[0].path" in reason(broken)
    assert broken.patch == []


def test_an_image_that_a_change_brings_in_is_asked_for_and_judged() -> None:
    loaded = PolicySet([label(image=OTHER), *policies(**keyless()).documents])
    alone = of(loaded)
    assert alone.asks.images == (OTHER,)
    assert "no evidence was gathered (missing)" in reason(alone)
    result = judged(loaded, None)
    assert result.decision.verdict is Verdict.ALLOWED
    assert set(result.evidence) == {IMAGE, OTHER}
    patched = jsonpatch.apply(pod(), result.decision.patch)
    assert patched["spec"]["initContainers"][0]["image"] == f"{OTHER}@{DIGEST}"


def test_evidence_follows_an_image_to_wherever_it_is_moved() -> None:
    named = f"{IMAGE}@{DIGEST}"
    decision = of(PolicySet([label(image=named), *policies(**keyless()).documents]))
    assert decision.verdict is Verdict.ALLOWED
    assert decision.asks.images == ()
    other = of(PolicySet([label(image=f"{OTHER}@{DIGEST}"), *policies(**keyless()).documents]))
    assert other.asks.images == (f"ghcr.io/myorg/other@{DIGEST}",)  # of another repository nothing is known


# Questions


def test_a_question_without_an_answer_ends_the_decision_with_it() -> None:
    request = Request.create(pod(), "default")
    loaded = PolicySet([label(fromNamespace=True)])
    decision = decide(request, {}, loaded, Context(now=NOW))
    assert decision.asks.questions == (TEAM,)
    assert reason(decision) == "the rule could not be evaluated: not known yet: the labels of namespace 'default'"
    assert loaded.needs(request).questions == [TEAM]
    answered = decide(request, {}, loaded, Context(now=NOW), answers=KNOWN)
    assert not answered.asks
    assert answered.patch[-1]["value"] == "blue"
    assert answered.inputs_digest != decision.inputs_digest


def test_failed_is_not_absent() -> None:
    loaded = PolicySet([label(fromNamespace=True)])
    request = Request.create(pod(), "default")
    failed = decide(request, {}, loaded, Context(now=NOW), answers={TEAM: Failed("connection refused")})
    assert failed.verdict is Verdict.DENIED
    assert "could not be had: the labels of namespace 'default': connection refused" in reason(failed)
    absent = decide(request, {}, loaded, Context(now=NOW), answers={TEAM: Absent()})
    assert absent.patch[-1]["value"] == ""


@pytest.mark.parametrize("computed", [False, True])
def test_what_is_needed_or_asked_is_looked_up_and_recorded(computed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    result = judged(PolicySet([DEMANDS_TEAM, label(fromNamespace=True, computed=computed)]), cluster)
    assert cluster.asked == [TEAM]
    assert result.decision.verdict is Verdict.ALLOWED
    kept = result.record()
    assert dict(read(kept).answers) == KNOWN
    monkeypatch.setattr(Cluster, "answer", None)
    assert replay(kept) == result.decision


def test_nobody_to_ask_is_an_error_with_its_reason() -> None:
    result = judged(PolicySet([label(fromNamespace=True)]), None)
    assert result.decision.verdict is Verdict.DENIED
    assert "there is nobody to ask" in reason(result.decision)


def test_where_all_is_known_nobody_is_waited_for() -> None:
    """What is decided so is what is decided else; with one thing that is not known, all of it is asked."""
    class Knowing(Cluster):
        def known(self, question: Question) -> Answer | None:
            return self.answers.get(question)

    loaded = PolicySet([label(fromNamespace=True, computed=True)])
    request = Request.create(pod(), "default")
    knowing = Knowing()
    begun = Judging(signed, lambda: NOW, knowing).begin(request, Snapshot(loaded), Course.ADMISSION)
    assert begun.judged is not None
    assert begun.judged.decision == judged(loaded, Cluster()).decision
    assert knowing.asked == []

    unsure = Cluster()
    judging = Judging(signed, lambda: NOW, unsure)
    begun = judging.begin(request, Snapshot(loaded), Course.ADMISSION)
    assert begun.judged is None
    assert unsure.asked == []
    assert asyncio.run(judging.conclude(begun)).decision == judged(loaded, Cluster()).decision
    assert unsure.asked


def test_what_cannot_be_said_to_be_known_is_asked() -> None:
    """A memory that fails is no answer: who waits is told what asking gives."""
    class Broken(Cluster):
        def known(self, _: Question) -> Answer | None:
            raise OSError("disk I/O error")

    class Forgetful:
        def __init__(self) -> None:
            self.asked = 0

        async def __call__(self, snapshot: Snapshot, names: list[str]) -> dict[str, EvidenceSet]:
            self.asked += 1
            return await signed(snapshot, names)

        def known(self, _: Snapshot, __: list[str]) -> dict[str, EvidenceSet] | None:
            raise OSError("disk I/O error")

    loaded = PolicySet([label(fromNamespace=True, computed=True)])
    request = Request.create(pod(), "default")
    broken = Broken()
    judging = Judging(signed, lambda: NOW, broken)
    begun = judging.begin(request, Snapshot(loaded), Course.ADMISSION)
    assert begun.judged is None
    assert asyncio.run(judging.conclude(begun)).decision == judged(loaded, Cluster()).decision
    assert broken.asked

    gather = Forgetful()
    judging = Judging(gather, lambda: NOW)
    begun = judging.begin(request, Snapshot(policies(**keyless())), Course.ADMISSION)
    assert begun.judged is None
    assert asyncio.run(judging.conclude(begun)).decision.verdict is Verdict.ALLOWED
    assert gather.asked == 1


def test_evidence_that_is_known_is_not_waited_for_unless_it_is_heavy() -> None:
    class Kept:
        def __init__(self, weight: int) -> None:
            self.weight, self.asked = weight, 0

        async def __call__(self, snapshot: Snapshot, names: list[str]) -> dict[str, EvidenceSet]:
            self.asked += 1
            return await signed(snapshot, names)

        def known(self, _: Snapshot, names: list[str]) -> dict[str, EvidenceSet] | None:
            about = EvidenceSet(subject=DIGEST, verified=(statement(),), weight=self.weight)
            return dict.fromkeys(names, about) if self.weight else None

    loaded = policies(**keyless())
    request = Request.create(pod(), "default")
    for weight, at_once, asked in ((1, True, 0), (1 << 20, False, 0), (0, False, 1)):
        kept = Kept(weight)
        judging = Judging(kept, lambda: NOW)
        begun = judging.begin(request, Snapshot(loaded), Course.ADMISSION)
        assert (begun.judged is not None) is at_once
        decision = asyncio.run(judging.conclude(begun)).decision
        assert decision.verdict is Verdict.ALLOWED
        assert kept.asked == asked


def test_questions_without_end_are_not_asked_without_end() -> None:
    class Endless(Cluster):
        async def answer(self, question: Question) -> Answer:
            self.asked.append(question)
            return Answered({"team": f"t{len(self.asked)}"})

    rule = PolicySet([label(fromNamespace=True, computed=True)])
    endless = Endless()

    def evaluate(self: Any, given: Any) -> Any:
        at = "default"
        while True:
            at = str(given.answers.value(NamespaceLabels(at))["team"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy_engine.LabelRule, "evaluate", evaluate)
        result = judged(rule, endless)
    assert len(endless.asked) == ROUNDS - 1
    assert result.decision.verdict is Verdict.DENIED
    assert result.decision.asks.questions


def test_a_lookup_that_never_answers_or_breaks_is_a_failure_in_time() -> None:
    class Silent(Lookup):
        async def answer(self, question: Question) -> Answer:
            await asyncio.sleep(60)
            raise AssertionError

    class Broken(Lookup):
        async def answer(self, question: Question) -> Answer:
            raise ValueError("secret")

    async def main(lookup: Any) -> Decision:
        deadline = asyncio.get_running_loop().time() + 0.1
        found = await Judging(signed, lambda: NOW, lookup).judge(
            Request.create(pod(), "default"), Snapshot(PolicySet([label(fromNamespace=True)])), Course.ADMISSION,
            deadline=deadline)
        return found.decision

    assert "not answered within 0.1 s" in reason(asyncio.run(main(Silent())))
    broken = reason(asyncio.run(main(Broken())))
    assert "an internal error (ValueError)" in broken
    assert "secret" not in broken


def test_the_webhook_answers_with_the_patch_and_is_registered_for_it() -> None:
    loaded = PolicySet([DEMANDS_TEAM, label(fromNamespace=True)])
    webhook = Admission(loaded, signed, lambda: NOW, lookup=Cluster())
    asked = {"uid": "u", "kind": {"kind": "Pod", "version": "v1", "group": ""}, "name": "p", "namespace": "default",
             "operation": "CREATE", "object": pod()}

    def ask(mutate: bool) -> dict[str, Any]:
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked})
        said: dict[str, Any] = json.loads(asyncio.run(webhook.review(body.encode(), mutate=mutate)))["response"]
        return said

    assert not ask(False)["allowed"]
    answer = ask(True)
    patch = json.loads(base64.b64decode(answer["patch"]))
    asked["object"] = jsonpatch.apply(pod(), patch)
    assert asked["object"]["metadata"]["labels"] == {"team": "blue"}
    assert ask(False)["allowed"]
    kinds = {document["kind"]: document["webhooks"][0]["rules"] for document in configurations(
        "https://x", b"CA", PolicySet([label()]))}
    assert [rule["operations"] for rule in kinds["MutatingWebhookConfiguration"]] == [["CREATE", "UPDATE"]]
    assert "ValidatingWebhookConfiguration" not in kinds  # it only changes


def test_a_folder_of_two_engines_policies_loads(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(label()))
    (tmp_path / "b.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [DEMANDS_TEAM]}))
    loaded = PolicySet.load([tmp_path])
    part = loaded.only(lambda policy: policy.engine == "toy")
    assert part.documents == [label()]
    assert part.only(lambda policy: True).documents == [label()]
    assert loaded.only(lambda policy: policy.engine == "kyverno").only(lambda policy: True).documents == [DEMANDS_TEAM]


def test_lint_asks_the_engine() -> None:
    findings, loaded = lint_all([("a", label(value="")), ("b", label("b"))], builtin())
    assert ([(finding.policy, finding.code) for finding in findings], loaded) == ([("toy", "says-nothing")], 2)


def value_of(name: str, value: str = "b") -> dict[str, Any]:
    return {"apiVersion": "toy.example/v1", "kind": "LabelValue", "metadata": {"name": name}, "value": value}


def test_lint_links(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, engine in PAIRS.items():
        monkeypatch.setitem(ENGINES, key, engine)
    findings, loaded = lint_all([("v", value_of("toy")), ("a", label()), ("lone", value_of("nobody")),
                                 ("b", label("b"))], builtin())
    assert [(finding.policy, finding.code, finding.message) for finding in findings] == [
        ("toy", "made-of", "v and a"),
        ("lone", "refused", "metadata.name: got 'nobody', expected that of a Label"),
        ("b", "made-of", "b")]
    assert loaded == 3
    assert PolicySet([value_of("toy"), label()]).policies[0].parts == (0, 1)


def test_a_rule_that_generates_is_asked_after_admission(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Change(policy="label", rule="label", verb="create", object={"apiVersion": "v1", "kind": "ConfigMap"})
    monkeypatch.setattr(LabelRule, "phase", Phase.GENERATE)
    evaluate = LabelRule.evaluate
    monkeypatch.setattr(LabelRule, "evaluate", lambda self, given: msgspec.structs.replace(
        evaluate(self, given), patch=(), changes=[made]))
    policies = PolicySet([label()])
    with pytest.raises(UnsupportedError, match="policy toy, rule label: it changes other objects, and nobody"):
        policies.need_nobody_to_generate()
    request = Request(operation="CREATE", kind=Kind("Pod"), namespace="default", object=pod())
    assert decide(request, {}, policies, Context(now=NOW)).changes == ()
    decision = decide(request, {}, policies, Context(now=NOW), at=Course.GENERATING)
    assert (decision.changes, decision.verdict) == ((made,), Verdict.NOT_JUDGED)


# Scope


def scope(exclude: Filter | None = None, **match: Any) -> Scope:
    return Scope(Block([Filter(kinds=[Named("kinds[0]", "Pod")], **match)]),
                 None if exclude is None else Block([exclude]))


def asked_by(username: str, *groups: str) -> Request:
    return Request(operation="CREATE", kind=Kind("Pod"), namespace="default", object=pod(),
                   user=User(username=username, groups=groups))


@pytest.mark.parametrize(("subject", "username", "asks"), [
    (Subject("User", "ann"), "ann", True), (Subject("User", "an*"), "ann", True),
    (Subject("User", "ann"), "bob", False),
    (Subject("Group", "sys*"), "ann", True), (Subject("Group", "dev"), "ann", False),
    (Subject("ServiceAccount", "ci", "build"), "system:serviceaccount:build:ci", True),
    (Subject("ServiceAccount", "ci", "build"), "system:serviceaccount:other:ci", False)])
def test_a_scope_knows_who_asks(subject: Subject, username: str, asks: bool) -> None:
    request, answers = asked_by(username, "system:authenticated"), Answers({})
    silence = scope(subjects=[subject]).silence(request, answers)
    assert (silence is None) is asks
    excluded = scope(exclude=Filter(subjects=[subject])).silence(request, answers)
    assert (excluded is None) is not asks


def test_a_scope_asks_for_the_labels_of_the_namespace() -> None:
    selecting = scope(namespace_labels=LabelSelector({"team": "b*"}, [Requirement("env", "NotIn", ["prod"])]))
    assert selecting.asks
    answers = Answers({})
    with pytest.raises(Exception, match="not known yet"):
        selecting.silence(asked_by("ann"), answers)
    assert list(answers.asked) == [TEAM]
    assert selecting.silence(asked_by("ann"), Answers(KNOWN)) is None
    other: dict[Question, Answer] = {TEAM: Answered({"team": "blue", "env": "prod"})}
    assert selecting.silence(asked_by("ann"), Answers(other)) == "its match does not select this request"
    with pytest.raises(Exception, match="there is no such namespace"):
        selecting.silence(asked_by("ann"), Answers({TEAM: Absent()}))


def test_the_conditions_of_a_scope_are_a_reason_of_their_own() -> None:
    block = Block([Filter(kinds=[Named("kinds[0]", "Pod")])])
    conditional = Scope(block, conditions=[lambda request, _: request.namespace != "default"])
    assert conditional.silence(asked_by("ann"), Answers({})) == "its match conditions do not hold"
    assert conditional.selects(Kind("Pod"))
    assert not conditional.selects(Kind("Secret"))
