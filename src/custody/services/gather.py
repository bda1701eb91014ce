"""Gather: everything that is known about an image, fetched and verified, before anybody decides.

    image reference → registry client (digest) → evidence → one verifier → EvidenceSet

What cannot be had or does not verify is part of the answer, with its state and reason. Answers are kept for a few
seconds by digest, so that a burst of pods asks once; a newer attestation counts when that time is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Hashable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from custody.errors import CustodyError, MissingEvidenceError, NotFoundError, VerificationError
from custody.evidence.model import Evidence, EvidenceSet, KeySigner, Rejected, State, Verified
from custody.formats import reference
from custody.formats.reference import Reference
from custody.kit.clock import Clock
from custody.registry.client import RegistryClient
from custody.sign.keys import load_public_key
from custody.sign.referrers import fetch_evidence
from custody.sign.verify import Trust, verify_evidence
from custody.trust.roots import TrustedRoot

_MAX_KEPT = 10_000


_T = TypeVar("_T")
_Kept = dict[Hashable, tuple[float, "asyncio.Future[Any]"]]
"""Until when, and what."""


class Gatherer:
    """One registry client, one trust root; `keep` is how many seconds an answer counts."""

    def __init__(self, client: RegistryClient, root: TrustedRoot | None, clock: Clock, *, keep: float = 10.0) -> None:
        self._client = client
        self._root = root
        self._clock = clock
        self._keep = keep
        self._sets: _Kept = {}
        self._digests: _Kept = {}

    async def gather(self, images: Iterable[str], keys: Iterable[bytes] = (),
                     predicate_types: object = None) -> dict[str, EvidenceSet]:
        """Evidence by the images' names as given. `keys` are PEM public keys to verify with, beside the trust root."""
        names, pems = list(images), tuple(keys)
        found = await asyncio.gather(*(self._one(name, pems) for name in names))
        return dict(zip(names, found, strict=True))

    def forget(self) -> None:
        """Ask everything anew the next time."""
        self._sets.clear()
        self._digests.clear()

    async def _one(self, name: str, pems: tuple[bytes, ...]) -> EvidenceSet:
        try:
            ref = reference.parse(name)
            if ref.digest is None:
                ref = ref.at(await self._shared(self._digests, str(ref), self._resolve(ref)))
            key = (ref.name, ref.digest or "", pems)
            return await self._shared(self._sets, key, self._collect(ref, pems))
        except NotFoundError as error:
            return _nothing(State.MISSING, error)
        except CustodyError as error:
            return _nothing(State.UNVERIFIABLE, error)

    async def _shared(self, kept: _Kept, key: Hashable, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of `work`, or of whoever is at the same work now or was a moment ago."""
        now = time.monotonic()
        until, task = kept.get(key, (0.0, None))
        if task is not None and until > now:
            work.close()
        else:
            if len(kept) > _MAX_KEPT:
                kept.clear()
            task = asyncio.ensure_future(work)
            kept[key] = (now + self._keep, task)
        try:
            return await asyncio.shield(task)
        except CustodyError:
            kept.pop(key, None)  # failures are not kept: the next one asks again
            raise

    async def _resolve(self, ref: Reference) -> str:
        return (await self._client.resolve(ref)).digest

    async def _collect(self, ref: Reference, pems: tuple[bytes, ...]) -> EvidenceSet:
        # The image itself is asked for too: evidence about something that is not there admits nothing.
        _, found = await asyncio.gather(self._client.resolve(ref), fetch_evidence(self._client, ref))
        trust = Trust(self._root, tuple(load_public_key(pem, "policy key") for pem in pems))
        return verify_all(str(ref.digest), found, trust, self._clock)


def verify_all(subject: str, found: Iterable[Evidence], trust: Trust, clock: Clock) -> EvidenceSet:
    """Sort evidence into verified and rejected. A key's signature that is in no log is kept, and says so."""
    verified: list[Verified] = []
    rejected: list[Rejected] = []
    for item in found:
        try:
            verified.append(_verify(item, trust, clock))
        except VerificationError as error:
            missing = isinstance(error, MissingEvidenceError)
            rejected.append(Rejected(subject=subject, evidence=item.digest, source=item.source, reason=error.message,
                                     state=State.MISSING if missing else State.FAILED,
                                     predicate_type=item.annotations.get("dev.sigstore.bundle.predicateType")))
    return EvidenceSet(subject=subject, verified=tuple(verified), rejected=tuple(rejected))


def _verify(item: Evidence, trust: Trust, clock: Clock) -> Verified:
    try:
        return verify_evidence(item, trust, clock())
    except VerificationError:
        if not trust.keys:
            raise
        # A policy may accept a key's signature without a log (rekor.ignoreTlog); it sees that `log` is None.
        found = verify_evidence(item, replace(trust, require_log=False), clock())
        if not isinstance(found.signer, KeySigner):
            raise
        return found


def _nothing(state: State, error: CustodyError) -> EvidenceSet:
    return EvidenceSet(subject="", rejected=(
        Rejected(subject="", evidence=None, source="gather", state=state, reason=error.message),))

