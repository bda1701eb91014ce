"""Signing certificates: who they name, which authority issued them, and which log promised to show them.

(fulcio docs/certificate-specification.md and docs/oid-info.md; RFC 5280; RFC 6962.)
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from custody.errors import MalformedError, UnsupportedError, VerificationError
from custody.evidence.model import KeylessSigner
from custody.kit.clock import format_rfc3339
from custody.sign.keys import PublicKey, check_signature, load_public_der, public_key, usable
from custody.trust.keys import spki
from custody.trust.roots import CertificateAuthority, TransparencyLog

FULCIO = "1.3.6.1.4.1.57264.1"
_CLAIMS = {2: "githubWorkflowTrigger", 3: "githubWorkflowSha", 4: "githubWorkflowName",
           5: "githubWorkflowRepository", 6: "githubWorkflowRef", 9: "buildSignerURI", 10: "buildSignerDigest",
           11: "runnerEnvironment", 12: "sourceRepositoryURI", 13: "sourceRepositoryDigest", 14: "sourceRepositoryRef",
           15: "sourceRepositoryIdentifier", 16: "sourceRepositoryOwnerURI", 17: "sourceRepositoryOwnerIdentifier",
           18: "buildConfigURI", 19: "buildConfigDigest", 20: "buildTrigger", 21: "runInvocationURI",
           22: "sourceRepositoryVisibilityAtSigning", 23: "deploymentEnvironment", 24: "tokenSubject"}
"""Fulcio's extension N → the claim's name; 1 and 8 are the issuer. To 6 they hold bare text, then a DER UTF8String."""
_READ = {1, 8, *_CLAIMS}
_OTHER_NAME = x509.ObjectIdentifier(FULCIO + ".7")
_SCT_LIST = ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS
_UNDERSTOOD = {ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE,
               ExtensionOID.BASIC_CONSTRAINTS, _SCT_LIST}
CODE = frozenset({ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
MAIL = frozenset({ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
"""Uses of which an authority must be for one, where it is not for all."""
_USES = {CODE: "codeSigning", MAIL: "emailProtection"}
_MAX_CERTIFICATE = 64 * 1024
_MAX_PATH = 6
_MAX_PRESENTED = 8
_MAX_CHECKS = 64
"""Signatures that are checked for one chain: certificates that issue each other in a circle have hundreds of paths."""
_WARNINGS = threading.Lock()
_MILLISECOND = timedelta(milliseconds=1)
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True, eq=False)
class SigningCertificate:
    """A leaf certificate, its public key, and what is written in it."""

    der: bytes
    certificate: x509.Certificate
    public_key: PublicKey
    signer: KeylessSigner

    def check_valid_at(self, moment: datetime) -> None:
        cert = self.certificate
        if not cert.not_valid_before_utc <= moment <= cert.not_valid_after_utc:
            raise VerificationError(
                f"certificate: not valid at {format_rfc3339(moment)}, when the signature was made; it is valid from "
                f"{format_rfc3339(cert.not_valid_before_utc)} to {format_rfc3339(cert.not_valid_after_utc)}")


def load_certificate(der: bytes, where: str) -> x509.Certificate:
    """Raises MalformedError, naming `where`."""
    try:
        return _decoded(der)
    except (ValueError, TypeError, UnsupportedAlgorithm, CryptographyDeprecationWarning, x509.InvalidVersion,
            x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise MalformedError(where, got=f"{len(der)} bytes", expected="a DER X.509 certificate") from None


@functools.lru_cache(maxsize=128)  # those of authorities come with every signature
def _decoded(der: bytes) -> x509.Certificate:
    if len(der) > _MAX_CERTIFICATE:
        raise ValueError("too long")
    # What warnings are is the whole process's: two threads would end each other's, and what one of them then let pass
    # would be kept.
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of names that are longer than X.520 has them
        # The library only warns of what RFC 5280 forbids.
        warnings.simplefilter("error", CryptographyDeprecationWarning)
        certificate = x509.load_der_x509_certificate(der)
    if certificate.serial_number <= 0:  # the same, should somebody else have ended it
        raise ValueError("a serial number that is not positive")
    # The library decodes lazily: ask for all that is used later, so that what is broken is found here.
    _ = (certificate.extensions, certificate.public_key(), certificate.subject, certificate.issuer,
         certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    if not der.endswith(b"\0" + certificate.signature):
        raise ValueError("bits behind the signature")  # the same certificate would have several spellings
    return certificate


@functools.lru_cache(maxsize=128)
def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether one's key made the signature on the other; of the same two always the same."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return False
    return True


def _unsigned(certificate: x509.Certificate) -> str:
    """Why a signature on a certificate does not count."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "did not sign it with an algorithm that is known here"
    if isinstance(algorithm, (hashes.SHA1, hashes.MD5)):
        return f"signed it with {algorithm.name.upper()}, which no longer counts"
    return "did not sign it"


