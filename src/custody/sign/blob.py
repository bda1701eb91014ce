"""Signatures and attestations of files, which stand beside them: bundles, and what came before those.

The certificate of the older forms is PEM and the entry Rekor's bundle in JSON, as layers of an image's signatures hold
them.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import msgspec

from custody.errors import Check, CustodyError, MalformedError, VerificationError
from custody.evidence.model import Evidence, EvidenceSet, Rejected, State, Verified
from custody.formats import bundle as bundles
from custody.formats import cosign, intoto
from custody.formats.bundle import Bundle, read_bundle
from custody.formats.dsse import Envelope
from custody.formats.signedpayload import SIGNATURE, read_signed_payload
from custody.kit import strictjson
from custody.kit.digest import sha256
from custody.ports.lookup import BlobEvidence
from custody.sign.claim import Claim, Content
from custody.sign.decoders.bundle import claim_of
from custody.sign.decoders.statement import read_statement
from custody.sign.steps import SILENT, Trace
from custody.sign.trusting import trust_of
from custody.sign.verify import Trust, verify_evidence
from custody.trust.roots import TrustedRoot

_SOURCE = "annotations"
_SIZES = {"sha256": 64, "sha384": 96, "sha512": 128}
_DIGEST = re.compile(r"(sha256|sha384|sha512):([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file, or what is known of it: one of its digests."""

    digest: str
    """`sha256:…`, or by SHA-384 or SHA-512 where that is what is known."""
    data: bytes | None = None

    def hashed(self, algorithm: str) -> str | None:
        """Hexadecimal; None where it is not known."""
        if self.data is not None:
            return hashlib.new(algorithm, self.data).hexdigest()
        name, _, value = self.digest.partition(":")
        return value if name == algorithm else None


def artifact_of(data: bytes) -> Artifact:
    return Artifact(sha256(data), data)


def parse_digest(text: str, where: str) -> Artifact | None:
    """The artifact that `sha256:…`, `sha384:…` or `sha512:…` names; None for what is no digest.

    Raises MalformedError.
    """
    match = _DIGEST.fullmatch(text)
    if match is None:
        return None
    if len(match[2]) != _SIZES[match[1]]:
        raise MalformedError(where, got=text, expected=f"{match[1]}: and {_SIZES[match[1]]} hexadecimal digits")
    return Artifact(text)


def read_file_bundle(data: bytes, artifact: Artifact, where: str = "bundle") -> tuple[Bundle, str]:
    """A Sigstore bundle (`bundle`) or cosign's JSON before it (`blob`), told apart by what is in it.

    Raises MalformedError or UnsupportedError, naming the field.
    """
    document = strictjson.loads(data, where, max_size=bundles.MAX_DOCUMENT, max_depth=16)
    if isinstance(document, dict) and SIGNATURE in document:
        return read_signed_payload(document, bytes.fromhex(artifact.hashed("sha256") or ""), where), "blob"
    return read_bundle(document, where), "bundle"


def check_signed(bundle: Bundle, form: str, artifact: Artifact, trust: Trust, now: datetime, trace: Trace = SILENT
                 ) -> Verified:
    """That the bundle's signature is of the artifact's bytes. Raises VerificationError; `trace` is told each step."""

    def claim(_: Evidence) -> Claim:
        if bundle.message is None:
            raise VerificationError("bundle: got a statement about files (dsseEnvelope), expected a signature of the "
                                    "file's bytes (messageSignature)", check=Check.STATEMENT,
                                    hint="custody verify-blob-attestation")
        if not bundle.signature:
            raise VerificationError("signature: it is empty", check=Check.SIGNATURE)
        return claim_of(bundle, form, signed=artifact.data, read=partial(_message_content, bundle, artifact))

    return _verify(bundle, artifact, trust, now, claim, trace)


