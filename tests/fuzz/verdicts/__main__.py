"""`python -m tests.fuzz.verdicts COUNT [SEED]`: in two processes. Prints what was seen; 1 where anything differs."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from custody.policy.engines import ENGINES
from tests.fuzz.verdicts.compare import ask
from tests.policy import toy_engine

_PROCESSES = 2


def _part(count: int, seed: int) -> Counter[str]:
    logging.disable()  # of faults that are counted
    ENGINES.update(toy_engine.ROW)
    return ask(count, seed)


def main() -> int:
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    begun = time.monotonic()
    share = count // _PROCESSES
    counts = [share] * (_PROCESSES - 1) + [count - share * (_PROCESSES - 1)]
    with ProcessPoolExecutor(_PROCESSES) as pool:
        parts = [*pool.map(_part, counts, range(seed * _PROCESSES, (seed + 1) * _PROCESSES))]
    seen = sum(parts, Counter())
    seconds = time.monotonic() - begun
    for name, number in sorted(seen.items()):
        print(f"  {number:>9} {name}")
    print(f"{seen['requests']} requests, seed {seed}, {seconds:.0f} s: {seen['differences']} differences, "
          f"{seen['internal error']} internal errors")
    return 1 if seen["differences"] or seen["internal error"] else 0


if __name__ == "__main__":
    sys.exit(main())
