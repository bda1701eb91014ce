"""How long reviews take by constraints: latencies and throughput, and how they compare with those of another day."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from math import inf
from typing import Any, NamedTuple

from custody.errors import MalformedError, UsageError
from custody.policy.gatekeeper.template import NATIVE, REGO
from custody.policy.kinds import Kinds
from custody.services.simulation.trying import Located, Trial
from policylang.errors import Shape
from policylang.go import durations

LANGUAGES = {"rego": REGO, "cel": NATIVE}
LATENCIES = ("min", "max", "mean", "p50", "p95", "p99")
_COMPARED = (("P50 Latency", "p50"), ("P95 Latency", "p95"), ("P99 Latency", "p99"), ("Mean Latency", "mean"))


class Benchmark(NamedTuple):
    """Of one engine; times are nanoseconds."""

    engine: str
    templates: int
    constraints: int
    objects: int
    iterations: int
    setup: Mapping[str, int]
    total: int
    latencies: Mapping[str, int]
    """By LATENCIES, of one review."""
    violations: int
    peak: int | None
    """Bytes that a review had at once, where memory was measured."""
    skipped: tuple[Sequence[str], Sequence[str]]
    """Templates and constraints that have nothing in the engine's language."""

    @property
    def reviews(self) -> int:
        return self.objects * self.iterations

    @property
    def throughput(self) -> float:
        """Reviews a second."""
        return self.reviews / (self.total / 1e9) if self.total else 0.0


class Before(NamedTuple):
    """What a baseline says of one engine."""

    latencies: Mapping[str, int]
    """Nanoseconds, none of them 0, by what is compared."""
    throughput: float


class Metric(NamedTuple):
    name: str
    before: float
    now: float
    passed: bool

    @property
    def delta(self) -> float:
        """Percent."""
        return (self.now - self.before) / self.before * 100


def measure(documents: Located, kinds: Kinds, now: datetime, engine: str, *, iterations: int, warmup: int,
            memory: bool = False, tell: Callable[[int], None] | None = None) -> Benchmark:
    """Each object is reviewed `iterations` times. Raises UsageError where there is nothing to review, or by."""
    begun = time.perf_counter_ns()
    trial = Trial(documents, kinds, now, language=LANGUAGES[engine])
    setup = {name: int(seconds * 1e9) for name, seconds in trial.setup.items()} | {
        "total": time.perf_counter_ns() - begun}
    objects = trial.objects
    if not trial.constraints:
        raise UsageError(f"no constraint whose template has {engine}", hint="--engine all, or --engine rego")
    if not objects:
        raise UsageError("no objects to review among the documents", hint="--filename FILE with some")
    for at in range(warmup):
        trial.review(objects[at % len(objects)])
    took: list[int] = []
    violations = 0
    gc.collect()
    started = time.perf_counter_ns()
    for _ in range(iterations):
        for document in objects:
            before = time.perf_counter_ns()
            said = trial.review(document)
            took.append(time.perf_counter_ns() - before)
            violations += len(said)
        if tell is not None:
            tell(1)
    total = time.perf_counter_ns() - started
    took.sort()
    latencies = {"min": took[0], "max": took[-1], "mean": sum(took) // len(took),
                 **{f"p{percent}": _percentile(took, percent) for percent in (50, 95, 99)}}
    return Benchmark(engine, trial.templates, trial.constraints, len(objects), iterations, setup, total, latencies,
                     violations, _peak(trial, objects) if memory else None, trial.skipped)


def _percentile(took: Sequence[int], percent: int) -> int:
    """Between the two nearest, as far as it is from either."""
    at = (len(took) - 1) * percent / 100
    low = int(at)
    high = min(low + 1, len(took) - 1)
    return int(took[low] + (took[high] - took[low]) * (at - low))


def _peak(trial: Trial, objects: Sequence[dict[str, Any]]) -> int:
    """The most that a review of any object had at once beside what was there before it."""
    tracemalloc.start()
    try:
        most = 0
        for document in objects:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            trial.review(document)
            most = max(most, tracemalloc.get_traced_memory()[1] - before)
        return most
    finally:
        tracemalloc.stop()


def row(benchmark: Benchmark) -> dict[str, Any]:
    """As `gator bench -o json` has it, and what it reads to compare with."""
    setup = benchmark.setup
    document: dict[str, Any] = {
        "engine": benchmark.engine, "templateCount": benchmark.templates, "constraintCount": benchmark.constraints,
        "objectCount": benchmark.objects, "iterations": benchmark.iterations, "concurrency": 1,
        "totalReviews": benchmark.reviews, "setupDuration": durations.show(setup["total"]),
        "setupBreakdown": {"clientCreation": "0s", "templateCompilation": durations.show(setup["templates"]),
                           "constraintLoading": durations.show(setup["constraints"]),
                           "dataLoading": durations.show(setup["objects"])},
        "totalDuration": durations.show(benchmark.total),
        "latencies": {name: durations.show(benchmark.latencies[name]) for name in LATENCIES},
        "violationCount": benchmark.violations, "reviewsPerSecond": benchmark.throughput}
    if benchmark.peak is not None:
        document["memoryStats"] = {"peakBytesPerReview": benchmark.peak}
    for name, skipped in zip(("skippedTemplates", "skippedConstraints"), benchmark.skipped, strict=True):
        if skipped:
            document[name] = [*skipped]
    return document


def before(baseline: Any, engine: str, where: str) -> Before:
    """The entry of an engine. Raises MalformedError; UsageError where there is none, for nothing would be compared."""
    if not isinstance(baseline, list):
        raise MalformedError(where, got=Shape(baseline), expected="a list, as --save writes it")
    entry = next((entry for entry in baseline if isinstance(entry, dict) and entry.get("engine") == engine), None)
    if entry is None:
        raise UsageError(f"--compare {where}: it has nothing of the {engine} engine",
                         hint=f"--engine {engine} --save FILE makes such a baseline")
    rate = entry.get("reviewsPerSecond")
    if not isinstance(rate, (int, float)) or isinstance(rate, bool) or not 0 < rate < inf:
        raise MalformedError(f"{where}: reviewsPerSecond", got=Shape(rate), expected="a number above 0")
    return Before({name: _duration(entry.get("latencies"), name, where) for _, name in _COMPARED}, float(rate))


def compared(before: Before, benchmark: Benchmark, *, threshold: float, least: int) -> list[Metric]:
    """Worse is what is more than `threshold` percent worse, and in latencies at least `least` nanoseconds."""
    metrics: list[Metric] = []
    for title, name in _COMPARED:
        metric = Metric(title, before.latencies[name], benchmark.latencies[name], True)
        metrics.append(metric._replace(passed=metric.delta <= threshold or metric.now - metric.before < least))
    rate = before.throughput
    metric = Metric("Throughput", rate, benchmark.throughput, True)
    spared = bool(least and rate - metric.now < rate * least / before.latencies["mean"])
    return [*metrics, metric._replace(passed=-metric.delta <= threshold or spared)]


def _duration(latencies: Any, name: str, where: str) -> int:
    text = latencies.get(name) if isinstance(latencies, dict) else None
    length = durations.parse(text) if isinstance(text, str) else None
    if length is None or length <= 0:
        raise MalformedError(f"{where}: latencies.{name}", got=text if length is not None else Shape(text),
                             expected="a duration above 0 such as 1.5ms")
    return length
