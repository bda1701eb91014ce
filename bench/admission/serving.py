"""`custody serve` beside Kyverno's controller, as a table: `python -m bench.admission.serving [SECONDS]`, 6 by default.

The real command with what it does by default: decisions are kept and a line of log is written for each. Its policies
are the oracle's Pod Security patterns (kyverno.io), sixteen of policies.kyverno.io (CEL), and a thousand policies that
name 10,000 namespaces, among which are the patterns. 6.6 KB reviews of pods with three containers, one in eight of
them bad, TLS, keep-alive, from the same machine: a closed loop of 16 connections, then an open one at half of what
that gave. CPU is the whole server's, PSS that of its largest process. Last, in one process without a network, what an
image that was verified before adds to the patterns. Needs $CUSTODY_PEERS_TOOLS/admission-load; Kyverno as in
webhook.py. About five minutes; `--no-kyverno` leaves it out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from bench.admission.review import NOW, bodies, cel_policies, many, measure, nothing
from bench.admission.webhook import PEERS, TOOLS, evidence, pss, shop

from custody.admission.webhook import Admission
from custody.evidence.model import EvidenceSet
from custody.policy.load import PolicySet
from custody.policy.snapshot import Snapshot

NAMESPACES = 10_000
_PATIENCE = 120.0


class Row(NamedTuple):
    reviews: float
    """A second, in the closed loop."""
    cpu: float
    """µs a review."""
    p50: float
    """ms at half of that rate, as the next."""
    p99: float
    half_cpu: float
    pss: float
    """MB of the largest process."""
    cores: float
    """That the server had in the closed loop, of those of the machine."""
    generator: float
    """Cores that asking took meanwhile."""

    def line(self, label: str) -> str:
        return (f"| {label} | {self.reviews:,.0f} | {self.cpu:,.0f} | {self.half_cpu:,.0f} | {self.p50:.1f} | "
                f"{self.p99:.1f} | {self.pss:.0f} |")


def _load(url: str, ca: Path, pid: int, seconds: float, share: float, *extra: str) -> dict[str, Any]:
    command = [sys.executable, str(TOOLS / "admission-load"), "webhook", "--url", url, "--ca", str(ca),
               "--pid", str(pid), "--seconds", str(seconds), "--warmup", "2", "--bad", str(share), *extra]
    run: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if run["errors"] or run.get("other", 0):
        print(f"  not all were answered: {run}", file=sys.stderr)
    return run


def row(url: str, ca: Path, pid: int, seconds: float, connections: int = 16, share: float = 0.125) -> Row:
    """`share`: of pods that break rules."""
    closed = _load(url, ca, pid, seconds, share, "-c", str(connections))
    half = _load(url, ca, pid, seconds, share, "--rate", str(round(closed["per_s"] / 2)),
                 "--connections", str(connections))
    return Row(closed["per_s"], closed["cpu_us"], half["p50"], half["p99"], half["cpu_us"],
               max(map(pss_of, [pid, *_children(pid)])), closed["per_s"] * closed["cpu_us"] / 1e6,
               closed["per_s"] * closed["gen_us"] / 1e6)


def pss_of(pid: int) -> float:
    """MB of memory that is a process's own, and its share of what it has in common with others."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _children(parent: int) -> list[int]:
    running = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((place / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                running.append(int(place.name))
    return running


@contextlib.contextmanager
def custody(folder: Path, documents: list[Any], workers: int = 1) -> Iterator[tuple[str, Path, int]]:
    """(URL, CA, process) of `custody serve` with these policies."""
    with tempfile.TemporaryDirectory(dir=folder) as name, socket.socket() as free:
        place = Path(name)
        (place / "policies.yaml").write_text(yaml.dump_all(documents, Dumper=yaml.CSafeDumper))
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        environment = {**os.environ, "CUSTODY_DATA_DIR": str(place / "data")}
        command = [sys.executable, "-m", "custody.cli.main", "serve", "--roles", "admission", "--webhook-port",
                   str(port), "--workers", str(workers), "--policy", str(place / "policies.yaml")]
        with (place / "log").open("wb") as log:
            server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            until = time.monotonic() + _PATIENCE
            while not _answers(port) or (workers > 1 and len(_children(server.pid)) < workers):
                if server.poll() is not None or time.monotonic() > until:
                    sys.exit(f"custody serve: {(place / 'log').read_text()[:2000]}")
                time.sleep(0.2)
            time.sleep(2)
            yield f"https://127.0.0.1:{port}/validate?timeout=10s", place / "data/admission/ca.crt", server.pid
        finally:
            server.terminate()
            server.wait(60)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def kyverno(folder: Path) -> Iterator[Any]:
    """A function from policies to a Row; None where the peer is not here."""
    if not all((PEERS / name).is_file() for name in ("kyverno-controller", "kube-apiserver")) or not (
            TOOLS / "kyverno-webhook").is_file():
        yield None
        return
    env = {**os.environ, "PATH": f"{os.environ['PATH']}:{PEERS}", "KYVERNO_FLAGS": "--admissionReports=false"}
    cluster = folder / "cluster"
    quiet: dict[str, Any] = {"env": env, "stderr": subprocess.DEVNULL}
    try:
        subprocess.run([TOOLS / "apiserver", "start", cluster], check=True, timeout=180, stdout=subprocess.DEVNULL,
                       **quiet)
        verb = ["start"]

        def judged(documents: list[Any], seconds: float) -> Row:
            file = folder / "kyverno.yaml"
            file.write_text(yaml.dump_all(documents, Dumper=yaml.CSafeDumper))
            if verb != ["start"]:
                subprocess.run([TOOLS / "kyverno-webhook", "clear", cluster], check=True, timeout=120,
                               stdout=subprocess.DEVNULL, **quiet)
            said = subprocess.run([TOOLS / "kyverno-webhook", verb[0], cluster, file], check=True, timeout=400,
                                  text=True, stdout=subprocess.PIPE, **quiet).stdout
            verb[0] = "apply"
            asked = [word for word in said.split() if word.startswith("https") and "/mutate" not in word]
            if not asked:
                sys.exit(f"Kyverno registered no webhook: {said[:500]}")
            # Policies of CEL with conditions have webhooks of their own; that of most of them names them in its path.
            url = max(asked, key=lambda word: (word.endswith("/fail"), len(word)))
            print(f"  Kyverno is asked at {url}, of {asked}", file=sys.stderr)
            return row(url, cluster / "kyverno-ca.crt", int((cluster / "kyverno.pid").read_text()), seconds)

        yield judged
    finally:
        for tool in ("kyverno-webhook", "apiserver"):
            subprocess.run([TOOLS / tool, "stop", cluster], check=False, timeout=60, stdout=subprocess.DEVNULL, **quiet)


def verified(patterns: list[Any], seconds: float) -> tuple[float, float]:
    """(µs with the patterns alone, with a signature policy of each image as well, its evidence at hand)."""
    signature = next(document for document in shop().documents if any(
        "verifyImages" in rule for rule in document["spec"]["rules"]) and "sign" in document["metadata"]["name"])
    known = evidence(shop())

    async def gather(_: Snapshot, images: list[str]) -> Mapping[str, EvidenceSet]:
        return dict.fromkeys(images, known)

    alone = Admission(PolicySet(patterns), nothing, lambda: NOW)
    beside = Admission(PolicySet([*patterns, signature]), gather, lambda: NOW)
    good = bodies(32)[::2]
    took: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(7):
        for at, admission in enumerate((alone, beside)):
            took[at].append(asyncio.run(measure(admission, good, seconds / 6)))
    return statistics.median(took[0]), statistics.median(took[1])


def main(seconds: float, *, peer: bool) -> None:
    print("| policies | reviews/s | CPU µs a review | at half load | p50 ms | p99 ms | PSS MB |\n"
          "|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        patterns = [yaml.safe_load(file.read_text()) for file in pss(folder)]
        cel = cel_policies()
        for document in cel:
            document["spec"]["failurePolicy"] = "Fail"  # so that Kyverno has one webhook for all
        thousand = many([*patterns])
        spoken = [document["spec"]["rules"][0]["match"]["any"][0]["resources"] for document in thousand[len(patterns):]]
        named = [resources["namespaces"] for resources in spoken if "namespaces" in resources]
        for at in range(NAMESPACES):
            named[at % len(named)].append(f"space-{at}")
        ours: dict[str, Row] = {}
        for label, documents in ((f"{len(patterns)} patterns", patterns), (f"{len(cel)} CEL", cel),
                                 (f"1,000, {NAMESPACES:,} namespaces", thousand)):
            with custody(folder, documents) as (url, ca, pid):
                ours[label] = row(url, ca, pid, seconds)
            print(ours[label].line(f"custody, {label}"), flush=True)
        with custody(folder, patterns, workers=2) as (url, ca, pid):
            two = row(url, ca, pid, seconds, connections=32)
        print(two.line(f"custody, {len(patterns)} patterns, two workers"), flush=True)
        theirs: dict[str, Row] = {}
        with kyverno(folder) if peer else contextlib.nullcontext() as judged:
            for label, documents in ((f"{len(patterns)} patterns", patterns), (f"{len(cel)} CEL", cel)):
                if judged is not None:
                    theirs[label] = judged(documents, seconds)
                    print(theirs[label].line(f"Kyverno, {label}"), flush=True)
        print()
        for label, beside in theirs.items():
            own = ours[label]
            print(f"{label}: CPU a review {beside.cpu / own.cpu:.1f} x less than Kyverno's "
                  f"({beside.half_cpu / own.half_cpu:.1f} x at half load), reviews "
                  f"{own.reviews / beside.reviews:.1f} x")
        one = ours[f"{len(patterns)} patterns"]
        print(f"two workers: {two.reviews / one.reviews:.2f} x the reviews of one, beside the generator on "
              f"{os.cpu_count()} cores: they had {two.cores:.2f} of them and it {two.generator:.2f}, one had "
              f"{one.cores:.2f}. Reviews a second of CPU: {1e6 / two.cpu:,.0f} and {1e6 / one.cpu:,.0f}, so on a core "
              f"each they would do {2 * one.cpu / two.cpu:.2f} x")
        alone, with_image = verified(patterns, seconds)
        print(f"an image verified before, three of them in a pod: {alone:.0f} µs without, {with_image:.0f} with: "
              f"{(with_image - alone) / 3:.0f} µs each")


if __name__ == "__main__":
    flags = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    numbers = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    main(float(numbers[0]) if numbers else 6.0, peer="--no-kyverno" not in flags)
