"""What is known about an image: evidence as it was found, and evidence that a verifier vouches for.

`Evidence` is raw bytes keyed by the digest of the image they speak of. `Verified` is another type: only a verifier
makes one, with `seal` (a test holds that to `custody.sign`). What could not be verified stays visible as
`Rejected`, with one of three states, the check that failed and a reason, so that a policy can tell them apart.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import msgspec

from custody.errors import Check
from custody.kit.digest import sha256


class State(enum.StrEnum):
    """Why there is no verified evidence. What verifies and is too old is verified: a policy's condition fails on it."""

    MISSING = "missing"
    FAILED = "failed"
    UNVERIFIABLE = "unverifiable"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One document about one image, as it was fetched."""

    subject: str
    """Digest of the image that it was found at."""
    media_type: str
    data: bytes
    """The raw bytes: a Sigstore bundle, a simple-signing payload, a DSSE envelope, an SBOM."""
    source: str
    """Where it was found, for people: `referrer sha256:…`, `tag sha256-….sig layer 0`."""
    annotations: dict[str, str] = {}
    """The descriptor's annotations; cosign's older formats keep signature and certificate there."""

    @property
    def digest(self) -> str:
        return sha256(self.data)


class KeylessSigner(msgspec.Struct, frozen=True, kw_only=True, tag="keyless"):
    """Who signed, as a certificate authority of the trust root wrote it into the signing certificate."""

    subject: str
    """The certificate's one subject alternative name: an email address or a URI."""
    issuer: str
    """The OIDC issuer, extension 1.3.6.1.4.1.57264.1.8 (or .1)."""
    claims: dict[str, str] = {}
    """The other Fulcio extensions by name, such as `sourceRepositoryURI` (fulcio docs/oid-info.md)."""

    def __str__(self) -> str:
        return f"{self.subject} ({self.issuer})"


class KeySigner(msgspec.Struct, frozen=True, kw_only=True, tag="key"):
    """A public key that the verifier was given."""

    fingerprint: str
    """`sha256:` of the DER SubjectPublicKeyInfo."""

    def __str__(self) -> str:
        return f"key {self.fingerprint}"


class CertificateSigner(msgspec.Struct, frozen=True, kw_only=True, tag="certificate"):
    """Who holds a certificate of the Notary Project."""

    subject: str
    """RFC 4514: `CN=acme,O=Acme`."""
    fingerprint: str
    """`sha256:` of the DER certificate."""

    def __str__(self) -> str:
        return f"certificate {self.subject}"


Signer = KeylessSigner | KeySigner | CertificateSigner


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Where a transparency log of the trust root keeps the signature."""

    base_url: str
    index: int
    log_id: str
    """Hexadecimal log ID."""


class Verified(msgspec.Struct, frozen=True, kw_only=True, weakref=True):
    """A statement that somebody signed, whose every check passed."""

    subject: str
    evidence: str
    """Digest of the Evidence it was verified from."""
    source: str
    kind: str
    """`signature` or `attestation`."""
    predicate_type: str
    """in-toto predicate type; for a simple-signing payload `https://sigstore.dev/cosign/sign/v1`, as cosign reports."""
    predicate: Any
    """The predicate as plain data; {} for signatures."""
    signer: Signer
    signed_at: datetime | None
    """A time that an authority or a log of the trust root attested; None where nothing attests one."""
    log: LogEntry | None
    annotations: dict[str, str] = {}
    """What the signer put in with `-a key=value`."""
    format: str = "bundle"
    """`bundle`, `simplesigning`, `dsse`, `notary` or `gitsign`: how it was stored."""
    signature: str = ""
    """The same for every copy of this signature, whatever it is stored as and whatever attests its time."""


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence that was looked for or found, and does not count."""

    subject: str
    evidence: str | None
    source: str
    state: State
    reason: str
    predicate_type: str | None = None
    """Unverified: what the document claims to be, where that could be read."""
    check: Check | None = None
    """The check that it failed; None where it was not looked at: it could not be had, or nobody asked for it."""


class EvidenceSet(msgspec.Struct, frozen=True, kw_only=True):
    """All that was gathered about one image."""

    subject: str
    verified: tuple[Verified, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    stale_since: datetime | None = None
    """When it was gathered, where it could not be gathered anew."""
    stale_reason: str = ""
    """Why it could not."""
    tag_since: datetime | None = None
    """When its tag was found to mean this digest, where that could not be looked up anew."""
    weight: int = 0
    """About how many bytes of memory it takes, where a gatherer has weighed it."""

    def of(self, predicate_type: str) -> tuple[Verified, ...]:
        return tuple(statement for statement in self.verified if statement.predicate_type == predicate_type)

    @property
    def reached(self) -> bool:
        """Whether somebody could be asked, also where there was nothing: False where none of it could be had."""
        return bool(self.subject) or not any(rejected.state is State.UNVERIFIABLE for rejected in self.rejected)

    @property
    def signatures(self) -> tuple[Verified, ...]:
        return tuple(statement for statement in self.verified if statement.kind == "signature")


def unreached(state: State, reason: str) -> EvidenceSet:
    """What is known of an image of which nothing could be gathered."""
    return EvidenceSet(subject="", rejected=(
        Rejected(subject="", evidence=None, source="gather", state=state, reason=reason),))


def seal(evidence: Evidence, *, kind: str, predicate_type: str, predicate: Any, signer: Signer,
         signed_at: datetime | None, log: LogEntry | None, annotations: dict[str, str] | None = None,
         format: str = "bundle", signature: str = "") -> Verified:  # noqa: A002 - the field's name
    """Vouch for evidence. Called by verifiers only, after every check."""
    return Verified(subject=evidence.subject, evidence=evidence.digest, source=evidence.source, kind=kind,
                    predicate_type=predicate_type, predicate=predicate, signer=signer, signed_at=signed_at, log=log,
                    annotations=annotations or {}, format=format, signature=signature)


def facts(value: Any) -> Any:
    """Plain data of any of these types, for records and digests."""
    return msgspec.to_builtins(value)


def no_bundle(statement: Verified) -> str | None:
    """Why it does not count where a Sigstore bundle is asked for; None where it is one."""
    if statement.format == "notary":
        return "a signature of the Notary Project, expected a Sigstore bundle: type Notary asks for the other"
    return None if statement.format == "bundle" else f"stored as {statement.format}, expected a Sigstore bundle"
