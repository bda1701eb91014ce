"""`custody policy bench`: how long reviews by Gatekeeper's constraints take, as `gator bench` says it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from custody.cli import policy_constraints
from custody.cli.bars import progress
from custody.errors import CustodyError, MalformedError, UnsupportedError, UsageError
from custody.formats import yaml
from custody.kit import strictjson
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.policy.kinds import builtin
from custody.services.simulation import benchmarks
from custody.services.simulation.benchmarks import Benchmark, Metric
from policylang.go import durations

_REFUSED = {"image": ("--image", "nothing is fetched: custody download, then --filename"),
            "tempdir": ("--tempdir", "nothing is fetched, and nothing written"),
            "stats": ("--stats", "what a framework counts that is not there")}
_YAML = (".yaml", ".yml")


@click.command("bench")
@click.option("-f", "--filename", "filenames", multiple=True, required=True, metavar="FILE|DIR",
              help="Templates, constraints and objects in one heap.")
@click.option("-e", "--engine", type=click.Choice(["rego", "cel", "all"]), default="cel", show_default=True,
              help="Which language of templates judges.")
@click.option("-n", "--iterations", type=click.IntRange(1, 10_000_000), default=1000, show_default=True,
              help="How often each object is reviewed.")
@click.option("--warmup", type=click.IntRange(0, 1_000_000), default=10, show_default=True,
              help="Reviews before that do not count.")
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True,
              help="What stdout gets.")
@click.option("--save", metavar="FILE", help="The results as JSON, or YAML by the file's name.")
@click.option("--compare", metavar="FILE", help="Results to compare with; exit code 1 where something is worse.")
@click.option("--threshold", type=float, default=10, show_default=True, help="Percent from which something is worse.")
@click.option("--min-threshold", "least", default="0s", metavar="DURATION", help="Latencies that are worse by less "
              "than this are not.")
@click.option("--memory", is_flag=True, help="Also the most bytes that one review has at once.")
@click.option("-c", "--concurrency", type=int, default=1, hidden=True, help="Refused above 1.")
@click.option("--stats", is_flag=True, default=None, hidden=True, help="Refused by name.")
@click.option("-i", "--image", multiple=True, default=None, hidden=True, help="Refused by name.")
@click.option("-d", "--tempdir", hidden=True, help="Refused by name.")
def command(filenames: tuple[str, ...], engine: str, iterations: int, warmup: int, output: str, save: str | None,
            compare: str | None, threshold: float, least: str, memory: bool, concurrency: int, **refused: Any) -> int:
    """Review objects by constraints again and again, and say how long it takes: flags and JSON of `gator bench`.

    stdout gets latencies (P50, P95, P99) and throughput by engine. Exit code 1 where --compare finds something worse,
    2 where it has nothing to compare with.
    """
    for name, (flag, hint) in _REFUSED.items():
        if refused[name]:
            raise UnsupportedError(flag, "not obeyed by custody", hint=hint)
    if concurrency != 1:
        raise UnsupportedError(f"--concurrency {concurrency}", "a process reviews one object after the other",
                               hint="bench/admission/serving.py measures a webhook under load")
    tolerated = durations.parse(least)
    if tolerated is None or tolerated < 0:
        raise UsageError(f"--min-threshold: got {least}, expected a duration such as 1ms")
    documents = policy_constraints.read(filenames)
    engines = [*benchmarks.LANGUAGES] if engine == "all" else [engine]
    baseline = _baseline(compare) if compare else None
    before = {chosen: benchmarks.before(baseline, chosen, compare) for chosen in engines} if compare else {}
    made: list[Benchmark] = []
    for chosen in engines:
        with progress(f"reviewing by {chosen}") as tell:
            made.append(benchmarks.measure(documents, builtin(), system_clock(), chosen, iterations=iterations,
                                           warmup=warmup, memory=memory, tell=tell))
    rows = [benchmarks.row(benchmark) for benchmark in made]
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
    elif output == "yaml":
        click.echo(yaml.dumped(rows), nl=False)
    else:
        click.echo("\n".join(line for benchmark in made for line in _table(benchmark)))
        if len(made) > 1:
            click.echo("\n".join(_beside(made)))
    if save:
        _save(save, rows)
    worse = 0
    for benchmark in made if before else ():
        metrics = benchmarks.compared(before[benchmark.engine], benchmark, threshold=threshold, least=tolerated)
        click.echo("\n".join(_comparison(benchmark, metrics)), err=output != "table")
        worse += sum(not metric.passed for metric in metrics)
    if worse:
        raise CustodyError(f"{worse} {'metric is' if worse == 1 else 'metrics are'} worse than in {compare}")
    return 0


def _baseline(path: str) -> Any:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if not path.endswith(_YAML):
        return strictjson.loads(data, path)
    read = yaml.documents(data, path)
    if len(read) != 1:
        raise MalformedError(path, got=f"{len(read)} documents", expected="one, as --save writes it")
    return read[0]


def _save(path: str, rows: Sequence[dict[str, Any]]) -> None:
    text = yaml.dumped(rows) if path.endswith(_YAML) else json.dumps(rows, indent=2) + "\n"
    try:
        Path(path).write_text(text)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _table(benchmark: Benchmark) -> Iterator[str]:
    yield f"\n=== Benchmark Results: {benchmark.engine.upper()} Engine ===\n"
    yield from _block("Configuration", [
        ("Templates:", str(benchmark.templates)), ("Constraints:", str(benchmark.constraints)),
        ("Objects:", str(benchmark.objects)), ("Iterations:", str(benchmark.iterations)),
        ("Total Reviews:", str(benchmark.reviews))])
    templates, constraints = benchmark.skipped
    if templates:
        yield from _block("Warnings", [
            ("Skipped Templates:", visible(f"{len(templates)} ({', '.join(templates)})")),
            ("Skipped Constraints:", visible(f"{len(constraints)} ({', '.join(constraints)})"))])
    setup = benchmark.setup
    yield from _block("Timing", [
        ("Setup Duration:", _shown(setup["total"])), ("  Template Compilation:", _shown(setup["templates"])),
        ("  Constraint Loading:", _shown(setup["constraints"])), ("  Data Loading:", _shown(setup["objects"])),
        ("Total Duration:", _shown(benchmark.total)), ("Throughput:", f"{benchmark.throughput:.2f} reviews/sec")])
    yield from _block("Latency (per review)", [
        (f"{name.upper() if name[0] == 'p' else name.title()}:", _shown(benchmark.latencies[name]))
        for name in benchmarks.LATENCIES])
    yield from _block("Results", [("Violations Found:", str(benchmark.violations))])
    if benchmark.peak is not None:
        yield from _block("Memory", [("Peak Bytes/Review:", str(benchmark.peak))])


def _block(title: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max(len(name) for name, _ in rows)
    yield f"{title}:"
    yield from (f"  {name:<{width}}  {value}" for name, value in rows)
    yield ""


def _beside(made: Sequence[Benchmark]) -> Iterator[str]:
    yield "=== Engine Comparison ===\n"
    rows = [("Metric", *(benchmark.engine.upper() for benchmark in made)),
            ("Templates", *(str(benchmark.templates) for benchmark in made)),
            ("Constraints", *(str(benchmark.constraints) for benchmark in made)),
            ("Throughput", *(f"{benchmark.throughput:.2f}/sec" for benchmark in made)),
            *((f"{name.upper() if name[0] == 'p' else name.title()} Latency",
               *(_shown(benchmark.latencies[name]) for benchmark in made)) for name in ("mean", "p95", "p99")),
            ("Violations", *(str(benchmark.violations) for benchmark in made))]
    yield from _grid(rows)


def _comparison(benchmark: Benchmark, metrics: Sequence[Metric]) -> Iterator[str]:
    yield f"\n=== Baseline Comparison: {benchmark.engine.upper()} Engine ===\n"
    yield from _grid([("Metric", "Baseline", "Current", "Delta", "Status"), *(
        (metric.name, _value(metric.name, metric.before), _value(metric.name, metric.now), f"{metric.delta:+.1f}%",
         "✓" if metric.passed else "✗ REGRESSION") for metric in metrics)])


def _grid(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        yield "   ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""


def _value(name: str, value: float) -> str:
    return f"{value:.2f}/sec" if name == "Throughput" else _shown(int(value))


def _shown(nanoseconds: int) -> str:
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.2f}{unit}"
    return f"{nanoseconds}ns"
