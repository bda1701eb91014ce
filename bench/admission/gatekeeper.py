"""`policy apply --filename` beside `gator test`: `python -m bench.admission.gatekeeper [PODS]`, 2,000 by default.

Every template of pod security in the oracle's gatekeeper-library with its sample constraints, again under other names
until they are nineteen as in the whole library, about the generated pods of `apply.py`. The same files, whole
processes. Prints CPU and wall time, the ratio of CPU, and whether stdout is the same to the byte but for its order;
exit 1 where it is not.
"""

from __future__ import annotations

import itertools
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from bench.admission.apply import ORACLES, pod

LIBRARY = ORACLES / "gatekeeper-library" / "library" / "pod-security-policy"
_CONSTRAINTS = 19
PEER = Path(os.environ.get("CUSTODY_PEERS", Path.home() / ".cache" / "custody" / "peers")) / "gator"


def documents() -> list[dict[str, Any]]:
    """Templates and constraints."""
    chosen: dict[tuple[str, str], dict[str, Any]] = {}
    for file in sorted(LIBRARY.glob("*/template.yaml")) + sorted(LIBRARY.glob("*/samples/*/constraint.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            chosen.setdefault((document["kind"], document["metadata"]["name"]), document)
    kinds = {document["spec"]["crd"]["spec"]["names"]["kind"] for document in chosen.values()
             if document["kind"] == "ConstraintTemplate"}
    templates = [document for (kind, _), document in chosen.items() if kind == "ConstraintTemplate"]
    samples = [document for (kind, _), document in chosen.items() if kind in kinds]
    return templates + [{**sample, "metadata": {"name": f"{sample['metadata']['name']}-{at // len(samples)}"}}
                        for at, sample in zip(range(_CONSTRAINTS), itertools.cycle(samples), strict=False)]


def run(command: list[str]) -> tuple[float, float, Counter[str]]:
    """CPU and wall time in seconds, and the lines of stdout."""
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1) or not done.stdout:
        sys.exit(f"{command[0]}: {done.stderr[:2000]}")
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall,
            Counter(line for line in done.stdout.splitlines() if line))


def main(count: int) -> int:
    chance = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        policies, pods = Path(folder) / "policies.yaml", Path(folder) / "pods.yaml"
        made = documents()
        policies.write_text(yaml.dump_all(made, Dumper=yaml.CSafeDumper))
        pods.write_text(yaml.dump_all([pod(chance, at) for at in range(count)], Dumper=yaml.CSafeDumper))
        took, wall, ours = run([sys.executable, "-m", "custody.cli.main", "policy", "apply",
                                "--filename", str(policies), "--filename", str(pods)])
        beside, beside_wall, theirs = run([str(PEER), "test", "-f", str(policies), "-f", str(pods)])
    constraints = sum(document["kind"] != "ConstraintTemplate" for document in made)
    print(f"{constraints} constraints x {count} pods: CPU custody {took:.1f} s, gator {beside:.1f} s, "
          f"{beside / took:.1f} x faster; wall {wall:.1f} s, {beside_wall:.1f} s, {beside_wall / wall:.1f} x; "
          f"{sum((ours & theirs).values())} of {sum(theirs.values())} lines the same")
    for lines, who in ((ours - theirs, "custody"), (theirs - ours, "gator")):
        for line in [*lines][:5]:
            print(f"  only {who}: {line[:300]}")
    return int(ours != theirs)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
