"""Kyverno pattern rules on a pod of three containers: `python bench/languages/kpattern.py [KYVERNO]`.

Custody: medians of 15 rounds in microseconds, a pod that matches and one that does not (with its path and reason).
Kyverno: `kyverno apply` of the same rules to 400 pods, less the time for one pod, by the number of results.
"""

from __future__ import annotations

import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from policylang import kpattern

ROUNDS, TIMES, PODS = 15, 2_000, 400
POD: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
    "spec": {"containers": [{
        "name": f"c{at}", "image": "ghcr.io/org/app:1.0",
        "securityContext": {"privileged": False, "allowPrivilegeEscalation": False, "runAsNonRoot": True,
                            "capabilities": {"drop": ["ALL"]}},
        "resources": {"requests": {"memory": "64Mi", "cpu": "100m"}, "limits": {"memory": "1Gi"}}} for at in range(3)],
        "volumes": [{"name": "v", "emptyDir": {}}]}}
BAD = copy.deepcopy(POD)
BAD["spec"]["containers"][2] |= {"image": "evil.io/x:latest", "securityContext": {"privileged": True},
                                 "resources": {"limits": {"memory": "8Gi"}}}
BAD["spec"]["volumes"][0]["hostPath"] = {"path": "/"}
BAD["metadata"]["labels"] = {}
PATTERNS: dict[str, Any] = {
    "registries": {"spec": {"containers": [{"image": "ghcr.io/* | docker.io/*"}]}},
    "latest": {"spec": {"containers": [{"image": "!*:latest"}]}},
    "privileged": {"spec": {"=(initContainers)": [{"=(securityContext)": {"=(privileged)": "false"}}],
                            "containers": [{"=(securityContext)": {"=(privileged)": "false"}}]}},
    "escalation": {"spec": {"containers": [{"securityContext": {"allowPrivilegeEscalation": "false"}}]}},
    "requests": {"spec": {"containers": [{"resources": {"requests": {"memory": "?*", "cpu": "?*"},
                                                        "limits": {"memory": "<=4Gi"}}}]}},
    "host paths": {"spec": {"=(volumes)": [{"X(hostPath)": "null"}]}},
    "labels": {"metadata": {"labels": {"app": "?*"}}},
    "pull policy": {"spec": {"containers": [{"(image)": "ghcr.io/*", "name": "?*"}]}},
}


def microseconds(match: kpattern.Matcher, pod: Any) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(TIMES):
            match(pod)
        times.append((time.perf_counter() - start) / TIMES * 1e6)
    return statistics.median(times)


def kyverno(program: str) -> float:
    """Microseconds a result."""
    rules = [{"name": name.replace(" ", "-"), "match": {"any": [{"resources": {"kinds": ["Pod"]}}]},
              "validate": {"message": "no", "pattern": pattern}} for name, pattern in PATTERNS.items()]
    policy = {"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {
        "name": "all", "annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"}},
        "spec": {"background": False, "rules": rules}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policy.yaml").write_text(json.dumps(policy))
        took = {}
        for count in (1, PODS):
            pods = [{**POD, "metadata": {**POD["metadata"], "name": f"p{at}"}} for at in range(count)]
            (folder / "pods.yaml").write_text("\n---\n".join(map(json.dumps, pods)))
            start = time.perf_counter()
            subprocess.run([program, "apply", folder / "policy.yaml", "-r", folder / "pods.yaml"], check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            took[count] = time.perf_counter() - start
    return (took[PODS] - took[1]) / (PODS - 1) / len(PATTERNS) * 1e6


def main() -> None:
    print(f"{'passes':>8} {'fails':>8}")
    passed = []
    for name, pattern in PATTERNS.items():
        match = kpattern.matcher(pattern)
        assert match(POD) is None, name
        passed.append(microseconds(match, POD))
        print(f"{passed[-1]:8.2f} {microseconds(match, BAD):8.2f}  {name}")
    print(f"median {statistics.median(passed):.2f} µs, most {max(passed):.2f} µs")
    start = time.perf_counter()
    for pattern in PATTERNS.values():
        kpattern.Matcher(pattern)
    print(f"compiling: {(time.perf_counter() - start) / len(PATTERNS) * 1e3:.2f} ms a pattern")
    if len(sys.argv) > 1:
        theirs = kyverno(sys.argv[1])
        print(f"kyverno apply: {theirs:.0f} µs a result, {theirs / statistics.median(passed):.0f} times the median")


if __name__ == "__main__":
    main()
