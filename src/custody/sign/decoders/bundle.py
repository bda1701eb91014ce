"""Sigstore bundles 0.1 to 0.3 as claims: a DSSE envelope around a statement, or a signature of an artifact's bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from custody.evidence.model import Evidence
from custody.formats import intoto
from custody.formats.bundle import Bundle, parse_bundle
from custody.sign.claim import Claim, Content, Timestamp
from custody.sign.decoders.statement import read_statement


def _artifact(_: str) -> Content:
    """An artifact is named by its digest, which is checked with the signature."""
    return Content(kind="signature", predicate_type=intoto.COSIGN_SIGN, predicate={})


def decode(evidence: Evidence) -> Claim:
    return claim_of(parse_bundle(evidence.data), "bundle")


def claim_of(bundle: Bundle, form: str, *, signed: bytes | None = None, stamped: bytes | None = None,
             read: Callable[[str], Content] = _artifact) -> Claim:
    """What a bundle claims, or what amounts to one.

    `signed` and `read` are for bytes without an envelope; `stamped` is what timestamps are over, if not the signature.
    """
    first = bundle.version == "0.1"  # later versions forbid a chain with its root, and demand inclusion proofs
    envelope, message = bundle.envelope, bundle.message
    return Claim(
        format=form, signature=bundle.signature, signed=envelope.signed_bytes if envelope else signed,
        digest=message.digest if message else b"", digest_name=message.algorithm if message else "sha256",
        certificates=bundle.certificates, chain_to_root=first,
        key_hint=bundle.key_hint, entries=bundle.entries, promise_suffices=first,
        timestamps=tuple(Timestamp(response, stamped or bundle.signature) for response in bundle.timestamps),
        envelope=envelope, payload=envelope.payload if envelope else None,
        read=partial(read_statement, envelope) if envelope else read)
