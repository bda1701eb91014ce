"""What would have been cut: observed connections through the engine, with every kind of answer."""

from __future__ import annotations

from typing import Any

import pytest

from custody.formats.flows.record import Flow, Kind, Side
from custody.formats.flows.record import Verdict as Seen
from custody.network import addresses, declared, kubernetes
from custody.network.connectivity import Connectivity
from custody.network.ends import Ends, blocks, with_made
from custody.network.model import NamedPort, Namespace, Node, Pod, Topology, Workload
from custody.network.observed import Observed
from custody.network.simulation import Row, Verdict, simulate


def pod(name: str, labels: dict[str, str], address: str, **more: Any) -> Pod:
    workload = Workload("Deployment", name.split("-")[0])
    return Pod("shop", name, labels, (addresses.number(address),), workload=workload, **more)


WEB = pod("web-9b649846d-bxqfc", {"app": "web", "pod-template-hash": "9b649846d"}, "10.0.1.1")
API = pod("api-65887564dc-jjw7k", {"app": "api"}, "10.0.2.1", ports=frozenset({NamedPort("http", "TCP", 8080)}))
HOST = pod("agent-xxxxx", {"app": "agent"}, "192.168.0.5", host_network=True)
TOPOLOGY = Topology((WEB, API, HOST), {"shop": Namespace("shop")}, (
    Node("w1", {}, (addresses.number("192.168.0.5"),)),))
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "shop"}, "spec": {
    "selector": {"app": "api"}, "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"],
    "ports": [{"port": 80, "targetPort": "http"}]}}
DENY_ALL = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
FROM_WEB = {"podSelector": {"matchLabels": {"app": "api"}}, "ingress": [{
    "from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 8080}]}]}
TO_DOCS = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"], "egress": [{
    "to": [{"ipBlock": {"cidr": "93.184.216.0/24"}}]}]}


def engine(topology: Topology, *specs: dict[str, Any]) -> Connectivity:
    policies = [policy for at, spec in enumerate(specs) for policy in kubernetes.read(
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {
            "name": f"p{at}", "namespace": "shop"}, "spec": spec}, f"p{at}")]
    return Connectivity(topology, policies)


def flow(source: str | Side = "10.0.1.1", destination: str | Side = "10.0.2.1", port: int = 8080, protocol: str = "TCP",
         verdict: Seen = Seen.ALLOWED, **more: Any) -> Flow:
    return Flow(*(Side(address=end) if isinstance(end, str) else end for end in (source, destination)),
                protocol=protocol, port=port, verdict=verdict, **more)


def rows(flows: list[Flow], *specs: dict[str, Any], standing: tuple[dict[str, Any], ...] | None = None,
         documents: tuple[dict[str, Any], ...] = (SERVICE,), pod_blocks: tuple[str, ...] = (),
         **more: Any) -> list[Row]:
    ends = Ends(TOPOLOGY, declared.read(("x", document) for document in documents), blocks(pod_blocks))
    observed = Observed(ends, **more)
    for at, recorded in enumerate(flows):
        observed.add("x", at, recorded)
    topology = with_made(TOPOLOGY, ends)
    return list(simulate(observed, engine(topology, *specs), engine(topology, *standing) if standing is not None
                         else None))


def row(recorded: Flow, *specs: dict[str, Any], **more: Any) -> Row:
    (only,) = rows([recorded], *specs, **more)
    return only


def test_what_a_rule_allows_passes_and_what_none_does_is_cut() -> None:
    assert row(flow(), FROM_WEB).verdict is Verdict.ALLOWED
    cut = row(flow(port=9090), FROM_WEB)
    assert cut.verdict is Verdict.CUT
    assert cut.judged.reasons == (
        "ingress of shop/api: isolated by NetworkPolicy shop/p0, and no rule allows shop/web on 9090/TCP",)


