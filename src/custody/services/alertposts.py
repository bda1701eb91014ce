"""Alerts by HTTP, one each POST, as falcosidekick and Falco's `http_output` have it, through a durable queue.

An alert is delivered once it is in the queue; it is sent until somebody takes it, later and later, for two days.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from datetime import timedelta

from custody.errors import CustodyError, NetworkError, UsageError
from custody.kit.clock import Clock
from custody.ports.alerting import Line, Place
from custody.ports.http import Http, place_of
from custody.ports.queue import Job, Queue

_LOG = logging.getLogger(__name__)
_PAUSES = tuple(timedelta(seconds=seconds) for seconds in (1, 5, 30, 120, 600, 1800, 7200, 18000, 36000, 86400))
_LEASE = timedelta(minutes=3)
_DEADLINE = 30.0
_LOOK = 1.0
_LARGEST_ANSWER = 1 << 16
_KEPT = timedelta(days=2)
_SIDE_BY_SIDE = 8
_FULL = 100_000
"""Alerts that wait: above that no more are taken, and inputs wait."""


class AlertPosts:
    """Implements ports.alerting.AlertOutput; `run` sends."""

    def __init__(self, url: str, queue: Queue, http: Http, clock: Clock) -> None:
        if not url.startswith(("https://", "http://")):
            raise UsageError(f"--output {place_of(url)}: expected https://… or http://…")
        self._url, self._queue, self._http, self._clock = url, queue, http, clock
        self._kind = "alerts " + hashlib.sha256(url.encode()).hexdigest()[:32]
        self._due = asyncio.Event()
        self.failure = ""
        """Why the last alert was not taken; empty where it was."""
        self.sent = 0

    @property
    def name(self) -> str:
        return place_of(self._url)

    def write(self, lines: Sequence[Line]) -> None:
        if self._queue.waiting(self._kind) + len(lines) > _FULL:
            raise NetworkError(f"{self.name}: {_FULL} alerts wait to be taken: {self.failure or 'it is slow'}")
        now = self._clock()
        for line in lines:
            self._queue.put(self._kind, line.key, line.json, now)

    def place(self) -> Place | None:
        return None

    def recover(self, place: Place | None) -> str:  # noqa: ARG002 - the queue knows what it was given by its keys
        return ""

    def close(self) -> None:
        """The queue is its owner's."""

    def waiting(self) -> int:
        return self._queue.waiting(self._kind)

    async def run(self) -> None:
        """Send what is due until cancelled."""
        pruned = self._clock()
        while True:
            try:
                while await self.send():
                    pass
                if self._clock() - pruned > timedelta(hours=1):
                    await asyncio.to_thread(self._queue.prune, self._clock() - _KEPT)
                    pruned = self._clock()
            except CustodyError as error:
                _LOG.warning("alerts are not sent: %s", error.message)
            await asyncio.sleep(_LOOK)

    async def send(self) -> bool:
        """Some of what is due, side by side; False where nothing was, or where none was taken: one that its receiver
        never takes must not slow the others down."""
        jobs: list[Job] = []
        while len(jobs) < _SIDE_BY_SIDE:
            job = await asyncio.to_thread(self._queue.take, self._kind, self._clock(), self._clock() + _LEASE)
            if job is None:
                break
            jobs.append(job)
        taken = await asyncio.gather(*(self._sent(job) for job in jobs))
        return any(taken)

    async def _sent(self, job: Job) -> bool:
        reason = await self._post(job)
        if not reason:
            await asyncio.to_thread(self._queue.done, job)
            self.sent += 1
            self.failure = ""
            return True
        if reason != self.failure:
            _LOG.warning("%s: %s; it is sent again", self.name, reason)
        self.failure = reason
        if job.attempts > len(_PAUSES):
            await asyncio.to_thread(self._queue.bury, job, reason)
        else:
            await asyncio.to_thread(self._queue.again, job, self._clock() + _PAUSES[job.attempts - 1], reason)
        return False

    async def _post(self, job: Job) -> str:
        """Why it was not taken; empty where it was."""
        try:
            async with asyncio.timeout(_DEADLINE), await self._http.request(
                    "POST", self._url, body=job.body, headers={"content-type": "application/json; charset=utf-8"}
                    ) as answer:
                status = answer.status
                await answer.read(_LARGEST_ANSWER)
        except TimeoutError:
            return f"took longer than {_DEADLINE:g} s"
        except NetworkError as error:
            return error.message
        return "" if 200 <= status < 300 else f"got status {status}, expected 2xx"
