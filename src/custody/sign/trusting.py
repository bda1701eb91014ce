"""What a verifier believes where a policy says more of it than the service's own trust root does."""

from __future__ import annotations

import re

from cryptography.hazmat.primitives import hashes

from custody.errors import MalformedError, VerificationError
from custody.formats.cosign import pem_certificates
from custody.ports.lookup import Authority
from custody.sign.certificate import build_chain, check_sct, is_ca, load_certificate, read_signing_certificate
from custody.sign.keys import PublicKey, Scheme, load_public_key, public_key
from custody.sign.notary.evidence import Notaries
from custody.sign.verify import Trust
from custody.trust.keys import AnyPublicKey, verifies
from custody.trust.pemroots import authority_of, log_of
from custody.trust.roots import (
    CertificateAuthority,
    TransparencyLog,
    TrustedRoot,
    Validity,
    parse_trusted_root,
)

PEM_KEY = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
HASHES: dict[str, hashes.HashAlgorithm] = {"sha224": hashes.SHA224(), "sha256": hashes.SHA256(),
                                           "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
_ALWAYS = Validity()


def trust_of(authority: Authority, root: TrustedRoot | None, *, max_weight: int | None = None) -> Trust:
    """`root` is the service's own, which counts where the authority says nothing else.

    Raises MalformedError, UnsupportedError or VerificationError for what cannot be believed: a key that is none, a
    certificate that its chain does not lead from.
    """
    if authority.notary:
        return Trust(notaries=Notaries(_certificates(authority.roots, "certificates"),
                                       _certificates(authority.stamps, "tsaCerts") if authority.stamps else ()),
                     max_weight=max_weight)
    base = root or TrustedRoot()
    if authority.root:
        base = parse_trusted_root(authority.root.encode(), "trustedRoot")
    believed = TrustedRoot(
        tlogs=(_log(authority.log_key, authority.log_url, "rekor.pubkey"),) if authority.log_key else base.tlogs,
        certificate_authorities=(authorities(authority.roots, "roots") if authority.roots
                                 else base.certificate_authorities),
        ctlogs=(_log(authority.ct_key, "", "ctlog.pubkey"),) if authority.ct_key else base.ctlogs,
        timestamp_authorities=(authorities(authority.stamps, "ctlog.tsaCertChain") if authority.stamps
                               else base.timestamp_authorities))
    keys = tuple(load_public_key(pem.encode(), "publicKeys") for pem in PEM_KEY.findall(authority.keys))
    if authority.keys and not keys:
        raise MalformedError("publicKeys", got=authority.keys[:60], expected="PEM public keys (BEGIN PUBLIC KEY)")
    if authority.certificate:
        keys = (_key_of(authority, believed),)
    if authority.also and not keys:
        also = tuple(load_public_key(pem.encode(), "publicKeys") for pem in PEM_KEY.findall(authority.also))
        return Trust(base, also, max_weight=max_weight)
    return Trust(believed, keys, require_log=not authority.ignore_log, require_sct=not authority.ignore_sct,
                 max_weight=max_weight, keys_alone=bool(keys), scheme=_scheme(authority.algorithm) if keys else None,
                 named=not authority.roots, expiring=True)


def authorities(pem: str, where: str) -> tuple[CertificateAuthority, ...]:
    """Every root in PEM text, each with all that stands between it and a leaf. Raises MalformedError."""
    ders = _certificates(pem, where)
    loaded = [load_certificate(der, where) for der in ders]
    roots = [der for der, certificate in zip(ders, loaded, strict=True)
             if certificate.issuer == certificate.subject and is_ca(certificate)]
    if not roots:
        raise MalformedError(where, got=f"{len(ders)} certificates, none of them a root",
                             expected="the self-signed certificate of an authority, too")
    # A timestamp authority's own certificate stands before those that issued it.
    between = sorted((der for der in ders if der not in roots), key=lambda der: is_ca(load_certificate(der, where)))
    return tuple(authority_of((*between, root), where, _ALWAYS) for root in roots)


def _certificates(pem: str, where: str) -> tuple[bytes, ...]:
    """DER. Raises MalformedError for what holds no certificate."""
    ders = pem_certificates(pem, where)
    for der in ders:
        load_certificate(der, where)
    return ders


def _key_of(authority: Authority, root: TrustedRoot) -> PublicKey:
    """The key of the one certificate whose signatures count."""
    der = _certificates(authority.certificate, "cert")[0]
    certificate = load_certificate(der, "cert")
    if authority.chain:
        chain = authorities(authority.chain, "certChain")
        leaf = read_signing_certificate(der, "cert", named=False)
        # As it was issued: that it ran out since then says nothing of what it signed before.
        issuer = build_chain(leaf, (), chain, certificate.not_valid_before_utc)
        if not authority.ignore_sct:
            check_sct(leaf, issuer, root.ctlogs)
    return public_key(certificate.public_key(), "cert")


def _log(pem: str, url: str, where: str) -> TransparencyLog:
    return log_of(pem.encode(), where, url, _ALWAYS)


def _scheme(algorithm: str) -> Scheme | None:
    """How a key signs with a hash that was named; None for what fits the key. Raises VerificationError."""
    if not algorithm:
        return None
    if algorithm not in HASHES:
        raise VerificationError(f"invalid signature algorithm provided {algorithm}")

    def signed(key: AnyPublicKey, signature: bytes, message: bytes) -> bool:
        return verifies(key, signature, message, HASHES[algorithm])

    return signed

