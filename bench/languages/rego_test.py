"""`custody rego test` beside `opa test`, in the same run: `python bench/languages/rego_test.py [MODULES]`.

MODULES modules (100) of a rule and three tests each, whole processes with start and compilation, in turn. Medians of
the wall time and of the processors' time; the ratio is custody's over opa's.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPA = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers")) / "opa"
CUSTODY = Path(sys.executable).with_name("custody")
RULE = """package m{0}

deny contains msg if {{
	some c in input.spec.containers
	not startswith(c.image, "r{0}/")
	msg := sprintf("%s", [c.name])
}}

"""
TEST = 'test_{0} if count(deny) == 1 with input as {{"spec": {{"containers": [{{"name": "a{0}", "image": "x"}}]}}}}\n\n'


def measured(program: Path, *arguments: str) -> tuple[float, float]:
    """Seconds of wall time, and of the processors'."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{program}: {done.stdout[-300:]}{done.stderr[-300:]}")
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    if not OPA.is_file():
        print(f"opa is not installed at {OPA}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        for number in range(count):
            text = RULE.format(number) + "".join(TEST.format(test) for test in range(3))
            (Path(name) / f"m{number}.rego").write_text(text)
        rounds = [(measured(CUSTODY, "rego", "test", name), measured(OPA, "test", name)) for _ in range(7)]
    for at, what in enumerate(("wall", "processors")):
        ours, theirs = (statistics.median(each[side][at] for each in rounds) for side in (0, 1))
        print(f"rego test, {count} modules, {3 * count} tests, {what}: custody {ours:.2f} s, opa {theirs:.2f} s, "
              f"{ours / theirs:.1f} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
