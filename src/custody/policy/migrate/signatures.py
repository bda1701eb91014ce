"""Made-up evidence about images: who of those that a rule names has signed, and what they attest.

It is plain data, as a gatherer's answers are. Nothing of it was verified, and nothing of it leaves the comparison.
"""

from __future__ import annotations

import base64
import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from custody.evidence.model import EvidenceSet
from custody.formats import intoto
from custody.policy.migrate.samples import Samples, Vocabulary
from custody.ports.lookup import Absent, Answer, Answered, ApiCall, Authority, ImageEvidence, PublicKeyAt, Question
from custody.sign.trusting import PEM_KEY

DIGEST = f"sha256:{'ab' * 32}"
_PATH = re.compile(r"\{\{\s*([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
_NOW = datetime(2025, 12, 1, tzinfo=UTC)
_REKOR = "https://rekor.sigstore.dev"
_OTHER = ("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEahmSvGFmxMJABilV1usgsw6ImcQ/\n"
          "gDaxw57Sq+uNGHW8Q3zUSx46PuRqdTI+4qE3Ng2oFZgLMpFN/qMrP0MQQg==\n-----END PUBLIC KEY-----\n")
Document = dict[str, Any]


class Signer(NamedTuple):
    """Somebody who may have signed."""

    signer: Document
    """As evidence names him."""
    key: str = ""
    """PEM, where he has one."""
    trust: Authority = Authority()
    """Who else must be believed for it, without what is said of logs."""


class Signature(NamedTuple):
    statement: Document
    by: Signer
    logged: bool
    promised: bool
    annotations: Document


def _bare(authority: Authority) -> Authority:
    return msgspec.structs.replace(authority, ignore_log=False, ignore_sct=False, log_url="", keys="", secrets=(),
                                   insecure=False, fresh=False, algorithm="")


class Signatures:
    """Of one rule's images."""

    def __init__(self, entries: Sequence[Document], keys: Sequence[str], seed: int = 0) -> None:
        """`keys`: PEM texts that policies name, with which everything is verified."""
        self._random = random.Random(seed)  # noqa: S311 - the same evidence each time
        self._keys = {fingerprint(key) for key in keys}
        self._signers = [*signers(entries), Signer(_keyless("wrong@example.com", "https://wrong.example.com")),
                         Signer(_key(_OTHER), _OTHER)]
        self._types = [kind for entry in entries for attestation in entry.get("attestations") or []
                       if (kind := attestation.get("type") or attestation.get("predicateType"))]
        self._annotations = [annotations for entry in entries for part in _leaves(entry)
                             if (annotations := part.get("annotations") or entry.get("annotations"))]
        self._logs = [_REKOR, *(url for entry in entries for part in _leaves(entry) for block in part.values()
                                if isinstance(block, dict) and (url := (block.get("rekor") or {}).get("url")))]
        self._conditions: dict[str, list[Document]] = {}
        for entry in entries:
            for attestation in entry.get("attestations") or []:
                kind = attestation.get("type") or attestation.get("predicateType")
                self._conditions.setdefault(str(kind), []).extend(
                    condition for block in attestation.get("conditions") or [] for form in ("all", "any")
                    for condition in block.get(form) or [])
        vocabulary = Vocabulary()
        vocabulary.policy({"validate": {"deny": {"conditions": [condition for entry in entries for attestation in
                                                                entry.get("attestations") or [] for condition in
                                                                attestation.get("conditions") or []]}}})
        self._samples = Samples(vocabulary, typed=False)
        self._tree = _predicates(entries)
        self._made: list[Signature] = []

    def turn(self) -> None:
        """Others have signed from now on."""
        self._made = [*self._signed()]

    def _signed(self) -> Iterator[Signature]:
        of = self._random
        whole = of.random() < 0.25  # all that the rule asks for may be there
        for turn, signer in enumerate(self._signers):
            for kind in ("", *self._types):
                named = turn < len(self._signers) - 2
                if of.random() < (0 if whole and named else 0.35 if named else 0.9):
                    continue
                logged, promised = whole or of.random() < 0.8, whole or of.random() < 0.8
                annotations = of.choice([{}, *self._annotations])
                predicate = self._samples.value(self._tree) if kind else {}
                if whole and isinstance(predicate, dict):
                    _met(predicate, self._conditions.get(kind, []))
                moment = _NOW + timedelta(minutes=len(self._types) + turn)
                statement = {
                    "subject": DIGEST, "evidence": f"sha256:{turn:064x}", "source": "made up",
                    "kind": "attestation" if kind else "signature", "predicate_type": kind or intoto.COSIGN_SIGN,
                    "predicate": predicate if isinstance(predicate, dict) else {}, "signer": signer.signer,
                    "signed_at": moment.isoformat(), "format": "bundle", "annotations": annotations,
                    "log": {"base_url": of.choice(self._logs), "index": 1, "log_id": "00"} if logged else None}
                yield Signature(statement, signer, logged, promised, annotations)

    def gathered(self) -> EvidenceSet:
        """What is gathered of an image whoever asks."""
        return self._set(made for made in self._made if (
            made.by.signer["fingerprint"] in self._keys if made.by.key else
            made.by.trust == Authority() and made.logged and made.promised))

    def answer(self, question: Question) -> Answer:
        if isinstance(question, PublicKeyAt):
            return Answered(_OTHER)
        if isinstance(question, ApiCall) and "/secrets/" in question.path:
            return Answered({"data": {"cosign.pub": base64.b64encode(_OTHER.encode()).decode()}})
        if not isinstance(question, ImageEvidence):
            return Absent()
        authority = question.authority
        return Answered(msgspec.to_builtins(self._set(made for made in self._made if self._believes(authority, made))))

    @staticmethod
    def _believes(authority: Authority, made: Signature) -> bool:
        if not made.logged and not authority.ignore_log:
            return False
        if made.by.key:
            keys = {fingerprint(key) for key in PEM_KEY.findall(authority.keys)}
            return made.by.signer["fingerprint"] in keys
        return not authority.keys and _bare(authority) == made.by.trust and (made.promised or authority.ignore_sct)

    @staticmethod
    def _set(made: Iterator[Signature]) -> EvidenceSet:
        statements = [signature.statement for signature in made]
        return msgspec.convert({"subject": DIGEST, "verified": statements}, EvidenceSet)


def fingerprint(pem: str) -> str:
    """`sha256:` of a key, however its PEM text is written."""
    key = load_pem_public_key(pem.strip().encode() + b"\n")
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def _key(pem: str) -> Document:
    return {"type": "key", "fingerprint": fingerprint(pem)}


def _keyless(subject: str, issuer: str, claims: Document | None = None) -> Document:
    return {"type": "keyless", "subject": subject, "issuer": issuer, "claims": claims or {}}


def _leaves(part: Document) -> Iterator[Document]:
    """The entries of attestors, also of those that stand in others."""
    for block in [*(part.get("attestors") or []), *(inner for attestation in part.get("attestations") or []
                                                    for inner in attestation.get("attestors") or [])]:
        for entry in block.get("entries") or []:
            if entry.get("attestor"):
                yield from _leaves({"attestors": [entry["attestor"]]})
            else:
                yield entry


def signers(entries: Sequence[Document]) -> list[Signer]:
    """All whom a rule names."""
    made: list[Signer] = []
    for part in (leaf for entry in entries for leaf in _leaves(entry)):
        if block := part.get("keys"):
            pems = PEM_KEY.findall(block.get("publicKeys") or "") or [_OTHER]
            made += [Signer(_key(pem), pem) for pem in pems]
        elif block := part.get("keyless"):
            subject = block.get("subject") or _text(block.get("subjectRegExp") or "somebody")
            issuer = block.get("issuer") or _text(block.get("issuerRegExp") or "https://issuer.example.com")
            made.append(Signer(_keyless(subject.replace("*", "z").replace("?", "q"), issuer.replace("*", "z"),
                                        block.get("additionalExtensions")), "", _trusted(block)))
    return [*{repr(signer): signer for signer in made}.values()]


def _trusted(block: Document) -> Authority:
    rekor, ctlog = block.get("rekor") or {}, block.get("ctlog") or {}
    return Authority(roots=block.get("roots") or "", log_key=rekor.get("pubkey") or "",
                     ct_key=ctlog.get("pubkey") or "", stamps=ctlog.get("tsaCertChain") or "")


def _text(expression: str) -> str:
    """A text that a regular expression fits, where it is a simple one."""
    text = re.sub(r"\\(.)", "\x00\\1", expression.strip("^$"))
    text = re.sub(r"\[[^\]]*\][+*]?", "1", re.sub(r"(?<!\x00)\.[*+]?", "z", text))
    return text.replace("\x00", "").replace("(", "").replace(")", "")


def _met(predicate: Document, conditions: Sequence[Document]) -> None:
    """With the fields that conditions ask for by name, where they are compared with what is written."""
    for condition in conditions:
        path = _PATH.match(str(condition.get("key")))
        if path is None or condition.get("operator") not in ("Equals", "Equal", "In", "AnyIn", "AllIn"):
            continue
        value = condition.get("value")
        *steps, last = path[1].split(".")
        holder = predicate
        for step in steps:
            holder[step] = holder = holder[step] if isinstance(holder.get(step), dict) else {}
        holder[last] = value[0] if isinstance(value, list) and value else value


def _predicates(entries: Sequence[Document]) -> Any:
    """The fields of predicates that conditions name."""
    vocabulary = Vocabulary()
    for entry in entries:
        for attestation in entry.get("attestations") or []:
            rewritten = re.sub(r"\{\{", "{{ request.object | ", str(attestation.get("conditions") or ""))
            for expression in re.findall(r"\{\{((?:\{[^{}]*\}|[^{}])*)\}\}", rewritten):
                vocabulary.policy({"preconditions": {"all": [{"key": f"{{{{{expression}}}}}"}]}})
    return vocabulary.tree


__all__ = ["DIGEST", "Signatures"]