def read_signing_certificate(der: bytes, where: str = "certificate", *, named: bool = True) -> SigningCertificate:
    """Decode a leaf. Nothing about it is verified yet, except that it is meant for code signing.

    One that is not `named` may name nobody, or several or other things than identities: its subject is "" then.
    Raises MalformedError, UnsupportedError or VerificationError.
    """
    certificate = load_certificate(der, where)
    _check_understood(certificate, where)
    usages = extension(certificate, x509.ExtendedKeyUsage)
    if usages is None or ExtendedKeyUsageOID.CODE_SIGNING not in usages.value:
        raise VerificationError(f"{where}: extended key usage is not codeSigning")
    usage = extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.value.digital_signature:
        raise VerificationError(f"{where}: may not sign (key usage)")
    if is_ca(certificate):
        raise VerificationError(f"{where}: is a CA certificate, expected a leaf")
    key = public_key(certificate.public_key(), where)
    return SigningCertificate(der, certificate, key, _signer(certificate, where, named=named))


def read_mail_certificate(der: bytes, where: str = "certificate") -> SigningCertificate:
    """Decode the leaf of a person's own certificate, as S/MIME has them (RFC 8550 sections 3 and 4.4).

    `signer.subject` is "": such a certificate may name several addresses (`mail_addresses`). Nothing about it is
    verified yet, except that it is for signing mail or for any use. Raises MalformedError, UnsupportedError or
    VerificationError.
    """
    certificate = load_certificate(der, where)
    _check_understood(certificate, where)
    usages = extension(certificate, x509.ExtendedKeyUsage)
    if usages is not None and not MAIL & set(usages.value):
        raise VerificationError(f"{where}: extended key usage is not emailProtection")
    usage = extension(certificate, x509.KeyUsage)
    if usage is not None and not (usage.value.digital_signature or usage.value.content_commitment):
        raise VerificationError(f"{where}: may not sign (key usage)")
    if is_ca(certificate):
        raise VerificationError(f"{where}: is a CA certificate, expected a leaf")
    key = public_key(certificate.public_key(), where)
    return SigningCertificate(der, certificate, key, KeylessSigner(subject="", issuer=""))


def mail_addresses(certificate: x509.Certificate) -> tuple[str, ...]:
    """Those that it names as alternative names, or where there are none of any kind, in its subject (RFC 8550 3)."""
    alternative = extension(certificate, x509.SubjectAlternativeName)
    if alternative is not None:
        return tuple(alternative.value.get_values_for_type(x509.RFC822Name))
    return tuple(str(part.value) for part in certificate.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS))


def _check_understood(certificate: x509.Certificate, where: str) -> None:
    for present in certificate.extensions:
        if present.critical and present.oid not in _UNDERSTOOD:
            raise UnsupportedError(where, f"critical extension {present.oid.dotted_string}")


