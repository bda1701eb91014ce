"""Several replicas: one leads, another takes over, and what only one may do is done by one."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from tests.admission.test_cluster import Balancer
from tests.cluster.replica import Cluster, Replica, policy
from tests.cluster.test_run import cluster as definitions
from tests.cluster.test_run import ready

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
