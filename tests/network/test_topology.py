"""Pods of manifests and clusters, and the names by which people mean them."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import MalformedError, UsageError
from custody.network.addresses import address_text, network, number, texts
from custody.network.intervals import Intervals
from custody.network.model import NamedPort, Topology, Workload
from custody.network.names import ends, named
from custody.network.ports import ALL, listed, ports, text, typed
from custody.network.topology import read

TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
    {"name": "web", "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9090}]}]}}


def topology(*documents: dict[str, Any]) -> Topology:
    return read([(f"d{at}", document) for at, document in enumerate(documents)])


def made(kind: str, name: str, version: str = "apps/v1", spec: dict[str, Any] | None = None,
        **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **metadata},
            "spec": {"template": TEMPLATE} if spec is None else spec}


@pytest.mark.parametrize(("kind", "version"), [
    ("Deployment", "apps/v1"), ("StatefulSet", "apps/v1"), ("DaemonSet", "apps/v1"), ("ReplicaSet", "apps/v1"),
    ("ReplicationController", "v1"), ("Job", "batch/v1")])
def test_a_controller_counts_as_a_pod(kind: str, version: str) -> None:
    [pod] = topology(made(kind, "web", version, namespace="shop")).pods
    assert (pod.place, pod.labels, pod.workload, pod.representative, pod.addresses) == (
        "shop/web", {"app": "web"}, Workload(kind, "web"), True, ())
    assert pod.ports == {NamedPort("http", "TCP", 8080)}


def test_a_cron_job_has_its_template_below() -> None:
    [pod] = topology(made("CronJob", "report", "batch/v1", {"jobTemplate": {"spec": {"template": TEMPLATE}}})).pods
    assert pod.place == "default/report"


def test_pods_that_run_stand_for_their_controller() -> None:
    running = {"apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": "web-5f7c-x", "labels": {"app": "web", "pod-template-hash": "5f7c"}, "ownerReferences": [
            {"kind": "ReplicaSet", "name": "web-5f7c", "controller": True}]},
        "spec": {**TEMPLATE["spec"], "nodeName": "n", "hostNetwork": True, "serviceAccountName": "robot"},
        "status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}}
    over = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "done"}, "spec": {"containers": []},
            "status": {"phase": "Succeeded"}}
    replicas = made("ReplicaSet", "web-5f7c", ownerReferences=[{"kind": "Deployment", "name": "web",
        "controller": True}])
    template = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "hostNetwork": True, "serviceAccountName": "robot"}}
    [pod] = topology(made("Deployment", "web", spec={"template": template}), replicas, running, over).pods
    assert (pod.name, pod.workload, pod.host_network, pod.account, pod.node) == (
        "web-5f7c-x", Workload("Deployment", "web"), True, "robot", "n")
    assert [address_text(address) for address in pod.addresses] == ["10.0.0.1", "fd00::1"]
    assert pod.shown == "default/web"


@pytest.mark.parametrize("changed", [
    {"metadata": {"labels": {"app": "api"}}}, {"spec": {**TEMPLATE["spec"], "hostNetwork": True}},
    {"spec": {**TEMPLATE["spec"], "serviceAccountName": "robot"}},
    {"spec": {"containers": [{"name": "web", "ports": [{"name": "http", "containerPort": 8081}]}]}}])
def test_a_template_that_has_changed_counts_beside_the_pods_of_before(changed: dict[str, Any]) -> None:
    running = {"apiVersion": "v1", "kind": "Pod", **TEMPLATE, "metadata": {
        "name": "web-5f7c-x", "labels": {"app": "web", "pod-template-hash": "5f7c"}, "ownerReferences": [
            {"kind": "ReplicaSet", "name": "web-5f7c", "controller": True}]}}
    same = topology(made("Deployment", "web"), running)
    assert [pod.representative for pod in same.pods] == [False]
    other = topology(made("Deployment", "web", spec={"template": {**TEMPLATE, **changed}}), running)
    assert [pod.representative for pod in other.pods] == [False, True]


NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "labels": {"team": "a"}}}
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"zone": "a"}}}
ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "labels": {"team": "a"}}}


@pytest.mark.parametrize(("document", "message"), [
    (NAMESPACE, "namespace x again"), (NODE, "node n again"), (ACCOUNT, "service account default/robot again")])
def test_what_is_there_twice_and_otherwise_is_refused(document: dict[str, Any], message: str) -> None:
    topology(document, document)
    changed = {**document, "metadata": {**document["metadata"], "labels": {}}}
    with pytest.raises(MalformedError, match=message):
        topology(document, changed)


def test_a_controller_stands_once() -> None:
    with pytest.raises(MalformedError, match="Deployment default/web again"):
        topology(made("Deployment", "web"), made("Deployment", "web"))


def test_two_controllers_of_one_name_are_two_pods() -> None:
    assert [pod.place for pod in topology(made("Deployment", "web"), made("StatefulSet", "web")).pods] == [
        "default/web", "default/web.statefulset"]


@pytest.mark.parametrize(("document", "message"), [
    ({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {}}, "metadata.name"),
    ({"apiVersion": "v1", "kind": "Pod", "metadata": [], "spec": {}}, "d0.metadata: got 'list', expected a map"),
    ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"a": 1}}, "spec": {}}, "labels"),
    ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": "many"}}, "a list of maps"),
    ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [
        {"ports": [{"containerPort": 0}]}]}}, "from 1 to 65535"),
    ({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {}, "status": {"podIP": "10.0.0"}},
      "podIP"),
    ({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {}}, "spec.template"),
])
def test_what_is_wrong_is_named(document: dict[str, Any], message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        topology(document)


def test_a_pod_stands_once() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": []}}
    with pytest.raises(MalformedError, match="default/a again"):
        topology(pod, pod)


def test_names() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "namespace": "shop"},
               "spec": {"selector": {"app": "web"}}}
    world = topology(made("Deployment", "web", namespace="shop"), made("Deployment", "web", namespace="blog"),
                     made("Deployment", "db", namespace="shop"), service)
    assert [pod.place for pod in named("shop/web", world, "--to")] == ["shop/web"]
    assert [pod.place for pod in named("db", world, "--to")] == ["shop/db"]
    assert {pod.place for pod in named("shop/front", world, "--to")} == {"shop/web", "shop/db"}
    assert {pod.place for pod in named("shop/", world, "--to")} == {"shop/web", "shop/db"}
    assert ends("192.0.2.1", world, "--to")[0].pod is None
    with pytest.raises(UsageError, match="in several namespaces: blog, shop"):
        named("web", world, "--to")
    with pytest.raises(MalformedError) as raised:
        named("shop/wbe", world, "--to")
    assert raised.value.hint == "did you mean shop/web?"
    with pytest.raises(MalformedError):
        named("shopp/", world, "--to")


def test_ports_as_people_write_them() -> None:
    assert text(typed("443")) == "443/TCP"
    assert text(typed("8000-8100/udp") | typed("53/UDP") | ports("SCTP")) == "53,8000-8100/UDP all/SCTP"
    assert (text(ALL), text(ALL - ALL)) == ("all", "none")
    assert listed(typed("1-3")) == [{"protocol": "TCP", "first": 1, "last": 3}]
    for word in ("http", "0", "65536", "90-80", "80/ICMP", "80/TCP/UDP", "", "-80", "80-", "٨٠"):
        with pytest.raises(MalformedError, match="--port"):
            typed(word)


def test_addresses_as_people_write_them() -> None:
    assert texts(Intervals([(number("10.0.0.0"), number("10.0.0.255")), (number("10.1.0.1"), number("10.1.0.3")),
                            (number("fd00::"), number("fd00::1"))])) == ["10.0.0.0/24", "10.1.0.1-10.1.0.3",
                             "fd00::/127"]
    assert texts(Intervals((at * 2, at * 2) for at in range(20)), 3)[-1] == "and 17 more ranges"
    for word in ("10.0.0", "10.0.0.01", "fe80::1%eth0", "::ffff:10.0.0.1", "1.2.3.4.5", ""):
        with pytest.raises(MalformedError):
            number(word)
    for word in ("10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/", "/8", "fd00::%1/8", "10.0.0.0/8/8"):
        with pytest.raises(MalformedError):
            network(word)
