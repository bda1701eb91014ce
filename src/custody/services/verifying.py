"""Verification off the event loop: who has had least of it goes first, heavy documents one at a time.

Signatures and JSON are work for a processor, and whoever may push decides how much of it there is. Documents wait in
one place; of those that wait, the next is of the image that has taken the least time so far, and cheap before dear. A
document once begun is finished: `Trust.max_weight` bounds how long that takes, and how much memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from custody.errors import MissingEvidenceError, VerificationError
from custody.evidence.model import Evidence, KeySigner, Rejected, State, Verified
from custody.kit.clock import Clock
from custody.sign.listing import PREDICATE_TYPE
from custody.sign.verify import Trust, verify_evidence

_LOG = logging.getLogger(__name__)
_HEAVY = 512 * 1024  # bytes; such a document is parsed alone
_RATE = 20e6  # bytes of JSON a second, about: only an order of who goes first
_VALUE = 72  # bytes of a value at least: an object, and its place in a list or dict


def verify_one(item: Evidence, trust: Trust, clock: Clock) -> Verified | Rejected:
    """Verified, or rejected with the reason. A key's signature that is in no log is kept, and says so."""
    try:
        return _verify(item, trust, clock)
    except VerificationError as error:
        state = State.MISSING if isinstance(error, MissingEvidenceError) else State.FAILED
        reason = error.message
    except Exception as error:
        # A verifier's own fault, brought about by a document, costs that document and not the one beside it.
        _LOG.exception("a document could not be verified")
        state, reason = State.UNVERIFIABLE, f"verifying it failed with {type(error).__name__}"
    return Rejected(subject=item.subject, evidence=item.digest, source=item.source, reason=reason, state=state,
                    predicate_type=item.annotations.get(PREDICATE_TYPE))


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


def memory_of(value: Any) -> int:
    """About how many bytes a verified or rejected document takes."""
    predicate = value.predicate if isinstance(value, Verified) else value.reason
    size, waiting = 2048, [predicate]
    while waiting:
        item = waiting.pop()
        size += _VALUE
        if isinstance(item, str):
            size += len(item)
        elif isinstance(item, dict):
            size += sum(map(len, item)) + 2 * _VALUE * len(item)
            waiting += item.values()
        elif isinstance(item, list):
            size += 8 * len(item)
            waiting += item
    return size


class Share:
    """One image's share of the verifier: seconds that it has had."""

    def __init__(self) -> None:
        self.had = 0.0


@dataclass(eq=False, slots=True)
class _Waiting:
    share: Share
    item: Evidence
    trust: Trust
    clock: Clock
    done: asyncio.Future[tuple[Verified | Rejected, int]]

    @property
    def heavy(self) -> bool:
        return len(self.item.data) > _HEAVY

    @property
    def rank(self) -> float:
        return self.share.had + len(self.item.data) / _RATE


class Verifying:
    """Two threads for any number of images, of which at most one is at a heavy document."""

    def __init__(self, threads: int = 2) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="verify")
        self._count = self._free = threads
        self._heavy = False
        self._waiting: list[_Waiting] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def verify(self, share: Share, item: Evidence, trust: Trust, clock: Clock) -> tuple[Verified | Rejected, int]:
        """What the verifier says, and about how many bytes that takes. Cancelling takes it out of the queue."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what an ended event loop left behind never reports back
            self._loop, self._free, self._heavy, self._waiting = loop, self._count, False, []
        waiting = _Waiting(share, item, trust, clock, loop.create_future())
        self._waiting.append(waiting)
        self._next()
        return await waiting.done

    def _next(self) -> None:
        self._waiting = [one for one in self._waiting if not one.done.done()]
        while self._free:
            ready = [one for one in self._waiting if not (one.heavy and self._heavy)]
            if not ready:
                return
            chosen = min(ready, key=lambda one: one.rank)
            self._waiting.remove(chosen)
            self._free -= 1
            self._heavy = self._heavy or chosen.heavy
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._threads, _timed, chosen.item, chosen.trust, chosen.clock)
            running.add_done_callback(lambda ended, own=chosen: self._ended(ended, own))  # type: ignore[misc]

    def _ended(self, ended: asyncio.Future[tuple[Verified | Rejected, int, float]], own: _Waiting) -> None:
        self._free += 1
        if own.heavy:
            self._heavy = False
        if not ended.cancelled():
            result, size, seconds = ended.result()
            own.share.had += seconds
            if not own.done.done():
                own.done.set_result((result, size))
        self._next()


def _timed(item: Evidence, trust: Trust, clock: Clock) -> tuple[Verified | Rejected, int, float]:
    begun = time.thread_time()
    result = verify_one(item, trust, clock)
    return result, memory_of(result), time.thread_time() - begun
