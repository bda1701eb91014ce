"""`custody runtime drift` on a real API server, whose webhook is custody's: what was admitted, and what was not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.sqlite.inventory import SqliteInventory
from custody.ports.inventory import Sighting
from tests.admission.conftest import api_server
from tests.cli.commands import custody
from tests.cluster.replica import Cluster
from tests.conftest import peer

A, B, C = ("sha256:" + letter * 64 for letter in "abc")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    peer("kubectl")
    with api_server(tmp_path_factory.mktemp("apiserver")) as kubeconfig:
        yield Cluster(kubeconfig)


def runs(cluster: Cluster, name: str, digest: str, image: str, **metadata: Any) -> None:
    """A pod, and its status as a node writes it."""
    cluster.do("create", "-f", "-", given={
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {"containers": [{"name": "web", "image": image}]}})
    status = {"phase": "Running", "containerStatuses": [{
        "name": "web", "image": image, "imageID": f"registry.example/shop@{digest}", "ready": True, "restartCount": 0,
        "containerID": "containerd://" + os.urandom(32).hex()}]}
    cluster.do("patch", "pod", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def test_containers_of_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    runs(cluster, "web", A, "registry.example/shop:1")
    runs(cluster, "moved", B, "registry.example/shop:1")
    runs(cluster, "pinned", B, f"registry.example/shop@{B}")
    runs(cluster, "beside", C, "registry.example/shop:2")
    cluster.do("create", "-f", "-", given={
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "waits", "namespace": "default"},
        "spec": {"containers": [{"name": "web", "image": "registry.example/shop:3"}]}})
    now = datetime.now(UTC)
    SqliteInventory(tmp_path / ".custody/inventory.db").see([
        Sighting(A, "admission", f"default/Pod/{name}", now) for name in ("web", "moved", "pinned")])
    (tmp_path / "crictl.json").write_text(json.dumps({"containers": [
        {"id": "f" * 64, "metadata": {"name": "miner"}, "imageRef": C, "state": "CONTAINER_RUNNING"}]}))
    done = custody("runtime", "drift", "--kubeconfig", str(cluster.kubeconfig), "--runtime", "crictl.json", "-o",
                   "json", cwd=tmp_path)
    rows = {row["pod"] or row["container"]: row for row in json.loads(done.stdout)["containers"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "web": "matched", "moved": "tag moved", "pinned": "another digest", "beside": "no record", "waits": "unknown",
        "miner": "no record"}
    assert rows["miner"]["reason"] == "it belongs to no pod: somebody started it at the container runtime"
    assert done.returncode == 3, done.stderr


def test_an_api_server_that_does_not_answer_is_no_cluster_without_pods(tmp_path: Path, cluster: Cluster) -> None:
    config = cluster.kubeconfig.read_text().replace("https://127.0.0.1:", "https://127.0.0.1:1")[:100_000]
    (tmp_path / "kubeconfig").write_text(config)
    done = custody("runtime", "drift", "--kubeconfig", "kubeconfig", cwd=tmp_path)
    assert done.returncode in (1, 2, 6), done.stderr
    assert done.stdout == ""


def test_restart_asks_the_cluster_for_what_policies_ask(cluster: Cluster, tmp_path: Path) -> None:
    """A policy that reads the labels of a namespace, which only the API server knows."""
    (tmp_path / "policy.yaml").write_text(json.dumps({
        "apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "labelled"},
        "spec": {"validationFailureAction": "Enforce", "rules": [{
            "name": "team", "match": {"any": [{"resources": {"kinds": ["Pod"], "namespaceSelector": {
                "matchLabels": {"kubernetes.io/metadata.name": "default"}}}}]},
            "validate": {"message": "a team is needed", "pattern": {"metadata": {"labels": {"team": "?*"}}}}}]}}))
    runs(cluster, "teamed", A, "registry.example/shop:1", labels={"team": "a"})
    done = custody("runtime", "drift", "--restart", "--kubeconfig", str(cluster.kubeconfig), "--policy", "policy.yaml",
                   "--all", "-o", "json", cwd=tmp_path)
    rows = {row["workload"]: (row["outcome"], row["rule"]) for row in json.loads(done.stdout)["workloads"]}
    assert rows["Pod/teamed"] == ("allowed", "")
    assert done.returncode in (0, 3), done.stderr
    if "Pod/web" in rows:
        assert rows["Pod/web"] == ("denied", "labelled/team")
