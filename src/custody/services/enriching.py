"""What an alert is told with: whose image it is, as signed evidence and the inventory say. Never waits for either.

    custody.evidence          known, unknown (nobody could be asked), pending (it is being asked), or none: no image
    custody.signer            who signed, verified; `nobody` where somebody looked and nothing verified
    custody.source.commit     of verified SLSA provenance, with custody.source.repository and custody.builder
    custody.image.age         days since it was built, by the provenance; else since it was signed
    custody.vex               what verified VEX says: `2 not_affected, 1 affected`
    custody.admission         when it was let in last, and as what; `no record`
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from custody.errors import CustodyError
from custody.evidence.model import EvidenceSet, Verified
from custody.formats.slsa import told_of
from custody.kit.clock import Clock, format_rfc3339
from custody.ports.inventory import Seen, Sightings
from custody.runtime.containers import Containers
from custody.runtime.event import Place
from custody.services import signers, statements

_LOG = logging.getLogger(__name__)
_MOST, _WAITING = 5_000, 1_000
_KEPT, _FAILED = 300.0, 30.0
"""Seconds for which an answer counts, and a failure."""
_LONGEST = 60.0
"""Seconds that one image may take: others wait for it."""
_DAY = 86_400.0
Gather = Callable[[str], Awaitable[EvidenceSet]]
"""What is verified about `repository@sha256:…`."""


class EvidenceEnricher:
    """`custody.runtime.detecting.Enricher`. `run` asks; what is not known yet is `pending`, and told the next time."""

    def __init__(self, sightings: Sightings | None, gather: Gather | None, clock: Clock,
                 containers: Containers | None = None) -> None:
        self._sightings, self._gather, self._clock = sightings, gather, clock
        self._containers = containers
        # By digest and image: that one repository has no evidence says nothing of another one with the same bytes.
        self._known: OrderedDict[tuple[str, str], tuple[float, Mapping[str, Any]]] = OrderedDict()
        self._asked: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._woken = asyncio.Event()

    def __call__(self, place: Place) -> Mapping[str, Any]:
        digest, image = place.digest, place.image
        if self._containers is not None and place.container_id:
            container = self._containers.get(place.container_id)
            if container is not None and container.digest:  # what the cluster says counts before what an event claims
                digest, image = container.digest, container.image
        if not digest:
            return {"custody.evidence": "none"}
        known = self._known.get((digest, image))
        if known is None or known[0] < time.monotonic():
            self._ask(digest, image)
        return known[1] if known is not None else {"custody.evidence": "pending"}

    async def run(self) -> None:
        """Ask about images that alerts were about, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            await self.work()

    async def work(self) -> None:
        """Ask about all that are waited for now."""
        while self._asked:
            (digest, image), _ = self._asked.popitem(last=False)
            try:
                facts, lasting = await self._facts(digest, image)
            except asyncio.CancelledError:
                self._asked[digest, image] = None
                raise
            except Exception:
                _LOG.exception("what is known of %s could not be put together", digest)
                facts, lasting = {"custody.evidence": "unknown"}, _FAILED
            self._known[digest, image] = (time.monotonic() + lasting, facts)
            self._known.move_to_end((digest, image))
            if len(self._known) > _MOST:
                self._known.popitem(last=False)

    def _ask(self, digest: str, image: str) -> None:
        if (digest, image) not in self._asked and len(self._asked) < _WAITING:
            self._asked[digest, image] = None
            self._woken.set()

    async def _facts(self, digest: str, image: str) -> tuple[dict[str, Any], float]:
        facts: dict[str, Any] = {"custody.evidence": "unknown"}
        rows: list[Seen] = []
        lasting = _KEPT
        if self._sightings is not None:
            try:
                rows = list((await asyncio.to_thread(self._sightings.seen, [digest])).get(digest, ()))
                facts["custody.admission"] = _admission(rows)
                named = signers.known([row.where for row in rows if row.kind == "signer"])
                if named is not None:
                    facts |= {"custody.evidence": "known", "custody.signer": ", ".join(named) or "nobody"}
            except CustodyError as error:
                facts["custody.evidence.reason"] = error.message
                lasting = _FAILED
        name = _name(rows, image, digest)
        if self._gather is None or not name:
            if facts["custody.evidence"] == "unknown":
                facts.setdefault("custody.evidence.reason", "nobody says of which registry it is" if self._gather
                                 else "no registry is asked")
            return facts, lasting
        try:
            async with asyncio.timeout(_LONGEST):
                about = await self._gather(name)
        except TimeoutError:
            return facts | {"custody.evidence.reason": f"no answer within {_LONGEST:.0f} seconds"}, _FAILED
        except CustodyError as error:
            return facts | {"custody.evidence.reason": error.message}, _FAILED
        if not about.reached or not about.subject:
            reason = about.rejected[0].reason if about.rejected else "nothing could be had"
            return facts | {"custody.evidence.reason": reason}, _FAILED
        return facts | {"custody.evidence": "known", **self._evidence(about)}, lasting

    def _evidence(self, about: EvidenceSet) -> dict[str, Any]:
        names = signers.names(about)
        facts: dict[str, Any] = {}
        if names:
            facts["custody.signer"] = ", ".join(name for name in names if name) or "nobody"
        built = None
        for statement in about.verified:
            told = told_of(statement.predicate_type, statement.predicate)
            if told is None:
                continue
            facts |= {key: value for key, value in (
                ("custody.source.commit", told.commit), ("custody.source.repository", told.repository),
                ("custody.builder", told.builder)) if value}
            built = told.finished or built
        signed = min((statement.signed_at for statement in about.verified if statement.signed_at), default=None)
        if (since := built or signed) is not None:
            facts["custody.image.age"] = round((self._clock() - since).total_seconds() / _DAY, 1)
        if said := _vex(about.verified):
            facts["custody.vex"] = said
        return facts


def _admission(rows: list[Seen]) -> str:
    last = max((row for row in rows if row.kind == "admission"), key=lambda row: row.last, default=None)
    return f"{format_rfc3339(last.last)} as {last.where}" if last is not None else "no record"


def _vex(verified: tuple[Verified, ...]) -> str:
    spoken, _ = statements.of_evidence(verified)
    counts = Counter(statement.status for said in spoken for statement in said.document.statements)
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))


def _name(rows: list[Seen], image: str, digest: str) -> str:
    """`repository@digest`: by the name under which it was seen last, else as the runtime calls it."""
    last = max((row for row in rows if row.kind == "name"), key=lambda row: row.last, default=None)
    named = (last.where if last is not None else image).partition("@")[0]
    folder, slash, base = named.rpartition("/")
    repository = f"{folder}{slash}{base.partition(':')[0]}"
    return f"{repository}@{digest}" if repository else ""
