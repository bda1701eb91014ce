"""Signatures of bytes that stand beside them, as `cosign sign-blob` makes them: a signature, a certificate, an entry.

The certificate is PEM and the entry Rekor's bundle in JSON, as layers of an image's signatures hold them.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import datetime
from functools import partial

from custody.errors import Check, CustodyError, VerificationError
from custody.evidence.model import Evidence, EvidenceSet, Rejected, State, Verified
from custody.formats import cosign, intoto
from custody.kit.digest import sha256
from custody.ports.lookup import BlobEvidence
from custody.sign.claim import Claim, Content
from custody.sign.decoders.bundle import claim_of
from custody.sign.trusting import trust_of
from custody.sign.verify import Trust, verify_evidence
from custody.trust.roots import TrustedRoot

_SOURCE = "annotations"


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
