"""Quarantine, generated policies and a dry run against a real API server, whose controllers make pods."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from custody.services.quarantine import KEPT, LABEL
from tests.cli.commands import custody
from tests.cluster.replica import Cluster
from tests.conftest import peer
from tests.network import flowlines

pytestmark = pytest.mark.peer
CNP = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
       "metadata": {"name": "clusternetworkpolicies.policy.networking.k8s.io",
                    "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/pull/1"}},
       "spec": {"group": "policy.networking.k8s.io", "scope": "Cluster", "names": {
           "kind": "ClusterNetworkPolicy", "plural": "clusternetworkpolicies"}, "versions": [{
               "name": "v1alpha2", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                   "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}


def deployment(name: str) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": {
                "automountServiceAccountToken": False,
                "containers": [{"name": "c", "image": "x", "ports": [{"name": "http", "containerPort": 8080}]}]}}}}


@pytest.fixture(scope="module")
def cluster(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    manager = peer("kube-controller-manager")
    known = Cluster(kubeconfig)
    known.do("create", "namespace", "shop")
    with (tmp_path_factory.mktemp("manager") / "log").open("wb") as log:
        process = subprocess.Popen([manager, "--kubeconfig", kubeconfig, "--leader-elect=false", "--secure-port=0",
                                    "--controllers=deployment-controller,replicaset-controller,"
                                    "serviceaccount-controller"], stdout=log, stderr=log)
        try:
            known.until(lambda: known.get("-n", "shop", "serviceaccount", "default"), "the service account")
            known.do("create", "-f", "-", given=[deployment("web"), deployment("api")])
            known.until(lambda: len(pods(known)) == 2, "a pod of each Deployment")
            for at, name in enumerate(sorted(pods(known))):
                known.do("-n", "shop", "patch", "pod", name, "--subresource=status", "--type=merge", "-p", json.dumps({
                    "status": {"phase": "Running", "podIP": f"10.244.{at}.1", "podIPs": [{"ip": f"10.244.{at}.1"}]}}))
            yield known
        finally:
            process.terminate()
            process.wait(30)


def listed(cluster: Cluster, *arguments: str) -> list[dict[str, Any]]:
    return list((cluster.get(*arguments) or {"items": []})["items"])


def pods(cluster: Cluster) -> dict[str, dict[str, Any]]:
    return {item["metadata"]["name"]: item for item in cluster.get("-n", "shop", "pods")["items"]}


def quarantine(cluster: Cluster, folder: Path, name: str, *more: str) -> tuple[int, dict[str, Any], str]:
    done = custody("netpol", "quarantine", f"shop/{name}", "--kubeconfig", str(cluster.kubeconfig), "-o", "json", *more,
                   cwd=folder)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def test_flows_of_real_pods_are_simulated_and_generated(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "flows").write_bytes(b"tcp 6 99 ESTABLISHED src=10.244.1.1 dst=10.96.0.9 sport=40000 dport=80 "
                                     b"src=10.244.0.1 dst=10.244.1.1 sport=8080 dport=40000 [ASSURED] mark=0 use=1\n")
    config = str(cluster.kubeconfig)
    done = custody("netpol", "generate", "flows", "--kubeconfig", config, "-n", "shop", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [document["metadata"]["name"] for document in yaml.safe_load_all(done.stdout)] == [
        "custody-api", "custody-web"]
    (tmp_path / "made.yaml").write_text(done.stdout)
    applied = cluster.do("apply", "--dry-run=server", "-f", str(tmp_path / "made.yaml"))
    assert applied.count("created (server dry run)") == 2
    assert custody("netpol", "simulate", "flows", "--policies", "made.yaml", "--kubeconfig", config,
                   cwd=tmp_path).returncode == 0
    (tmp_path / "closed.yaml").write_text(yaml.safe_dump({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "x", "namespace": "shop"},
        "spec": {"podSelector": {}}}))
    cut = custody("netpol", "simulate", "flows", "--policies", "closed.yaml", "--kubeconfig", config, cwd=tmp_path)
    assert cut.returncode == 3, cut.stderr
    assert "shop/web → shop/api 8080/TCP" in cut.stdout


def test_a_dry_run_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    name = next(name for name in pods(cluster) if name.startswith("web"))
    status, said, errors = quarantine(cluster, tmp_path, name)
    assert (status, said["isolated"], said["state"]) == (0, True, "planned, and the API server would take it"), errors
    assert LABEL not in pods(cluster)[name]["metadata"]["labels"]
    assert listed(cluster, "-n", "shop", "networkpolicies") == []


def test_what_the_api_server_does_not_serve_is_named(cluster: Cluster, tmp_path: Path) -> None:
    name = next(name for name in pods(cluster) if name.startswith("web"))
    status, _, errors = quarantine(cluster, tmp_path, name, "--method", "cilium", "--apply")
    assert status == 2
    assert "CiliumNetworkPolicy of cilium.io/v2" in errors
    assert LABEL not in pods(cluster)[name]["metadata"]["labels"]


def test_an_open_policy_for_all_pods_stops_it_before_anything_is_done(cluster: Cluster, tmp_path: Path) -> None:
    name = next(name for name in pods(cluster) if name.startswith("web"))
    cluster.do("create", "-f", "-", given={
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "open", "namespace": "shop"}, "spec": {"podSelector": {}, "ingress": [{}]}})
    try:
        status, said, errors = quarantine(cluster, tmp_path, name, "--apply")
        assert (status, said["isolated"]) == (3, False)
        assert any("allowed by NetworkPolicy shop/open" in way for way in said["left"])
        assert "nothing was done" in errors
        assert LABEL not in pods(cluster)[name]["metadata"]["labels"]
        status, said, errors = quarantine(cluster, tmp_path, name, "--method", "cluster-policy")
        assert status == 2
        assert "ClusterNetworkPolicy of policy.networking.k8s.io/v1alpha2" in errors
    finally:
        cluster.do("-n", "shop", "delete", "networkpolicy", "open")


def test_the_pod_is_cut_off_its_controller_makes_another_and_it_comes_back(cluster: Cluster, tmp_path: Path) -> None:
    name, before = next((name, item) for name, item in pods(cluster).items() if name.startswith("web"))
    status, said, errors = quarantine(cluster, tmp_path, name, "--apply")
    assert (status, said["isolated"], said["state"]) == (0, True, "done"), errors
    inside = pods(cluster)[name]
    uid = before["metadata"]["uid"]
    assert inside["metadata"]["labels"] == {LABEL: uid}
    assert json.loads(inside["metadata"]["annotations"][KEPT]) == before["metadata"]["labels"]
    cluster.until(lambda: len(pods(cluster)) == 3, "another pod of the ReplicaSet")
    cluster.until(lambda: "ownerReferences" not in pods(cluster)[name]["metadata"], "the pod is released")
    (made,) = listed(cluster, "-n", "shop", "networkpolicies")
    assert made["metadata"]["name"] == f"custody-quarantine-{uid}"
    assert quarantine(cluster, tmp_path, name)[0] == 2, "it is in quarantine already"
    status, said, errors = quarantine(cluster, tmp_path, name, "--release", "--apply")
    assert status == 0, errors
    assert [change["verb"] for change in said["changes"]] == ["patch", "delete"]
    assert listed(cluster, "-n", "shop", "networkpolicies") == []
    cluster.until(lambda: len(pods(cluster)) == 2, "the ReplicaSet has one pod again")


def test_a_cluster_policy_is_applied_and_removed(cluster: Cluster, tmp_path: Path) -> None:
    cluster.do("create", "-f", "-", given=CNP)
    cluster.until(lambda: cluster("get", "clusternetworkpolicies").returncode == 0, "the kind is served")
    name = next(name for name in pods(cluster) if name.startswith("api"))
    status, said, errors = quarantine(cluster, tmp_path, name, "--method", "cluster-policy", "--apply")
    assert (status, said["isolated"]) == (0, True), errors
    assert pods(cluster)[name]["metadata"]["labels"]["app"] == "api"
    (made,) = listed(cluster, "clusternetworkpolicies")
    assert (made["spec"]["tier"], made["spec"]["priority"]) == ("Admin", 0)
    assert quarantine(cluster, tmp_path, name, "--release", "--apply")[0] == 0
    assert listed(cluster, "clusternetworkpolicies") == []


def test_a_pod_that_changed_since_is_a_conflict(cluster: Cluster, tmp_path: Path) -> None:
    from custody.errors import ConflictError
    from custody.services import quarantine as service
    from tests.cluster.conftest import with_client

    item = pods(cluster)[next(name for name in pods(cluster) if name.startswith("api"))]
    changes = service.plan({"apiVersion": "v1", "kind": "Pod", **item})
    cluster.do("-n", "shop", "label", "pod", item["metadata"]["name"], "changed=yes")
    with pytest.raises(ConflictError, match="not as it was planned for"):
        with_client(cluster.kubeconfig, lambda client: service.apply(client, changes, dry_run=False))
    cluster.do("-n", "shop", "delete", "networkpolicies", "--all")


def test_a_log_of_flows_from_a_cluster_of_others_is_unknown(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "flows").write_bytes(flowlines.AWS)
    (tmp_path / "none.yaml").write_text(yaml.safe_dump({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "x", "namespace": "none"},
        "spec": {"podSelector": {}}}))
    done = custody("netpol", "simulate", "flows", "--policies", "none.yaml", "--kubeconfig", str(cluster.kubeconfig),
                   cwd=tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
