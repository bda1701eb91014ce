"""`python -m tests.chainsaw [-k TEXT[,TEXT…]] [-j SHARDS] [--part N/M] [--check] [FOLDER]`: a line for each test, and
how many are right, of each area and in all."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tests.chainsaw.shards import WHOLE, Part, listed, needs_more, results
from tests.conftest import ORACLES
from tests.oracles.__main__ import scores


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chainsaw", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ORACLES / "kyverno-chainsaw")
    parser.add_argument("-k", dest="wanted", default="", metavar="TEXT", help="tests with one of these in their name")
    parser.add_argument("-j", dest="shards", type=int, default=2, metavar="N", help="clusters at once")
    parser.add_argument("--part", type=Part.parse, default=WHOLE, metavar="N/M", help="one of M even parts of them")
    parser.add_argument("--check", action="store_true", help="run what fails once more, and exit 1 where fewer are "
                        "right than tests/oracles/scores.toml says of this part")
    options = parser.parse_args()
    begun, right, total = time.monotonic(), 0, 0
    areas: dict[str, list[int]] = {}
    for name, reason in results(options.folder, options.wanted, options.shards, options.part, again=options.check):
        total += 1
        right += reason is None
        area = areas.setdefault(name.partition("/")[0], [0, 0])
        area[0] += reason is None
        area[1] += 1
        said = "" if reason is None else f": {' '.join(reason.split())[:600]}"
        print(f"{'ok  ' if reason is None else 'FAIL'} {name}{said}", flush=True)
    for name, file in listed(options.folder, options.wanted, options.part):
        if (why := needs_more(file.parent)) is not None:
            print(f"left {name}: {why}")
    print(", ".join(f"{area} {known[0]}/{known[1]}" for area, known in sorted(areas.items())))
    print(f"kyverno-chainsaw {right}/{total} in {time.monotonic() - begun:.0f} s")
    if options.check:
        part = options.part
        entry = scores().get("kyverno-chainsaw" if part == WHOLE else f"kyverno-chainsaw-{part.number}-of-{part.of}")
        if entry is None:
            print("tests/oracles/scores.toml says nothing of this part")
            return 1
        return 0 if right >= entry["right"] else 1
    return 0 if right == total else 1


if __name__ == "__main__":
    raise SystemExit(main())
