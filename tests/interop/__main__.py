"""`python -m tests.interop [--check] [-v] [WORD…]`: who verifies whose signatures, a line for each pair.

WORDs choose the lines in which all of them stand. With --check the exit code is 1 where a pair failed.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
from pathlib import Path

from tests.apiserver import AbsentError
from tests.interop import others
from tests.interop.bench import custody_up, sigstore_up
from tests.interop.matrix import judge, pairs


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interop", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true", help="lines of pairs that there are not, too")
    options = parser.parse_args(argv)
    counts: collections.Counter[str] = collections.Counter()
    for services, start in (("custody", custody_up), ("sigstore", sigstore_up)):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                with start(Path(folder)) as bench:
                    lines = [(pair, lambda pair=pair: judge(pair, bench)) for pair in pairs()]
                    lines += [(row, lambda row=row: others.judge(row)) for row in others.rows(bench)]
                    for line, asked in lines:
                        head = f"{services:<9}{line.name:<29}{line.form:<27}{line.way:<9}"
                        if not all(word in head for word in options.words):
                            continue
                        outcome = asked()
                        counts[outcome.verdict] += 1
                        if outcome.verdict != "none" or options.verbose:
                            print(f"{head}{outcome.verdict:<8}{outcome.said}", flush=True)
            except AbsentError as absent:
                counts["skipped"] += 1
                print(f"{services}: skipped, {absent}")
        print(f"{services}: {time.monotonic() - began:.0f} s", flush=True)
    print(", ".join(f"{counts[verdict]} {verdict}" for verdict in ("ok", "FAILED", "theirs", "skipped", "none")))
    return 1 if options.check and counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
