"""Decisions of the webhook as they are kept, explained and made again."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from custody.adapters.sqlite.decisions import SqliteDecisions
from custody.admission.webhook import Admission
from custody.cli.main import main
from custody.errors import StorageFullError
from custody.evidence.model import EvidenceSet
from custody.policy.decide import decide, written
from custody.policy.kept import WithheldError, divided, inputs, own
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Kind, Request
from custody.policy.phases import Course
from custody.policy.record import encode, replay
from custody.policy.snapshot import Snapshot
from custody.ports.decisions import DecisionSearch, KeptDecision
from custody.ports.lookup import Answer, Answered, ApiCall, Failed, GlobalEntry, HttpCall, Question
from custody.services.decisions import DecisionKeeper, Tally, replayed, whole
from custody.services.verdicts import Verdicts
from tests.admission.test_webhook import ask, review
from tests.policy.exception_cases import policy
from tests.policy.test_images import DIGEST, IMAGE, keyless, policies, statement
from tests.policy.test_load import POLICY, changed

NOW = datetime(2026, 11, 24, tzinfo=UTC)
DOCKER = {"spec": {"containers": [{"image": "docker.io/*"}]}}


class Webhook:
    """A webhook that keeps what it decides in a data directory."""

    def __init__(self, folder: Path, *documents: Any, evidence: Mapping[str, EvidenceSet] = {}) -> None:
        self.store = SqliteDecisions(folder / "decisions.db")
        self.keeper = DecisionKeeper(self.store, lambda: NOW, 7, 1 << 30)

        async def gather(snapshot: Snapshot, names: list[str]) -> Mapping[str, EvidenceSet]:
            return evidence

        self.admission = Admission(PolicySet(list(documents or [POLICY])), gather, lambda: NOW, observer=self.keeper)

    def ask(self, *reviews: dict[str, Any], mutate: bool = False) -> list[KeptDecision]:
        for asked in reviews:
            ask(self.admission, asked, mutate=mutate)
        self.keeper.close()
        return list(self.store.search(DecisionSearch(), newest_first=False))


def test_what_was_decided_is_kept_whole(tmp_path: Path) -> None:
    webhook = Webhook(tmp_path)
    allowed, denied = webhook.ask(review("ghcr.io/myorg/app:1", uid="u-1"), review("docker.io/evil", uid="u-2"))
    assert [(kept.uid, kept.verdict, kept.username) for kept in (allowed, denied)] == [
        ("u-1", "allowed", "ann"), ("u-2", "denied", "ann")]
    assert denied.reason.startswith("p/r: ")
    assert allowed.reason == ""
    for kept in (allowed, denied):
        record = whole(webhook.store, kept)
        decision = replay(encode(record))
        assert (decision.inputs_digest, str(decision.verdict)) == (kept.inputs_digest, kept.verdict)
    assert stat.S_IMODE((tmp_path / "decisions.db").stat().st_mode) == 0o600


def test_evidence_is_kept_once_and_judged_again(tmp_path: Path) -> None:
    about = EvidenceSet(subject=DIGEST, verified=(statement(),))
    webhook = Webhook(tmp_path, *policies(**keyless()).documents, evidence={IMAGE: about})
    first, second = webhook.ask(review(IMAGE, uid="u-1"), review(IMAGE, uid="u-2"), mutate=True)
    assert set(first.parts) == set(second.parts)
    assert len(first.parts) == 2
    again = list(replayed(webhook.store, DecisionSearch()))
    assert [(str(made.decision.verdict) if made.decision else "", made.problem, made.changed) for made in again] == [
        (first.verdict, "", False), (second.verdict, "", False)]
    assert first.verdict == "allowed"


def test_other_policies_say_what_would_change(tmp_path: Path) -> None:
    webhook = Webhook(tmp_path)
    webhook.ask(review("ghcr.io/myorg/app:1", uid="u-1"), review("docker.io/evil", uid="u-2"),
                review("quay.io/app:1", uid="u-3"))
    strict = PolicySet([changed("spec/rules/0/validate/pattern", DOCKER)])
    tally = Tally()
    for made in replayed(webhook.store, DecisionSearch(), strict):
        tally.add(made)
    by = {change: [made.kept.uid for made in replays] for change, replays in tally.changed.items()}
    assert by[("allowed", "denied")] == ["u-1"]
    assert by[("denied", "allowed")] == ["u-2"]
    assert (tally.same, tally.denied_now, list(tally.rules.values())) == (1, 1, [1])


NAMED = changed("spec/rules/0/validate/message", "{{ request.object.metadata.name }} is of somebody else")


def _pods(**images: str) -> list[dict[str, Any]]:
    reviews = []
    for name, image in images.items():
        asked = review(image, uid=f"u-{name}")
        asked["request"]["name"] = asked["request"]["object"]["metadata"]["name"] = name
        reviews.append(asked)
    return reviews


def test_what_differs_in_nothing_that_rules_read_is_decided_once(tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    webhook = Webhook(tmp_path, NAMED)
    webhook.ask(*_pods(a="ghcr.io/myorg/app:1", b="ghcr.io/myorg/app:1", c="docker.io/evil", d="docker.io/evil",
                       e="ghcr.io/myorg/app:2"))
    decided: list[str] = []

    def counted(request: Request, *arguments: Any, **options: Any) -> Any:
        decided.append(request.name)
        return decide(request, *arguments, **options)

    monkeypatch.setattr("custody.services.decisions.decide", counted)
    again = list(replayed(webhook.store, DecisionSearch()))
    assert [(made.decision.verdict if made.decision else None, made.problem, made.changed) for made in again] == [
        ("allowed", "", False), ("allowed", "", False), ("denied", "", False), ("denied", "", False),
        ("allowed", "", False)]
    assert decided == ["a", "c", "e"]


def test_what_comes_out_otherwise_has_words_of_its_own(tmp_path: Path) -> None:
    webhook = Webhook(tmp_path, changed("spec/rules/0/validate/pattern", {"spec": {"containers": [{"image": "*"}]}}))
    webhook.ask(*_pods(a="docker.io/evil", b="docker.io/evil"))
    first, second = replayed(webhook.store, DecisionSearch(), PolicySet([NAMED]))
    for name, made in (("a", first), ("b", second)):
        assert made.changed
        assert made.decision is not None
        [result] = made.decision.results
        assert result.resource.endswith(f"/{name}")
        assert f"{name} is of somebody else" in result.message


def test_an_ignored_error_of_words_is_no_verdict_on_others(tmp_path: Path) -> None:
    """Where errors do not deny, whether the words can be made decides, and they read more."""
    ignoring = {**NAMED, "spec": {**NAMED["spec"], "failurePolicy": "Ignore"}}
    webhook = Webhook(tmp_path, ignoring)
    webhook.ask(*_pods(a="docker.io/evil", b="docker.io/evil"))
    verdicts = Verdicts(PolicySet([ignoring]))

    def nobody(_: PolicySet) -> Decision:
        raise AssertionError

    for kept in webhook.store.search(DecisionSearch()):
        like = verdicts.likeness(kept.body)
        assert like is not None
        assert verdicts.known(like, nobody) is None
        verdicts.learn(like, whole(webhook.store, kept).decision)


def test_a_live_cluster_is_asked_what_nobody_asked_then_and_it_is_marked(tmp_path: Path) -> None:
    webhook = Webhook(tmp_path)
    webhook.ask(review("ghcr.io/myorg/app:1", uid="u-1"))
    asks = PolicySet([policy("namespaceObject.metadata.labels.tier == 'gold'")])
    asked: list[Question] = []

    def ask(questions: Sequence[Question]) -> Mapping[Question, Answer]:
        asked.extend(questions)
        return {question: Answered({"metadata": {"name": "n", "labels": {"tier": "gold"}}}) for question in questions}

    [unknown] = replayed(webhook.store, DecisionSearch(), asks)
    [made] = replayed(webhook.store, DecisionSearch(), asks, ask)
    assert unknown.problem.startswith("nobody asked then for GET /api/v1/namespaces/")
    assert made.decision is not None
    assert (made.decision.verdict, made.problem, len(made.now), len(asked)) == ("allowed", "", 1, 1)
    [failed] = replayed(webhook.store, DecisionSearch(), asks,
                        lambda questions: dict.fromkeys(questions, Failed("503")))
    assert failed.problem == unknown.problem
    assert failed.now == ()
    tally = Tally()
    for repeated in (made, failed):
        tally.add(repeated)
    assert (tally.live, len(tally.unknown)) == (1, 1)


def test_what_nobody_asked_then_is_not_decided(tmp_path: Path) -> None:
    webhook = Webhook(tmp_path)
    webhook.ask(review("ghcr.io/myorg/app:1"))
    [made] = replayed(webhook.store, DecisionSearch(), policies())
    assert made.problem.startswith("nobody asked then for the evidence of ghcr.io/myorg/app:1")
    assert not made.changed


def test_values_of_secrets_are_not_kept(tmp_path: Path) -> None:
    policy = changed("spec/rules", [{
        "name": "r", "match": {"any": [{"resources": {"kinds": ["Secret"]}}]},
        "validate": {"message": "no", "pattern": {"type": "Opaque"}}}])
    webhook = Webhook(tmp_path, policy)
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"password": "aHVudGVyMg=="},
              "metadata": {"name": "s", "annotations": {
                  "kubectl.kubernetes.io/last-applied-configuration": "aHVudGVyMg=="}}}
    [kept] = webhook.ask(review(kind={"group": "", "version": "v1", "kind": "Secret"}, object=secret, oldObject=secret,
                                resource={"group": "", "version": "v1", "resource": "secrets"}))
    assert kept.verdict == "allowed"
    assert b"aHVudGVyMg" not in kept.body
    with pytest.raises(WithheldError):
        whole(webhook.store, kept)
    [made] = replayed(webhook.store, DecisionSearch())
    assert "values of a Secret" in made.problem


def _kept(request: Request, answers: dict[Question, Answer], patch: list[dict[str, Any]] | None = None) -> bytes:
    decision = msgspec.structs.replace(
        decide(request, {}, PolicySet([]), Context(now=NOW), answers=answers), patch=patch or [])
    part = own(request, written(request), answers, decision)
    return divided(part, {}, "sha256:0", Context(now=NOW), at=Course.ADMISSION)


@pytest.mark.parametrize(("question", "answer"), [
    (ApiCall("/api/v1/namespaces/a/%73ecrets/s"), {"data": {"a": "hunter2"}}),
    (ApiCall("/api/v1/secrets?limit=1"), {"items": [{"data": {"a": "hunter2"}}]}),
    (ApiCall("/api/v1/namespaces/a/serviceaccounts/s/token", "POST", "{}"), {"status": {"token": "hunter2"}}),
    (ApiCall("/apis/authentication.k8s.io/v1/tokenreviews", "POST", '{"spec": {"token": "hunter2"}}'), {}),
    (GlobalEntry("all"), [{"kind": "Secret", "data": {"a": "hunter2"}}]),
    (GlobalEntry("all"), {"items": [{"kind": "Secret", "data": {"a": "hunter2"}}]}),
    (HttpCall("GET", "https://a/", (("Authorization", "Bearer hunter2"),)), {"status": 200}),
    (HttpCall("GET", "https://a/", (("X-Api-Key", "hunter2"),)), {"status": 200})])
def test_what_policies_were_told_of_secrets_is_not_kept(question: Question, answer: Any) -> None:
    kept = _kept(Request(operation="CREATE", kind=Kind("Pod")), {question: Answered(answer)})
    assert b"hunter2" not in kept
    with pytest.raises(WithheldError):
        inputs(kept, lambda _: b"{}")


def test_other_answers_are_kept() -> None:
    known: dict[Question, Answer] = {
        ApiCall("/api/v1/namespaces/a/configmaps/secrets-of-a"): Answered({"data": {}}),
        HttpCall("GET", "https://a/", (("accept", "text/plain"),)): Answered({"status": 200}),
        GlobalEntry("all"): Answered([{"kind": "ConfigMap"}])}
    kept = _kept(Request(operation="CREATE", kind=Kind("Pod")), known)
    assert dict(inputs(kept, lambda _: b"{}").answers) == known


@pytest.mark.parametrize(("kind", "fields"), [
    (Kind("Secret"), {"data": {"a": "hunter2"}}), (Kind("TokenReview", "v1", "authentication.k8s.io"), {
        "spec": {"token": "hunter2"}})])
def test_what_a_rule_writes_into_a_secret_is_not_kept(kind: Kind, fields: dict[str, Any]) -> None:
    kept = _kept(Request(operation="CREATE", kind=kind, object={"kind": kind.kind, "metadata": {}, **fields}), {},
                 [{"op": "add", "path": "/data/b", "value": "hunter2"}])
    assert b"hunter2" not in kept
    assert b"/data/b" in kept


def test_a_dry_run_is_not_kept(tmp_path: Path) -> None:
    assert Webhook(tmp_path).ask(review(dryRun=True)) == []


def test_a_full_disk_stops_no_webhook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    webhook = Webhook(tmp_path)

    def full(*_: object) -> None:
        raise StorageFullError("index: the disk is full")

    monkeypatch.setattr(webhook.store, "keep", full)
    assert webhook.ask(review(), review()) == []
    assert webhook.keeper.dropped == 2


def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.services.decisions._WAITING", 1500)
    monkeypatch.setattr(DecisionKeeper, "_run", lambda self: None)
    webhook = Webhook(tmp_path)
    for number in range(5):
        ask(webhook.admission, review(uid=f"u-{number}"))
    webhook.keeper.flush()
    kept = list(webhook.store.search(DecisionSearch()))
    assert 0 < len(kept) < 5
    assert len(kept) + webhook.keeper.dropped == 5


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUSTODY_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["decisions"]) == 2
    assert "the webhook writes it" in capsys.readouterr().err
    Webhook(tmp_path).ask(review("ghcr.io/myorg/app:1", uid="u-1"), review("docker.io/evil", uid="u-2"))
    assert main(["decisions", "--verdict", "denied", "-o", "json"]) == 0
    [row] = map(json.loads, capsys.readouterr().out.splitlines())
    assert (row["uid"], row["verdict"], row["user"]) == ("u-2", "denied", "ann")
    assert main(["explain", "u-2"]) == 0
    words = capsys.readouterr().out
    assert "CREATE by ann, uid u-2" in words
    assert "✗ p/r" in words
    assert main(["explain", row["inputs"][:20], "-o", "json", "--record", "rec"]) == 0
    [explained] = json.loads(capsys.readouterr().out)
    assert explained["request"]["user"]["username"] == "ann"
    [record] = Path("rec").iterdir()
    assert main(["replay", str(record)]) == 3
    capsys.readouterr()
    assert main(["explain", "u-3"]) == 2
    assert "u-3: no such decision is kept" in capsys.readouterr().err
    assert main(["replay", "--since", "2026-11-01"]) == 0
    assert "2 decisions: 2 as before, 0 otherwise, 0 not known" in capsys.readouterr().out
    Path("new.yaml").write_text(json.dumps(changed("spec/rules/0/validate/pattern", DOCKER)))
    assert main(["replay", "--since", "2026-11-01", "--policy", "new.yaml"]) == 3
    printed = capsys.readouterr()
    assert "allowed → denied: 1" in printed.out
    assert "denied → allowed: 1" in printed.out
    assert "1 of 2 requests that were not denied would be" in printed.err
    assert main(["replay", "--since", "2026-12-01"]) == 4
    assert main(["replay", str(record.parent)]) == 3  # the folder that --record was given
    assert main(["replay"]) == 2
    assert main(["replay", "--since", "yesterday"]) == 2
    assert "expected 7d, 90m, 2026-11-29" in capsys.readouterr().err


def test_several_processes_say_what_one_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    """In the same order, also of what comes out otherwise and of what cannot be made again."""
    webhook = Webhook(tmp_path / ".custody")
    reviews = [review(f"ghcr.io/app:{number}" if number % 3 else "docker.io/app", uid=f"u-{number}")
               for number in range(450)]
    reviews[7] = review(kind={"group": "", "version": "v1", "kind": "Secret"}, uid="u-7", object={
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"password": "aHVudGVyMg=="}})
    webhook.ask(*reviews)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.yaml").write_text(json.dumps(changed("spec/rules/0/validate/pattern", DOCKER)))
    said = []
    for jobs in ("1", "2", "3"):
        command = ["replay", "--since", "2026-11-01", "--policy", "new.yaml", "--jobs", jobs]
        said.append((main([*command, "-o", "json"]), main(command), capsys.readouterr()))
    code, _, captured = said[0]
    lines = [json.loads(line) for line in captured.out.splitlines() if line.startswith("{")]
    assert code == 3
    assert [line["uid"] for line in lines] == [f"u-{number}" for number in range(450)]
    assert [line["uid"] for line in lines if line["problem"]] == ["u-7"]
    assert said[1] == said[2] == said[0]
