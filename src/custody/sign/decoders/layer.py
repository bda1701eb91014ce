"""cosign's layers as claims: the document is the blob, and its descriptor's annotations hold signature and proofs.

(cosign specs/SIGNATURE_SPEC.md.) A layer of `sha256-<hex>.sig` is a simple-signing payload, one of `sha256-<hex>.att` a
DSSE envelope.
"""

from __future__ import annotations

from custody.evidence.model import Evidence
from custody.formats import cosign, intoto
from custody.sign.claim import Claim, Content, Timestamp
from custody.sign.decoders.statement import reader


def decode_signature(evidence: Evidence) -> Claim:
    bundle = cosign.layer_bundle(evidence.data, evidence.annotations, attestation=False)

    def read(subject: str) -> Content:
        payload = cosign.parse_simple_signing(evidence.data)
        return Content(kind="signature", predicate_type=intoto.COSIGN_SIGN, predicate={},
                       annotations=dict(payload.annotations),
                       about=None if payload.digest == subject else f"the signature is of {payload.digest}")

    return Claim(
        format="simplesigning", signature=bundle.signature, signed=evidence.data, certificates=bundle.certificates,
        chain_to_root=True, key_hint=bundle.key_hint, entries=bundle.entries, promise_suffices=True,
        timestamps=tuple(Timestamp(response, bundle.signature) for response in bundle.timestamps), read=read)


def decode_attestation(evidence: Evidence) -> Claim:
    bundle = cosign.layer_bundle(evidence.data, evidence.annotations, attestation=True)
    envelope = bundle.envelope
    assert envelope is not None  # an attestation's layer is one
    return Claim(
        format="dsse", signature=bundle.signature, signed=envelope.signed_bytes, certificates=bundle.certificates,
        chain_to_root=True, key_hint=bundle.key_hint, entries=bundle.entries, promise_suffices=True,
        # cosign 2 timestamps the whole envelope; everywhere else the imprint is of the signature.
        timestamps=tuple(Timestamp(response, evidence.data) for response in bundle.timestamps),
        envelope=envelope, payload=envelope.payload, read=reader(envelope))
