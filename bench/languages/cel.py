"""CEL expressions of typical policies, custody and Google's cel-cpp (cel-expr-python) in one run, medians.

    python bench/languages/cel.py

cel-cpp is measured twice: with an Activation made beforehand, its best case, and with the dict that custody takes,
which it converts at each evaluation.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from policylang import cel

try:
    from cel_expr_python import cel as peer
except ImportError:
    peer = None

_POD = {"object": {
    "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web", "team": "payments", "tier": "front"}},
    "spec": {"hostNetwork": False, "replicas": 3, "volumes": [{"name": "data", "emptyDir": {}}], "containers": [
        {"name": name, "image": f"registry.example.com/shop/{name}:1.{at}",
         "securityContext": {"allowPrivilegeEscalation": False, "runAsNonRoot": True,
                             "capabilities": {"drop": ["ALL"]}},
         "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
        for at, name in enumerate(("web", "proxy", "metrics"))]}}}

EXPRESSIONS = {
    "securityContext of 3 containers": (
        "object.spec.containers.all(c, has(c.securityContext) && has(c.securityContext.allowPrivilegeEscalation) && "
        "c.securityContext.allowPrivilegeEscalation == false)"),
    "replicas": "object.spec.replicas <= 5",
    "a label": "has(object.metadata.labels) && 'team' in object.metadata.labels "
               "&& object.metadata.labels['team'] != ''",
    "registry of 3 images": "object.spec.containers.all(c, c.image.startsWith('registry.example.com/'))",
    "pattern of 3 images": "object.spec.containers.all(c, "
                           "c.image.matches('^registry[.]example[.]com/shop/.+:[0-9.]+$'))",
    "host namespaces": "!(has(object.spec.hostNetwork) && object.spec.hostNetwork == true) && "
                       "!(has(object.spec.hostPID) && object.spec.hostPID == true)",
    "capabilities": "object.spec.containers.all(c, c.securityContext.capabilities.drop.exists(d, d == 'ALL'))",
    "names": "object.spec.containers.filter(c, c.name != 'web').map(c, c.name + ':' + c.image)",
    "arithmetic": "object.spec.replicas * 2 + 1 < 10 && object.spec.replicas % 2 == 1",
}


def micro(function: Callable[[], Any]) -> float:
    """Median microseconds a call."""
    loops = 1
    while True:
        start = time.perf_counter()
        for _ in range(loops):
            function()
        spent = time.perf_counter() - start
        if spent > 0.01:
            break
        loops *= 4
    rounds = []
    for _ in range(15):
        start = time.perf_counter()
        for _ in range(loops):
            function()
        rounds.append((time.perf_counter() - start) / loops * 1e6)
    return median(rounds)


def main() -> None:
    env = cel.Env([cel.OPTIONAL], {"object": cel.DYN})
    print(f"{'':34}{'custody':>9}{'cel-cpp':>10}{'':>9}{'cel-cpp':>10}{'':>9}{'compile':>10}{'cel-cpp':>10}")
    print(f"{'microseconds':34}{'dict':>9}{'prebuilt':>10}{'ratio':>9}{'dict':>10}{'ratio':>9}{'custody':>10}{'':>10}")
    for name, text in EXPRESSIONS.items():
        program = env.compile(text)
        mine = micro(lambda program=program: program(_POD))  # type: ignore[misc]
        compiling = micro(lambda text=text: env.compile(text))  # type: ignore[misc]
        line = f"{name:34}{mine:9.2f}"
        if peer is None:
            print(f"{line}   (cel-expr-python is not installed)")
            continue
        other_env = peer.NewEnv(variables={"object": peer.Type.DYN})
        other = other_env.compile(text)
        activation = other_env.Activation(data=_POD)
        assert other.eval(activation=activation).plain_value() == program(_POD), text
        best = micro(lambda other=other, activation=activation: other.eval(activation=activation))  # type: ignore[misc]
        plain = micro(lambda other=other: other.eval(data=_POD))  # type: ignore[misc]
        their_compiling = micro(lambda text=text, other_env=other_env: other_env.compile(text))  # type: ignore[misc]
        print(f"{line}{best:10.2f}{best / mine:8.1f}x{plain:10.2f}{plain / mine:8.1f}x{compiling:10.0f}"
              f"{their_compiling:10.0f}")


if __name__ == "__main__":
    main()
