"""Pods created by an open loop, what became of each, and whose processor time it took."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

HUNG = 12.0
"""Seconds: the webhook has 10, by webhookTimeoutSeconds."""
_TICK = os.sysconf("SC_CLK_TCK")


_HEAD = (b"POST /api/v1/namespaces/default/pods?dryRun=All HTTP/1.1\r\nHost: apiserver\r\nAccept: application/json\r\n"
         b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n")


class _Connection:
    """HTTP/1.1, one request at a time: the generator shares the cores with those whom it measures."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, host: str, port: int, tls: ssl.SSLContext) -> _Connection:
        return cls(*await asyncio.open_connection(host, port, ssl=tls, limit=1 << 20))

    async def ask(self, request: bytes) -> tuple[int, str]:
        """(status, body). Raises OSError, EOFError."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        if length:
            body = await self._reader.readexactly(int(length))
        else:
            body = b""
            while size := int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readuntil(b"\r\n")
        return int(head[9:12]), body.decode()

    def close(self) -> None:
        self._writer.close()


class Pod(NamedTuple):
    bad: bool
    """Whether a policy must deny it."""
    body: bytes


class Load:
    """`away` says whether the registry is, or was within the last seconds: a pod whose image nobody can look up is
    denied then, and rightly."""

    def __init__(self, port: int, cluster: Path, away: Callable[[], bool] = lambda: False) -> None:
        self.counts: Counter[str] = Counter()
        self.took: list[float] = []
        self.words: dict[str, Counter[str]] = {}
        self.late: list[float] = []
        """By how much each request was sent later than it was due: the generator's own delay."""
        self._port, self._cluster, self._away = port, cluster, away
        self._idle: list[_Connection] = []

    async def run(self, pods: list[Pod], seconds: float, rate: float) -> None:
        tls = ssl.create_default_context(cafile=str(self._cluster / "ca.crt"))
        tls.load_cert_chain(self._cluster / "admin.crt", self._cluster / "admin.key")
        jobs: set[asyncio.Task[None]] = set()
        begun, number = time.monotonic(), 0
        while (due := begun + number / rate) < begun + seconds:
            await asyncio.sleep(max(due - time.monotonic(), 0))
            job = asyncio.create_task(self._create(tls, pods[number % len(pods)], due))
            jobs.add(job)
            job.add_done_callback(jobs.discard)
            number += 1
        await asyncio.gather(*jobs)
        while self._idle:
            self._idle.pop().close()

    async def _create(self, tls: ssl.SSLContext, pod: Pod, due: float) -> None:
        self.late.append(time.monotonic() - due)
        connection = None
        try:
            async with asyncio.timeout(60):
                connection = self._idle.pop() if self._idle else await _Connection.to("127.0.0.1", self._port, tls)
                status, text = await connection.ask(_HEAD % len(pod.body) + pod.body)
            self._idle.append(connection)
        except (OSError, EOFError, TimeoutError) as error:
            status, text = 0, repr(error)
            if connection is not None:
                connection.close()
        took = time.monotonic() - due
        self.took.append(took)
        self.counts["asked"] += 1
        self.counts["hung"] += took > HUNG
        self._count(pod, status, text)

    def _count(self, pod: Pod, status: int, text: str) -> None:
        if status == 201:
            self._note("bad pods admitted" if pod.bad else "good pods admitted", "" if not pod.bad else text[:300])
        elif "failed calling webhook" in text or status in (0, 429, 500, 503, 504):
            self._note("failed: nobody answered", text.partition("failed to call webhook: ")[2][:160] or text[:160])
        elif status == 403 or (status == 400 and "was blocked" in text):
            if pod.bad:
                self._note("bad pods denied", "")
            elif self._away() and "signed" in text:
                self._note("good pods denied, the registry being away", text[text.find("signed"):][:200])
            else:
                self._note("good pods denied", text[:400])
        else:
            self._note("else", text[:300])

    def _note(self, name: str, words: str) -> None:
        self.counts[name] += 1
        if words:
            words = re.sub(r"127\.0\.0\.1:\d+|[0-9a-f]{12,}|storm-\d+", "…", words)
            self.words.setdefault(name, Counter())[words] += 1

    @property
    def right(self) -> bool:
        return not any(self.counts[name] for name in ("bad pods admitted", "good pods denied", "hung", "else"))

    def figures(self) -> dict[str, Any]:
        """Milliseconds and counts."""
        return {**{name: count for name, count in self.counts.items() if count},
                **{name: _share(self.took, share) for name, share in
                   (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999), ("max_ms", 1.0))},
                "generator_late_p99_ms": _share(self.late, 0.99)}


def _share(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1e3, 1) if ordered else 0.0


def processor(processes: Iterable[int]) -> float:
    """Seconds that these and their descendants, living and waited for, have used."""
    children: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(place.name))
            used[int(place.name)] = sum(int(field) for field in fields[11:15]) / _TICK
    total, todo = 0.0, [*processes]
    while todo:
        process = todo.pop()
        total += used.get(process, 0.0)
        todo += children.get(process, [])
    return total


def machine() -> tuple[int, int]:
    """(busy, all) ticks of all cores since it was started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


class Webhooks(NamedTuple):
    """What the API server counted of its calls of webhooks, and of pods that were created, until now."""

    calls: Mapping[str, tuple[float, float]]
    """(seconds, calls) by webhook."""
    requests: tuple[float, float]

    @classmethod
    def read(cls, exposition: str) -> Webhooks:
        calls: dict[str, list[float]] = {}
        requests = [0.0, 0.0]
        for line in exposition.splitlines():
            name, _, value = line.rpartition(" ")
            at = 0 if "_sum{" in name else 1
            if name.startswith(("apiserver_admission_webhook_admission_duration_seconds_sum{",
                                "apiserver_admission_webhook_admission_duration_seconds_count{")):
                webhook = name.partition('name="')[2].partition('"')[0]
                calls.setdefault(webhook, [0.0, 0.0])[at] += float(value)
            elif name.startswith(("apiserver_request_duration_seconds_sum{", "apiserver_request_duration_seconds_count{"
                                  )) and 'resource="pods"' in name and 'verb="POST"' in name:
                requests[at] += float(value)
        return cls({webhook: (pair[0], pair[1]) for webhook, pair in calls.items()}, (requests[0], requests[1]))

    def since(self, before: Webhooks) -> dict[str, float]:
        """Mean milliseconds."""
        means = {"API server, whole request, mean ms": _mean(self.requests, before.requests)}
        for webhook, pair in self.calls.items():
            means[f"{webhook}, mean ms"] = _mean(pair, before.calls.get(webhook, (0.0, 0.0)))
        return {name: value for name, value in means.items() if value}


def _mean(after: tuple[float, float], before: tuple[float, float]) -> float:
    count = after[1] - before[1]
    return round((after[0] - before[0]) / count * 1e3, 2) if count else 0.0


def written(pod: dict[str, Any], at: int, images: list[str]) -> bytes:
    """The pod's JSON, under a name of its own, with these images in its containers."""
    pod["metadata"] = {**pod.get("metadata", {}), "name": f"storm-{at}", "namespace": "default"}
    for container, image in zip(pod["spec"]["containers"], images, strict=False):
        container["image"] = image
    return json.dumps(pod).encode()
