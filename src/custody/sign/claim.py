"""What a signed document claims, whatever its format: who signed which bytes, when, and what that says of the image.

Nothing in a claim is verified. A decoder (`custody.sign.decoders`) makes one; `custody.sign.verify` checks one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from custody.formats.bundle import LogEntry
from custody.formats.dsse import Envelope
from custody.sign import keys

_HASHES = ("sha256", "sha384", "sha512")


class Attested(NamedTuple):
    """A time at which a signature was there, and who says so."""

    moment: datetime
    by: str


class Timestamp(msgspec.Struct, frozen=True):
    response: bytes
    """DER TimeStampResp (RFC 3161)."""
    stamped: bytes
    """The bytes that it must be over."""


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What was signed, as far as a verifier and a policy read it."""

    kind: str
    """`signature` or `attestation`."""
    predicate_type: str
    predicate: Any
    annotations: dict[str, str] = {}
    about: str | None = None
    """What it is about where that is not the image: `the statement is about sha256:…`."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Either `certificates` or `key_hint`; either `signed` or `digest`."""

    format: str
    """For `Verified.format`."""
    signature: bytes
    """DER where the key is for ECDSA."""
    scheme: keys.Scheme = keys.signed
    """How a key signs `signed` in this format, where that is not one of the ways that Sigstore's clients use."""
    signed: bytes | None
    """The bytes that were signed; None where they are an artifact's, of which only the digest is known."""
    digest: bytes = b""
    """Of those bytes, where they are not known, by `digest_name`."""
    digest_name: str = "sha256"
    """`sha256`, `sha384` or `sha512`."""
    certificates: tuple[bytes, ...] = ()
    """DER, leaf first, then what leads to the authority that issued it."""
    chain_to_root: bool = False
    """The certificates may end in the authority's root, which is the trusted root's word and not theirs."""
    key_hint: str | None = None
    """Which key it was, where it was a key. Never trusted."""
    timestamps: tuple[Timestamp, ...] = ()
    entries: tuple[LogEntry, ...] = ()
    promise_suffices: bool = False
    """An entry of Rekor v1 may come with the log's promise and no inclusion proof."""
    envelope: Envelope | None = None
    """The DSSE envelope that was signed, where it was one: log entries of some kinds name its parts."""
    payload: bytes | None = None
    """What `read` parses beside the document itself, such as an envelope's payload."""
    read: Callable[[str], Content]
    """What was signed, given the image's digest. Raises MalformedError, UnsupportedError or VerificationError."""

    def hashed(self, algorithm: str) -> bytes | None:
        """The digest of the signed bytes; None where it is not known."""
        if self.signed is None:
            return self.digest if algorithm == self.digest_name else None
        return hashlib.new(algorithm, self.signed).digest() if algorithm in _HASHES else None
