"""`python -m tests.oracles [-v] [--check | --record] [NAME…]`: prints `NAME right/total` for each set."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

Run = Callable[[Path], Iterator[tuple[str, str | None]]]
LONG = frozenset({"kyverno-chainsaw"})
"""Sets that take many minutes, on clusters of their own: they are run when they are named."""
SCORES = Path(__file__).with_name("scores.toml")


def oracles() -> Path:
    return Path(os.environ.get("CUSTODY_ORACLES", Path(__file__).parents[2].parent / "shared" / "oracles"))


def runners(name: str) -> dict[str, Run]:
    """By the names of their lines: the set's own, and `set-part` for each of the module's PARTS."""
    place = f"tests.oracles.{name.replace('-', '_')}"
    if importlib.util.find_spec(place) is None:
        return {}
    module = importlib.import_module(place)
    parts: dict[str, Run] = getattr(module, "PARTS", {})
    return {name: module.run} | {f"{name}-{part}": run for part, run in parts.items()}


def scores() -> dict[str, dict[str, int]]:
    return tomllib.loads(SCORES.read_text()) if SCORES.exists() else {}


def record(results: dict[str, tuple[int, int]]) -> None:
    merged = {name: (entry["right"], entry["total"]) for name, entry in scores().items()} | results
    lines = ["# What custody got right when this was last recorded: `python -m tests.oracles --record`.", ""]
    lines += [f'"{name}" = {{ right = {right}, total = {total} }}' for name, (right, total) in sorted(merged.items())]
    SCORES.write_text("\n".join(lines) + "\n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.oracles", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="a set; where none is named, all but those that take long")
    parser.add_argument("-v", "--verbose", action="store_true", help="print each miss with its reason")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="exit 1 where a score is lower than in scores.toml")
    how.add_argument("--record", action="store_true", help="write the scores of this run to scores.toml")
    options = parser.parse_args(argv)
    root = oracles()
    if not root.is_dir():
        print(f"{root}: no oracles here; set CUSTODY_ORACLES", file=sys.stderr)
        return 2
    sets = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    unknown = sorted(set(options.names) - set(sets))
    if unknown:
        print(f"no set {', '.join(unknown)} in {root}; there are {', '.join(sets)}", file=sys.stderr)
        return 2
    known, results, dropped = scores(), {}, False
    for name in options.names or [name for name in sets if name not in LONG]:
        lines = runners(name)
        if not lines:
            print(f"{name}: no runner yet")
            dropped |= options.check and name in known
        for line, run in lines.items():
            right = total = 0
            misses: list[str] = []
            for case, reason in run(root / name):
                total += 1
                right += reason is None
                if reason is not None:
                    misses.append(f"  {case}: {reason}")
            results[line] = (right, total)
            note = ""
            if options.check and line in known and right < known[line]["right"]:
                dropped, note = True, f"   was {known[line]['right']}/{known[line]['total']}"
            print(f"{line} {right}/{total}{note}", flush=True)
            if options.verbose and misses:
                print("\n".join(misses))
    if options.record:
        record(results)
    return 1 if dropped else 0


if __name__ == "__main__":
    sys.exit(main())