def _signer(certificate: x509.Certificate, where: str, *, named: bool) -> KeylessSigner:
    alternative = extension(certificate, x509.SubjectAlternativeName)
    names = list(alternative.value) if alternative else []
    name = names[0] if len(names) == 1 else None
    if name is None and named:
        raise VerificationError(f"{where}: {len(names)} subject alternative names, expected exactly one")
    if isinstance(name, x509.OtherName) and name.type_id == _OTHER_NAME:
        subject = utf8_string(name.value, f"{where}: subject alternative name")
    elif isinstance(name, (x509.RFC822Name, x509.UniformResourceIdentifier)):
        subject = name.value
    elif not named:
        subject = ""
    else:
        raise UnsupportedError(where, f"a subject alternative name of type {type(name).__name__}")
    texts: dict[int, str] = {}
    for present in certificate.extensions:
        arc, _, last = present.oid.dotted_string.rpartition(".")
        number = int(last)
        if arc != FULCIO or number not in _READ or not isinstance(present.value, x509.UnrecognizedExtension):
            continue
        here = f"{where}: {arc}.{number}"
        texts[number] = _bare(present.value.value, here) if number < 7 else utf8_string(present.value.value, here)
    issuer, old_issuer = texts.get(8, ""), texts.get(1, "")
    if issuer and old_issuer and issuer != old_issuer:
        raise VerificationError(f"{where}: names two issuers, {issuer!r} and {old_issuer!r}")
    return KeylessSigner(subject=subject, issuer=issuer or old_issuer,
                         claims={name: texts[number] for number, name in _CLAIMS.items() if number in texts})


