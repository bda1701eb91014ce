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
from functools import partial
from typing import TYPE_CHECKING

from custody.errors import Check, MalformedError, UnsupportedError, VerificationError
from custody.evidence import model
from custody.kit import strictjson
from custody.kit.clock import format_rfc3339
from custody.sign.claim import Attested, Claim
from custody.sign.decoders import Decoder, decode
from custody.sign.keys import PublicKey, Scheme, check_digest_signature, check_signature, identity_of
from custody.sign.logentry import Logged, check_binding, check_log_validity, check_logged, find_log, is_v1
from custody.sign.steps import LOG, SILENT, Step, Trace
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


def verify_evidence(evidence: model.Evidence, trust: Trust, now: datetime, *, decoder: Decoder = decode,
                    trace: Trace = SILENT) -> model.Verified:
    """Raises VerificationError, whose message and `check` name the check that failed.

    `decoder` is for what is stored as nothing that an image's evidence is. `trace` is told each step.
    """
    check = Check.FORMAT  # whatever is raised below is of this one, where it does not say another
    try:
        # 1. Decode: whatever the format, it becomes a claim.
        trace.begin(Step.FORMAT)
        _check_weight(evidence.data, trust, "document")
        if trust.notaries is not None:
            from custody.sign.notary.evidence import verify_notation

            return verify_notation(evidence, trust.notaries, now, trace)
        claim = decoder(evidence)
        if claim.signed is None and not trust.blobs:
            raise VerificationError("signature: got one of a file's bytes (messageSignature), expected one of a "
                                    "statement about the image (dsseEnvelope)", check=Check.STATEMENT)
        trace.passed(lambda: f"{claim.format}, {len(evidence.data)} bytes of {evidence.media_type}")

        # 2. Find who may have signed: the leaf certificate, or the first given key that fits.
        check = Check.CERTIFICATE
        trace.begin(Step.SIGNER)
        leaf = None if trust.keys_alone else _leaf(claim, trust)
        keys = [leaf.public_key] if leaf else _keys(claim, trust)
        trace.passed(lambda: f"certificate of {leaf.signer}" if leaf else f"{len(keys)} trusted "
                     f"key{'s' if len(keys) > 1 else ''}; it names {_fingerprint(claim.key_hint)}")

        # 3. Check the signature over the signed bytes.
        check = Check.SIGNATURE
        if claim.signed is None:
            trace.begin(Step.SUBJECT)
            _check_digest(claim, evidence.subject)
        trace.begin(Step.SIGNATURE)
        key = _check_any(keys, claim, trust.scheme)
        trace.passed(lambda: f"by {'the key of the certificate' if leaf else key.signer}")

        # 4. Collect times that authorities of the root attest for this very signature.
        check = Check.TIME
        times = _attested(claim, trust.root, trace)

        # 5. Find the signature in a log: the entry is about it (binding), and the log keeps it (SET, inclusion proof).
        check, log = Check.LOG, None
        if trust.require_log:
            presented = leaf.der if leaf else _presented(claim, key) if trust.keys_alone else None
            log, logged = _check_log(Logged(claim, key, presented), trust.root, times, now, trace)
            times += logged
        else:
            trace.skipped("log entries are not asked for on these terms, and attest no time", *LOG)

        # 6. Check the certificate at every one of those times: chain, authority's validity, leaf's validity; then SCT.
        if leaf is not None and trust.root is not None:
            check = Check.CERTIFICATE
            issuer = _check_certificate(leaf, claim, trust.root, times or _present(now, trust), trace)
            check = Check.SCT
            if trust.require_sct:
                from custody.sign.certificate import check_sct

                trace.begin(Step.SCT)
                promised = check_sct(leaf, issuer, trust.root.ctlogs)
                trace.passed(lambda: f"by {promised}")
            else:
                trace.skipped("promises of CT logs are not asked for on these terms", Step.SCT)
        else:
            trace.skipped("a key signed, without a certificate", Step.VALIDITY, Step.CHAIN, Step.SCT)

        # 7. Read what was signed: it must be about this image.
        check = Check.STATEMENT
        trace.begin(Step.STATEMENT)
        if claim.payload is not None:
            _check_weight(claim.payload, trust, "statement")
        content = claim.read(evidence.subject)
        trace.passed(lambda: f"{content.kind} {content.predicate_type}")
        trace.begin(Step.SUBJECT)
        if content.about is not None:
            raise VerificationError(f"subject: {content.about}, expected {evidence.subject}", check=Check.SUBJECT)
        trace.passed(evidence.subject)
    except (MalformedError, UnsupportedError) as error:
        trace.failed(error, check)
        raise VerificationError(error.message, hint=error.hint, check=check) from None
    except VerificationError as error:
        error.check = error.check or check
        trace.failed(error, error.check)
        raise
    return model.seal(evidence, kind=content.kind, predicate_type=content.predicate_type, predicate=content.predicate,
                      signer=leaf.signer if leaf else key.signer, log=log,
                      signed_at=min((time.moment for time in times), default=None),
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
                                hint="--trusted-root FILE", check=Check.ROOT, absent=True)
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
                                hint="--key FILE", check=Check.KEY, absent=True)
    return sorted(trust.keys, key=lambda key: key.hint != claim.key_hint)


