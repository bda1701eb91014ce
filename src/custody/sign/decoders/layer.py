"""cosign's layers as claims: the document is the blob, and its descriptor's annotations hold signature and proofs.

(cosign specs/SIGNATURE_SPEC.md.) A layer of `sha256-<hex>.sig` is a simple-signing payload, one of `sha256-<hex>.att` a
DSSE envelope.
"""

from __future__ import annotations

from functools import partial

from custody.evidence.model import Evidence
from custody.formats import cosign, intoto
from custody.sign.claim import Claim, Content
from custody.sign.decoders.bundle import claim_of


def decode_signature(evidence: Evidence) -> Claim:
    bundle = cosign.layer_bundle(evidence.data, evidence.annotations, attestation=False)
    return claim_of(bundle, "simplesigning", signed=evidence.data, read=partial(_read_payload, evidence.data))


def decode_attestation(evidence: Evidence) -> Claim:
    bundle = cosign.layer_bundle(evidence.data, evidence.annotations, attestation=True)
    return claim_of(bundle, "dsse", stamped=evidence.data)  # cosign 2 has the whole envelope stamped


def _read_payload(data: bytes, subject: str) -> Content:
    payload = cosign.parse_simple_signing(data)
    return Content(kind="signature", predicate_type=intoto.COSIGN_SIGN, predicate={},
                   annotations=dict(payload.annotations),
                   about=None if payload.digest == subject else f"the signature is of {payload.digest}")
