"""The formats in which signed documents are stored: media type → decoder. A new format is a module here and a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from custody.errors import VerificationError
from custody.evidence.model import Evidence
from custody.formats import bundle as bundles
from custody.formats import cosign, dsse
from custody.sign.claim import Claim
from custody.sign.decoders import bundle, layer

Decoder = Callable[[Evidence], Claim]
"""Raises MalformedError, UnsupportedError or VerificationError."""


class Format(NamedTuple):
    decode: Decoder
    kind: str
    """`signature` or `attestation`: what a document of this type is taken for where it cannot be read."""


DECODERS: dict[str, Format] = {
    f"{bundles.PREFIX}*": Format(bundle.decode, "attestation"),
    cosign.SIMPLE_SIGNING: Format(layer.decode_signature, "signature"),
    dsse.MEDIA_TYPE: Format(layer.decode_attestation, "attestation"),
}
"""By media type; `*` at the end stands for the rest of one, whose versions are the decoder's business."""


def format_of(media_type: str) -> Format | None:
    """None for a type of which nothing is signed."""
    for pattern, row in DECODERS.items():
        if media_type == pattern or (pattern.endswith("*") and media_type.startswith(pattern[:-1])):
            return row
    return None


def decode(evidence: Evidence) -> Claim:
    """Raises VerificationError for a document of a type that nobody signs, and what its decoder does."""
    row = format_of(evidence.media_type)
    if row is None:
        raise VerificationError(f"{evidence.media_type}: nothing of this type is signed",
                                hint="custody attest makes signed evidence of a document")
    return row.decode(evidence)
