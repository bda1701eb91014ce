"""Signed documents in memory, and somebody who answers policies' questions about them as the gatherer does."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.errors import CustodyError
from custody.evidence.model import Evidence, EvidenceSet, State, facts, unreached
from custody.formats import cosign
from custody.policy.decide import decide
from custody.policy.images import image as named
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request
from custody.policy.phases import Course
from custody.ports.lookup import Absent, Answer, Answered, ImageEvidence, Question
from custody.services.verify import Terms, Unlogged, judge, sort
from custody.sign.keys import load_public_key
from custody.sign.trusting import trust_of
from custody.sign.verify import Trust
from custody.trust.roots import TrustedRoot
from tests.sign.authority import IMAGE as DIGEST
from tests.sign.authority import NOW, World, entry_body, evidence

NAME = "ghcr.io/myorg/app:1"


def pem(key: Any) -> str:
    """The public part of a private key."""
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def pem_of(*certificates: Any) -> str:
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def layer(key: Any, *, digest: str = DIGEST, annotations: dict[str, str] | None = None, algorithm: Any = None,
          certificate: Any = None, chain: Sequence[Any] = (), world: World | None = None, at: datetime = NOW,
          stamp: bytes | None = None, source: str = "tag") -> Evidence:
    """A layer of cosign's `.sig` tag; with a `world` its log's entry is beside it."""
    payload = json.dumps(cosign.simple_signing(cosign.SimpleSigning(digest, "", annotations or {}))).encode()
    signature = key.sign(payload, ec.ECDSA(algorithm or hashes.SHA256()))
    said = {"dev.cosignproject.cosign/signature": base64.b64encode(signature).decode()}
    presented = pem(key).encode()
    if certificate is not None:
        presented = certificate.public_bytes(Encoding.PEM)
        said["dev.sigstore.cosign/certificate"] = presented.decode()
        said["dev.sigstore.cosign/chain"] = pem_of(*chain)
    if world is not None:
        body = entry_body("hashedrekord", payload, payload, signature, b"", presented)
        data = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
        said["dev.sigstore.cosign/bundle"] = json.dumps({
            "SignedEntryTimestamp": base64.b64encode(world.promise(data, at, 1)).decode(),
            "Payload": {"body": base64.b64encode(data).decode(), "integratedTime": int(at.timestamp()), "logIndex": 1,
                        "logID": world.log1.verifier.log_id.hex()}})
    if stamp is not None:
        said["dev.sigstore.cosign/rfc3161timestamp"] = json.dumps(
            {"SignedRFC3161Timestamp": base64.b64encode(stamp).decode()})
    return Evidence(subject=digest, media_type=cosign.SIMPLE_SIGNING, data=payload, source=source, annotations=said)


def signature_of(document: Evidence) -> bytes:
    return base64.b64decode(document.annotations["dev.cosignproject.cosign/signature"])


def gathered(documents: Sequence[Evidence], trust: Trust, unlogged: Unlogged = Unlogged.NOBODY,
             now: datetime = NOW) -> EvidenceSet:
    return sort(DIGEST, [judge(document, Terms(trust, unlogged=unlogged), now) for document in documents])


def answer(question: Question, documents: Sequence[Evidence], root: TrustedRoot | None,
           known: Mapping[Question, Any], now: datetime = NOW) -> Answer:
    """As `services.evidencelookup` answers, of documents that are all there are."""
    if not isinstance(question, ImageEvidence):
        return Answered(known[question]) if question in known else Absent()
    try:
        return Answered(facts(gathered(documents, trust_of(question.authority, root), now=now)))
    except CustodyError as error:
        return Answered(facts(unreached(State.UNVERIFIABLE, error.message)))


def asked(policies: PolicySet, *documents: Evidence, root: TrustedRoot | None = None,
          known: Mapping[Question, Any] | None = None, image: str = NAME, at: Course = Course.ADMISSION,
          resource: dict[str, Any] | None = None, now: datetime = NOW) -> tuple[Decision, list[Question]]:
    """The decision, and the questions on the way to it."""
    keys = tuple(load_public_key(text, "key") for text in policies.public_keys())
    name = named(image).name
    evidence_there = {name: gathered(documents, Trust(root, keys), Unlogged.KEYS, now)}
    pod = resource or {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
                       "spec": {"containers": [{"name": "c", "image": image}]}}
    answers: dict[Question, Answer] = {}
    while True:
        decision = decide(Request.create(pod), evidence_there, policies, Context(now=now), at=at, answers=answers)
        new = [question for question in decision.asks.questions if question not in answers]
        if not new:
            return decision, [*answers]
        answers |= {question: answer(question, documents, root, known or {}, now) for question in new}


def reason(decision: Decision) -> str:
    return next((result.message for result in decision.results if result.denies), "")


__all__ = ["DIGEST", "NAME", "NOW", "World", "asked", "evidence", "layer", "pem", "pem_of", "reason",
           "signature_of"]
