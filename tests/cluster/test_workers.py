"""`custody admission run --workers`: several processes are one replica's place, and as many replicas."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.replica import Cluster, Replica, policy
from tests.cluster.test_run import cluster as definitions
from tests.cluster.test_run import ready

pytestmark = pytest.mark.peer
cluster = definitions


def workers(parent: int) -> dict[int, int]:
    """Process ids by number."""
    numbered = {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, StopIteration):
            if int((place / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                written = (place / "environ").read_text().split("\0")
                said = next(entry for entry in written if entry.startswith("CUSTODY_WORKER="))
                numbered[int(json.loads(said.partition("=")[2])["number"])] = int(place.name)
    return numbered


def review(replica: Replica, label: str) -> bool:
    """Whether it is allowed, over a connection of its own: whichever worker is idle takes it."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"which": label}},
           "spec": {"containers": []}}
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE", "name": "p",
        "resource": {"group": "", "version": "v1", "resource": "pods"}, "namespace": "default", "object": pod}}
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE  # the API server verifies it; this counts who answers
    request = urllib.request.Request(f"https://127.0.0.1:{replica.port}/validate", json.dumps(body).encode(),
                                     {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30, context=tls) as answer:
        return bool(json.load(answer)["response"]["allowed"])


def counted(replica: Replica, metric: str) -> dict[str, float]:
    """Sums by worker."""
    with urllib.request.urlopen(f"http://127.0.0.1:{replica.plain}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    sums: dict[str, float] = {}
    for line in lines:
        if line.startswith(metric) and (number := re.search(r'worker="(\d)"', line)):
            sums[number[1]] = sums.get(number[1], 0) + float(line.rpartition(" ")[2])
    return sums


def leases(cluster: Cluster) -> list[Any]:
    return list(cluster.get("-n", "custody", "leases", "-l", "app.kubernetes.io/component=replica")["items"])


def leader(cluster: Cluster) -> str:
    return str(cluster.get("-n", "custody", "lease", "custody")["spec"].get("holderIdentity") or "")


def test_workers_lead_once_judge_together_come_back_and_end_together(cluster: Cluster, tmp_path: Path) -> None:
    replica = Replica(tmp_path / "replica", cluster, "--workers", "2", "--withdraw").started(100)
    try:
        cluster.until(lambda: len(leases(cluster)) == 2, "each is a replica", seconds=40)
        cluster.do("apply", "-f", "-", given=policy("one", "bad"))
        ready(cluster, "one")
        judging = "judges by 1 policy now"
        cluster.until(lambda: sum(judging in line for line in replica.lines) == 2, "both judge by it")
        assert not any(review(replica, "bad") for _ in range(30))
        assert all(review(replica, "good") for _ in range(30))
        reviews = counted(replica, "custody_admission_reviews_total")
        assert set(reviews) == {"0", "1"}
        assert sum(reviews.values()) >= 60
        # What only one may do is done by the one that leads.
        first = leader(cluster)
        assert first in {lease["spec"]["holderIdentity"] for lease in leases(cluster)}
        assert sum("holds lease custody/custody\"" in line for line in replica.lines) == 1
        # It dies, and the other one judges on; another leads, and a new one is there.
        before = workers(replica.process.pid)
        leads = _leads(replica)
        os.kill(before[leads], signal.SIGKILL)
        assert not any(review(replica, "bad") for _ in range(20))
        cluster.until(lambda: leader(cluster) not in ("", first), "another leads", seconds=40)
        cluster.until(lambda: workers(replica.process.pid).get(leads, before[leads]) != before[leads], "it is back",
                      seconds=40)
        cluster.do("apply", "-f", "-", given=policy("two", "worse"))
        assert ready(cluster, "two")["status"] == "True"
        cluster.until(lambda: not any(review(replica, "worse") for _ in range(10)), "both know it", seconds=40)
        # Its Lease says for twenty seconds more that it lives.
        cluster.until(lambda: sum("judges by 2 policies now" in line for line in replica.lines) >= 2, "both judge",
                      seconds=40)
    finally:
        code = replica.stop()
    assert code == 0, "".join(replica.lines)
    assert not leader(cluster), "the Lease is given back"
    assert [lease["spec"]["holderIdentity"] for lease in leases(cluster)] == [first], "of the one that was killed"
    assert not workers(replica.process.pid)



def _leads(replica: Replica) -> int:
    """The number of the worker that led when it started."""
    line = next(line for line in replica.lines if " started " in line and "leads=true" in line)
    number = re.search(r"worker=(\d)", line)
    assert number is not None, line
    return int(number[1])