def check_attested(bundle: Bundle, form: str, artifact: Artifact | None, trust: Trust, now: datetime,
                   trace: Trace = SILENT) -> Verified:
    """That the bundle's statement is about the artifact; None: about whatever it says. Raises VerificationError."""

    def claim(_: Evidence) -> Claim:
        envelope = bundle.envelope
        if envelope is None:
            raise VerificationError("bundle: got a signature of a file's bytes (messageSignature), expected a "
                                    "statement about files (dsseEnvelope)", check=Check.STATEMENT,
                                    hint="custody verify-blob")
        if not bundle.signature:
            raise VerificationError("signature: it is empty", check=Check.SIGNATURE)
        stamped = envelope.to_bytes() if form == "blob" else None  # cosign 2 has the whole envelope stamped
        # What a bundle says is read here, since it may name the file by another digest than SHA-256.
        return msgspec.structs.replace(claim_of(bundle, form, stamped=stamped),
                                       read=partial(_statement_content, envelope, artifact))

    return _verify(bundle, artifact or Artifact("no file"), trust, now, claim, trace)


def _verify(bundle: Bundle, artifact: Artifact, trust: Trust, now: datetime, claim: Callable[[Evidence], Claim],
            trace: Trace) -> Verified:
    evidence = Evidence(subject=artifact.digest, media_type=bundles.MEDIA_TYPE, data=bundle.to_bytes(), source="bundle",
                        annotations={})
    return verify_evidence(evidence, replace(trust, blobs=True), now, decoder=claim, trace=trace)


def _message_content(bundle: Bundle, artifact: Artifact, _: str) -> Content:
    message = bundle.message
    assert message is not None  # looked at before
    same = artifact.hashed(message.algorithm) == message.digest.hex()
    return Content(kind="signature", predicate_type=intoto.COSIGN_SIGN, predicate={},
                   about=None if same else f"the signature is of {message.algorithm}:{message.digest.hex()}")


def _statement_content(envelope: Envelope, artifact: Artifact | None, subject: str) -> Content:
    content = read_statement(envelope, subject)
    subjects = intoto.parse_statement(envelope.payload).subjects
    if artifact is None or any(_is_of(listed, artifact) for listed in subjects):
        return msgspec.structs.replace(content, about=None)
    return msgspec.structs.replace(content, about=content.about or "one of its digests is of another file")


def _is_of(listed: intoto.Subject, artifact: Artifact) -> bool:
    """Every digest that is known of both is the same, and there is one."""
    pairs = [(own, listed.digest[name].lower()) for name in _SIZES
             if name in listed.digest and (own := artifact.hashed(name)) is not None]
    return bool(pairs) and all(own == said for own, said in pairs)


def blob_evidence(asked: BlobEvidence, root: TrustedRoot | None, now: datetime) -> EvidenceSet:
    """The one signature, verified or rejected. `root` is the service's own, where the authority names none."""
    try:
        data = base64.b64decode(asked.data, validate=True)
    except ValueError:
        return _rejected("", "data: got no base64")
    try:
        trust = trust_of(asked.authority, root)
        signed = verify_blob(data, cosign.signature_annotations(asked.signature, asked.certificate, asked.bundle),
                             trust, now)
    except VerificationError as error:
        return _rejected(sha256(data), error.message, error.check)
    except CustodyError as error:
        return _rejected(sha256(data), error.message)
    return EvidenceSet(subject=signed.subject, verified=(signed,))


def verify_blob(data: bytes, annotations: dict[str, str], trust: Trust, now: datetime) -> Verified:
    """`annotations` are those that a layer would have. Raises VerificationError."""
    evidence = Evidence(subject=sha256(data), media_type="application/octet-stream", data=data, source=_SOURCE,
                        annotations=annotations)
    return verify_evidence(evidence, replace(trust, blobs=True), now, decoder=_decoded)


def _decoded(evidence: Evidence) -> Claim:
    bundle = cosign.layer_bundle(evidence.data, evidence.annotations, attestation=False)
    if not bundle.signature:
        raise VerificationError("signature: it is empty")
    return claim_of(bundle, "blob", signed=evidence.data, read=partial(_content, evidence.data))


def _content(data: bytes, subject: str) -> Content:
    digest = sha256(data)
    return Content(kind="signature", predicate_type=intoto.COSIGN_SIGN, predicate={},
                   about=None if digest == subject else f"the signature is of {digest}")


def _rejected(subject: str, reason: str, check: Check | None = None) -> EvidenceSet:
    return EvidenceSet(subject=subject, rejected=(
        Rejected(subject=subject, evidence=None, source=_SOURCE, state=State.FAILED, reason=reason, check=check),))
