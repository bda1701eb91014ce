"""Signatures of the Notary Project as evidence: who signed, by certificates that a policy names, and which image.

(notaryproject/specifications trust-store-trust-policy and signing-scheme, level strict.) A certificate of the chain
must be one of those that are trusted; every one of it is valid now, or at the time that a trusted authority stamped.
Whether a certificate was revoked is not asked here, nor is a trust policy: `verify` does both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509

from custody.errors import Check, UnsupportedError, VerificationError
from custody.evidence.model import CertificateSigner, Evidence, Verified, seal
from custody.formats import intoto, notary, oci
from custody.kit import strictjson
from custody.kit.clock import format_rfc3339
from custody.kit.digest import sha256
from custody.sign.certificate import load_certificate
from custody.sign.keys import identity_of, public_key
from custody.sign.notary.chain import check_signing_chain, check_valid
from custody.sign.notary.envelope import check_signature, check_unexpired, primitive
from custody.sign.notary.trustpolicy import Validation
from custody.sign.steps import SILENT, Step, Trace

if TYPE_CHECKING:
    from custody.sign.notary.verify import Outcome

_MAX_DOCUMENT = 10 * 1000 * 1000  # bytes, as Kyverno reads


@dataclass(frozen=True, slots=True)
class Notaries:
    """Who is believed: a trust store of certificates, and one of timestamp authorities."""

    certificates: tuple[bytes, ...]
    """DER."""
    authorities: tuple[bytes, ...] = ()
    """DER of timestamp authorities' roots. Where there are any, a signature needs a timestamp."""


def verify_notation(evidence: Evidence, trusted: Notaries, now: datetime, trace: Trace = SILENT) -> Verified:
    """Raises MalformedError, UnsupportedError or VerificationError, whose `check` says which check failed.

    `trace` has begun with the format. Revocation is not asked for here.
    """
    envelope = notary.parse_envelope(evidence.data, evidence.media_type)
    chain = [load_certificate(der, f"certificate chain [{at}]") for at, der in enumerate(envelope.chain)]
    if envelope.extended:
        name = min(envelope.extended)
        raise UnsupportedError("envelope.protected", f"{name} is {'critical' if name in envelope.critical else 'there'}"
                               ", and custody does not know it")
    trace.passed(lambda: f"{len(evidence.data)} bytes of {evidence.media_type}")
    trace.begin(Step.INTEGRITY)
    check_signature(envelope, chain[0])
    if envelope.scheme != notary.X509:
        raise VerificationError(f"signing scheme: got {envelope.scheme}, expected {notary.X509}: certificates are "
                                "trusted for that alone", check=Check.CERTIFICATE)
    check_signing_chain(chain)
    trace.passed(lambda: f"signed by {chain[0].subject.rfc4514_string()}")
    trace.begin(Step.AUTHENTICITY)
    if not {*envelope.chain} & {*trusted.certificates}:
        raise VerificationError("certificate: no trusted authority issued it (signature is not produced by a trusted "
                                f"signer: {chain[0].subject.rfc4514_string()})", check=Check.CERTIFICATE)
    trace.passed("a certificate of its chain is trusted")
    trace.begin(Step.TIMESTAMP)
    moment = _moment(envelope, trusted)
    if moment is not None:
        trace.passed(partial(format_rfc3339, moment))
    else:
        trace.skipped("no timestamp authority is named", Step.TIMESTAMP)
    trace.begin(Step.VALIDITY)
    check_valid(chain, moment or now, "when it was stamped" if moment else "now", Check.CERTIFICATE)
    trace.passed(partial(format_rfc3339, moment or now))
    trace.begin(Step.EXPIRY)
    check_unexpired(envelope, now)
    trace.passed()
    trace.begin(Step.SUBJECT)
    if envelope.target.digest != evidence.subject:
        raise VerificationError(f"subject: the signature is of {envelope.target.digest}, expected {evidence.subject}",
                                check=Check.SUBJECT)
    trace.passed(evidence.subject)
    return _sealed(evidence, envelope, chain[0], moment)


def vouched(evidence: Evidence, outcome: Outcome) -> Verified:
    """A signature that a trust policy lets count, by somebody whom it names; what it only logs is no objection.

    Raises VerificationError where it does not count, and where nobody knows who signed: at level audit authenticity is
    logged alone.
    """
    if outcome.error is not None:
        raise outcome.error
    envelope = outcome.envelope
    unknown = next((result.error for result in outcome.failures if result.validation is Validation.AUTHENTICITY), None)
    if envelope is None or unknown is not None:
        raise unknown or VerificationError("signature: it was not verified", check=Check.SIGNATURE)
    return _sealed(evidence, envelope, outcome.chain[0], outcome.moment)


def _sealed(evidence: Evidence, envelope: notary.Envelope, leaf: x509.Certificate, moment: datetime | None) -> Verified:
    key = public_key(leaf.public_key(), "certificate")
    signer = CertificateSigner(subject=leaf.subject.rfc4514_string(), fingerprint=sha256(envelope.chain[0]))
    return seal(evidence, kind="signature", predicate_type=intoto.COSIGN_SIGN, predicate={}, signer=signer,
                signed_at=moment, log=None, annotations=dict(envelope.target.annotations), format="notary",
                signature=identity_of(key, primitive(envelope, key.key), envelope.signed))


def attested(manifest: bytes, document: Evidence, signature: Verified, kind: str) -> Verified:
    """What an artifact of type `kind` beside an image says, where `signature` is one of that artifact.

    `manifest` is the artifact's, and `document` its one layer. Raises MalformedError, UnsupportedError or
    VerificationError.
    """
    if sha256(manifest) != signature.subject:
        raise VerificationError(f"subject: the signature is of {signature.subject}", check=Check.SUBJECT)
    body = oci.parse_manifest(manifest, "artifact")
    if not isinstance(body, oci.Manifest) or body.subject is None or body.subject.digest != document.subject:
        raise VerificationError(f"subject: the artifact is not about {document.subject}", check=Check.SUBJECT)
    if [layer.digest for layer in body.layers] != [document.digest]:
        raise VerificationError(f"artifact: {len(body.layers)} layers, expected the document alone",
                                check=Check.STATEMENT)
    predicate = strictjson.loads(document.data, "artifact", max_size=_MAX_DOCUMENT)
    return seal(document, kind="attestation", predicate_type=kind, predicate=predicate, signer=signature.signer,
                signed_at=signature.signed_at, log=None, annotations=signature.annotations, format="notary",
                signature=signature.signature)


def _moment(envelope: notary.Envelope, trusted: Notaries) -> datetime | None:
    """When a trusted authority saw the signature; None where nobody is trusted to say that."""
    if not trusted.authorities:
        return None
    if envelope.timestamp is None:
        raise VerificationError("timestamp: there is none, and signatures must have one", check=Check.TIME,
                                absent=True)
    from custody.sign.notary.countersignature import countersigned

    return countersigned(envelope.timestamp, envelope.signature,
                         [load_certificate(der, "tsaCerts") for der in trusted.authorities]).moment
