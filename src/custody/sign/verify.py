"""The verifier: evidence in, verified evidence out, or one precise reason why not. Pure: no I/O, no clock.

What the caller must still do: compare the signer that comes back with the one it expects (`custody.sign.identity`),
and the predicate type with the one it asked for.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from custody.errors import MalformedError, UnsupportedError, VerificationError
from custody.evidence import model
from custody.formats import cosign, dsse, intoto
from custody.formats.bundle import Bundle, parse_bundle
from custody.kit import strictjson
from custody.sign.keys import PublicKey, check_digest_signature, check_signature, identity_of
from custody.sign.logentry import Signed, check_binding, check_log_validity, check_logged, find_log, is_v1
from custody.trust.roots import TrustedRoot

if TYPE_CHECKING:
    from custody.sign.certificate import SigningCertificate

BUNDLE_PREFIX = "application/vnd.dev.sigstore.bundle"


@dataclass(frozen=True, slots=True)
class Trust:
    """What a verifier believes, and what it insists on."""

    root: TrustedRoot | None = None
    keys: tuple[PublicKey, ...] = ()
    require_log: bool = True
    """Every signature is in a log of the root. False: log entries are not looked at, and attest no time."""
    require_sct: bool = True
    """Every signing certificate was promised to a CT log of the root."""
    max_weight: int | None = None
    """Bytes that a document, and then what was signed in it, may take once parsed (`strictjson.weight`); None: any."""
    blobs: bool = False
    """A bundle that signs the subject's bytes as those of any file counts too. For an image it does not, nor does it
    for cosign: who signs files does not vouch for images, and a manifest is a file."""


def verify_evidence(evidence: model.Evidence, trust: Trust, now: datetime) -> model.Verified:
    """Raises VerificationError, whose message names the check that failed."""
    try:
        return _verify(evidence, trust, now)
    except (MalformedError, UnsupportedError) as error:
        raise VerificationError(error.message, hint=error.hint) from None


def _verify(evidence: model.Evidence, trust: Trust, now: datetime) -> model.Verified:
    # 1. Decode: whatever the format, it becomes a bundle, the bytes that were signed, and a name for the format.
    _check_weight(evidence.data, trust, "document")
    bundle, signed_bytes, stored_as = _decode(evidence)
    if stored_as == "bundle" and bundle.message is not None and not trust.blobs:
        raise VerificationError("signature: got one of a file's bytes (messageSignature), expected one of a statement "
                                "about the image (dsseEnvelope)")

    # 2. Find who may have signed: the leaf certificate, or the first given key that fits.
    leaf: SigningCertificate | None = None
    if bundle.certificates:
        from custody.sign.certificate import read_signing_certificate

        if trust.root is None:
            raise VerificationError("signed with a certificate, and there is no trusted root to check it against",
                                    hint="--trusted-root FILE")
        leaf = read_signing_certificate(bundle.certificates[0])
        candidates: Sequence[PublicKey] = (leaf.public_key,)
    else:
        candidates = trust.keys
        if not candidates:
            raise VerificationError(f"signed with a key ({_fingerprint(bundle.key_hint)}), and no key is trusted",
                                    hint="--key FILE")

    # 3. Check the signature over the signed bytes.
    key = _check_any(candidates, bundle, signed_bytes, evidence.subject)

    # 4. Collect times that authorities of the root attest for this very signature.
    times = _timestamps(bundle, evidence, trust.root, stored_as)

    # 5. Find the signature in a log: the entry is about it (binding), and the log keeps it (SET, inclusion proof).
    log = None
    if trust.require_log:
        log = _check_log(bundle, key, leaf, signed_bytes, trust.root, times, now)

    # 6. Check the certificate at every one of those times: chain, authority's validity, leaf's validity, SCT.
    if leaf is not None and trust.root is not None:
        _check_certificate(leaf, bundle, trust.root, times, require_sct=trust.require_sct)

    # 7. Read what was signed: it must be about this image.
    if bundle.envelope is not None:
        _check_weight(bundle.envelope.payload, trust, "statement")
    kind, predicate_type, predicate, annotations = _read_claims(bundle, evidence)
    return model.seal(evidence, kind=kind, predicate_type=predicate_type, predicate=predicate,
                      signer=leaf.signer if leaf else key.signer, signed_at=min(times, default=None), log=log,
                      annotations=annotations, format=stored_as,
                      signature=identity_of(key, bundle.signature, signed_bytes or evidence.subject.encode()))


def _check_weight(data: bytes, trust: Trust, what: str) -> None:
    if trust.max_weight is not None and (size := strictjson.weight(data)) > trust.max_weight:
        raise VerificationError(f"{what}: {len(data)} bytes would take about {size >> 20} MiB of memory, expected at "
                                f"most {trust.max_weight >> 20} MiB")


def _decode(evidence: model.Evidence) -> tuple[Bundle, bytes | None, str]:
    """The signed bytes are None where a bundle signs an artifact of which only the digest is known."""
    if evidence.media_type.startswith(BUNDLE_PREFIX):
        bundle = parse_bundle(evidence.data)
        return bundle, bundle.envelope.signed_bytes if bundle.envelope else None, "bundle"
    if evidence.media_type == cosign.SIMPLE_SIGNING:
        return cosign.layer_bundle(evidence.data, evidence.annotations, attestation=False), evidence.data, \
            "simplesigning"
    if evidence.media_type == dsse.MEDIA_TYPE:
        bundle = cosign.layer_bundle(evidence.data, evidence.annotations, attestation=True)
        assert bundle.envelope is not None
        return bundle, bundle.envelope.signed_bytes, "dsse"
    raise VerificationError(f"{evidence.media_type}: nothing of this type is signed",
                            hint="custody attest makes signed evidence of a document")


def _fingerprint(hint: str | None) -> str:
    """A bundle's hint as a KeySigner is written, where it is cosign's: the base64 SHA-256 of the key."""
    try:
        digest = base64.b64decode(hint or "", validate=True)
    except ValueError:
        digest = b""
    return f"sha256:{digest.hex()}" if len(digest) == 32 else hint or "no hint"


def _check_any(candidates: Sequence[PublicKey], bundle: Bundle, signed_bytes: bytes | None, subject: str) -> PublicKey:
    failure: VerificationError | None = None
    for key in sorted(candidates, key=lambda key: key.hint != bundle.key_hint):
        try:
            if signed_bytes is not None:
                check_signature(key.key, bundle.signature, signed_bytes, "signature")
            else:
                assert bundle.message is not None  # a bundle has an envelope or this
                if f"sha256:{bundle.message.digest.hex()}" != subject:
                    raise VerificationError(f"subject: the signature is of sha256:{bundle.message.digest.hex()}, "
                                            f"expected {subject}")
                check_digest_signature(key.key, bundle.signature, bundle.message.digest, "signature")
            return key
        except VerificationError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _timestamps(bundle: Bundle, evidence: model.Evidence, root: TrustedRoot | None, stored_as: str) -> list[datetime]:
    if not bundle.timestamps or root is None:
        return []
    from custody.sign.timestamp import check_timestamp

    # cosign 2 timestamps the whole DSSE envelope; everywhere else the imprint is of the signature.
    message = evidence.data if stored_as == "dsse" else bundle.signature
    return [check_timestamp(stamp, message, root.timestamp_authorities) for stamp in bundle.timestamps]


def _check_log(bundle: Bundle, key: PublicKey, leaf: SigningCertificate | None, signed_bytes: bytes | None,
               root: TrustedRoot | None, times: list[datetime], now: datetime) -> model.LogEntry:
    """Adds the times that logs attest to `times`. Every entry of the bundle must hold."""
    if not bundle.entries:
        raise VerificationError("log entry: there is none", hint="--insecure-ignore-tlog skips this check")
    if root is None:
        raise VerificationError("log entry: there is no trusted root to check it against",
                                hint="--trusted-root FILE, or --insecure-ignore-tlog to skip this check")
    if signed_bytes is not None:
        digests = {name: hashlib.new(name, signed_bytes).digest() for name in ("sha256", "sha384", "sha512")}
    else:
        digests = {"sha256": bundle.message.digest} if bundle.message else {}
    signed = Signed(bundle, key, leaf.der if leaf else None, digests)
    attested = list(times)
    first = None
    for entry in bundle.entries:
        log = find_log(entry, root.tlogs)
        check_binding(entry, signed)
        moment = check_logged(entry, log, proof_required=bundle.version != "0.1" or not is_v1(entry))
        for made in [moment] if moment else attested or [now]:
            check_log_validity(log, made)
        if moment:
            times.append(moment)
        first = first or model.LogEntry(base_url=log.base_url, index=entry.log_index, log_id=entry.log_id.hex())
    assert first is not None
    return first


def _check_certificate(leaf: SigningCertificate, bundle: Bundle, root: TrustedRoot, times: list[datetime], *,
                       require_sct: bool) -> None:
    from custody.sign.certificate import build_chain, check_sct

    if not times:
        raise VerificationError("time: nothing attests when the signature was made, so the certificate, which is valid "
                                "for minutes only, cannot be checked")
    presented = bundle.certificates[1:]
    if bundle.version == "0.1" and len(bundle.certificates) > 1:
        # cosign's .sig layers carry the whole chain; its root is the trusted root's word, not the layer's.
        own = {der for authority in root.certificate_authorities for der in authority.chain}
        presented = tuple(der for der in presented if der not in own)
    issuer = None
    for moment in dict.fromkeys(times):
        leaf.check_valid_at(moment)
        issuer = build_chain(leaf, presented, root.certificate_authorities, moment)
    if require_sct and issuer is not None:
        check_sct(leaf, issuer, root.ctlogs)


def _read_claims(bundle: Bundle, evidence: model.Evidence) -> tuple[str, str, object, dict[str, str]]:
    """Kind, predicate type, predicate and annotations."""
    if bundle.envelope is not None:
        if bundle.envelope.payload_type != intoto.PAYLOAD_TYPE:
            raise VerificationError(f"payload type: got {bundle.envelope.payload_type!r}, "
                                    f"expected {intoto.PAYLOAD_TYPE!r}")
        statement = intoto.parse_statement(bundle.envelope.payload)
        subject = statement.subject_of(evidence.subject)
        if subject is None:
            named = ", ".join(f"{name}:{value}" for item in statement.subjects[:2]
                              for name, value in item.digest.items())
            raise VerificationError(f"subject: the statement is about {named[:200]}, expected {evidence.subject}")
        if statement.predicate_type == intoto.COSIGN_SIGN:
            return "signature", intoto.COSIGN_SIGN, {}, dict(subject.annotations)
        return "attestation", statement.predicate_type, statement.predicate, dict(subject.annotations)
    annotations: dict[str, str] = {}
    if evidence.media_type == cosign.SIMPLE_SIGNING:
        payload = cosign.parse_simple_signing(evidence.data)
        if payload.digest != evidence.subject:
            raise VerificationError(f"subject: the signature is of {payload.digest}, expected {evidence.subject}")
        annotations = dict(payload.annotations)
    return "signature", intoto.COSIGN_SIGN, {}, annotations
