"""The verifier: evidence in, verified evidence out, or one precise reason why not. Pure: no I/O, no clock.

It knows no format: `custody.sign.decoders` makes a claim of a document, and the steps below are over claims.

What the caller must still do: compare the signer that comes back with the one it expects (`custody.sign.identity`),
and the predicate type with the one it asked for. `custody.services.verify` does the former for many documents.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from custody.errors import Check, MalformedError, UnsupportedError, VerificationError
from custody.evidence import model
from custody.kit import strictjson
from custody.kit.clock import format_rfc3339
from custody.sign.claim import Claim
from custody.sign.decoders import Decoder, decode
from custody.sign.keys import PublicKey, Scheme, check_digest_signature, check_signature, identity_of
from custody.sign.logentry import Logged, check_binding, check_log_validity, check_logged, find_log, is_v1
from custody.trust.roots import TrustedRoot

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from custody.sign.certificate import SigningCertificate
    from custody.sign.notary.evidence import Notaries

NOT_LOGGED = "log entry: there is none"
"""The reason why a signature that is in no log does not count."""


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
    keys_alone: bool = False
    """A certificate beside a signature is not read: whoever holds one of `keys` made it, or nobody did."""
    scheme: Scheme | None = None
    """How a key signs, where that is said; None: in any of the ways that the document's format knows."""
    named: bool = True
    """A signing certificate names one identity. False: it may name none, and stands for whoever holds its key."""
    expiring: bool = False
    """Where nothing attests when a signature was made, its certificate must be valid now; else it does not count."""
    notaries: Notaries | None = None
    """Who is believed of the Notary Project; its signatures alone count then."""
    blobs: bool = False
    """A bundle that signs the subject's bytes as those of any file counts too. For an image it does not, nor does it
    for cosign: who signs files does not vouch for images, and a manifest is a file."""


def verify_evidence(evidence: model.Evidence, trust: Trust, now: datetime, *, decoder: Decoder = decode
                    ) -> model.Verified:
    """Raises VerificationError, whose message and `check` name the check that failed.

    `decoder` is for what is stored as nothing that an image's evidence is.
    """
    check = Check.FORMAT  # whatever is raised below is of this one, where it does not say another
    try:
        # 1. Decode: whatever the format, it becomes a claim.
        _check_weight(evidence.data, trust, "document")
        if trust.notaries is not None:
            from custody.sign.notary.evidence import verify_notation

            return verify_notation(evidence, trust.notaries, now)
        claim = decoder(evidence)
        if claim.signed is None and not trust.blobs:
            raise VerificationError("signature: got one of a file's bytes (messageSignature), expected one of a "
                                    "statement about the image (dsseEnvelope)", check=Check.STATEMENT)

        # 2. Find who may have signed: the leaf certificate, or the first given key that fits.
        check = Check.CERTIFICATE
        leaf = None if trust.keys_alone else _leaf(claim, trust)
        keys = [leaf.public_key] if leaf else _keys(claim, trust)

        # 3. Check the signature over the signed bytes.
        check = Check.SIGNATURE
        key = _check_any(keys, claim, evidence.subject, trust.scheme)

        # 4. Collect times that authorities of the root attest for this very signature.
        check = Check.TIME
        times = _attested(claim, trust.root)

        # 5. Find the signature in a log: the entry is about it (binding), and the log keeps it (SET, inclusion proof).
        check, log = Check.LOG, None
        if trust.require_log:
            presented = leaf.der if leaf else _presented(claim, key) if trust.keys_alone else None
            log, logged = _check_log(Logged(claim, key, presented), trust.root, times, now)
            times += logged

        # 6. Check the certificate at every one of those times: chain, authority's validity, leaf's validity; then SCT.
        if leaf is not None and trust.root is not None:
            check = Check.CERTIFICATE
            issuer = _check_certificate(leaf, claim, trust.root, times or ([now] if trust.expiring else []))
            check = Check.SCT
            if trust.require_sct:
                from custody.sign.certificate import check_sct

                check_sct(leaf, issuer, trust.root.ctlogs)

        # 7. Read what was signed: it must be about this image.
        check = Check.STATEMENT
        if claim.payload is not None:
            _check_weight(claim.payload, trust, "statement")
        content = claim.read(evidence.subject)
        if content.about is not None:
            raise VerificationError(f"subject: {content.about}, expected {evidence.subject}", check=Check.SUBJECT)
    except (MalformedError, UnsupportedError) as error:
        raise VerificationError(error.message, hint=error.hint, check=check) from None
    except VerificationError as error:
        error.check = error.check or check
        raise
    return model.seal(evidence, kind=content.kind, predicate_type=content.predicate_type, predicate=content.predicate,
                      signer=leaf.signer if leaf else key.signer, signed_at=min(times, default=None), log=log,
                      annotations=content.annotations, format=claim.format,
                      signature=identity_of(key, claim.signature, claim.signed or evidence.subject.encode()))


def _check_weight(data: bytes, trust: Trust, part: str) -> None:
    if trust.max_weight is not None and (weight := strictjson.weight(data)) > trust.max_weight:
        raise VerificationError(f"{part}: {len(data)} bytes would take about {weight >> 20} MiB of memory, expected at "
                                f"most {trust.max_weight >> 20} MiB", check=Check.WEIGHT)


