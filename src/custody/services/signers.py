"""Who signed an image, as it is verified against a trust root: for people to know, and no permission for anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from custody.evidence.model import EvidenceSet, State
from custody.formats.reference import Reference
from custody.kit.clock import Clock
from custody.ports.inventory import Sighting
from custody.registry.client import RegistryClient
from custody.services.verify import Terms, judge_all
from custody.sign.referrers import fetch_evidence

NOBODY = ""
"""Stands where somebody looked, and nothing verified."""


def names(about: EvidenceSet) -> list[str]:
    """Of signatures where there are some, else of attestations; [NOBODY] where what was looked at has none that verify,
    and none at all where it could not be looked at.
    """
    if about.verified:
        return sorted({str(statement.signer) for statement in about.signatures or about.verified})
    unread = any(rejected.state is State.UNVERIFIABLE for rejected in about.rejected)
    return [NOBODY] if about.subject and not unread else []


def known(places: Iterable[str]) -> tuple[str, ...] | None:
    """Of the places of sightings: None where nobody looked."""
    noted = list(places)
    return tuple(name for name in noted if name != NOBODY) if noted else None


class Signers:
    """Asks a registry. `terms` name whom a signature is verified by."""

    def __init__(self, client: RegistryClient, terms: Terms, clock: Clock) -> None:
        self._client, self._terms, self._clock = client, terms, clock

    async def look(self, ref: Reference) -> list[Sighting]:
        """Of an image by its digest. Raises NetworkError and its like, VerificationError for too much evidence."""
        gathered = await fetch_evidence(self._client, ref, unsigned=False)
        digest = str(ref.digest)
        about = await asyncio.to_thread(judge_all, digest, gathered, self._terms, self._clock())
        return [Sighting(digest, "signer", name, self._clock()) for name in names(about)]
