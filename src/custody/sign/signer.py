"""Signing in-toto statements: with a key pair, or keyless, with an identity token and a key for one signature only.

The finished bundle is verified against what it will be verified with before anybody else sees it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from custody.errors import UsageError
from custody.evidence.model import Evidence, Verified
from custody.formats import bundle as bundles
from custody.formats import intoto
from custody.formats.bundle import Bundle
from custody.formats.dsse import Envelope
from custody.formats.intoto import Statement
from custody.kit.clock import Clock, system_clock
from custody.kit.pae import pae
from custody.ports.http import Http
from custody.sign.authorities import choose, request_certificate, request_log_entry, request_timestamp
from custody.sign.keys import PrivateKey, generate_key
from custody.sign.verify import Trust, verify_evidence
from custody.trust.roots import SigningConfig, TrustedRoot


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Either `key` or `token`. A config without a log or without a timestamp authority leaves that part out."""

    http: Http
    config: SigningConfig
    root: TrustedRoot | None
    key: PrivateKey | None = None
    token: str | None = None
    """OIDC identity token for keyless signing."""
    clock: Clock = system_clock

    async def sign(self, statement: Statement, subject: str) -> tuple[bytes, Verified]:
        """The bundle's bytes, and what a verifier concludes from them. Raises VerificationError and what services do.

        `subject` is the image's digest, which the statement must name.
        """
        now = self.clock()
        # 1. A key: the given one, or a new one with a certificate for the token's subject.
        certificates: tuple[bytes, ...] = ()
        if self.key is not None:
            key = self.key
        elif self.token is None:
            raise UsageError("signing: no key and no identity token", hint="--key FILE or --identity-token TOKEN; "
                             "no place promised an identity here (-v says which were looked for)")
        else:
            key = generate_key()
            authority = choose(self.config.ca, "certificate authority", (1,), now)
            certificates = await request_certificate(self.http, authority.url, self.token, key)
        if (certificates or self.config.rekor or self.config.tsa) and self.root is None:
            raise UsageError("signing: no trusted root, so what the services answer could not be checked",
                             hint="--trusted-root FILE, or custody up, which makes one")
        # 2. The signature, over the payload's exact bytes.
        payload = statement.to_bytes()
        message = pae(intoto.PAYLOAD_TYPE, payload)
        signature = key.sign(message, prehash=bool(self.config.rekor))
        # 3. A timestamp and a log entry, both over the signature.
        stamps, entries = await asyncio.gather(
            self._timestamps(signature), self._entries(message, signature, key, certificates))
        bundle = Bundle("0.3", certificates, None if certificates else key.public.hint, entries, stamps,
                        Envelope(intoto.PAYLOAD_TYPE, payload, (("", signature),)), None)
        # 4. Verify the result as anybody else will.
        data = bundle.to_bytes()
        trust = self.trust(key, require_log=bool(entries))
        if not (certificates or stamps or entries):
            trust = replace(trust, root=None)
        evidence = Evidence(subject=subject, media_type=bundles.MEDIA_TYPE, data=data, source="this signature")
        return data, verify_evidence(evidence, trust, self.clock())

    def trust(self, key: PrivateKey | None = None, *, require_log: bool) -> Trust:
        """What this signer's own bundles verify against."""
        key = key or self.key
        return Trust(self.root, (key.public,) if key else (), require_log=require_log,
                     require_sct=bool(self.root and self.root.ctlogs))

    async def _timestamps(self, signature: bytes) -> tuple[bytes, ...]:
        if not self.config.tsa:
            return ()
        authority = choose(self.config.tsa, "timestamp authority", (1,), self.clock())
        return (await request_timestamp(self.http, authority.url, signature),)

    async def _entries(self, message: bytes, signature: bytes, key: PrivateKey,
                       certificates: tuple[bytes, ...]) -> tuple[bundles.LogEntry, ...]:
        if not self.config.rekor:
            return ()
        log = choose(self.config.rekor, "transparency log", (2,), self.clock())
        return (await request_log_entry(self.http, log.url, message, signature, key.public,
                                        certificates[0] if certificates else None),)
