"""`custody admission guard`: the webhooks are taken away when all replicas are gone, and not before."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from custody.errors import CustodyError, NetworkError
from custody.ports.cluster import Listing
from custody.services.cluster.absence import Absence
from custody.services.cluster.webhooks import PART
from tests.cluster.replica import Cluster, Replica, policy
from tests.cluster.test_replicas import Way
from tests.cluster.test_run import cluster as definitions
from tests.cluster.test_run import configuration, ready

cluster = definitions


class Leases:
    """A cluster with Leases and configurations, at a time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.renewed: dict[str, int] = {}
        self.configurations = [("ValidatingWebhookConfiguration", "custody"),
                               ("ValidatingWebhookConfiguration", "custody-policies"),
                               ("ValidatingWebhookConfiguration", "somebody-elses"),
                               ("MutatingWebhookConfiguration", "custody")]
        self.deaf = False

    async def list(self, resource: Any, namespace: str = "", *, labels: str = "") -> Listing:
        if self.deaf:
            raise NetworkError("no answer")
        if resource.kind == "Lease":
            assert namespace == "custody"
            assert "component=replica" in labels
            return Listing([{"metadata": {"name": name}, "spec": {"holderIdentity": name, "renewTime": str(at)}}
                            for name, at in self.renewed.items()], "1")
        assert all(f"{name}={value}" in labels for name, value in PART.items())
        return Listing([{"metadata": {"name": name}} for kind, name in self.configurations if kind == resource.kind],
                       "1")

    async def delete(self, resource: Any, name: str) -> bool:
        self.configurations.remove((resource.kind, name))
        return True


class Time:
    """A second after the other, in each of which the replicas that live renew their Leases."""

    def __init__(self, patience: float = 20) -> None:
        self.leases = Leases()
        self.absence = Absence(self.leases, "custody", "custody", patience,  # type: ignore[arg-type]
                               clock=lambda: self.leases.now)

    def passes(self, seconds: int, *living: str) -> bool:
        """Whether the webhooks are there afterwards."""
        for _ in range(seconds):
            self.leases.now += 1
            for name in living:
                self.leases.renewed[name] = self.leases.renewed.get(name, 0) + 1
            try:
                asyncio.run(self.absence.look())
            except CustodyError:
                self.absence.unseen("no answer")
        return ("MutatingWebhookConfiguration", "custody") in self.leases.configurations


def test_nothing_is_taken_away_while_a_replica_lives() -> None:
    time = Time()
    assert time.passes(60, "a", "b")
    assert time.passes(60, "b")
    assert time.passes(19)
    assert time.passes(1, "a"), "it is back"
    assert time.passes(20)
    assert time.absence.withdrawals == 0


def test_what_is_asked_about_objects_is_taken_away_and_what_is_asked_about_policies_stays() -> None:
    time = Time()
    time.passes(5, "a", "b")
    assert time.absence.living == 2
    assert not time.passes(22)
    assert time.absence.living == 0
    assert time.absence.withdrawals == 1
    assert time.leases.configurations == [("ValidatingWebhookConfiguration", "custody-policies"),
                                          ("ValidatingWebhookConfiguration", "somebody-elses")]
    time.leases.configurations.append(("MutatingWebhookConfiguration", "custody"))
    assert time.passes(30, "a"), "what a replica put back stays"


def test_leases_of_the_dead_are_no_sign_of_life_and_none_at_all_is_none_either() -> None:
    for dead in ({}, {"a": 7, "b": 9}):
        time = Time()
        time.leases.renewed = dict(dead)
        assert time.passes(20), "it has to have looked for as long itself"
        assert not time.passes(1)


def test_what_could_not_be_seen_is_no_absence() -> None:
    time = Time()
    time.passes(5, "a")
    time.leases.deaf = True
    assert time.passes(100)
    assert time.absence.failure
    time.leases.deaf = False
    assert time.passes(20), "patience begins anew"
    assert not time.passes(1)


class Guard:
    def __init__(self, folder: Path, cluster: Cluster, *arguments: str) -> None:
        self.log = folder / "guard.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "custody.cli.main", "admission", "guard", "--kubeconfig",
                 str(cluster.kubeconfig), *arguments], cwd=folder, stderr=log)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=30)


@pytest.mark.peer
def test_all_replicas_are_killed_and_pods_are_created_again_until_one_returns(cluster: Cluster, tmp_path: Path) -> None:
    way = Way()

    def start(name: str) -> Replica:
        way.replicas.append(Replica(tmp_path / name, cluster, called=way.port))
        return way.replicas[-1].started(60)  # whoever comes after one that was killed leads 17 s later

    guard = Guard(tmp_path, cluster, "--after", "20")
    try:
        first, second = start("one"), start("two")
        cluster.do("apply", "-f", "-", given=policy("one", "bad"))
        ready(cluster, "one")
        cluster.until(lambda: "blocked" in cluster.pod("bad", "bad").stderr, "it is refused")
        first.kill()
        time.sleep(25)
        assert "blocked" in cluster.pod("bad", "bad").stderr, "the second lives, and nothing was taken away"
        second.kill()
        killed = time.monotonic()
        assert "failed calling webhook" in cluster.pod("good", "good").stderr
        cluster.until(lambda: cluster.pod("good", "good").returncode == 0, "pods are created again", seconds=40)
        took = time.monotonic() - killed
        assert 18 < took < 35
        assert configuration(cluster) is None
        assert cluster.pod("unjudged", "bad").returncode == 0, "nothing is judged"
        assert cluster.get("validatingwebhookconfiguration", "custody-policies"), "policies are still asked about"
        start("three")
        cluster.until(lambda: "blocked" in cluster.pod("bad", "bad").stderr, "it is refused again", seconds=40)
        assert guard.process.poll() is None
        assert "no replica gave a sign of life for 20 s" in guard.log.read_text()
    finally:
        assert guard.stop() == 0
        for replica in way.replicas:
            replica.kill()
        way.close()
        cluster("delete", "validatingwebhookconfigurations,mutatingwebhookconfigurations", "--all")
