"""What the Notary Project requires of certificates: every rule by name, so that it can be told what one lacks.

(notaryproject/specifications signature-specification, certificate requirements; the timestamping rules of RFC 3161.)
Verifiers enforce those rules that `notation` does, and refuse critical extensions that nobody here evaluates. The
others are the specification's alone: `doctor` names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from custody.errors import Check, VerificationError
from custody.kit.clock import format_rfc3339
from custody.sign.certificate import extension, is_ca
from custody.sign.notary.issuance import algorithm_of, issued_by, key_name, self_signed

_UNDERSTOOD = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName)
_MORE = {"key_encipherment": "keyEncipherment", "data_encipherment": "dataEncipherment",
         "key_agreement": "keyAgreement", "key_cert_sign": "keyCertSign", "crl_sign": "cRLSign"}
_EXCLUDED = {Usage.SERVER_AUTH: "serverAuth", Usage.CLIENT_AUTH: "clientAuth",
             Usage.EMAIL_PROTECTION: "emailProtection", Usage.TIME_STAMPING: "timeStamping",
             Usage.OCSP_SIGNING: "OCSPSigning"}


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that a chain lacks."""

    rule: str
    """Its name: `key-usage`, `chain-order`, …"""
    position: int
    """Of the certificate: 0 is the leaf."""
    reason: str
    enforced: bool = True
    """Whether verifiers refuse it; else only the specification asks for it."""


def check_signing_chain(chain: Sequence[x509.Certificate]) -> None:
    """Leaf first, root last. Raises VerificationError with the first flaw that verifiers refuse."""
    _check(signing_flaws(chain), "certificate chain")


def check_stamping_chain(chain: Sequence[x509.Certificate]) -> None:
    """Of a timestamp authority, leaf first, root last. Raises VerificationError."""
    _check(stamping_flaws(chain), "timestamp authority's certificate chain")


def check_valid(chain: Sequence[x509.Certificate], moment: datetime, word: str, check: Check = Check.TIME) -> None:
    """Whether each is valid at a moment, which `word` says what it is of. Raises VerificationError with `check`."""
    for certificate in chain:
        if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
            raise VerificationError(
                f"certificate {_name(certificate)}: not valid at {format_rfc3339(moment)} ({word}); it is valid from "
                f"{format_rfc3339(certificate.not_valid_before_utc)} to "
                f"{format_rfc3339(certificate.not_valid_after_utc)}", check=check)


def _check(flaws: Iterator[Flaw], where: str) -> None:
    for flaw in flaws:
        if flaw.enforced:
            raise VerificationError(f"{where}: {flaw.reason} ({flaw.rule})", check=Check.CERTIFICATE)


def signing_flaws(chain: Sequence[x509.Certificate]) -> Iterator[Flaw]:
    """All that a chain that signs lacks."""
    yield from _chain_flaws(chain)
    yield from _leaf_flaws(chain[0], critical=True)
    purposes = extension(chain[0], x509.ExtendedKeyUsage)
    name = _name(chain[0])
    for purpose in (purposes.value if purposes else ()):
        if purpose in _EXCLUDED:
            yield Flaw("extended-key-usage", 0, f"{name} is for {_EXCLUDED[purpose]} too (extended key usage)")
        elif purpose == Usage.ANY_EXTENDED_KEY_USAGE:
            yield Flaw("extended-key-usage", 0, f"{name} is for any use (extended key usage)")
    if purposes is not None and Usage.CODE_SIGNING not in purposes.value:
        yield Flaw("extended-key-usage", 0, f"{name} is not for codeSigning (extended key usage)", enforced=False)
    yield from _key_flaws(chain[0], 0, enforced=True)
    yield from _critical_flaws(chain)


def stamping_flaws(chain: Sequence[x509.Certificate]) -> Iterator[Flaw]:
    """All that a timestamp authority's chain lacks."""
    yield from _chain_flaws(chain)
    yield from _leaf_flaws(chain[0], critical=False)
    purposes = extension(chain[0], x509.ExtendedKeyUsage)
    if purposes is None or list(purposes.value) != [Usage.TIME_STAMPING]:
        yield Flaw("extended-key-usage", 0, f"{_name(chain[0])} is not for timeStamping alone (extended key usage)")
    elif not purposes.critical:
        yield Flaw("extended-key-usage", 0, f"{_name(chain[0])} has an extended key usage that is not critical")
    yield from _key_flaws(chain[0], 0, enforced=True)
    yield from _critical_flaws(chain)


