"""Stapling: what is said of revoked certificates now, kept beside each signature of the Notary Project, for where
nobody can be asked (after an air gap, or when a responder is away).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from custody.errors import (
    MalformedError,
    MissingEvidenceError,
    NotFoundError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from custody.formats import notary, oci, revocationanswers
from custody.kit.clock import Clock
from custody.ports.http import Http
from custody.services.notaryplaces import Place
from custody.services.notarysignatures import MAX_SIGNATURES
from custody.sign.notary.revocation import OnlineRevocations, Revocations
from custody.sign.notary.stapled import RecordingHttp
from custody.sign.notary.trustpolicy import LEVELS, SKIP, Statement, VerifyTimestamp
from custody.sign.notary.verify import Verifier


@dataclass(frozen=True, slots=True)
class Stapling:
    """What became of one signature."""

    signature: str
    """Digest of its manifest."""
    reason: str = ""
    """Why nothing was stapled to it; "" where something was, or there is nobody to ask."""
    answers: int = 0
    until: datetime | None = None
    """When the first of the answers ends."""
    left: str = ""
    """Why older staples stay beside it."""


async def staple_artifact(place: Place, subject: oci.Descriptor, statement: Statement,
                          open_verifier: Callable[[Revocations], Verifier], http: Http, clock: Clock,
                          limit: int = MAX_SIGNATURES) -> list[Stapling]:
    """Each signature verified by the trust policy's statement, with every validation enforced, by answers that `http`
    gets now; those are stapled to it. Whoever is not trusted says nowhere whom to ask.

    Raises MissingEvidenceError where there is no signature, VerificationError where there are more than `limit`, and
    what the place raises.
    """
    if statement.level == SKIP:
        raise UsageError(f"trust policy {statement.name} skips verification: nobody is asked of revoked certificates",
                         hint="a level at which signatures are looked at, such as strict")
    signatures = await place.signatures(subject)
    if not signatures:
        raise MissingEvidenceError(f"{subject.digest}: no signature of the Notary Project is beside it")
    if len(signatures) > limit:
        raise VerificationError(f"{subject.digest}: has {len(signatures)} signatures, expected at most {limit}",
                                hint="--max-signatures looks at more")
    target = notary.Target(subject.media_type, subject.digest, subject.size, {})
    return [await _staple(place, signature, statement, target, open_verifier, RecordingHttp(http), clock)
            for signature in signatures]


async def _staple(place: Place, signature: oci.Descriptor, statement: Statement, target: notary.Target,
                  open_verifier: Callable[[Revocations], Verifier], recording: RecordingHttp, clock: Clock) -> Stapling:
    try:
        data, media_type = await place.envelope(signature)
        stamped = notary.parse_envelope(data, media_type).timestamp is not None
        strict = replace(statement, level=LEVELS["strict"])
        if stamped and statement.stores("tsa"):
            # Its authority is asked about where certificates have expired, which they will have one day.
            strict = replace(strict, verify_timestamp=VerifyTimestamp.ALWAYS)
        # Without the lists that are kept on this machine: what is stapled is what is fetched now.
        verifier = open_verifier(OnlineRevocations(recording, clock))
        outcome = await verifier.verify(data, media_type, strict, lambda _: target)
        if outcome.error is not None:
            raise outcome.error
        document = revocationanswers.write(recording.exchanges)
    except (MalformedError, NotFoundError, UnsupportedError, VerificationError) as error:
        return Stapling(signature.digest, error.message)
    if not recording.exchanges:
        return Stapling(signature.digest)
    until = [answer.span.until for said in outcome.answers.values() for answer in said if answer.span]
    left = await place.staple(signature, document, clock())
    return Stapling(signature.digest, answers=len({*recording.exchanges}), until=min(filter(None, until), default=None),
                    left=left)
