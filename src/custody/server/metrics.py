"""What Prometheus scrapes at /metrics: requests, reviews, reloads, the logs, certificates, and the process itself.

Labels hold nothing that a client can choose but a method and a status: a stranger cannot make series. Policies and
rules are named as they are loaded. What is counted with each request is plain numbers that a scrape reads:
prometheus_client's have a lock each, and take twice as long.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter as Numbers
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from custody.admission.answered import Answered
from custody.errors import CustodyError
from custody.policy.model import Outcome
from custody.server.asgi import Receive, Scope, Send, respond
from custody.server.worker import told

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series for each series, which nobody of ours asks for
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BOUNDS = (*map(str, _SECONDS), "+Inf")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
Reading = Callable[[], Iterable[tuple[tuple[str, ...], float]]]
"""Label values and value, asked for at each scrape."""
_Series = Numbers[tuple[str, ...]]


class _Durations:
    """How many took how long."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_SECONDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(_SECONDS, seconds)] += 1
        self._sum += seconds

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """How many took at most so long, by that; and how long all did."""
        counts, total = [*self._counts], 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip(_BOUNDS, counts, strict=True):
            total += count
            buckets.append((bound, total))
        return buckets, self._sum


class Metrics:
    """One process's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._scrape: asyncio.Task[bytes] | None = None
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._requests = self._numbers("custody_http_requests", "Requests that were answered.",
                                       "role", "method", "code")
        self._seconds = self._durations("custody_http_request_duration_seconds",
                                        "From a request's head to the end of its answer.", "role", "method")
        self._received = self._numbers("custody_http_received_bytes", "Bytes of request bodies.", "role")
        self._sent = self._numbers("custody_http_sent_bytes", "Bytes of response bodies.", "role")
        self._open: _Series = Numbers()
        self.read("custody_http_requests_in_flight", "Requests that are being answered.", ("role",),
                  lambda: [*self._open.items()])
        self._reviews = self._numbers("custody_admission_reviews",
                                      "Reviews that were answered; refused are those without a decision.",
                                      "webhook", "operation", "outcome")
        self._review_seconds = self._durations("custody_admission_review_duration_seconds",
                                               "From a review's body to its answer.", "webhook")
        self._rules = self._numbers("custody_admission_rule_results", "Results of rules that judged.",
                                    "policy", "rule", "outcome")
        self._exceptions = self._counter("custody_admission_exceptions", "Rules that an exception left out.",
                                         "policy", "exception")
        self._expiries: dict[str, Callable[[], float]] = {}
        self.read("custody_certificate_expiry_timestamp_seconds", "When a listener's certificate runs out.",
                  ("listener",), lambda: [((name,), reading()) for name, reading in self._expiries.items()])
        self._reloads = self._counter("custody_reloads", "Times that changed files were read again.",
                                      "subject", "result")
        self._failures: dict[str, Callable[[], str | None]] = {}
        self.read("custody_last_reload_successful", "Whether the files as they are now are what is in use.",
                  ("subject",), lambda: [((subject,), failure() is None) for subject, failure in
                                         self._failures.items()])

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _numbers(self, name: str, text: str, *labels: str) -> _Series:
        series: _Series = Numbers()
        self.count(name, text, labels, lambda: [*series.items()])
        return series

    def _durations(self, name: str, text: str, *labels: str) -> defaultdict[tuple[str, ...], _Durations]:
        series: defaultdict[tuple[str, ...], _Durations] = defaultdict(_Durations)
        self.registry.register(_Spread(name, text, labels, series))
        return series

    def begun(self, role: str) -> None:
        self._open[role,] += 1

    def ended(self, role: str, method: str, status: int, seconds: float, received: int, sent: int) -> None:
        """`status` 0: the client went away before it was answered."""
        method = method if method in _METHODS else "other"
        self._open[role,] -= 1
        self._requests[role, method, str(status) if status else "aborted"] += 1
        self._seconds[role, method].add(seconds)
        self._received[role,] += received
        self._sent[role,] += sent

    def reviewed(self, answered: Answered) -> None:
        webhook = answered.endpoint.verb
        self._reviews[webhook, answered.review.request.operation or "unread", answered.outcome] += 1
        self._review_seconds[webhook,].add(answered.seconds)
        if answered.decision is not None:
            rules = self._rules
            for result in answered.decision.results:
                outcome = result.outcome
                if outcome is not Outcome.SKIP:
                    rules[result.policy, result.rule, outcome] += 1
                if result.properties:
                    for exception in result.properties.get("exceptions", "").split(","):
                        if exception:
                            self._exceptions.labels(result.policy, exception).inc()

    def reloaded(self, subject: str, *, succeeded: bool) -> None:
        """`subject` is policies or certificate."""
        self._reloads.labels(subject, "success" if succeeded else "failure").inc()

    def reloads(self, subject: str, failure: Callable[[], str | None]) -> None:
        """`failure` says why the files as they are now are not what is in use; None where they are."""
        self._failures[subject] = failure

    def expires(self, listener: str, reading: Callable[[], float]) -> None:
        """`reading` says when the listener's certificate runs out, in seconds since 1970."""
        self._expiries[listener] = reading

    def read(self, name: str, text: str, labels: tuple[str, ...], reading: Reading) -> None:
        """A gauge whose values are asked for at each scrape."""
        self.registry.register(_Asked(name, text, labels, reading))

    def count(self, name: str, text: str, labels: tuple[str, ...], reading: Reading) -> None:
        """A counter that is kept elsewhere."""
        self.registry.register(_Asked(name, text, labels, reading, CounterMetricFamily))

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self.registry)

    async def _scraped(self) -> bytes:
        """With what the other workers have counted, where there are some."""
        return await told(await asyncio.to_thread(self.text))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - an ASGI application
        if scope["method"] not in ("GET", "HEAD"):
            await respond(send, 405, b"GET only\n", b"text/plain; charset=utf-8", [(b"allow", b"GET, HEAD")])
            return
        if self._scrape is None or self._scrape.done():  # once for all who ask meanwhile: it reads folders
            self._scrape = asyncio.create_task(self._scraped())
        body = await asyncio.shield(self._scrape)
        await respond(send, 200, b"" if scope["method"] == "HEAD" else body, CONTENT_TYPE_LATEST.encode(),
                      length=len(body))


class _Asked(Collector):
    def __init__(self, name: str, text: str, labels: tuple[str, ...], reading: Reading,
                 family: type[GaugeMetricFamily | CounterMetricFamily] = GaugeMetricFamily) -> None:
        self._name, self._text, self._labels, self._reading, self._family = name, text, labels, reading, family

    def describe(self) -> Iterator[Metric]:
        """So that a name is registered once: parsers refuse an answer that has it twice."""
        yield self._family(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        family = self._family(self._name, self._text, labels=self._labels)
        try:
            for values, value in self._reading():
                family.add_metric(values, value)
        except (OSError, CustodyError):  # a number that cannot be read is left out; the others are wanted all the more
            family.samples.clear()
        yield family


class _Spread(Collector):
    def __init__(self, name: str, text: str, labels: tuple[str, ...],
                 series: Mapping[tuple[str, ...], _Durations]) -> None:
        self._name, self._text, self._labels, self._series = name, text, labels, series

    def describe(self) -> Iterator[Metric]:
        yield HistogramMetricFamily(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for values, durations in [*self._series.items()]:
            buckets, total = durations.read()
            family.add_metric(values, buckets, total)
        yield family
