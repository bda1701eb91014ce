"""Rego beside `opa bench`, in the same run: `python bench/languages/rego.py [--templates]`.

First a partial rule over two containers with sprintf. With --templates each Gatekeeper template of the oracle
gatekeeper-library on the first case of its own suite that it applies to: a second or two of opa for each. Medians of
one evaluation of a compiled rule; the ratio is opa's over custody's.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench.languages.library import compiled, documents, evidence, sources  # noqa: E402

from policylang import rego  # noqa: E402
from policylang.errors import LanguageError  # noqa: E402

ORACLES = Path(os.environ.get("CUSTODY_ORACLES", ROOT.parent / "shared" / "oracles"))
OPA = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers")) / "opa"
PARTIAL = """package main

import rego.v1

deny contains msg if {
\tsome c in input.containers
\tnot startswith(c.image, "registry.example.com/")
\tmsg := sprintf("container %v has image %v from elsewhere", [c.name, c.image])
}
"""
CONTAINERS = {"containers": [{"name": "a", "image": "registry.example.com/a:1"}, {"name": "b", "image": "docker.io/b"}]}


def median(work: Callable[[], Any], seconds: float = 0.4) -> float:
    """Seconds of one call: the median of batches of about a millisecond."""
    work()
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < 0.02:
        work()
        count += 1
    batch = max(1, count // 20)
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        for _ in range(batch):
            work()
        times.append((time.perf_counter() - begun) / batch)
    return statistics.median(times)


def opa(modules: dict[str, str], query: str, given: Any, data: Any = None, v0: bool = False) -> tuple[float, float]:
    """(median, mean) seconds of the evaluation of a prepared query."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in modules.items():
            (folder / file).write_text(text)
        (folder / "data.json").write_text(json.dumps(data or {}))
        (folder / "in").write_text(json.dumps(given))
        done = subprocess.run([str(OPA), "bench", "-d", name, "-i", str(folder / "in"), "-f", "json",
                               *(["--v0-compatible"] if v0 else []), "--fail=false", query],
                              capture_output=True, check=True)
    metrics = json.loads(done.stdout)["Extra"]
    middle, mean = (metrics[f"histogram_timer_rego_query_eval_ns_{each}"] / 1e9 for each in ("median", "mean"))
    return middle, mean


def line(name: str, mine: float, theirs: tuple[float, float]) -> float:
    ratio = theirs[0] / mine
    print(f"{name:<44} {mine * 1e6:8.1f} µs   opa median {theirs[0] * 1e6:8.1f}, mean {theirs[1] * 1e6:8.1f} µs"
          f"   x {ratio:5.1f}", flush=True)
    return ratio


def templates() -> None:
    ratios = []
    for suite in sorted((ORACLES / "gatekeeper-library").rglob("suite.yaml")):
        for test in documents(suite)[0]["tests"][:1]:
            template = documents(suite.parent / test["template"])[0]
            constraint = documents(suite.parent / test["constraint"])[0]
            found = sources(template)
            assert found is not None
            try:
                entry = compiled(template).violation
            except LanguageError as wrong:
                print(f"{suite.parent.name}: {wrong.message}")
                continue
            review, inventory = evidence(suite.parent, test["cases"][0])
            given = {"review": review, "parameters": constraint["spec"].get("parameters", {})}
            data = {"inventory": inventory}
            module, libraries, version = found
            modules = {"template.rego": module} | {f"lib{at}.rego": text for at, text in enumerate(libraries)}
            theirs = opa(modules, entry.path, given, data, v0=version == 0)
            ratios.append(line(suite.parent.name, median(partial(entry, given, data)), theirs))
    print(f"{len(ratios)} templates, opa over custody: least {min(ratios):.1f}, median {statistics.median(ratios):.1f}")


def main() -> None:
    entry = rego.Policy({"main.rego": PARTIAL}).entry("data.main.deny")
    assert len(entry(CONTAINERS)) == 1
    line("partial rule, two containers, sprintf", median(lambda: entry(CONTAINERS)),
         opa({"main.rego": PARTIAL}, "data.main.deny", CONTAINERS))
    if "--templates" in sys.argv:
        templates()


if __name__ == "__main__":
    main()
