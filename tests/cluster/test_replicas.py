"""Several replicas: one leads, another takes over, and what only one may do is done by one."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.admission.test_cluster import Balancer
from tests.cluster.replica import Cluster, Replica, policy
from tests.cluster.test_run import cluster as definitions
from tests.cluster.test_run import ready
from tests.policy.gatekeeper.world import constraint, template

pytestmark = pytest.mark.peer
cluster = definitions


def holder(cluster: Cluster) -> str:
    return str(cluster.get("-n", "custody", "lease", "custody")["spec"].get("holderIdentity") or "")


class Way:
    """One address for the replicas, as a Service is: a connection goes to the first that lives."""

    def __init__(self) -> None:
        self.replicas: list[Replica] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            try:
                live = next(replica for replica in self.replicas if replica.process.poll() is None)
                server = socket.create_connection(("127.0.0.1", live.port))
            except (StopIteration, OSError):  # as a Service without endpoints
                client.close()
                continue
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=Balancer._copy, args=(source, target), daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def test_another_replica_leads_when_the_first_dies_and_the_last_takes_the_webhooks_with_it(
        cluster: Cluster, tmp_path: Path) -> None:
    way = Way()

    def start(name: str) -> Replica:
        way.replicas.append(Replica(tmp_path / name, cluster, "--withdraw", called=way.port))
        return way.replicas[-1].started()

    def pem() -> str:
        return str(cluster.get("-n", "custody", "secret", "custody-webhook-tls")["data"]["tls.crt"])

    try:
        first = start("one")
        cluster.do("apply", "-f", "-", given=policy("one", "bad"))
        ready(cluster, "one")
        leader, served = holder(cluster), pem()
        assert leader
        second = start("two")
        assert (holder(cluster), pem()) == (leader, served)
        first.kill()
        begun = time.monotonic()
        assert "blocked" in cluster.pod("bad", "bad").stderr, "the second judges, whoever leads"
        cluster.until(lambda: holder(cluster) not in ("", leader), "another leads", seconds=30)
        assert time.monotonic() - begun < 25
        cluster.do("apply", "-f", "-", given=policy("two", "worse"))
        assert ready(cluster, "two")["status"] == "True", "it tells how policies are"
        start("three")
        second_leads = holder(cluster)
        assert second.stop() == 0
        assert cluster.get("validatingwebhookconfiguration", "custody") is not None, "the third lives"
        cluster.until(lambda: holder(cluster) not in ("", second_leads), "the lease was given back", seconds=8)
        assert "blocked" in cluster.pod("bad", "bad").stderr
        time.sleep(max(begun + 21 - time.monotonic(), 0))  # until then the one that was killed may live
        assert way.replicas[2].stop() == 0
    finally:
        for replica in way.replicas:
            replica.kill()
        way.close()
    assert cluster.get("validatingwebhookconfiguration", "custody") is None
    leases = cluster.get("-n", "custody", "leases", "-l", "app.kubernetes.io/component=replica")
    assert [lease["spec"]["holderIdentity"] for lease in leases["items"]] == [leader], "of the one that was killed"


def entries(cluster: Cluster, *of: str) -> dict[str, Any]:
    """The entries of `status.byPod` by their ids."""
    status = (cluster.get(*of) or {}).get("status") or {}
    return {entry["id"]: entry for entry in status.get("byPod", [])}


def test_each_replica_says_how_it_is_with_it_and_none_writes_over_another(cluster: Cluster, tmp_path: Path) -> None:
    way = Way()
    kind, names = "k8srequiredlabels", [f"c{number}" for number in range(12)]
    objects = [("constrainttemplate", kind), *((kind, name) for name in names)]
    try:
        for name in ("one", "two"):
            way.replicas.append(Replica(tmp_path / name, cluster, "--withdraw", "--audit-interval", "0",
                                        called=way.port).started())
        cluster.do("apply", "-f", "-", given=template())
        pods = {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}
        cluster.until(lambda: cluster("apply", "-f", "-", given=constraint(match=pods, name="c0")).returncode == 0,
                      "its kind is served")
        cluster.do("apply", "-f", "-", given=[constraint(match=pods, name=name) for name in names])
        cluster.until(lambda: all(len(entries(cluster, *of)) == 2 for of in objects), "both say it of each", 60)
        for of in objects[1:]:
            assert all(entry["enforced"] for entry in entries(cluster, *of).values()), of
        first = entries(cluster, *objects[1])
        assert sorted("audit" in entry["operations"] for entry in first.values()) == [False, True]
        time.sleep(3)
        versions = [cluster.get(*of)["metadata"]["resourceVersion"] for of in objects]
        time.sleep(35)  # a step comes without a change, too
        assert [cluster.get(*of)["metadata"]["resourceVersion"] for of in objects] == versions, "nobody writes any more"
        leads = next(replica for replica in way.replicas if any("holds lease custody/custody" in line and (
            "does not" not in line) for line in [*replica.lines]))
        other = next(replica for replica in way.replicas if replica is not leads)
        other.kill()
        cluster.until(lambda: all(len(entries(cluster, *of)) == 1 for of in objects), "who is gone is taken out", 70)
        [left] = entries(cluster, *objects[1]).values()
        assert "audit" in left["operations"]
    finally:
        for replica in way.replicas:
            replica.kill()
        way.close()
        cluster.do("delete", "constrainttemplate", "--all", "--wait=false")
