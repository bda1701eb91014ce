"""Sigstore bundles 0.1 to 0.3 as claims: a DSSE envelope around a statement, or a signature of an artifact's bytes."""

from __future__ import annotations

from custody.evidence.model import Evidence
from custody.formats import intoto
from custody.formats.bundle import parse_bundle
from custody.sign.claim import Claim, Content, Timestamp
from custody.sign.decoders.statement import reader


def decode(evidence: Evidence) -> Claim:
    bundle = parse_bundle(evidence.data)
    first = bundle.version == "0.1"  # later versions forbid a chain with its root, and demand inclusion proofs
    envelope, message = bundle.envelope, bundle.message
    return Claim(
        format="bundle", signature=bundle.signature, signed=envelope.signed_bytes if envelope else None,
        digest=message.digest if message else b"", certificates=bundle.certificates, chain_to_root=first,
        key_hint=bundle.key_hint, entries=bundle.entries, promise_suffices=first,
        timestamps=tuple(Timestamp(response, bundle.signature) for response in bundle.timestamps),
        envelope=envelope, payload=envelope.payload if envelope else None,
        read=reader(envelope) if envelope else _artifact)


def _artifact(_: str) -> Content:
    """An artifact is named by its digest, which was checked with the signature."""
    return Content(kind="signature", predicate_type=intoto.COSIGN_SIGN, predicate={})
