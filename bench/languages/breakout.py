"""What hostile programs take before they are refused or stopped: time and memory, each in a process of its own.

    python bench/languages/breakout.py
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.languages.hostile import LANGUAGES, Case, compiled, run
from tests.languages.hostile_cases import CASES

TIME, MEMORY = 50, 64  # ms, MB
_PLAIN: dict[str, Any] = {"cel": "x == 1", "rego": "x := input", "jmespath": "@", "pattern": {"a": "b*"},
                          "falco": "evt.type = open"}


def measured(case: Case) -> dict[str, Any]:
    """Milliseconds and megabytes of a child; the best of three children, for the machine is not idle."""
    return min((_child(case) for _ in range(3)), key=lambda found: float(found["ms"]))


def _child(case: Case) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, perf_counter()
        outcome = run(case)
        taken = (perf_counter() - start) * 1000
        size = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        os.write(writing, json.dumps({"outcome": outcome.outcome, "ms": taken, "mb": size}).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return json.loads(said) if said else {"outcome": "killed", "ms": 20_000.0, "mb": 0.0}


def main() -> None:
    for language, program in _PLAIN.items():
        compiled(language, program)({})  # imports
    gc.collect()
    gc.freeze()
    slow = []
    print("| language | programs | refused | stopped | failed | harmless | ms, median | ms, most | MB, most |")
    print("|---|---|---|---|---|---|---|---|---|")
    for language in LANGUAGES:
        rows = [(case, measured(case)) for case in CASES if case.language == language]
        counts = [sum(found["outcome"] == outcome for _, found in rows)
                  for outcome in ("refused", "stopped", "failed", "harmless")]
        times = sorted(found["ms"] for _, found in rows)
        print(f"| {language} | {len(rows)} | {' | '.join(map(str, counts))} | {times[len(times) // 2]:.1f} | "
              f"{times[-1]:.0f} | {max(found['mb'] for _, found in rows):.0f} |", flush=True)
        slow += [(case, found) for case, found in rows if found["ms"] > TIME or found["mb"] > MEMORY]
    print(f"\nAbove {TIME} ms or {MEMORY} MB:\n")
    for case, found in slow:
        print(f"- {case.language}, {case.name}: {found['outcome']} after {found['ms']:.0f} ms and {found['mb']:.0f} MB")


if __name__ == "__main__":
    main()
