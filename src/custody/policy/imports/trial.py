"""Two image policies asked about the same images: whoever may have signed them did, alone and together, or did not.

What a verifier would say of evidence is made up here as plain data, by what each question believes: a key's signature
where it names the key, a certificate's where it names the issuer, either in a log, with a certificate's promise, and
in the place where it is looked for, or not. Nothing of it is evidence, and it is only decided on here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations
from typing import Any, NamedTuple

from custody.errors import CustodyError
from custody.evidence.model import EvidenceSet
from custody.formats import intoto
from custody.kit.digest import sha256
from custody.policy.decide import decide
from custody.policy.images import image as named
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request
from custody.ports.lookup import (
    Absent,
    Answer,
    Answered,
    Authority,
    ImageEvidence,
    NamespaceLabels,
    PublicKeyAt,
    Question,
)
from custody.sign.trusting import PEM_KEY

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_DIGEST = "sha256:" + "1" * 64
_ROUNDS = 8
_MOST = 150  # scenes of one trial
_NOBODY = "-----BEGIN PUBLIC KEY-----\nNOBODY\n-----END PUBLIC KEY-----"


class Signature(NamedTuple):
    """By a key, or by a certificate's subject and issuer."""

    key: str = ""
    subject: str = ""
    issuer: str = ""
    roots: str = ""
    """PEM of who issued the certificate; empty for the service's own."""
    kind: str = intoto.COSIGN_SIGN
    repository: str = ""
    logged: bool = True
    promised: bool = True

    def believed(self, authority: Authority) -> bool:
        if authority.repository != self.repository or not (self.logged or authority.ignore_log):
            return False
        if self.key:
            return self.key in PEM_KEY.findall(authority.keys)
        return not authority.keys and authority.roots.strip() == self.roots.strip() and (
            self.promised or authority.ignore_sct)

    def said(self) -> dict[str, Any]:
        """As a verified statement is kept."""
        signer = {"type": "key", "fingerprint": sha256(self.key.encode())} if self.key else {
            "type": "keyless", "subject": self.subject, "issuer": self.issuer}
        signs = self.kind == intoto.COSIGN_SIGN
        log = {"base_url": "https://rekor.sigstore.dev", "index": 1, "log_id": "00"} if self.logged else None
        return {"subject": _DIGEST, "evidence": sha256(repr(self).encode()), "source": "trial",
                "kind": "signature" if signs else "attestation", "predicate_type": self.kind, "predicate": {},
                "signer": signer, "signed_at": None, "log": log, "format": "simplesigning" if signs else "dsse"}


class Trial(NamedTuple):
    asked: int
    denied: int
    allowed: int
    difference: str | None
    """A counter-example, in words."""


def compared(before: Sequence[Any], after: Sequence[Any], signatures: Sequence[Signature],
             images: Sequence[str]) -> Trial:
    """Whether both allow and deny the same pods and deployments, and pin the same. Raises what does not load."""
    one, two = PolicySet(before), PolicySet(after)
    asked = denied = allowed = 0
    for scene in _scenes(signatures):
        for request in _requests(images):
            left, right = (_decided(policies, request, scene) for policies in (one, two))
            asked += 1
            denied += not left.allowed
            allowed += left.allowed and any(result.evidence or result.outcome == "pass" for result in left.results)
            if (left.allowed, _pins(left)) != (right.allowed, _pins(right)):
                return Trial(asked, denied, allowed, _words(request, scene, left, right))
    return Trial(asked, denied, allowed, None)


def variants(signature: Signature) -> Iterator[Signature]:
    """It, and what is wrong with it in one way each."""
    yield signature
    yield signature._replace(logged=False)
    yield signature._replace(kind="https://example.com/other/v1" if signature.kind == intoto.COSIGN_SIGN
                             else intoto.COSIGN_SIGN)
    yield signature._replace(repository="" if signature.repository else "registry.example.com/elsewhere")
    if signature.key:
        yield signature._replace(key=_NOBODY)
        return
    yield signature._replace(promised=False)
    yield signature._replace(subject=f"z{signature.subject}z")
    yield signature._replace(issuer=f"z{signature.issuer}z")
    yield signature._replace(roots="-----OTHER-----")


def _scenes(signatures: Sequence[Signature]) -> Iterator[tuple[Signature, ...]]:
    count = 0
    for size in (0, 1, 2, len(signatures)):
        for scene in combinations(signatures, size):
            if count >= _MOST:
                return
            count += 1
            yield scene


def _requests(images: Sequence[str]) -> Iterator[Request]:
    for image in images:
        for written in (image, f"{image.partition('@')[0]}@{_DIGEST}"):
            containers = [{"name": "c", "image": written}]
            yield _request("v1", "Pod", {"containers": containers})
            yield _request("v1", "Pod", {"containers": [{"name": "d", "image": "trial.invalid/other/image:1"}],
                                         "initContainers": containers})
        yield _request("apps/v1", "Deployment", {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}})


def _request(version: str, kind: str, spec: dict[str, Any]) -> Request:
    return Request.create({"apiVersion": version, "kind": kind, "metadata": {"name": "t", "namespace": "default"},
                           "spec": spec})


def _decided(policies: PolicySet, request: Request, scene: Sequence[Signature]) -> Decision:
    request = policies.kinds.located(request)
    answers: dict[Question, Answer] = {}
    evidence: dict[str, EvidenceSet] = {}
    for _ in range(_ROUNDS):
        decision = decide(request, evidence, policies, Context(now=_NOW), answers=answers)
        if not decision.asks:
            return decision
        evidence |= {name: EvidenceSet(subject=_DIGEST) for name in decision.asks.images}
        answers |= {question: _answer(question, scene) for question in decision.asks.questions}
    raise CustodyError("a policy asks without end")


def _answer(question: Question, scene: Sequence[Signature]) -> Answer:
    if isinstance(question, ImageEvidence):
        believed = [signature.said() for signature in scene if signature.believed(question.authority)
                    and signature.kind in question.predicate_types]
        return Answered({"subject": named(question.image).digest or _DIGEST, "verified": believed, "rejected": []})
    if isinstance(question, PublicKeyAt):
        return Answered(f"-----BEGIN PUBLIC KEY-----\n{question.uri}\n-----END PUBLIC KEY-----")
    return Answered({}) if isinstance(question, NamespaceLabels) else Absent()


def _pins(decision: Decision) -> dict[str, Any]:
    return {str(operation["path"]): _full(operation.get("value")) for operation in decision.patch}


def _full(value: Any) -> Any:
    """A pinned name, whatever of its tag is left in it."""
    return str(value).partition("@")[2] or value


def _words(request: Request, scene: Sequence[Signature], left: Decision, right: Decision) -> str:
    signers: list[Mapping[str, Any]] = [signature.said()["signer"] for signature in scene]
    stances = [f"{'allowed' if decision.allowed else 'denied'}, pins {sorted(_pins(decision))}"
               for decision in (left, right)]
    return f"{stances[0]} before and {stances[1]} after: {request.object}, signed by {signers or 'nobody'}"
