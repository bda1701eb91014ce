"""`custody serve` beside Gatekeeper's controller, by constraints: `python -m bench.admission.constraints [SECONDS]`.

gatekeeper-library's templates of pod security, each with its first sample, then all that read no inventory. 512
different pods of 6.6 KB with three containers, good ones and one in eight bad, TLS, keep-alive, from the same machine
in a closed loop of 16 connections: after one round each was asked about before, as pods of one workload were. What a
pod costs that is like none before is measured in one process, without its transport. CPU is the whole server's. Needs
$CUSTODY_PEERS_TOOLS/admission-load; Gatekeeper as in tests/admission/beside_gatekeeper.py. Four minutes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from bench.admission.serving import Row, custody, row
from bench.admission.webhook import TOOLS
from tests.admission.beside_gatekeeper import LIBRARY, Custody, constraints, gatekeeper

_SHARES = (0.0, 0.125)


def _bodies(share: float) -> list[bytes]:
    loader = SourceFileLoader("admission_load", str(TOOLS / "admission-load"))
    spec = spec_from_loader("admission_load", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    made: list[bytes] = module.bodies("review", share)
    return made


def once(documents: list[Any], share: float) -> float:
    """µs of CPU for a pod that is like none before; the median of five rounds, each with policies that know nothing."""
    asked = _bodies(share)
    took = []
    for _ in range(5):
        server = Custody(documents)
        for body in asked[:50]:
            server.ask(body)
        server.cpu = 0.0
        for body in asked[50:]:
            server.ask(body)
        took.append(server.cpu / len(asked[50:]) * 1e6)
    return statistics.median(took)


def main(seconds: float) -> None:
    print("| constraints | pods | reviews/s | CPU µs a review | at half load | p50 ms | p99 ms | PSS MB |\n"
          "|---|---|---|---|---|---|---|---|", flush=True)
    for label, folder in (("pod security", LIBRARY / "pod-security-policy"), ("all", LIBRARY)):
        templates, samples = constraints(folder)
        ours: dict[float, Row] = {}
        with tempfile.TemporaryDirectory() as name, custody(Path(name), [*templates, *samples]) as (url, ca, pid):
            for share in _SHARES:
                ours[share] = row(url, ca, pid, seconds, share=share)
                _print("custody", label, samples, share, ours[share])
        with gatekeeper(templates, samples) as controller:
            time.sleep(2)
            for share in _SHARES:
                theirs = row(f"https://127.0.0.1:{controller.port}/v1/admit", controller.authority, controller.pid,
                             seconds, share=share)
                _print("Gatekeeper 3.23.1", label, samples, share, theirs)
                alone = once([*templates, *samples], share)
                print(f"  CPU {theirs.cpu / ours[share].cpu:.1f} x less, {theirs.half_cpu / ours[share].half_cpu:.1f} "
                      f"x at half load; a pod like none before, without its transport: {alone:,.0f} µs, "
                      f"{theirs.cpu / alone:.1f} x", flush=True)


def _print(who: str, label: str, samples: list[Any], share: float, measured: Row) -> None:
    pods = "good" if not share else f"{share:.1%} bad"
    print(measured.line(f"{who}, {len(samples)} ({label}) | {pods}"), flush=True)


if __name__ == "__main__":
    try:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 6.0)
    except subprocess.CalledProcessError as failed:
        sys.exit(f"{failed.cmd}: {failed.stderr or failed}")