def _bare(value: bytes, where: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError(where, got=value, expected="UTF-8") from None


def utf8_string(der: bytes, where: str) -> str:
    """The text of a DER UTF8String. Raises MalformedError."""
    head, length = 2, der[1] if len(der) > 1 else 0
    if length & 0x80:
        head = 2 + (length & 0x7F)
        length = int.from_bytes(der[2:head], "big")
    try:
        if der[:1] != b"\x0c" or len(der) != head + length:
            raise ValueError
        return der[head:].decode("utf-8")
    except ValueError:
        raise MalformedError(where, got=der, expected="a DER UTF8String") from None


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> x509.Extension[_Extension] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def is_ca(certificate: x509.Certificate) -> bool:
    constraints = extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.value.ca


def build_chain(leaf: SigningCertificate, presented: Sequence[bytes], authorities: Sequence[CertificateAuthority],
                moment: datetime, uses: frozenset[x509.ObjectIdentifier] = CODE) -> x509.Certificate:
    """The issuer of `leaf`, on a path to an authority that was trusted and valid at `moment` (RFC 5280 section 6).

    `presented` are intermediates that came with the signature; only what the trusted root lists ends a path. `uses`
    are CODE or MAIL. Raises VerificationError with the nearest reason.
    """
    reasons: list[str] = []
    if len(presented) > _MAX_PRESENTED:
        raise VerificationError(f"certificate chain: {len(presented)} certificates, expected at most {_MAX_PRESENTED}")
    pool = [load_certificate(der, f"certificate chain [{i}]") for i, der in enumerate(presented)]
    if any(cert.issuer == cert.subject for cert in pool):
        raise VerificationError("certificate chain: holds a root certificate; a verifier brings its own")
    checks = itertools.count(1)
    for authority in authorities:
        name = authority.uri or authority.common_name or "certificate authority"
        own = [load_certificate(der, f"trusted root: {name}") for der in authority.chain]
        if own[-1].issuer != own[-1].subject:
            reasons.append(f"{name}: its chain does not end in a root")
            continue
        try:
            path = _path(leaf.certificate, [*own[:-1], *pool], own[-1], moment, _MAX_PATH, checks, uses)
        except VerificationError as error:
            reasons.append(f"{name}: {error.message}")
            continue
        if not authority.valid.contains(moment):
            reasons.insert(0, f"{name} is trusted from {authority.valid}, and the signature was made at "
                           f"{format_rfc3339(moment)}")
            continue
        return path[0]
    raise VerificationError("certificate: no trusted authority issued it"
                            + (f" ({'; '.join(reasons[:3])})" if reasons else ""))


def _path(cert: x509.Certificate, pool: Sequence[x509.Certificate], root: x509.Certificate, moment: datetime,
          depth: int, checks: Iterator[int], uses: frozenset[x509.ObjectIdentifier]) -> list[x509.Certificate]:
    """Certificates from `cert`'s issuer to the root; `checks` counts signatures."""
    reason = f"is not the issuer ({cert.issuer.rfc4514_string() or 'nameless'})"
    for candidate in (root, *pool):
        if candidate.subject != cert.issuer:
            continue
        if next(checks) > _MAX_CHECKS:
            raise VerificationError(f"more than {_MAX_CHECKS} signatures to check")
        if not _signed_by(cert, candidate):
            reason = _unsigned(cert)
            continue
        reason = _unfit(candidate, moment, _MAX_PATH - depth, uses)
        if reason:
            continue
        if candidate is root:
            return [root]
        if depth == 0:
            reason = f"the path is longer than {_MAX_PATH}"
            continue
        try:
            # No certificate twice, whoever sent them.
            rest = [certificate for certificate in pool if certificate != candidate]
            return [candidate, *_path(candidate, rest, root, moment, depth - 1, checks, uses)]
        except VerificationError as error:
            reason = error.message
    raise VerificationError(reason)


def _unfit(issuer: x509.Certificate, moment: datetime, below: int, uses: frozenset[x509.ObjectIdentifier]) -> str:
    """Why a certificate may not issue at `moment`, with `below` CA certificates under it; "" when it may."""
    name = issuer.subject.rfc4514_string()
    if not issuer.not_valid_before_utc <= moment <= issuer.not_valid_after_utc:
        return f"{name} is not valid at {format_rfc3339(moment)}"
    constraints = extension(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.value.ca:
        return f"{name} is no CA"
    if constraints.value.path_length is not None and below > constraints.value.path_length:
        return f"{name} allows {constraints.value.path_length} CAs below it"
    usage, purposes = extension(issuer, x509.KeyUsage), extension(issuer, x509.ExtendedKeyUsage)
    if usage is not None and not usage.value.key_cert_sign:
        return f"{name} may not sign certificates (key usage)"
    if purposes is not None and not uses & set(purposes.value):
        return f"{name} is not for {_USES[uses]}"
    for present in issuer.extensions:
        # Many authorities' name constraints are not critical, and hold all the same (RFC 5280 section 4.2.1.10).
        if present.oid == ExtensionOID.NAME_CONSTRAINTS:
            return f"{name} has name constraints, which custody does not evaluate"
        if present.critical and present.oid not in _UNDERSTOOD:
            return f"{name} has the critical extension {present.oid.dotted_string}"
    try:
        usable(issuer.public_key(), name)
    except UnsupportedError as error:
        return error.message
    return ""


def check_sct(leaf: SigningCertificate, issuer: x509.Certificate, logs: Sequence[TransparencyLog]) -> str:
    """At least one embedded SCT is by a trusted CT log, and none that names one is false (RFC 6962 section 3.2).

    Returns the address of the last such log.
    """
    embedded = extension(leaf.certificate, x509.PrecertificateSignedCertificateTimestamps)
    scts = list(embedded.value) if embedded else []
    if not scts:
        raise VerificationError("SCT: the certificate has none", hint="--insecure-ignore-sct skips this check",
                                absent=True)
    issuer_key = hashlib.sha256(spki(issuer.public_key())).digest()
    try:
        tbs = leaf.certificate.tbs_precertificate_bytes
    except ValueError:
        raise VerificationError("SCT: the certificate does not hold exactly one list of them") from None
    trusted = None
    for sct in scts:
        log = next((log for log in logs if log.log_id == sct.log_id), None)
        if log is None:
            continue
        moment = sct.timestamp.replace(tzinfo=UTC)
        if not log.valid.contains(moment):
            raise VerificationError(f"SCT: made at {format_rfc3339(moment)}, and the CT log {log.base_url} is trusted "
                                    f"from {log.valid}")
        milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _MILLISECOND
        extensions = sct.extension_bytes
        signed = b"".join((b"\x00\x00", milliseconds.to_bytes(8, "big"), b"\x00\x01", issuer_key,
                           len(tbs).to_bytes(3, "big"), tbs, len(extensions).to_bytes(2, "big"), extensions))
        key = load_public_der(log.key_der, f"trusted root: CT log {log.base_url}").key
        check_signature(key, sct.signature, signed, "SCT")
        trusted = log
    if trusted is None:
        raise VerificationError("SCT: by no CT log of the trusted root; it names "
                                + ", ".join(sct.log_id.hex()[:16] for sct in scts))
    return trusted.base_url
