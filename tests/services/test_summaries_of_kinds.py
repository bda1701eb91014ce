"""Verification summaries of every kind of policy that asks for evidence: what they say, and when one counts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from custody.admission.judging import Judged, Judging
from custody.evidence.model import Evidence, EvidenceSet, KeySigner, State, Verified, facts, unreached
from custody.formats import intoto, vsa
from custody.policy.load import PolicySet
from custody.policy.model import Request, SummaryTerms, Verdict
from custody.policy.phases import Course
from custody.policy.record import record, replay
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import Answer, Answered, ImageEvidence, Lookup, Question
from custody.services.summaries import drafts
from tests.policy.signing import DIGEST, NAME, NOW, World, answer, evidence, layer, pem, reason
from tests.sign.authority import IDENTITY, ISSUER, new_key

WORLD = World()
ROOT = WORLD.trusted_root()
KEY, OTHER, SUMS = new_key(), new_key(), pem(new_key())
SCAN = "https://example.com/scan/v1"
VERIFIER = "https://custody.internal/verifier"
PINNED = f"ghcr.io/myorg/app@{DIGEST}"
RESOURCES = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                                "resources": ["pods"]}]}
SIGNED = layer(KEY)
ATTESTED = evidence(WORLD.keyless(kind="dsse", statement=intoto.statement(DIGEST, SCAN, {"level": 1}).to_bytes()))
KEYLESS = {"cosign": {"keyless": {"identities": [{"issuer": ISSUER, "subject": IDENTITY}]}}}
LEVEL = "package sigstore\ndefault isCompliant = false\nisCompliant { input.predicate.level < 3 }\n"
TIMED = f"{LEVEL}isCompliant {{ time.now_ns() > 0 }}\n"


def validating(*expressions: str, attestors: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    key = {"cosign": {"key": {"data": pem(KEY)}, "ctlog": {"insecureIgnoreTlog": True}}}
    kind = {"apiVersion": "policies.kyverno.io/v1", "kind": "ImageValidatingPolicy"}
    return {**kind, "metadata": {"name": "p"}, "spec": {
        "matchConstraints": RESOURCES, "attestors": [{"name": "a", **(attestors or key)}],
        "attestations": [{"name": "scan", "intoto": {"type": SCAN}}],
        "validations": [{"expression": expression} for expression in expressions], **more}}


def sigstore(*authorities: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"apiVersion": "policy.sigstore.dev/v1beta1", "kind": "ClusterImagePolicy", "metadata": {"name": "p"},
            "spec": {"images": [{"glob": "**"}], "authorities": [*authorities], **more}}


def connaisseur(**options: Any) -> dict[str, Any]:
    roots = [{"name": "default", "key": pem(KEY)}, {"name": "other", "key": pem(OTHER)}]
    return {"validators": [{"name": "default", "type": "cosign", "trustRoots": roots}],
            "policy": [{"pattern": "*:*", "with": {"verifyInTransparencyLog": False, **options}}]}


CLUSTER = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
    "validationFailureAction": "Enforce", "rules": [{
        "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "verifyImages": [{
            "imageReferences": ["*"], "repository": "ghcr.io/x/y", "attestors": [{"entries": [
                {"keys": {"publicKeys": pem(KEY), "rekor": {"ignoreTlog": True}}}]}]}]}]}}
BY_KEY = {"key": {"data": pem(KEY)}}
SCANNED = {"keyless": {"identities": [{"issuer": ISSUER, "subject": IDENTITY}]}, "attestations": [
    {"name": "scan", "predicateType": SCAN, "policy": {"type": "rego", "data": LEVEL}}]}
COUNT = "images.containers.all(image, verifyImageSignatures(image, [attestors.a]) > 0)"
ATTESTS = "images.containers.all(image, verifyAttestationSignatures(image, attestations.scan, [attestors.a]) > 0)"
KINDS: dict[str, tuple[dict[str, Any], Evidence, str]] = {
    "ClusterPolicy": (CLUSTER, SIGNED, "CUSTODY_RULE ClusterPolicy/p/r"),
    "ClusterImagePolicy": (sigstore(BY_KEY), SIGNED, "CUSTODY_RULE ClusterImagePolicy/p/p"),
    "ClusterImagePolicy attested": (sigstore(SCANNED), ATTESTED, "CUSTODY_RULE ClusterImagePolicy/p/p"),
    "Connaisseur": (connaisseur(), SIGNED, "CUSTODY_RULE Connaisseur/connaisseur/policy"),
    "Connaisseur of several": (connaisseur(trustRoot="*", threshold=1), SIGNED,
                               "CUSTODY_RULE Connaisseur/connaisseur/policy"),
    "ImageValidatingPolicy": (validating(COUNT), SIGNED,
                              f"CUSTODY_ATTESTOR ImageValidatingPolicy/p/a {intoto.COSIGN_SIGN}"),
    "ImageValidatingPolicy attested": (validating(ATTESTS, attestors=KEYLESS), ATTESTED,
                                       f"CUSTODY_ATTESTOR ImageValidatingPolicy/p/a {SCAN}"),
    "ImageValidatingPolicy that reads the request": (
        validating(f"object.metadata.name == 'p' && {COUNT}"), SIGNED,
        f"CUSTODY_ATTESTOR ImageValidatingPolicy/p/a {intoto.COSIGN_SIGN}")}


class Evidences(Lookup):
    """Answers as the gatherer does, or as if no registry with evidence could be reached; summaries can be had."""

    def __init__(self, document: Evidence, summary: vsa.Summary | None = None, *, up: bool = True) -> None:
        self.document, self.summary, self.up = document, summary, up

    async def answer(self, question: Question) -> Answer:
        if isinstance(question, ImageEvidence) and question.predicate_types == (vsa.PREDICATE_TYPE,):
            assert question.authority.keys == SUMS
            verified = () if self.summary is None else (Verified(
                subject=DIGEST, evidence="sha256:" + "5" * 64, source="s", kind="attestation",
                predicate_type=vsa.PREDICATE_TYPE, predicate=self.summary.to_json(),
                signer=KeySigner(fingerprint="sha256:0"), signed_at=None, log=None),)
            return Answered(facts(EvidenceSet(subject=DIGEST, verified=verified)))
        if not self.up:
            return Answered(facts(unreached(State.UNVERIFIABLE, "the registry is down")))
        return answer(question, [self.document], ROOT, {})


def judged(document: dict[str, Any], lookup: Evidences, *, summaries: bool = True, now: datetime = NOW,
           image: str = PINNED, name: str = "p", **terms: Any) -> Judged:
    async def gather(_: Snapshot, images: list[str]) -> dict[str, EvidenceSet]:
        return {asked: EvidenceSet(subject=DIGEST) for asked in images}

    trusted = SummaryTerms(**{"keys": SUMS, "verifier": VERIFIER, "max_age": 3600.0, **terms})
    judging = Judging(gather, lambda: now, lookup, trusted if summaries else None)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
           "spec": {"containers": [{"name": "c", "image": image}]}}
    return asyncio.run(judging.judge(Request.create(pod), Snapshot(PolicySet([document])), Course.ADMISSION))


def summary(document: dict[str, Any], shown: Evidence, **more: Any) -> vsa.Summary:
    before = judged(document, Evidences(shown), **more)
    assert before.decision.verdict is Verdict.ALLOWED, reason(before.decision)
    (draft,) = drafts(before, VERIFIER)
    assert str(draft.ref).endswith(f"@{DIGEST}")
    return draft.summary


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_shown_by_evidence_counts_when_none_can_be_had(kind: str) -> None:
    document, shown, level = KINDS[kind]
    said = summary(document, shown)
    assert said.levels == (level,)
    assert said.inputs
    without = judged(document, Evidences(shown, said, up=False), summaries=False)
    assert without.decision.verdict is Verdict.DENIED
    for image in (PINNED, NAME):  # a tag whose digest is known
        after = judged(document, Evidences(shown, said, up=False), image=image)
        assert after.decision.verdict is Verdict.ALLOWED, reason(after.decision)
        assert any("summary" in result.properties for result in after.decision.results)
        assert list(drafts(after, VERIFIER)) == []
        kept = record(after.request, after.evidence, after.snapshot.policies, after.context, at=after.at,
                      answers=after.answers, decision=after.decision)
        assert replay(kept) == after.decision
    assert summary(document, shown, image=NAME).levels == (level,)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("change", "more", "words"), [
    ({"policy_digest": {"sha256": "0" * 64}}, {}, "it is of other policies"),
    ({"result": vsa.FAILED}, {}, "verificationResult: got FAILED"),
    ({"resource": "ghcr.io/myorg/app@sha256:" + "1" * 64}, {}, "resourceUri"),
    ({"levels": ("CUSTODY_RULE ClusterPolicy/q/r",)}, {}, "it does not say CUSTODY_"),
    ({}, {"now": NOW + timedelta(hours=1, seconds=1)}, "is longer ago than 1 h"),
    ({}, {"verifier": "https://other"}, "verifier: got")])
def test_summaries_that_do_not_count(kind: str, change: dict[str, Any], more: dict[str, Any], words: str) -> None:
    document, shown, _ = KINDS[kind]
    said = replace(summary(document, shown), **change)
    after = judged(document, Evidences(shown, said, up=False), **more)
    assert after.decision.verdict is Verdict.DENIED
    if not kind.startswith("ImageValidatingPolicy"):  # whose own message is told
        assert words in reason(after.decision)


@pytest.mark.parametrize("kind", KINDS)
def test_evidence_that_is_had_and_a_policy_that_changed_decide(kind: str) -> None:
    document, shown, _ = KINDS[kind]
    said = summary(document, shown)
    assert judged(document, Evidences(layer(OTHER) if kind != "Connaisseur of several" else layer(new_key()), said)
                  ).decision.verdict is Verdict.DENIED
    labelled = {**document, "metadata": {"name": "p", "labels": {"a": "b"}}} if "metadata" in document else {
        **document, "policy": [*document["policy"], {"pattern": "quay.io/*"}]}
    assert judged(labelled, Evidences(shown, said, up=False)).decision.verdict is Verdict.DENIED


def test_an_expression_is_judged_anew() -> None:
    document, shown, _ = KINDS["ImageValidatingPolicy that reads the request"]
    said = summary(document, shown)
    assert judged(document, Evidences(shown, said, up=False)).decision.verdict is Verdict.ALLOWED
    assert judged(document, Evidences(shown, said, up=False), name="q").decision.verdict is Verdict.DENIED


def test_whom_another_request_believes_vouches_for_nothing_here() -> None:
    """A key may be computed of the request: that one of them signed says nothing of another."""
    key = f"object.metadata.name == 'p' ? {pem(KEY)!r} : {pem(OTHER)!r}"
    document = validating(COUNT, attestors={"cosign": {"key": {"expression": key},
                                                       "ctlog": {"insecureIgnoreTlog": True}}})
    before = judged(document, Evidences(SIGNED))
    assert before.decision.verdict is Verdict.ALLOWED, reason(before.decision)
    assert judged(document, Evidences(SIGNED), name="q").decision.verdict is Verdict.DENIED
    assert list(drafts(before, VERIFIER)) == []
    kept = replace(summary(validating(COUNT), SIGNED),
                   policy_digest={"sha256": before.snapshot.policies.meaning.removeprefix("sha256:")})
    for name in ("p", "q"):
        after = judged(document, Evidences(SIGNED, kept, up=False), name=name)
        assert after.decision.verdict is Verdict.DENIED
        assert not any("summary" in result.properties for result in after.decision.results)


def test_a_payload_is_not_in_a_summary() -> None:
    document = validating(f"{ATTESTS} && images.containers.all(image, extractPayload(image, attestations.scan)"
                          ".predicate.level < 3)", attestors=KEYLESS)
    said = summary(document, ATTESTED)
    after = judged(document, Evidences(ATTESTED, said, up=False))
    assert "payload" in reason(after.decision)


@pytest.mark.parametrize("document", [
    sigstore({"static": {"action": "pass"}}), sigstore(BY_KEY, {"static": {"action": "fail"}}),
    sigstore(BY_KEY, policy={"type": "rego", "includeSpec": True,
                             "data": "package sigstore\nisCompliant { input.spec }\n"}),
    sigstore({**BY_KEY}, policy={"type": "rego", "data": TIMED.replace("input.predicate.level < 3", "true")}),
    {"validators": [{"name": "default", "type": "static", "approve": True}], "policy": [{"pattern": "*:*"}]}])
def test_nothing_is_said_of_what_is_not_by_evidence_alone(document: dict[str, Any]) -> None:
    before = judged(document, Evidences(SIGNED))
    assert before.decision.verdict is Verdict.ALLOWED, reason(before.decision)
    assert list(drafts(before, VERIFIER)) == []
