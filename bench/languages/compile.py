"""All CEL of Kyverno's policy library, compiled as an admission controller would keep it: time and memory.

    python bench/languages/compile.py [FOLDER]

FOLDER holds policies; by default the kyverno-policies of CUSTODY_ORACLES. The goal for all policy languages together
is 3 s and 200 MB.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
import tracemalloc
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.languages.expressions import Found, cel_expressions  # noqa: E402

ORACLES = Path(os.environ.get("CUSTODY_ORACLES", ROOT.parent / "shared" / "oracles"))


def main(folder: Path) -> None:
    start = time.perf_counter()
    found = list(cel_expressions(folder))
    read = time.perf_counter() - start
    by_env: dict[int, list[Found]] = {}
    for each in found:
        by_env.setdefault(id(each.env), []).append(each)
    start = time.perf_counter()
    programs = [each.env.compile(each.expression) for each in found]
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    del programs
    gc.collect()
    tracemalloc.start()
    programs = [each.env.compile(each.expression) for each in found]
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0] / 1e6
    print(f"{len(programs)} expressions in {len(by_env)} environments of {len({each.file for each in found})} policies")
    print(f"reading the YAML, checking variables, making environments: {read:.2f} s")
    print(f"compiling: {took:.2f} s, {took / len(programs) * 1e3:.2f} ms each")
    print(f"programs keep {kept:.1f} MB, {kept / len(programs) * 1e3:.0f} kB each; the process had {peak:.0f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ORACLES / "kyverno-policies")
