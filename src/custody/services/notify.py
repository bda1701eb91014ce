"""Tells others of events: each becomes a CloudEvent in the queue, once an address, and is sent until it is taken.

CloudEvents 1.0.2, JSON Event Format; signed as `formats.webhook` says. A failure ends the round for its address, and
the event is tried again later and later; after the last time it is given up, which `Queue.buried` lists.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from custody.errors import MalformedError, NetworkError
from custody.formats import webhook
from custody.kit.clock import Clock, format_rfc3339
from custody.ports.findings import Findings, NumberedEvent
from custody.ports.http import Http, place_of
from custody.ports.queue import Job, Queue

_PAUSES = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1800, 7200, 18000, 36000, 86400))
"""After the first failure, the second, …; the one after the last is given up."""
_LEASE = timedelta(minutes=3)
_AT_ONCE = 1000
_LARGEST_ANSWER = 1 << 16
_DEADLINE = 30.0  # seconds for an answer: far below the lease
_ROUND = timedelta(minutes=1)
"""After which no further message is sent, so that who is slow holds nobody up."""


class Notifier:
    """For one address. `source` says in each event whose it is."""

    def __init__(self, url: str, key: bytes, queue: Queue, http: Http, clock: Clock, source: str,
                 deadline: float = _DEADLINE) -> None:
        if not url.startswith(("https://", "http://")):
            raise MalformedError("notify", got=place_of(url), expected="https://… or http://…")
        self._url = url
        self._key = key
        self._queue = queue
        self._http = http
        self._clock = clock
        self._source = source
        self._deadline = deadline
        self._kind = "notify " + hashlib.sha256(url.encode()).hexdigest()[:32]

    def begin(self, store: Findings, last: int) -> None:
        """Who is here for the first time is told of what comes after the last event that there is."""
        if not store.cursor(self._kind):
            store.replace({}, (), {self._kind: str(last)})

    def gather(self, store: Findings) -> int:
        """Put what happened since into the queue; how many events."""
        last, count = int(store.cursor(self._kind) or 0), 0
        while events := store.events(last, _AT_ONCE):
            for numbered in events:
                body = msgspec.json.encode(cloud_event(numbered, self._source))
                count += self._queue.put(self._kind, str(numbered.number), body, self._clock())
            last = events[-1].number
            store.replace({}, (), {self._kind: str(last)})
        return count

    async def send(self) -> tuple[int, str]:
        """What is due; how many were taken, and why the first that was not was not."""
        sent, until = 0, self._clock() + _ROUND
        while self._clock() < until and (job := await asyncio.to_thread(self._queue.take, self._kind, self._clock(),
                                              self._clock() + _LEASE)) is not None:
            reason = await self._post(job)
            if not reason:
                await asyncio.to_thread(self._queue.done, job)
                sent += 1
                continue
            if job.attempts > len(_PAUSES):
                await asyncio.to_thread(self._queue.bury, job, reason)
            else:
                await asyncio.to_thread(self._queue.again, job, self._clock() + _PAUSES[job.attempts - 1], reason)
            return sent, f"{place_of(self._url)}: {reason}"
        return sent, ""

    async def _post(self, job: Job) -> str:
        """Why it was not taken; empty where it was."""
        name = f"{self._source}#{job.key}"
        signed = webhook.headers(self._key, name, int(self._clock().timestamp()), job.body)
        try:
            async with asyncio.timeout(self._deadline), await self._http.request(
                    "POST", self._url, body=job.body, headers={
                        "content-type": "application/cloudevents+json; charset=utf-8", **signed}) as answer:
                status = answer.status
                await answer.read(_LARGEST_ANSWER)
        except TimeoutError:
            return f"took longer than {self._deadline:g} s"
        except NetworkError as error:
            return error.message
        return "" if 200 <= status < 300 else f"got status {status}, expected 2xx"


async def tell(notifiers: Sequence[Notifier], store: Findings) -> list[str]:
    """All of them what happened, side by side; why some were not told."""
    for notifier in notifiers:
        await asyncio.to_thread(notifier.gather, store)
    return [reason for _, reason in await asyncio.gather(*(notifier.send() for notifier in notifiers)) if reason]


def cloud_event(numbered: NumberedEvent, source: str) -> Mapping[str, Any]:
    event = numbered.event
    return {"specversion": "1.0", "id": str(numbered.number), "source": source, "subject": event.purl,
            "type": f"dev.custody.finding.{event.change}", "time": format_rfc3339(event.at),
            "datacontenttype": "application/json", "data": msgspec.to_builtins(event)}

