"""Commits and tags signed with a person's certificate of the team's own authority: git's format x509.

(gitformat-signature; RFC 5652; RFC 8550.) gpgsm and smimesign make them. That a certificate was taken back since is
not asked: lists of revocations are not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from custody.errors import Check, VerificationError
from custody.formats import cms
from custody.formats.gitobject import Commit, Tag, moment_of
from custody.sign.certificate import (
    FULCIO,
    MAIL,
    build_chain,
    load_certificate,
    mail_addresses,
    read_mail_certificate,
)
from custody.sign.trusting import HASHES
from custody.trust.keys import describe_key, verifies
from custody.trust.roots import CertificateAuthority


def verify_x509(signed: Commit | Tag, authorities: Sequence[CertificateAuthority]) -> str:
    """Who signed it: the certificate's subject. Raises VerificationError with the reason, or MalformedError."""
    # 1. There is a signature, which the caller has seen to be CMS.
    assert signed.signature is not None
    where = f"{signed.kind} {signed.id[:12]}: gpgsig"
    signature = cms.parse_armor(signed.signature, where, streamed=True)
    # 2. It is of this object: what is signed has the digest of the object without its signature.
    digest = hashlib.new(signature.digest_algorithm, signed.payload).digest()
    if signature.message_digest != digest:
        raise VerificationError(f"the signature is of an object with {signature.digest_algorithm} "
                                f"{signature.message_digest.hex()[:16]}…, and this one has {digest.hex()[:16]}…",
                                check=Check.SUBJECT)
    # 3. The certificate's key made it, in the way that the signature says.
    leaf = read_mail_certificate(signature.certificates[0])
    key = leaf.public_key.key
    if not describe_key(key).lower().startswith(signature.key_type):
        raise VerificationError(f"the signature says {signature.key_type}, and the certificate's key is "
                                f"{describe_key(key)}")
    if not verifies(key, signature.signature, signature.attributes, HASHES[signature.digest_algorithm]):
        raise VerificationError("the signature does not fit the certificate's key", check=Check.SIGNATURE)
    # 4. Both are of one time, which the signer says, as a commit's time is what its committer wrote.
    moment = signature.signing_time or moment_of(signed)
    leaf.check_valid_at(moment)
    # 5. An authority that counts issued the certificate. A root that comes along is not one for that.
    presented = [der for der in signature.certificates[1:] if not _self_issued(der)]
    build_chain(leaf, presented, authorities, moment, MAIL)
    # 6. It is the committer's certificate: a colleague's does not make somebody else's commit.
    addresses = mail_addresses(leaf.certificate)
    if signed.person not in addresses:
        raise VerificationError(f"the {signed.role} says {signed.person}, the certificate belongs to "
                                f"{', '.join(addresses) or 'nobody with an address'}")
    return f"{leaf.certificate.subject.rfc4514_string()} {signed.person}"


def of_fulcio(signature: str) -> bool:
    """Whether an armored signature's certificate says who vouched for its identity, as those of keyless signing do."""
    leaf = load_certificate(cms.parse_armor(signature, "gpgsig", streamed=True).certificates[0], "certificate")
    return any(extension.oid.dotted_string in (f"{FULCIO}.1", f"{FULCIO}.8") for extension in leaf.extensions)


def _self_issued(der: bytes) -> bool:
    certificate = load_certificate(der, "certificate chain")
    return certificate.issuer == certificate.subject
