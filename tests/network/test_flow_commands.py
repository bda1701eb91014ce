"""`custody netpol simulate`, `generate` and `quarantine`, typed on files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.commands import custody
from tests.network import flowlines

UID = "6f1f1e9c-0000-4000-8000-000000000001"


def deployment(name: str) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"}, "spec": {
        "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}}, "spec": {
            "containers": [{"name": "c", "image": "x", "ports": [{"name": "http", "containerPort": 8080}]}]}}}}


def pod(name: str, address: str, uid: str = UID, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": name, "namespace": "shop", "uid": uid, "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "x"}]}, "status": {"podIP": address}}


def policy(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {
        "name": name, "namespace": "shop"}, "spec": spec}


CLOSED = policy("closed", podSelector={}, policyTypes=["Ingress", "Egress"])
OPEN = policy("open", podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Ingress", "Egress"], ingress=[{}],
              egress=[{}])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pods.yaml").write_text(yaml.safe_dump_all([deployment("web"), deployment("api")]))
    (tmp_path / "closed.yaml").write_text(yaml.safe_dump(CLOSED))
    (tmp_path / "flows.jsonl").write_bytes(b"\n".join([
        *[flowlines.hubble()] * 3, flowlines.hubble(is_reply=True), b'{"flow": {"verdict',
        b'{"lost_events": {"num_events_lost": "12"}}']))
    return tmp_path


def test_simulate_says_what_would_be_cut(folder: Path) -> None:
    done = custody("netpol", "simulate", "flows.jsonl", "--policies", "closed.yaml", "--pods", "pods.yaml", cwd=folder)
    assert done.returncode == 3
    assert done.stdout == (
        "would be cut: 1 connection, 3 times\n"
        "  shop/web → shop/api 8080/TCP: 3 times, last 2026-11-20T10:41:02Z\n"
        "      egress of shop/web: isolated by NetworkPolicy shop/closed, and no rule allows shop/api on 8080/TCP\n"
        "      ingress of shop/api: isolated by NetworkPolicy shop/closed, and no rule allows shop/web on 8080/TCP\n")
    assert "6 lines, 3 flows" in done.stderr
    assert "lost 12 events" in done.stderr
    assert "flows.jsonl:5: got" in done.stderr


def test_simulate_of_a_compressed_log_on_standard_input_for_programs(folder: Path) -> None:
    (folder / "flows.gz").write_bytes(gzip.compress((folder / "flows.jsonl").read_bytes()))
    done = custody("netpol", "simulate", "flows.gz", "--policies", "closed.yaml", "--pods", "pods.yaml", "-o", "json",
                   cwd=folder)
    document = json.loads(done.stdout)
    assert document["summary"]["would be cut"] == 1
    (connection,) = document["connections"]
    assert (connection["source"]["name"], connection["count"], connection["policies"]) == (
        "shop/web", 3, ["NetworkPolicy shop/closed"])
    assert (document["flows"]["unread"], document["flows"]["lost"]) == (1, 12)


def test_simulate_where_nobody_is_known_judges_nothing(folder: Path) -> None:
    (folder / "aws.log").write_bytes(flowlines.AWS)
    done = custody("netpol", "simulate", "aws.log", "--policies", "closed.yaml", cwd=folder)
    assert done.returncode == 4
    assert "unknown: 1 connection" in done.stdout
    assert "--pod-cidr" in done.stdout


def test_simulate_and_what_stands_now(folder: Path) -> None:
    (folder / "none.yaml").write_text(yaml.safe_dump(policy("api", podSelector={"matchLabels": {"app": "db"}})))
    done = custody("netpol", "simulate", "flows.jsonl", "--policies", "none.yaml", "--current", "closed.yaml", "--pods",
                   "pods.yaml", "--all", cwd=folder)
    assert done.returncode == 0
    assert "allowed: 1 connection" in done.stdout
    assert "the policies that stand deny it too, and it happened" in done.stdout


@pytest.mark.parametrize(("arguments", "words"), [
    (("flows.jsonl", "--policies", "absent.yaml"), "absent.yaml"),
    (("absent.log", "--policies", "closed.yaml"), "absent.log"),
    (("pods.yaml", "--policies", "closed.yaml"), "no format of flow logs begins like"),
    ((".", "--policies", "closed.yaml"), "got a folder"),
    (("-", "-", "--policies", "closed.yaml"), "standard input twice"),
    (("flows.jsonl", "--policies", "closed.yaml", "--format", "netflow"), "netflow"),
    (("flows.jsonl", "--policies", "closed.yaml", "--format", "conntrack"), "no line that can be read"),
    (("flows.jsonl", "--policies", "closed.yaml", "--pod-cidr", "10.0.0.1/8"), "beyond its mask"),
    (("flows.jsonl", "--policies", "-", "--pods", "-"), "can be read once"),
    (("flows.jsonl", "--policies", "closed.yaml", "--kubeconfig", "absent"), "absent")])
def test_simulate_refuses(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    done = custody("netpol", "simulate", *arguments, cwd=folder, given="")
    assert done.returncode == 2, done.stderr
    assert words in done.stderr


def test_simulate_with_nothing_but_labels_of_flows(folder: Path) -> None:
    (folder / "flows.jsonl").write_bytes(flowlines.hubble())
    (folder / "team.yaml").write_text(yaml.safe_dump(policy("team", podSelector={}, ingress=[
        {"from": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]}])))
    done = custody("netpol", "simulate", "flows.jsonl", "--policies", "team.yaml", cwd=folder)
    assert done.returncode == 3
    assert "a pod that was not given, by the labels that the flow carries" in done.stdout
    assert "labels of 1 namespace are not known, and policies ask for such: shop" in done.stderr
    (folder / "flows.jsonl").write_bytes(flowlines.hubble(source__labels=[
        "k8s:app=web", "k8s:io.cilium.k8s.namespace.labels.team=a"]))
    done = custody("netpol", "simulate", "flows.jsonl", "--policies", "team.yaml", cwd=folder)
    assert (done.returncode, "are not known" in done.stderr) == (0, False), "Cilium's flows carry them"


def test_names_of_flows_do_nothing_to_a_terminal(folder: Path) -> None:
    (folder / "flows.jsonl").write_bytes(flowlines.hubble(
        source={"namespace": "shop", "pod_name": "\x1b[2J::add-mask::x\r\n"}))
    done = custody("netpol", "simulate", "flows.jsonl", "--policies", "closed.yaml", "--pods", "pods.yaml", cwd=folder)
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    assert "\\x1b[2J" in done.stdout


def test_generate_makes_policies_that_simulate_allows(folder: Path) -> None:
    done = custody("netpol", "generate", "flows.jsonl", "--pods", "pods.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "2 policies, judged against the same flows: 1 allowed" in done.stderr
    assert [document["metadata"]["name"] for document in yaml.safe_load_all(done.stdout)] == [
        "custody-api", "custody-web"]
    (folder / "made.yaml").write_text(done.stdout)
    assert custody("netpol", "simulate", "flows.jsonl", "--policies", "made.yaml", "--pods", "pods.yaml",
                   cwd=folder).returncode == 0
    assert custody("netpol", "generate", "flows.jsonl", "--pods", "pods.yaml", cwd=folder).stdout == done.stdout


def test_generate_lists_what_came_after_the_time_of_learning(folder: Path) -> None:
    with (folder / "flows.jsonl").open("ab") as file:
        file.write(b"\n" + flowlines.hubble(time="2026-11-25T00:00:00Z", l4={
            "TCP": {"source_port": 60000, "destination_port": 9999, "flags": {"SYN": True}}}))
    done = custody("netpol", "generate", "flows.jsonl", "--pods", "pods.yaml", "--until", "2026-11-22", cwd=folder)
    assert done.returncode == 0
    assert "9999" not in done.stdout
    assert "later: would be cut: shop/web → shop/api 9999/TCP, first seen after --until" in done.stderr


def test_generate_of_ciliums_kind(folder: Path) -> None:
    done = custody("netpol", "generate", "flows.jsonl", "--pods", "pods.yaml", "--kind", "CiliumNetworkPolicy",
                   cwd=folder)
    assert done.returncode == 0, done.stderr
    api, web = yaml.safe_load_all(done.stdout)
    assert api["spec"]["ingress"] == [{"fromEndpoints": [{"matchLabels": {"app": "web"}}], "toPorts": [
        {"ports": [{"port": "8080", "protocol": "TCP"}]}]}]
    assert web["spec"]["ingress"] == [{}], "which denies all"
    assert web["spec"]["egress"][0]["toEndpoints"] == [{"matchLabels": {
        "k8s-app": "kube-dns", "k8s:io.kubernetes.pod.namespace": "kube-system"}}]


def test_generate_of_services(folder: Path) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "shop"}, "spec": {
        "selector": {"app": "api"}, "ports": [{"port": 80, "targetPort": "http"}]}}
    (folder / "services.yaml").write_text(yaml.safe_dump_all([deployment("api"), service]))
    done = custody("netpol", "generate", "--services", "services.yaml", cwd=folder)
    (made,) = yaml.safe_load_all(done.stdout)
    assert made["spec"]["ingress"] == [{"from": [{"namespaceSelector": {}}], "ports": [{"port": 8080,
                                                                                     "protocol": "TCP"}]}]
    assert "nor of egress" in done.stderr


@pytest.mark.parametrize(("arguments", "status", "words"), [
    ((), 2, "neither flows nor --services"), (("flows.jsonl", "--services", "pods.yaml"), 2, "both flows"),
    (("flows.jsonl", "--kind", "GlobalNetworkPolicy"), 2, "GlobalNetworkPolicy"),
    (("flows.jsonl", "--widen", "/129"), 2, "--widen"), (("flows.jsonl", "--widen", "24", "--widen", "/16"), 2, "IPv4"),
    (("aws.log",), 4, "no policy could be made")])
def test_generate_refuses(folder: Path, arguments: tuple[str, ...], status: int, words: str) -> None:
    (folder / "aws.log").write_bytes(flowlines.AWS)
    done = custody("netpol", "generate", *arguments, cwd=folder)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert done.stdout == ""


@pytest.fixture
def pods(tmp_path: Path) -> Path:
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump_all([
        pod("web-1", "10.0.0.1", app="web"), pod("api-1", "10.0.0.2", f"{UID[:-1]}2", app="api"), OPEN]))
    return tmp_path


def test_quarantine_plans_and_proves(pods: Path) -> None:
    done = custody("netpol", "quarantine", "shop/web-1", "--pods", "cluster.yaml", cwd=pods)
    assert done.returncode == 0
    assert done.stdout == (
        f"apply NetworkPolicy shop/custody-quarantine-{UID}: isolates what has the label, and allows nothing\n"
        "patch Pod shop/web-1: the pod leaves what selects it by app\nplanned\n"
        "shop/web-1 is cut off: by the policies, nobody reaches it and it reaches nobody\n")
    assert "connections that are open now may survive" in done.stderr


def test_quarantine_says_which_policy_leaves_a_way(pods: Path) -> None:
    done = custody("netpol", "quarantine", "shop/web-1", "--pods", "cluster.yaml", "--method", "cluster-policy", "-o",
                   "json", cwd=pods)
    document = json.loads(done.stdout)
    assert (done.returncode, document["isolated"]) == (3, False)
    assert document["left"] == ["from 0.0.0.0/0, ::/0 on all: allowed by NetworkPolicy shop/open"]
    assert [change["kind"] for change in document["changes"]] == ["NetworkPolicy", "ClusterNetworkPolicy", "Pod"]


def test_quarantine_against_an_admin_policy_that_accepts(pods: Path) -> None:
    accept = {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
              "metadata": {"name": "monitoring"}, "spec": {
                  "tier": "Admin", "priority": 0, "subject": {"namespaces": {}},
                  "ingress": [{"action": "Accept", "from": [{"namespaces": {}}]}]}}
    with (pods / "cluster.yaml").open("a") as file:
        file.write("---\n" + yaml.safe_dump(accept))
    labels = custody("netpol", "quarantine", "shop/web-1", "--pods", "cluster.yaml", cwd=pods)
    assert labels.returncode == 3
    assert "from shop/api-1 on all: allowed by ClusterNetworkPolicy monitoring" in labels.stdout
    tie = custody("netpol", "quarantine", "shop/web-1", "--pods", "cluster.yaml", "--method", "cluster-policy",
                  cwd=pods)
    assert tie.returncode == 3
    assert "from shop/api-1 on all: the plugin decides" in tie.stdout


@pytest.mark.parametrize(("arguments", "words"), [
    (("web-1", "--pods", "cluster.yaml"), "expected NAMESPACE/POD"),
    (("shop/web-2", "--pods", "cluster.yaml"), "did you mean shop/web-1?"),
    (("shop/web-1", "--pods", "cluster.yaml", "--apply"), "a plan for manifests alone"),
    (("shop/web-1", "--pods", "cluster.yaml", "--release"), "not in quarantine"),
    (("shop/web-1", "--pods", "cluster.yaml", "--partial"), "expected --apply"),
    (("shop/web-1",), "no cluster")])
def test_quarantine_refuses(pods: Path, arguments: tuple[str, ...], words: str) -> None:
    done = custody("netpol", "quarantine", *arguments, cwd=pods)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
