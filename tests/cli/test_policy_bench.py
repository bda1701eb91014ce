"""`custody policy bench`: what `gator bench` says, and what is worse than before."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.cli.run import run
from custody.policy.kinds import builtin
from custody.services.simulation import benchmarks
from custody.services.simulation.benchmarks import Benchmark
from tests.conftest import peer
from tests.policy.gatekeeper.test_expansion import PODS
from tests.policy.gatekeeper.world import NOW, constraint, pod, template

CEL = {"validations": [{"expression": "false", "message": "never"}]}


@pytest.fixture
def heap(tmp_path: Path) -> Path:
    file = tmp_path / "heap.yaml"
    file.write_text(yaml.safe_dump_all([template(), constraint(match=PODS), template(CEL, kind="Never"),
                                        constraint({}, kind="Never", name="never", match=PODS), pod("a"), pod("b")]))
    return file


def rows(capsys: pytest.CaptureFixture[str], heap: Path, *flags: str) -> Any:
    assert run(["policy", "bench", "-f", str(heap), "-n", "5", "-o", "json", *flags]) == 0
    return json.loads(capsys.readouterr().out)


def test_each_engine_reviews_what_is_in_its_language(heap: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rego, cel = rows(capsys, heap, "--engine", "all")
    for row, skipped in ((rego, ["never"]), (cel, ["k8srequiredlabels"])):
        assert (row["templateCount"], row["constraintCount"], row["objectCount"]) == (1, 1, 2)
        assert (row["totalReviews"], row["violationCount"], row["skippedTemplates"]) == (10, 10, skipped)
    assert rego["latencies"].keys() == {"min", "max", "mean", "p50", "p95", "p99"}


def test_gator_counts_the_same(heap: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = subprocess.run([peer("gator"), "bench", "-f", str(heap), "-n", "5", "-e", "all", "-o", "json"],
                          capture_output=True, text=True, check=True)
    counts = ("engine", "templateCount", "constraintCount", "objectCount", "totalReviews", "violationCount",
              "skippedTemplates", "skippedConstraints")
    assert [{name: row[name] for name in counts} for row in rows(capsys, heap, "-e", "all")] == [
        {name: row[name] for name in counts} for row in json.loads(said.stdout)]


@pytest.mark.parametrize("name", ["base.json", "base.yaml"])
def test_what_is_worse_than_before_is_exit_1(heap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                             name: str) -> None:
    base = tmp_path / name
    rows(capsys, heap, "--save", str(base))
    assert run(["policy", "bench", "-f", str(heap), "-n", "5", "--compare", str(base), "--threshold", "1000000"]) == 0
    base.write_text(re.sub(r'(p50"?: )"?[^\s",]+"?', r'\1"1ns"', base.read_text()))
    capsys.readouterr()
    assert run(["policy", "bench", "-f", str(heap), "-n", "5", "--compare", str(base), "--threshold", "1000000"]) == 1
    assert "P50 Latency" in capsys.readouterr().out
    assert run(["policy", "bench", "-f", str(heap), "-n", "5", "--compare", str(base), "--threshold", "1000000",
                "--min-threshold", "1h"]) == 0


@pytest.mark.parametrize(("baseline", "reason"), [
    ("[]", "base.json: it has nothing of the cel engine"), ('[{"engine": "rego"}]', "it has nothing of the cel engine"),
    ("{}", "expected a list"), ('[{"engine": "cel", "reviewsPerSecond": 0}]', "reviewsPerSecond: got"),
    ('[{"engine": "cel", "reviewsPerSecond": true}]', "reviewsPerSecond: got"),
    ('[{"engine": "cel", "reviewsPerSecond": 5}]', "latencies.p50: got null, expected a duration above 0"),
    ('[{"engine": "cel", "reviewsPerSecond": 5, "latencies": {"p50": "1ms", "p95": "0s"}}]',
     "latencies.p95: got '0s'")])
def test_a_baseline_of_nothing_is_refused(heap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                          baseline: str, reason: str) -> None:
    (tmp_path / "base.json").write_text(baseline)
    assert run(["policy", "bench", "-f", str(heap), "-n", "1", "--compare", str(tmp_path / "base.json")]) == 2
    captured = capsys.readouterr()
    assert reason in captured.err
    assert captured.out == ""  # before anything is measured


def test_percentiles_lie_between_the_nearest() -> None:
    assert benchmarks._percentile([10, 20, 30, 40], 50) == 25
    assert benchmarks._percentile([7], 99) == 7


def test_memory_is_what_a_review_has_at_once(heap: Path) -> None:
    from custody.cli.policy_constraints import read

    made: Benchmark = benchmarks.measure(read([str(heap)]), builtin(), NOW, "cel", iterations=1, warmup=0, memory=True)
    assert made.peak is not None
    assert 0 < made.peak < 10_000_000


@pytest.mark.parametrize(("flags", "reason"), [
    (["-c", "4"], "--concurrency 4"), (["--stats"], "--stats: not obeyed"), (["-i", "x"], "--image: not obeyed"),
    (["--min-threshold", "soon"], "--min-threshold: got soon"), (["--compare", "/nowhere"], "/nowhere")])
def test_what_is_not_obeyed_is_refused(heap: Path, capsys: pytest.CaptureFixture[str], flags: list[str],
                                       reason: str) -> None:
    assert run(["policy", "bench", "-f", str(heap), "-n", "1", *flags]) == 2
    assert reason in capsys.readouterr().err


def test_a_heap_without_objects_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump_all([template(CEL, kind="Never"), constraint({}, kind="Never")]))
    assert run(["policy", "bench", "-f", str(tmp_path), "-n", "1"]) == 2
    assert "no objects to review" in capsys.readouterr().err