def _chain_flaws(chain: Sequence[x509.Certificate]) -> Iterator[Flaw]:
    """Each is issued by the next, the last by itself, and none between; a leaf alone is signed by itself."""
    if len(chain) == 1:
        if not self_signed(chain[0]):
            yield Flaw("chain-root", 0, f"{_name(chain[0])} stands alone and is not self-signed: its issuers are "
                       "missing")
        return
    for at, certificate in enumerate(chain):
        last = at == len(chain) - 1
        if not last and not issued_by(certificate, certificate):
            yield Flaw("chain-order", at, f"{_name(certificate)} is self-signed, and there are others behind it")
        if reason := issued_by(certificate, chain[at if last else at + 1]):
            yield Flaw("chain-root" if last else "chain-order", at,
                       f"{_name(certificate)} is no self-signed root: {reason}" if last else reason)
        if at:
            yield from _authority_flaws(certificate, at)


def _authority_flaws(certificate: x509.Certificate, at: int) -> Iterator[Flaw]:
    name = _name(certificate)
    constraints, usage = extension(certificate, x509.BasicConstraints), extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.value.ca:
        yield Flaw("basic-constraints", at, f"{name} is no CA")
        return
    if not constraints.critical:
        yield Flaw("basic-constraints", at, f"{name} has basic constraints that are not critical", enforced=False)
    length = constraints.value.path_length
    if length is not None and at - 1 > length:
        yield Flaw("path-length", at, f"{name} allows {length} CAs below it, and there are {at - 1}")
    if usage is None:
        yield Flaw("key-usage", at, f"{name} has no key usage")
    elif not usage.critical:
        yield Flaw("key-usage", at, f"{name} has a key usage that is not critical")
    elif not usage.value.key_cert_sign:
        yield Flaw("key-usage", at, f"{name} may not sign certificates (key usage)")
    yield from _key_flaws(certificate, at, enforced=False)


def _leaf_flaws(leaf: x509.Certificate, *, critical: bool) -> Iterator[Flaw]:
    name, usage = _name(leaf), extension(leaf, x509.KeyUsage)
    if is_ca(leaf):
        yield Flaw("basic-constraints", 0, f"{name}, the signer's, is a CA certificate")
    if usage is None:
        yield Flaw("key-usage", 0, f"{name} has no key usage, expected digitalSignature")
        return
    if not usage.critical:
        yield Flaw("key-usage", 0, f"{name} has a key usage that is not critical", enforced=critical)
    if not usage.value.digital_signature:
        yield Flaw("key-usage", 0, f"{name} is not for digitalSignature (key usage)")
    more = [word for field, word in _MORE.items() if getattr(usage.value, field)]
    if usage.value.key_agreement:
        more += [word for word, given in (("encipherOnly", usage.value.encipher_only),
                                          ("decipherOnly", usage.value.decipher_only)) if given]
    if more:
        yield Flaw("key-usage", 0, f"{name} is for more than digitalSignature: {', '.join(more)} (key usage)")
    if usage.value.content_commitment:
        yield Flaw("key-usage", 0, f"{name} is for contentCommitment too (key usage)", enforced=False)


def _key_flaws(certificate: x509.Certificate, at: int, *, enforced: bool) -> Iterator[Flaw]:
    key = certificate.public_key()
    if algorithm_of(key) is None:
        yield Flaw("key-size", at, f"{_name(certificate)} has a key of {key_name(key)}, expected RSA of 2048, 3072 or "
                   "4096 bits, or ECDSA on P-256, P-384 or P-521", enforced)


def _critical_flaws(chain: Sequence[x509.Certificate]) -> Iterator[Flaw]:
    for at, certificate in enumerate(chain):
        for present in certificate.extensions:
            if present.critical and not isinstance(present.value, _UNDERSTOOD):
                yield Flaw("critical-extension", at, f"{_name(certificate)} has the critical extension "
                           f"{present.oid.dotted_string}, which is not evaluated")


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