def test_both_directions_have_to_allow() -> None:
    cut = row(flow(), FROM_WEB, TO_DOCS)
    assert cut.verdict is Verdict.CUT
    assert [reason.partition(":")[0] for reason in cut.judged.reasons] == ["egress of shop/web"]


def test_addresses_outside_are_judged_by_blocks() -> None:
    assert row(flow(destination="93.184.216.34", port=443), TO_DOCS).verdict is Verdict.ALLOWED
    assert row(flow(destination="93.184.217.34", port=443), TO_DOCS).verdict is Verdict.CUT


def test_what_was_denied_and_passes_now_is_new() -> None:
    assert row(flow(verdict=Seen.DENIED), FROM_WEB).verdict is Verdict.NEWLY
    assert row(flow(verdict=Seen.DENIED), DENY_ALL).verdict is Verdict.DENIED


def test_what_the_source_let_go_and_the_destination_denied_did_not_happen() -> None:
    flows = [flow(observer="source"), flow(observer="destination", verdict=Seen.DENIED)]
    assert [entry.verdict for entry in rows(flows, DENY_ALL)] == [Verdict.DENIED]
    assert [entry.verdict for entry in rows(flows[:1], DENY_ALL)] == [Verdict.CUT]


def test_what_nobody_answered_is_told_apart() -> None:
    assert row(flow(verdict=Seen.UNANSWERED), DENY_ALL).verdict is Verdict.UNANSWERED
    assert row(flow(verdict=Seen.UNANSWERED), FROM_WEB).verdict is Verdict.ALLOWED


def test_a_connection_seen_at_both_ends_counts_once() -> None:
    (both,) = rows([flow(observer="source", count=5), flow(observer="destination", count=5)])
    assert both.tally.count == 5


def test_the_pods_behind_a_service_are_judged_on_their_own_port() -> None:
    assert row(flow(destination="10.96.0.10", port=80), FROM_WEB).verdict is Verdict.ALLOWED
    cut = row(flow(destination="10.96.0.10", port=80), DENY_ALL)
    assert (cut.verdict, cut.connection.destination.shown) == (Verdict.CUT, "service shop/api")
    assert "8080/TCP" in cut.judged.reasons[-1]
    assert row(flow(destination="10.96.0.10", port=81), FROM_WEB).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(("recorded", "words"), [
    (flow(source="10.0.9.9"), "--pod-cidr"), (flow(source=Side()), "neither name nor address"),
    (flow(source=Side(namespace="shop", pod="gone-1")), "carries no labels"),
    (flow(source=Side(kind=Kind.OUTSIDE)), "aggregated away"),
    (flow(source=Side(kind=Kind.ELSEWHERE, pod="two: shop/web", address="10.0.1.1")), "another cluster"),
    (flow(source=Side(namespace="shop", pod="x", labels=("app=\n---\nkind: Secret",))), "Kubernetes takes"),
    (flow(source=Side(namespace="../x", pod="x", labels=("app=web",))), "Kubernetes takes"),
    (flow(source="1.1.1.1", destination="8.8.8.8"), "neither side is a pod"),
    (flow(source="10.96.0.10"), "begins no connection")])
def test_who_is_not_known_is_not_judged(recorded: Flow, words: str) -> None:
    unknown = row(recorded, DENY_ALL)
    assert unknown.verdict is Verdict.UNKNOWN
    assert words in unknown.judged.reasons[0]


def test_with_the_pods_blocks_private_addresses_beside_them_are_outside() -> None:
    assert row(flow(destination="10.9.9.9"), TO_DOCS, pod_blocks=("10.0.0.0/16",)).verdict is Verdict.CUT
    assert "no pod that was given" in row(flow(destination="10.0.9.9"), pod_blocks=("10.0.0.0/16",)).judged.reasons[0]


