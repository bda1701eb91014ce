"""Whose word stands behind a commit or a tag: SSH keys by a list of allowed signers, OpenPGP keys by a keyring,
certificates by their identity or by the authority that issued them.

What is proved is that this person signed, not when: a commit's time is what its committer wrote. For a certificate a
log attests when it was signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from custody.errors import VerificationError
from custody.formats import cms, sshsig
from custody.formats.gitobject import Commit, Tag, moment_of
from custody.kit.amount import amount
from custody.source import openpgp
from custody.source.signers import AllowedSigner

if TYPE_CHECKING:
    from custody.sign.identity import Identity
    from custody.sign.verify import Trust
    from custody.trust.roots import CertificateAuthority

_HINTS = {sshsig.ARMOR: "--allowed-signers FILE says whose keys count",
          openpgp.ARMOR: "--openpgp-keyring FILE says whose keys count",
          cms.ARMOR: "--certificate-identity and --certificate-oidc-issuer say whose certificates count (gitsign), "
                "--ca-roots FILE whose authority does (gpgsm, smimesign)"}


@dataclass(frozen=True, slots=True)
class Keyless:
    """Whose certificates count, and by which trusted root."""

    trust: Trust
    identities: tuple[Identity, ...]
    now: datetime


@dataclass(frozen=True, slots=True)
class Believed:
    """Who may sign: None for a kind of signature of which nobody may."""

    signers: tuple[AllowedSigner, ...] | None = None
    keyless: Keyless | None = None
    keyring: openpgp.Keyring | None = None
    authorities: tuple[CertificateAuthority, ...] | None = None

    def anybody(self) -> bool:
        """Whether somebody was named at all."""
        return any(kind is not None for kind in (self.signers, self.keyless, self.keyring, self.authorities))

    def vouching(self, signed: Commit | Tag) -> str:
        """Who signed it, for people. Raises VerificationError why nobody did who may, or MalformedError."""
        if signed.signature is None:
            raise VerificationError("not signed")
        if signed.signature.startswith(sshsig.ARMOR) and self.signers is not None:
            return str(verify_ssh(signed, self.signers))
        if signed.signature.startswith(openpgp.ARMOR) and self.keyring is not None:
            return openpgp.verify_openpgp(signed, self.keyring)
        if signed.signature.startswith(cms.ARMOR) and (self.keyless or self.authorities):
            return self._certified(signed, signed.signature)
        kind = signed.signature.partition("\n")[0].strip("- ").removeprefix("BEGIN ")
        raise VerificationError(f"signed with {kind!r}, expected {self._kinds()}", hint=self._hint(signed.signature))

    def _certified(self, signed: Commit | Tag, signature: str) -> str:
        from custody.source.x509 import of_fulcio, verify_x509

        if self.keyless and (self.authorities is None or of_fulcio(signature)):
            return verify_keyless(signed, self.keyless)
        assert self.authorities is not None
        return verify_x509(signed, self.authorities)

    def _kinds(self) -> str:
        kinds = {"an SSH signature": self.signers, "an OpenPGP signature": self.keyring, "gitsign's": self.keyless,
                 "an X.509 signature": self.authorities}
        return " or ".join(kind for kind, named in kinds.items() if named is not None)

    def _hint(self, signature: str) -> str:
        return next((hint for begin, hint in _HINTS.items() if signature.startswith(begin)),
                    "git config gpg.format ssh")


def verify_ssh(signed: Commit | Tag, signers: tuple[AllowedSigner, ...]) -> AllowedSigner:
    """The allowed signer who signed it. Raises VerificationError with the reason, or MalformedError."""
    # 1. There is a signature, which the caller has seen to be SSH's.
    assert signed.signature is not None
    signature = sshsig.parse_armor(signed.signature, f"{signed.kind} {signed.id[:12]}: gpgsig")
    # 2. It fits the object without its signature, for the namespace `git`.
    signature.verify(signed.payload, "git")
    # 3. The key is an allowed one. git prints `Good "git" signature` for any key at all: only the list counts.
    allowed = [signer for signer in signers if signer.key == signature.public_key and signer.allows("git")]
    if not allowed:
        raise VerificationError(f"signed by {sshsig.fingerprint(signature.public_key)}, "
                                "which is not among the allowed signers")
    # 4. It is the committer's key: an allowed colleague's key does not make somebody else's commit.
    of_person = [signer for signer in allowed if signer.is_for(signed.person)]
    if not of_person:
        raise VerificationError(f"the {signed.role} says {signed.person}, the key belongs to "
                                f"{','.join(allowed[0].principals)}")
    # 5. The key counted at the time that the object gives.
    moment = moment_of(signed)
    for signer in of_person:
        if (signer.valid_after is None or signer.valid_after <= moment) and (
                signer.valid_before is None or moment < signer.valid_before):
            return signer
    raise VerificationError(f"the key of {','.join(of_person[0].principals)} was not valid at {moment:%Y-%m-%d}")


def verify_keyless(signed: Commit | Tag, keyless: Keyless) -> str:
    """Who signed it. Raises VerificationError with the reason."""
    from custody.evidence.model import KeylessSigner
    from custody.sign.gitsign import verify_object

    # 1. There is a signature, which the caller has seen to be CMS.
    assert signed.signature is not None
    # 2. It fits the object without its signature; its certificate, log entry and times are right by the trusted root.
    signer = verify_object(signed.payload, signed.signature, keyless.trust, keyless.now).signer
    # 3. It is somebody who was expected.
    mismatches = [identity.mismatch(signer) for identity in keyless.identities]
    if None not in mismatches:
        more = len(mismatches) - 1
        besides = f", or {amount(more, 'identity', 'identities')} more" if more else ""
        raise VerificationError(f"{mismatches[0]}{besides}")
    # 4. A person's certificate makes that person's commits. A workflow has no address: it may write any committer.
    assert isinstance(signer, KeylessSigner)
    if "://" not in signer.subject and signer.subject != signed.person:
        raise VerificationError(f"the {signed.role} says {signed.person}, the certificate belongs to {signer.subject}")
    return str(signer)
