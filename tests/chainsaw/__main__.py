"""`python -m tests.chainsaw [-k PART[,PART…]] [-j SHARDS] [FOLDER]`: a line for each test, and how many are right."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tests.chainsaw.shards import listed, needs_more, results
from tests.conftest import ORACLES


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chainsaw", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ORACLES / "kyverno-chainsaw")
    parser.add_argument("-k", dest="wanted", default="", metavar="PART", help="tests with one of these in their name")
    parser.add_argument("-j", dest="shards", type=int, default=2, metavar="N", help="clusters at once")
    options = parser.parse_args()
    begun, right, total = time.monotonic(), 0, 0
    for name, reason in results(options.folder, options.wanted, options.shards):
        total += 1
        right += reason is None
        said = "" if reason is None else f": {' '.join(reason.split())[:600]}"
        print(f"{'ok  ' if reason is None else 'FAIL'} {name}{said}", flush=True)
    for name, file in listed(options.folder, options.wanted):
        if (why := needs_more(file.parent)) is not None:
            print(f"left {name}: {why}")
    print(f"kyverno-chainsaw {right}/{total} in {time.monotonic() - begun:.0f} s")
    return 0 if right == total else 1


if __name__ == "__main__":
    raise SystemExit(main())
