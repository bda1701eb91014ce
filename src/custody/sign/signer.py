"""Signing in-toto statements, simple-signing payloads and files: with a key pair, or keyless, with an identity token
and a key for one signature only.

The finished bundle is verified against what it will be verified with before anybody else sees it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ed25519

from custody.errors import UsageError
from custody.evidence.model import Evidence, Verified
from custody.formats import bundle as bundles
from custody.formats import cms, cosign, dsse, intoto
from custody.formats.bundle import Bundle, MessageSignature
from custody.formats.dsse import Envelope
from custody.formats.intoto import Statement
from custody.kit.clock import Clock, system_clock
from custody.kit.pae import pae
from custody.ports.http import Http
from custody.sign.authorities import choose, request_certificate, request_timestamp
from custody.sign.blob import Artifact, artifact_of, check_attested, check_signed
from custody.sign.gitsign import unsigned_attributes, verify_object
from custody.sign.keptkeys import SigningKey
from custody.sign.keys import generate_key
from custody.sign.rekor import Record, request_log_entry
from custody.sign.verify import Trust, verify_evidence
from custody.trust.keys import hash_of
from custody.trust.roots import Service, SigningConfig, TrustedRoot


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Either `key` or `token`. A config without a log or without a timestamp authority leaves that part out."""

    http: Http
    config: SigningConfig
    root: TrustedRoot | None
    key: SigningKey | None = None
    """Here or elsewhere: what it signs is verified before anybody else sees it."""
    token: str | None = None
    """OIDC identity token for keyless signing."""
    algorithm: str = "ecdsa-sha2-256-nistp256"
    """Of keyless signatures, a name in `keys.ALGORITHMS`."""
    clock: Clock = system_clock

    async def sign(self, statement: Statement | bytes, subject: str) -> tuple[bytes, Verified]:
        """The bundle's bytes, and what a verifier concludes from them. Raises VerificationError and what services do.

        `subject` is the image's digest, which the statement must name; one in bytes is signed as it is.
        """
        bundle, signed = await self._sign_envelope(_payload(statement), self.config.rekor)
        data = bundle.to_bytes()
        evidence = Evidence(subject=subject, media_type=bundles.MEDIA_TYPE, data=data, source="this signature")
        return data, self._verified(evidence, signed)

    async def sign_statement(self, payload: bytes, artifact: Artifact | None, *, legacy: bool = False
                             ) -> tuple[Bundle, Verified]:
        """A statement about a file, as the bytes that it is given in. `legacy` is for what cosign 2 can keep."""
        bundle, signed = await self._sign_envelope(payload, self._logs(legacy))
        return bundle, check_attested(bundle, "bundle", artifact, self._own_trust(signed), self.clock())

    async def sign_file(self, data: bytes, *, legacy: bool = False) -> tuple[Bundle, Verified]:
        """A file's bytes. `legacy` is for what cosign 2 verifies without a bundle: SHA-256, whatever the curve."""

        def hash_name(key: SigningKey) -> str:
            return "sha256" if legacy and not _is_ed25519(key) else hash_of(key.public.key).name

        signed = await self._sign(data, hash_name, self._logs(legacy), None)
        leaf, name = signed.certificates[:1], hash_name(signed.key)
        message = MessageSignature(hashlib.new(name, data).digest(), signed.signature, name)
        bundle = Bundle("0.3", leaf, None if leaf else signed.key.public.hint, signed.entries, signed.stamps, None,
                        message)
        return bundle, check_signed(bundle, "bundle", artifact_of(data), self._own_trust(signed), self.clock())

    def _logs(self, legacy: bool) -> tuple[Service, ...]:
        return tuple(log for log in self.config.rekor if log.major_api_version == 1 or not legacy)

    async def _sign_envelope(self, payload: bytes, logs: Sequence[Service]) -> tuple[Bundle, _Signed]:
        def envelope(signature: bytes) -> Envelope:
            return Envelope(intoto.PAYLOAD_TYPE, payload, (("", signature),))

        signed = await self._sign(pae(intoto.PAYLOAD_TYPE, payload), lambda key: hash_of(key.public.key).name, logs,
                                  envelope)
        leaf = signed.certificates[:1]
        return Bundle("0.3", leaf, None if leaf else signed.key.public.hint, signed.entries, signed.stamps,
                      envelope(signed.signature), None), signed

    async def sign_payload(self, payload: bytes, subject: str) -> tuple[dict[str, str], Verified]:
        """The annotations of cosign 2's layer for a simple-signing payload, and what a verifier concludes from both.

        Only logs of API version 1 are asked: what a layer holds of an entry is their signed entry timestamp.
        """
        signed = await self._sign(payload, _legacy_hash, self._logs(True), None)
        bundle = Bundle("0.1", signed.certificates, None if signed.certificates else "", signed.entries, signed.stamps,
                        None, MessageSignature(hashlib.sha256(payload).digest(), signed.signature))
        annotations = cosign.layer_annotations(bundle)
        evidence = Evidence(subject=subject, media_type=cosign.SIMPLE_SIGNING, data=payload, source="this signature",
                            annotations=annotations)
        return annotations, self._verified(evidence, signed)

    async def sign_attestation(self, statement: Statement | bytes, subject: str
                               ) -> tuple[bytes, dict[str, str], Verified]:
        """cosign 2's layer of a statement: a DSSE envelope, its annotations, and what a verifier concludes from both.

        The timestamp is over the whole envelope, and a log knows it by the hash of these bytes. Only logs of API
        version 1 are asked, as by `sign_payload`.
        """
        payload = _payload(statement)

        def envelope(signature: bytes) -> Envelope:
            return Envelope(intoto.PAYLOAD_TYPE, payload, (("", signature),))

        signed = await self._sign(pae(intoto.PAYLOAD_TYPE, payload), _legacy_hash, self._logs(True), envelope,
                                  lambda signature: envelope(signature).to_bytes())
        bundle = Bundle("0.1", signed.certificates, None if signed.certificates else "", signed.entries, signed.stamps,
                        envelope(signed.signature), None)
        data, annotations = envelope(signed.signature).to_bytes(), cosign.layer_annotations(bundle)
        evidence = Evidence(subject=subject, media_type=dsse.MEDIA_TYPE, data=data, source="this attestation",
                            annotations=annotations)
        verified = self._verified(evidence, signed)
        return data, {**annotations, cosign.PREDICATE_TYPE: verified.predicate_type}, verified

    async def sign_object(self, payload: bytes) -> tuple[str, Verified]:
        """The armored signature of a commit or tag, as gitsign makes it, and what a verifier concludes from it.

        Keyless alone. gitsign reads entries of logs of API version 1; one of version 2 comes with its body.
        """
        if self.key is not None:
            raise UsageError("signing: a commit is signed keyless", hint="git signs with keys itself: gpg.format ssh")
        attributes = cms.signed_attributes(payload, self.clock())
        signed = await self._sign(attributes, lambda _: "sha256", self.config.rekor, None)
        armor = cms.armored(attributes, signed.signature, signed.certificates[0],
                            unsigned_attributes(signed.entries, signed.stamps))
        return armor, verify_object(payload, armor, self.trust(require_log=bool(signed.entries)), self.clock())

    async def _sign(self, message: bytes, hash_name: Callable[[SigningKey], str], logs: Sequence[Service],
                    envelope: Callable[[bytes], Envelope] | None,
                    stamped: Callable[[bytes], bytes] = lambda signature: signature) -> _Signed:
        now = self.clock()
        # 1. A key: the given one, or a new one with a certificate for the token's subject.
        certificates: tuple[bytes, ...] = ()
        key: SigningKey
        if self.key is not None:
            key = self.key
        elif self.token is None:
            raise UsageError("signing: no key and no identity token", hint="--key FILE or --identity-token TOKEN; no "
                             "place promised an identity here (-v says which were looked for)")
        else:
            key = once = generate_key(self.algorithm)
            authority = choose(self.config.ca, "certificate authority", (1,), now)
            certificates = await request_certificate(self.http, authority.url, self.token, once)
        if (certificates or logs or self.config.tsa) and self.root is None:
            raise UsageError("signing: no trusted root, so what the services answer could not be checked",
                             hint="--trusted-root FILE, or custody up, which makes one")
        # 2. The signature, over the exact bytes.
        name = hash_name(key)
        log = choose(logs, "transparency log", (1, 2), now) if logs else None
        signature = await key.signature(
            message, prehash=log is not None and (log.major_api_version == 2 or envelope is None),
            hash_name=None if _is_ed25519(key) else name)
        # 3. A timestamp and a log entry, both over the signature; the former over what cosign 2 keeps it in, there.
        record = Record(message=message, hash_name=name, signature=signature, key=key.public,
                        certificate=certificates[0] if certificates else None,
                        envelope=envelope(signature) if envelope else None)
        stamps, entries = await asyncio.gather(self._timestamps(stamped(signature), now), self._entries(log, record))
        return _Signed(key, certificates, signature, stamps, entries)

    def _verified(self, evidence: Evidence, signed: _Signed) -> Verified:
        # 4. Verify the result as anybody else will.
        return verify_evidence(evidence, self._own_trust(signed), self.clock())

    def _own_trust(self, signed: _Signed) -> Trust:
        trust = self.trust(signed.key, require_log=bool(signed.entries))
        if not (signed.certificates or signed.stamps or signed.entries):
            trust = replace(trust, root=None)
        return trust

    def trust(self, key: SigningKey | None = None, *, require_log: bool) -> Trust:
        """What this signer's own bundles verify against."""
        key = key or self.key
        return Trust(self.root, (key.public,) if key else (), require_log=require_log,
                     require_sct=bool(self.root and self.root.ctlogs))

    async def _timestamps(self, message: bytes, now: datetime) -> tuple[bytes, ...]:
        if not self.config.tsa:
            return ()
        authority = choose(self.config.tsa, "timestamp authority", (1,), now)
        return (await request_timestamp(self.http, authority.url, message),)

    async def _entries(self, log: Service | None, record: Record) -> tuple[bundles.LogEntry, ...]:
        return () if log is None else (await request_log_entry(self.http, log, record, self.root),)


class _Signed(NamedTuple):
    key: SigningKey
    certificates: tuple[bytes, ...]
    signature: bytes
    stamps: tuple[bytes, ...]
    entries: tuple[bundles.LogEntry, ...]


def _payload(statement: Statement | bytes) -> bytes:
    return statement if isinstance(statement, bytes) else statement.to_bytes()


def _legacy_hash(key: SigningKey) -> str:
    """cosign 2 and Kyverno verify with SHA-256, whatever the curve."""
    return "sha512" if _is_ed25519(key) else "sha256"


def _is_ed25519(key: SigningKey) -> bool:
    return isinstance(key.public.key, ed25519.Ed25519PublicKey)