def _fingerprint(hint: str | None) -> str:
    """A claim's hint as a KeySigner is written, where it is cosign's: the base64 SHA-256 of the key."""
    try:
        digest = base64.b64decode(hint or "", validate=True)
    except ValueError:
        digest = b""
    return f"sha256:{digest.hex()}" if len(digest) == 32 else hint or "no hint"


def _check_digest(claim: Claim, subject: str) -> None:
    """Before the signature: it is of a digest alone, and nothing says more of what that is of."""
    if (digest := f"{claim.digest_name}:{claim.digest.hex()}") != subject:
        raise VerificationError(f"subject: the signature is of {digest}, expected {subject}", check=Check.SUBJECT)


def _check_any(keys: Sequence[PublicKey], claim: Claim, scheme: Scheme | None = None) -> PublicKey:
    """The first key that made the signature."""
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


def _attested(claim: Claim, root: TrustedRoot | None, trace: Trace) -> list[Attested]:
    if not claim.timestamps or root is None:
        trace.skipped("there is none" if root is not None or not claim.timestamps else
                      "there is no trusted root to check it against", Step.TIMESTAMP)
        return []
    from custody.sign.timestamp import check_timestamp

    times = []
    for timestamp in claim.timestamps:
        trace.begin(Step.TIMESTAMP)
        times.append(time := check_timestamp(timestamp.response, timestamp.stamped, root.timestamp_authorities))
        trace.passed(partial(_said, [time]))
    return times


def _said(times: Sequence[Attested]) -> str:
    return ", ".join(f"{format_rfc3339(moment)} ({by})" for moment, by in times)


def _present(now: datetime, trust: Trust) -> list[Attested]:
    """The one time that counts where nothing attests one."""
    return [Attested(now, "now, since nothing attests a time")] if trust.expiring else []


def _check_log(logged: Logged, root: TrustedRoot | None, times: Sequence[Attested], now: datetime, trace: Trace
               ) -> tuple[model.LogEntry, list[Attested]]:
    """The first entry, and the times that logs attest. Every entry of the claim must hold."""
    claim = logged.claim
    trace.begin(Step.LOG_ENTRY)
    if not claim.entries:
        raise VerificationError(NOT_LOGGED, hint="--insecure-ignore-tlog skips this check", check=Check.LOGGED,
                                absent=True)
    if root is None:
        raise VerificationError("log entry: there is no trusted root to check it against",
                                hint="--trusted-root FILE, or --insecure-ignore-tlog to skip this check")
    attested: list[Attested] = []
    first = None
    for entry in claim.entries:
        trace.begin(Step.LOG_ENTRY)
        log = find_log(entry, root.tlogs)
        check_binding(entry, logged)
        trace.passed(partial("{} {}, index {} of {}".format, entry.kind, entry.version, entry.log_index, log.base_url))
        integrated = check_logged(entry, log, proof_required=not (claim.promise_suffices and is_v1(entry)),
                                  trace=trace)
        trace.begin(Step.LOG_TRUST)
        own = [Attested(integrated, log.base_url)] if integrated else []
        for time in own or times:
            check_log_validity(log, time.moment)
        if not (own or times or log.valid.contains(now)):  # a key's signature of which nobody says when
            raise VerificationError("log entry: nothing attests when it was made, the clock says "
                                    f"{format_rfc3339(now)}, and the log {log.base_url} is trusted from {log.valid}",
                                    hint="set the machine's clock right, or let signatures be timestamped")
        trace.passed(partial(_said, own or times or [Attested(now, "now, since nothing attests a time")]))
        attested += own
        first = first or model.LogEntry(base_url=log.base_url, index=entry.log_index, log_id=entry.log_id.hex())
    if len({(entry.log_id, entry.log_index) for entry in claim.entries}) != len(claim.entries):
        raise VerificationError("log entry: one is there twice")  # one log's word is one, however often it is repeated
    assert first is not None  # there is an entry
    return first, attested


def _check_certificate(leaf: SigningCertificate, claim: Claim, root: TrustedRoot, times: Sequence[Attested],
                       trace: Trace) -> Certificate:
    """The issuer of the leaf, at the last of the times."""
    from custody.sign.certificate import build_chain

    trace.begin(Step.VALIDITY)
    if not times:
        raise VerificationError("time: nothing attests when the signature was made, so the certificate, which is valid "
                                "for minutes only, cannot be checked", check=Check.TIME, absent=True)
    moments = list(dict.fromkeys(time.moment for time in times))
    for moment in moments:
        leaf.check_valid_at(moment)
    trace.passed(partial(_said, times))
    trace.begin(Step.CHAIN)
    presented = claim.certificates[1:]
    if presented and claim.chain_to_root:
        known = {certificate for authority in root.certificate_authorities for certificate in authority.chain}
        presented = tuple(certificate for certificate in presented if certificate not in known)
    issuer = [build_chain(leaf, presented, root.certificate_authorities, moment) for moment in moments][-1]
    trace.passed(lambda: f"issued by {issuer.subject.rfc4514_string() or 'an authority without a name'}")
    return issuer
