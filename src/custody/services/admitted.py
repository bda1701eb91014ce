"""Which images the webhook let in, and whose signatures it verified, noted in the inventory beside the reviews: none
waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator

from custody.admission.answered import Answered
from custody.errors import StorageError
from custody.kit.clock import Clock
from custody.policy.model import Verdict
from custody.policy.phases import Course
from custody.ports.inventory import Sighting, Sightings
from custody.services import signers

_LOG = logging.getLogger(__name__)
_WAITING = 10_000
_MOMENT = 1.0  # seconds between two writings


class Admitted:
    """An Observer. What it has no room for is counted, and the same object is seen again with its next review."""

    def __init__(self, store: Sightings, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._waiting: deque[Sighting] = deque()
        self.dropped = 0

    def __call__(self, answered: Answered) -> None:
        for sighting in self._sightings(answered):
            if len(self._waiting) >= _WAITING:
                self.dropped += 1
                return
            self._waiting.append(sighting)

    async def run(self) -> None:
        """Write until cancelled, and what is left then."""
        try:
            while True:
                await asyncio.sleep(_MOMENT)
                await asyncio.to_thread(self.flush)
        finally:
            self.flush()

    def flush(self) -> None:
        if not (batch := [self._waiting.popleft() for _ in range(len(self._waiting))]):
            return
        try:
            self._store.see(batch)
        except StorageError as error:  # a full disk notes nothing, and stops no webhook
            self.dropped += len(batch)
            _LOG.warning("%d admissions are not noted: %s", len(batch), error.message)

    def _sightings(self, answered: Answered) -> Iterator[Sighting]:
        """Of the validating webhook's answers alone: each review comes to both."""
        judged = answered.judged
        if judged is None or judged.at is not Course.VALIDATING or judged.decision.verdict is not Verdict.ALLOWED:
            return
        request = judged.request
        if request.dry_run or request.operation not in ("CREATE", "UPDATE"):
            return
        where = f"{request.namespace}/{request.kind.kind}/{request.name or '(generated)'}"
        for digest in {about.subject for about in judged.evidence.values() if about.subject}:
            yield Sighting(digest, "admission", where, self._clock())
        for digest, name in {(about.subject, name) for about in judged.evidence.values()
                             for name in signers.names(about)}:
            yield Sighting(digest, "signer", name, self._clock())
