"""JMESPath expressions of typical policies, custody beside the jmespath library: `python bench/languages/jmespath.py`.

Medians of 15 rounds in microseconds an evaluation, the two in turn on the same pod; expressions that need Kyverno's own
functions are for custody alone.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from policylang import jmespath
from policylang.jmespath import Env

sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).parent]  # this file's own name
library = importlib.import_module("jmespath")

ROUNDS, TIMES = 15, 2_000
CONTAINER = {"image": "ghcr.io/org/app:1.0", "securityContext": {"privileged": False, "runAsNonRoot": True,
             "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
             "resources": {"requests": {"memory": "64Mi", "cpu": "100m"}, "limits": {"memory": "1Gi"}},
             "env": [{"name": "A", "value": "1"},
                     {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}
DATA: dict[str, Any] = {"request": {"operation": "CREATE", "namespace": "shop", "userInfo": {"username": "ann"},
                                    "object": {
    "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web", "team": "a"}},
    "spec": {"hostNetwork": False, "containers": [{"name": f"c{at}", **CONTAINER} for at in range(3)],
             "volumes": [{"name": "v", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/var/run"}}]}}}}
BOTH = (
    "request.operation", "request.object.metadata.labels.app", "request.object.spec.hostNetwork || `false`",
    "request.object.spec.containers[].image", "request.object.spec.containers[*].securityContext.capabilities.drop[]",
    "request.object.spec.[initContainers, containers][].securityContext.capabilities.add[]",
    "request.object.spec.containers[?name == 'c1'].resources.limits.memory | [0]",
    "length(request.object.spec.containers[?securityContext.privileged == `true`])",
    "request.object.spec.volumes[].length(keys(@))",
    "request.object.spec.containers[].env[].valueFrom.secretKeyRef.name",
    "contains(request.object.spec.containers[].image, 'ghcr.io/org/app:1.0')",
    "not_null(request.object.spec.serviceAccountName, 'default')",
)
ALONE = (
    "request.object.spec.containers[].image | [?pattern_match('*:latest', @)] | length(@)",
    "regex_match('^[a-z-]+$', request.object.metadata.name)",
    "sum(request.object.spec.containers[].resources.requests.memory)",
    "time_since('', '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z')",
    "to_lower(request.object.metadata.labels.team) == 'a' && split(request.object.metadata.name, '-')[0]",
)


def measured(calls: list[Callable[[], Any]]) -> list[float]:
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, found in zip(calls, times, strict=True):
            start = time.perf_counter()
            for _ in range(TIMES):
                call()
            found.append((time.perf_counter() - start) / TIMES * 1e6)
    return [statistics.median(found) for found in times]


def main() -> None:
    env = Env(datetime(2026, 1, 1, tzinfo=UTC))
    ratios = []
    print(f"{'custody':>9} {'jmespath':>9} {'ratio':>6}")
    for text in BOTH:
        ours, theirs = jmespath.compile(text), library.compile(text)
        assert theirs.search(DATA) == ours(DATA, env), text
        one, other = measured([lambda run=ours: run(DATA, env), lambda run=theirs: run.search(DATA)])  # type: ignore[misc]
        ratios.append(other / one)
        print(f"{one:9.2f} {other:9.2f} {other / one:6.1f}  {text}")
        env.left = 1 << 40
    for text in ALONE:
        ours = jmespath.compile(text)
        env.left = 1 << 40
        print(f"{measured([lambda run=ours: run(DATA, env)])[0]:9.2f} {'':16}  {text}")  # type: ignore[misc]
    print(f"median ratio {statistics.median(ratios):.1f}, least {min(ratios):.1f}")
    start = time.perf_counter()
    for text in (*BOTH, *ALONE):
        jmespath.Program(text)
    ours_ms = (time.perf_counter() - start) / len(BOTH + ALONE) * 1e3
    print(f"compiling: {ours_ms:.2f} ms an expression")


if __name__ == "__main__":
    main()