def test_an_address_that_was_another_pods_then_is_not_known() -> None:
    born = {"apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": API.name, "namespace": "shop", "creationTimestamp": "2026-11-20T00:00:00Z"}}
    early, late = flow(first=1763590000, last=1763590000), flow(first=1796070742, last=1796070742)
    told = rows([early, late], FROM_WEB, documents=(SERVICE, born))
    assert {entry.verdict for entry in told} == {Verdict.UNKNOWN, Verdict.ALLOWED}
    assert any("younger than the flow" in reason for entry in told for reason in entry.judged.reasons)


@pytest.mark.parametrize("side", [
    Side(namespace="shop", pod="web-58b4f7d9c-zzzzz"), Side(namespace="shop", prefix="web-58b4f7d9c-"),
    Side(namespace="shop", pod="web-unlike", workload="Deployment/web")])
def test_a_pod_that_is_gone_is_its_controllers(side: Side) -> None:
    (gone,) = rows([flow(source=side)], FROM_WEB)
    assert (gone.verdict, gone.connection.source.shown) == (Verdict.ALLOWED, "shop/web")


def test_a_pod_that_nobody_gave_is_judged_by_the_labels_of_the_flow() -> None:
    side = Side(namespace="shop", pod="old-1", labels=("app=web",))
    told = row(flow(source=side), FROM_WEB)
    assert told.verdict is Verdict.ALLOWED
    assert "by the labels that the flow carries" in told.connection.source.how
    side = Side(namespace="shop", pod="old-1", labels=("app=old",))
    assert row(flow(source=side), FROM_WEB).verdict is Verdict.CUT


def test_a_node_reaches_its_pods_whatever_policies_say() -> None:
    assert row(flow(source="192.168.0.5"), FROM_WEB).verdict is Verdict.PLUGIN
    assert row(flow(source="192.168.0.5")).verdict is Verdict.ALLOWED
    assert row(flow(destination="192.168.0.5"), DENY_ALL).verdict is Verdict.CUT


def test_policies_say_nothing_of_icmp() -> None:
    assert row(flow(port=0, protocol="ICMP"), FROM_WEB).verdict is Verdict.PLUGIN
    assert row(flow(port=0, protocol="ICMP"), TO_DOCS, FROM_WEB).verdict is Verdict.PLUGIN
    assert row(flow(port=0, protocol="ICMP")).verdict is Verdict.ALLOWED


def test_flows_that_the_standing_policies_deny_are_said_to_contradict_them() -> None:
    assert row(flow(), FROM_WEB, standing=(DENY_ALL,)).contradicted
    assert not row(flow(), FROM_WEB, standing=(FROM_WEB,)).contradicted
    assert not row(flow(verdict=Seen.DENIED), FROM_WEB, standing=(DENY_ALL,)).contradicted


def test_beyond_the_most_connections_flows_are_counted_and_not_judged() -> None:
    observed = Observed(Ends(TOPOLOGY), most=2)
    for port in (1, 2, 3, 3, 1):
        observed.add("x", port, flow(port=port))
    assert (len(observed.connections), observed.over, observed.flows) == (2, 2, 5)


def test_a_window_leaves_out_what_is_before_it_and_marks_what_is_after() -> None:
    observed = Observed(Ends(TOPOLOGY), since=100, until=200)
    for first, last, port in ((10, 50, 1), (110, 150, 2), (190, 250, 3), (210, 250, 4), (0, 0, 5), (250, 260, 2)):
        observed.add("x", port, flow(first=first, last=last, port=port))
    assert {connection.port: tally.late for connection, tally in observed.ordered()} == {2: False, 3: False, 4: True}
    assert (observed.early, observed.timeless) == (1, 1)


def test_a_scan_of_addresses_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.network.ends._KEPT", 50)
    ends = Ends(TOPOLOGY)
    shown = {id(ends.of(Side(address=f"8.8.{at // 250}.{at % 250}"), 0)) for at in range(1000)}
    assert len(shown) == 51
    assert "more than 50 addresses" in ends.of(Side(address="9.9.9.9"), 0).unknown