def _leaf(claim: Claim, trust: Trust) -> SigningCertificate | None:
    if not claim.certificates:
        return None
    from custody.sign.certificate import read_signing_certificate

    if trust.root is None:
        raise VerificationError("signed with a certificate, and there is no trusted root to check it against",
                                hint="--trusted-root FILE", check=Check.ROOT)
    return read_signing_certificate(claim.certificates[0], named=trust.named)


def _presented(claim: Claim, key: PublicKey) -> bytes | None:
    """The certificate that came with a key's signature, which its log entry then names; None for another key's."""
    if not claim.certificates:
        return None
    from custody.sign.certificate import load_certificate
    from custody.trust.keys import spki

    leaf = claim.certificates[0]
    return leaf if spki(load_certificate(leaf, "certificate").public_key()) == key.der else None


def _keys(claim: Claim, trust: Trust) -> list[PublicKey]:
    """The trusted keys, the one that the claim names first."""
    if not trust.keys:
        raise VerificationError(f"signed with a key ({_fingerprint(claim.key_hint)}), and no key is trusted",
                                hint="--key FILE", check=Check.KEY)
    return sorted(trust.keys, key=lambda key: key.hint != claim.key_hint)


def _fingerprint(hint: str | None) -> str:
    """A claim's hint as a KeySigner is written, where it is cosign's: the base64 SHA-256 of the key."""
    try:
        digest = base64.b64decode(hint or "", validate=True)
    except ValueError:
        digest = b""
    return f"sha256:{digest.hex()}" if len(digest) == 32 else hint or "no hint"


def _check_any(keys: Sequence[PublicKey], claim: Claim, subject: str, scheme: Scheme | None = None) -> PublicKey:
    """The first key that made the signature."""
    if claim.signed is None and (digest := f"{claim.digest_name}:{claim.digest.hex()}") != subject:
        raise VerificationError(f"subject: the signature is of {digest}, expected {subject}", check=Check.SUBJECT)
    failure: VerificationError | None = None
    for key in keys:
        try:
            if claim.signed is not None:
                check_signature(key.key, claim.signature, claim.signed, "signature", scheme or claim.scheme)
            else:
                check_digest_signature(key.key, claim.signature, claim.digest, "signature", claim.digest_name)
            return key
        except VerificationError as error:
            failure = failure or error
    assert failure is not None  # there is a key
    raise failure


def _attested(claim: Claim, root: TrustedRoot | None) -> list[datetime]:
    if not claim.timestamps or root is None:
        return []
    from custody.sign.timestamp import check_timestamp

    return [check_timestamp(timestamp.response, timestamp.stamped, root.timestamp_authorities)
            for timestamp in claim.timestamps]


def _check_log(logged: Logged, root: TrustedRoot | None, times: Sequence[datetime], now: datetime
               ) -> tuple[model.LogEntry, list[datetime]]:
    """The first entry, and the times that logs attest. Every entry of the claim must hold."""
    claim = logged.claim
    if not claim.entries:
        raise VerificationError(NOT_LOGGED, hint="--insecure-ignore-tlog skips this check", check=Check.LOGGED)
    if root is None:
        raise VerificationError("log entry: there is no trusted root to check it against",
                                hint="--trusted-root FILE, or --insecure-ignore-tlog to skip this check")
    attested: list[datetime] = []
    first = None
    for entry in claim.entries:
        log = find_log(entry, root.tlogs)
        check_binding(entry, logged)
        integrated = check_logged(entry, log, proof_required=not (claim.promise_suffices and is_v1(entry)))
        for moment in [integrated] if integrated else times:
            check_log_validity(log, moment)
        if not integrated and not times and not log.valid.contains(now):  # a key's signature of which nobody says when
            raise VerificationError("log entry: nothing attests when it was made, the clock says "
                                    f"{format_rfc3339(now)}, and the log {log.base_url} is trusted from {log.valid}",
                                    hint="set the machine's clock right, or let signatures be timestamped")
        if integrated:
            attested.append(integrated)
        first = first or model.LogEntry(base_url=log.base_url, index=entry.log_index, log_id=entry.log_id.hex())
    if len({(entry.log_id, entry.log_index) for entry in claim.entries}) != len(claim.entries):
        raise VerificationError("log entry: one is there twice")  # one log's word is one, however often it is repeated
    assert first is not None  # there is an entry
    return first, attested


def _check_certificate(leaf: SigningCertificate, claim: Claim, root: TrustedRoot, times: Sequence[datetime]
                       ) -> Certificate:
    """The issuer of the leaf, at the last of the times."""
    from custody.sign.certificate import build_chain

    if not times:
        raise VerificationError("time: nothing attests when the signature was made, so the certificate, which is valid "
                                "for minutes only, cannot be checked", check=Check.TIME)
    presented = claim.certificates[1:]
    if presented and claim.chain_to_root:
        known = {certificate for authority in root.certificate_authorities for certificate in authority.chain}
        presented = tuple(certificate for certificate in presented if certificate not in known)

    def issuer(moment: datetime) -> Certificate:
        leaf.check_valid_at(moment)
        return build_chain(leaf, presented, root.certificate_authorities, moment)

    return [issuer(moment) for moment in dict.fromkeys(times)][-1]
