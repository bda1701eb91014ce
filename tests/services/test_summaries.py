"""Verification summaries: what is written of an allowed decision, and when one counts in place of evidence."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from custody.adapters.http.aiohttp import AiohttpHttp
from custody.admission.judging import Judged, Judging
from custody.errors import MalformedError
from custody.formats import bundle as bundles
from custody.formats import intoto, oci, vsa
from custody.formats.reference import parse
from custody.kit.digest import sha256
from custody.policy.load import PolicySet
from custody.policy.model import Request, SummaryTerms, Verdict
from custody.policy.phases import Course
from custody.policy.record import record, replay
from custody.policy.snapshot import Snapshot
from custody.ports.lookup import Answered
from custody.registry.client import RegistryClient
from custody.services.check import gathering
from custody.services.evidencelookup import EvidenceLookup
from custody.services.gather import Gatherer
from custody.services.summaries import Draft, Summarizing, drafts, write
from custody.sign.keys import PrivateKey, generate_key
from custody.sign.referrers import push_bundle
from custody.sign.signer import Signer
from custody.trust.roots import SigningConfig
from tests.serving import registry_on

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
VERIFIER = "https://custody.internal/verifier"
SIGNS, SUMS = generate_key(), generate_key()


def policy(host: str, evidence: str, key: PrivateKey = SIGNS, **entry: Any) -> dict[str, Any]:
    return {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "signed"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "by-key", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, "verifyImages": [{
                "imageReferences": [f"{host}/*"], "repository": f"{evidence}/app", "type": "SigstoreBundle",
                "attestors": [{"entries": [{"keys": {"publicKeys": key.public.pem.decode(),
                                                     "rekor": {"ignoreTlog": True}}}]}], **entry}]}]}}


def pod(image: str) -> Request:
    return Request.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
                           "spec": {"containers": [{"name": "c", "image": image}]}})


def signer(key: PrivateKey) -> Signer:
    return Signer(http=AiohttpHttp(), config=SigningConfig(), root=None, key=key, clock=lambda: NOW)


class Place:
    """An image at one registry, its signature at another, and a client."""

    def __init__(self, client: RegistryClient, host: str, evidence: str) -> None:
        self.client, self.host, self.evidence = client, host, evidence
        self.policies = PolicySet([policy(host, evidence)])
        self.image = ""

    async def made(self) -> Place:
        body = json.dumps(oci.Manifest(oci.MANIFEST, oci.EMPTY_DESCRIPTOR, ()).to_json()).encode()
        descriptor = oci.Descriptor(oci.MANIFEST, sha256(body), len(body))
        for host in (self.host, self.evidence):
            ref = parse(f"{host}/app:1")
            await self.client.push_blob(ref, oci.EMPTY_BLOB)
            await self.client.push_manifest(ref, body, oci.MANIFEST)
        statement = intoto.statement(descriptor.digest, intoto.COSIGN_SIGN, {})
        data, _ = await signer(SIGNS).sign(statement, descriptor.digest)
        await push_bundle(self.client, parse(f"{self.evidence}/app@{descriptor.digest}"), descriptor, data,
                          intoto.COSIGN_SIGN, NOW)
        self.image = f"{self.host}/app@{descriptor.digest}"
        return self

    async def judged(self, *, summaries: bool = False, now: datetime = NOW, image: str = "",
                     policies: PolicySet | None = None, **terms: Any) -> Judged:
        gatherer = Gatherer(self.client, None, lambda: now, keep=0)
        trusted = SummaryTerms(**{"keys": SUMS.public.pem.decode(), "verifier": VERIFIER, "max_age": 3600.0, **terms})
        judging = Judging(gathering(gatherer), lambda: now, EvidenceLookup(gatherer), trusted if summaries else None)
        return await judging.judge(pod(image or self.image), Snapshot(policies or self.policies), Course.ADMISSION)


@contextlib.asynccontextmanager
async def place(folder: Path) -> AsyncIterator[tuple[Place, Callable[[], None]]]:
    """With what takes the registry of the evidence away."""
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as gone:
        host, _ = await asyncio.to_thread(stack.enter_context, registry_on(folder / "a"))
        evidence, _ = await asyncio.to_thread(gone.enter_context, registry_on(folder / "b"))
        async with RegistryClient(AiohttpHttp()) as client:
            yield await Place(client, host, evidence).made(), gone.close


def test_a_summary_counts_where_the_evidence_cannot_be_had(tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path) as (here, close):
            judged = await here.judged()
            assert judged.decision.verdict is Verdict.ALLOWED
            (draft,) = drafts(judged, VERIFIER)
            assert draft.summary.levels == ("CUSTODY_RULE ClusterPolicy/signed/by-key",)
            assert draft.summary.resource == here.image
            await write(draft, signer(SUMS), here.client, lambda: NOW)
            with_evidence = await here.judged(summaries=True)
            assert with_evidence.decision.results[0].message.startswith("verified image signatures")
            await asyncio.to_thread(close)
            assert (await here.judged()).decision.verdict is Verdict.DENIED
            after = await here.judged(summaries=True)
            (result,) = after.decision.results
            assert after.decision.verdict is Verdict.ALLOWED, result.message
            assert result.message == (f"verified by a summary for {here.image}: {VERIFIER} at 2026-11-24T12:00:00Z")
            assert result.properties["summary"].startswith(VERIFIER)
            assert list(drafts(after, VERIFIER)) == []  # a summary of a summary would have no end
            kept = record(after.request, after.evidence, here.policies, after.context, at=after.at,
                          answers=after.answers, decision=after.decision)
            assert replay(kept) == after.decision

    asyncio.run(main())


def changed(**changes: Any) -> Callable[[Draft], Draft]:
    return lambda draft: draft._replace(summary=replace(draft.summary, **changes))


BAD: dict[str, tuple[Callable[[Draft], Draft], dict[str, Any], str]] = {
    "other policies": (changed(policy_digest={"sha256": "0" * 64}), {}, "it is of other policies"),
    "no policies": (changed(policy_digest={}), {}, "it is of other policies"),
    "failed": (changed(result=vsa.FAILED), {}, "verificationResult: got FAILED"),
    "expired": (changed(), {"now": NOW + timedelta(hours=1, seconds=1)}, "is longer ago than 1 h"),
    "of the future": (changed(verified=NOW + timedelta(minutes=2)), {}, "is still to come"),
    "another verifier": (changed(verifier="https://elsewhere.example"), {}, "verifier: got https://elsewhere.example"),
    "another name": (changed(resource="ghcr.io/acme/app@sha256:" + "0" * 64), {}, "resourceUri: got ghcr.io/acme"),
    "another rule": (changed(levels=("CUSTODY_RULE ClusterPolicy/signed/other", "SLSA_BUILD_LEVEL_3")), {},
                     "it does not say CUSTODY_RULE ClusterPolicy/signed/by-key"),
    "no time zone": (changed(), {"broken": {"timeVerified": "2026-11-24T12:00:00"}}, "timeVerified: got"),
    "no levels": (changed(), {"broken": {"verifiedLevels": None}}, "verifiedLevels: got null, expected a list"),
    "another key": (changed(), {"key": generate_key()}, "by no summary either"),
    "tampered": (changed(), {"tampered": True}, "by no summary either"),
    "another digest": (changed(), {"subject": "sha256:" + "1" * 64}, "by no summary either"),
    "an exception": (changed(), {"policies": "excepted"}, "by no summary either: exceptions name the rule"),
}


@pytest.mark.parametrize("wrong", BAD)
def test_a_summary_in_which_something_is_wrong_does_not_count(tmp_path: Path, wrong: str) -> None:
    change, more, words = BAD[wrong]

    async def main() -> None:
        async with place(tmp_path) as (here, close):
            (draft,) = drafts(await here.judged(), VERIFIER)
            draft = change(draft)
            predicate = {**draft.summary.to_json(), **more.get("broken", {})}
            descriptor = await here.client.resolve(draft.ref)
            subject = more.get("subject", descriptor.digest)
            data, _ = await signer(more.get("key", SUMS)).sign(
                intoto.statement(subject, vsa.PREDICATE_TYPE, predicate), subject)
            if more.get("tampered"):
                bundle = json.loads(data)
                payload = json.dumps({"_type": intoto.STATEMENT, "predicateType": vsa.PREDICATE_TYPE, "subject": [
                    {"digest": {"sha256": descriptor.digest[7:]}}], "predicate": predicate}).encode()
                bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
                data = json.dumps(bundle).encode()
            await push_bundle(here.client, draft.ref, descriptor, data, vsa.PREDICATE_TYPE, NOW)
            await asyncio.to_thread(close)
            policies = here.policies
            if more.get("policies"):
                policies = PolicySet([*here.policies.documents, {
                    "apiVersion": "kyverno.io/v2", "kind": "PolicyException",
                    "metadata": {"name": "e", "namespace": "ex"}, "spec": {
                        "match": {"any": [{"resources": {"kinds": ["Pod"], "names": ["other"]}}]},
                        "exceptions": [{"policyName": "signed", "ruleNames": ["by-key"]}]}}])
            judged = await here.judged(summaries=True, now=more.get("now", NOW), policies=policies)
            assert judged.decision.verdict is Verdict.DENIED
            assert words in judged.decision.results[0].message, judged.decision.results[0].message

    asyncio.run(main())


def test_evidence_that_is_had_and_fails_is_no_matter_of_summaries(tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path) as (here, _):
            other = PolicySet([policy(here.host, here.evidence, generate_key())])
            (draft,) = drafts(await here.judged(), VERIFIER)
            draft = changed(policy_digest={"sha256": other.meaning[7:]})(draft)
            await write(draft, signer(SUMS), here.client, lambda: NOW)
            judged = await here.judged(summaries=True, policies=other)
            assert judged.decision.verdict is Verdict.DENIED
            assert "summary" not in judged.decision.results[0].message

    asyncio.run(main())


def test_what_reads_the_request_is_in_no_summary(tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path) as (here, _):
            reading = PolicySet([policy(here.host, here.evidence, validate={"deny": {"conditions": {"any": [
                {"key": "{{ request.namespace }}", "operator": "Equals", "value": "other"}]}}})])
            judged = await here.judged(policies=reading)
            assert judged.decision.verdict is Verdict.ALLOWED, judged.decision.results
            assert list(drafts(judged, VERIFIER)) == []
            stale = {name: msgspec.structs.replace(about, stale_since=NOW) for name, about in judged.evidence.items()}
            fresh = await here.judged()
            assert list(drafts(replace(fresh, evidence=stale), VERIFIER)) == []
            older = {question: Answered({**answer.value, "stale_since": "2026-11-24T11:00:00Z"})
                     for question, answer in fresh.answers.items() if isinstance(answer, Answered)}
            assert older
            assert list(drafts(replace(fresh, answers=older), VERIFIER)) == []

    asyncio.run(main())


def test_once_for_a_digest_in_the_background(tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path) as (here, _):
            judged = await here.judged()
            summarizing = Summarizing(signer(SUMS), here.client, lambda: NOW, VERIFIER, timedelta(hours=12))
            working = asyncio.create_task(summarizing.run())
            for _ in range(3):
                for draft in drafts(judged, VERIFIER):
                    summarizing._take(draft)
            async with asyncio.timeout(10):
                while not summarizing.written:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            working.cancel()
            assert (summarizing.written, summarizing.failed) == (1, 0)
            referrers = await here.client.referrers(parse(here.image))
            assert [entry.artifact_type for entry in referrers] == [bundles.MEDIA_TYPE]

    asyncio.run(main())


def test_the_same_policies_in_another_order_or_a_part_of_them_mean_the_same() -> None:
    first, second = policy("a", "b"), {**policy("a", "b"), "metadata": {"name": "second"}}
    whole = PolicySet([first, second])
    noted = {**second, "metadata": {"name": "second", "resourceVersion": "7", "uid": "u"}, "status": {"ready": True}}
    assert PolicySet([noted, first]).meaning == whole.meaning
    assert whole.only(lambda part: part.name == "second").meaning == whole.meaning
    assert PolicySet([first]).meaning != whole.meaning


def test_a_summary_is_read_as_it_is_written() -> None:
    summary = vsa.Summary(verifier=VERIFIER, verified=NOW, resource="r@d", policy_uri="urn:p",
                          policy_digest={"sha256": "0"}, result=vsa.PASSED, levels=("SLSA_BUILD_LEVEL_2",),
                          inputs=(vsa.Input(digest={"sha256": "1"}, uri="u"),), version={"custody": "1"})
    assert vsa.parse_summary({**summary.to_json(), "unknown": {}}) == summary
    for path in ("verifier", "timeVerified", "resourceUri", "policy", "verificationResult", "verifiedLevels"):
        predicate = summary.to_json()
        del predicate[path]
        with pytest.raises(MalformedError, match=path):
            vsa.parse_summary(predicate)
    with pytest.raises(MalformedError, match="PASSED or FAILED"):
        vsa.parse_summary({**summary.to_json(), "verificationResult": "MAYBE"})
