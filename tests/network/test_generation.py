"""Generated policies: they allow what was observed, nothing beside it, and say what they cannot say."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from custody.formats.flows.record import Flow, Kind, Side
from custody.formats.flows.record import Verdict as Seen
from custody.network import addresses, declared, documents
from custody.network.connectivity import Connectivity
from custody.network.declared import Declared
from custody.network.ends import Ends, with_made
from custody.network.generation import Generated, Generation, Options
from custody.network.model import NamedPort, Namespace, Pod, Topology, Workload
from custody.network.observed import Observed
from custody.network.ports import key
from custody.network.selection import selector
from custody.network.simulation import Verdict, simulate

KUBE_DNS = Pod("kube-system", "coredns-7db6d8ff4d-x2x2x", {"k8s-app": "kube-dns"}, (addresses.number("10.0.0.53"),),
               workload=Workload("Deployment", "coredns"))


def pod(name: str, labels: dict[str, str], address: str = "", namespace: str = "shop", **more: Any) -> Pod:
    return Pod(namespace, name, labels, (addresses.number(address),) if address else (), **{
        "workload": Workload("Deployment", name), **more})


def flow(source: str | Side, destination: str | Side, port: int = 8080, protocol: str = "TCP", **more: Any) -> Flow:
    return Flow(*(Side(address=end) if isinstance(end, str) else end for end in (source, destination)),
                **{"protocol": protocol, "port": port, "verdict": Seen.ALLOWED, **more})


class World:
    def __init__(self, *pods: Pod, documents: tuple[dict[str, Any], ...] = ()) -> None:
        names = {pod.namespace for pod in pods} | {"kube-system"}
        self.topology = Topology((*pods, KUBE_DNS), {name: Namespace(name) for name in names})
        self.declared = declared.read(("x", document) for document in documents)
        self.ends = Ends(self.topology, self.declared)
        self.observed = Observed(self.ends)

    def learn(self, *flows: Flow, **options: Any) -> Generated:
        for at, recorded in enumerate(flows):
            self.observed.add("x", at, recorded)
        return Generation(with_made(self.topology, self.ends), self.declared, self.ends,
                          Options(**options)).of_flows(self.observed)

    def engine(self, generated: Generated) -> Connectivity:
        return Connectivity(with_made(self.topology, self.ends), [
            *documents.read_policies([("generated", document) for document in generated.policies], self.topology)])

    def verdicts(self, generated: Generated) -> list[Verdict]:
        return [row.verdict for row in simulate(self.observed, self.engine(generated))]


WEB = pod("web", {"app": "web", "pod-template-hash": "9b649846d", "app.kubernetes.io/version": "1"}, "10.0.1.1")
API = pod("api", {"app": "api"}, "10.0.2.1")
DB = pod("db", {"app": "db"}, "10.0.3.1", namespace="data")
LABELS = {"app.kubernetes.io/managed-by": "custody"}


def test_ingress_at_the_server_and_egress_at_the_client() -> None:
    world = World(WEB, API, DB)
    generated = world.learn(flow("10.0.1.1", "10.0.2.1"), flow("10.0.2.1", "10.0.3.1", 5432))
    api, = (document for document in generated.policies if document["metadata"]["name"] == "custody-api")
    assert api == {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "custody-api", "namespace": "shop", "labels": LABELS},
        "spec": {
            "podSelector": {"matchLabels": {"app": "api"}}, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}],
                         "ports": [{"port": 8080, "protocol": "TCP"}]}],
            "egress": [
                {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                         "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
                 "ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]},
                {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "data"}},
                         "podSelector": {"matchLabels": {"app": "db"}}}],
                 "ports": [{"port": 5432, "protocol": "TCP"}]}]}}
    assert [document["metadata"]["name"] for document in generated.policies] == [
        "custody-db", "custody-api", "custody-web"]
    assert set(world.verdicts(generated)) == {Verdict.ALLOWED}


def test_the_order_of_lines_makes_no_difference() -> None:
    flows = [flow("10.0.1.1", "10.0.2.1", port) for port in (1, 2, 3)] + [flow("10.0.2.1", "10.0.3.1", 5432),
                                                                        flow("10.0.1.1", "8.8.8.8", 443)]
    made = set()
    for seed in range(5):
        random.Random(seed).shuffle(flows)
        made.add(json.dumps(World(WEB, API, DB).learn(*flows).policies))
    assert len(made) == 1


def test_an_address_outside_is_itself_alone_unless_a_width_is_given() -> None:
    flows = [flow("10.0.1.1", f"93.184.216.{last}", 443) for last in (34, 35)] + [flow("10.0.1.1", "2606:2800::1", 443)]

    def cidrs(generated: Generated) -> list[str]:
        (web,) = generated.policies
        return [peer["ipBlock"]["cidr"] for peer in web["spec"]["egress"][1]["to"]]

    exact = World(WEB).learn(*flows)
    assert (cidrs(exact), exact.widened) == (["2606:2800::1/128", "93.184.216.34/32", "93.184.216.35/32"], [])
    wide = World(WEB).learn(*flows, width4=24, width6=64)
    assert cidrs(wide) == ["2606:2800::/64", "93.184.216.0/24"]
    assert [tuple(entry) for entry in wide.widened] == [("2606:2800::/64", 1), ("93.184.216.0/24", 2)]


def test_cilium_says_pods_addresses_and_nodes_in_rules_of_their_own() -> None:
    world = World(WEB, API)
    node = Side(address="192.168.0.5", kind=Kind.NODE)
    generated = world.learn(flow("10.0.1.1", "10.0.2.1"), flow(node, "10.0.2.1"), flow("8.8.8.8", "10.0.2.1"),
                            kind="CiliumNetworkPolicy")
    ports = [{"ports": [{"port": "8080", "protocol": "TCP"}]}]
    assert generated.policies[0]["spec"]["ingress"] == [
        {"fromEndpoints": [{"matchLabels": {"app": "web"}}], "toPorts": ports},
        {"fromCIDR": ["8.8.8.8/32"], "toPorts": ports}, {"fromEntities": ["host", "remote-node"], "toPorts": ports}]
    assert any("all nodes are allowed" in note for note in generated.notes)
    assert set(world.verdicts(generated)) <= {Verdict.ALLOWED, Verdict.PLUGIN}


def test_names_of_addresses_are_kept_beside() -> None:
    outside = Side(address="93.184.216.34", kind=Kind.OUTSIDE, names=("example.com", "a.example.com"))
    (web,) = World(WEB).learn(flow("10.0.1.1", outside, 443)).policies
    assert json.loads(web["metadata"]["annotations"]["custody.internal/observed-names"]) == {
        "93.184.216.34/32": ["a.example.com", "example.com"]}


def test_labels_of_a_controllers_selector_are_taken_where_it_is_known() -> None:
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
                  "spec": {"selector": {"matchLabels": {"app": "web"}}}}
    labelled = pod("web", {"app": "web", "feature": "x", "pod-template-hash": "1"}, "10.0.1.1")
    (with_selector,) = World(labelled, documents=(deployment,)).learn(flow("10.0.1.1", "8.8.8.8")).policies
    assert with_selector["spec"]["podSelector"] == {"matchLabels": {"app": "web"}}
    (without,) = World(labelled).learn(flow("10.0.1.1", "8.8.8.8")).policies
    assert without["spec"]["podSelector"] == {"matchLabels": {"app": "web", "feature": "x"}}


def test_another_workload_with_the_same_labels_and_more_is_excluded() -> None:
    canary = pod("canary", {"app": "web", "track": "canary"}, "10.0.1.2")
    assert selector(WEB, [WEB, canary], Declared()) == {
        "matchLabels": {"app": "web"}, "matchExpressions": [{"key": "track", "operator": "DoesNotExist"}]}
    world = World(WEB, canary, API)
    generated = world.learn(flow("10.0.1.1", "10.0.2.1"))
    assert world.verdicts(generated) == [Verdict.ALLOWED]
    world.observed.add("x", 9, flow("10.0.1.2", "10.0.2.1"))
    assert sorted(verdict.name for verdict in world.verdicts(generated)) == ["ALLOWED", "CUT"]


def test_workloads_that_no_label_tells_apart_are_told_of() -> None:
    twin = pod("twin", {"app": "web"}, "10.0.1.2")
    generated = World(WEB, twin).learn(flow("10.0.1.1", "8.8.8.8"))
    assert generated.notes == [
        "shop/web has the labels of shop/twin: what is allowed to one is allowed to all of them"]


@pytest.mark.parametrize(("recorded", "words"), [
    (flow("10.0.1.1", "10.0.9.9"), "--pod-cidr"), (flow("10.0.1.1", "10.0.2.1", 0, "ICMP"), "nothing of ICMP"),
    (flow("10.0.1.1", "10.0.2.1", verdict=Seen.DENIED), "denied"),
    (flow("10.0.1.1", "10.0.2.1", verdict=Seen.UNANSWERED), "nobody answered"),
    (flow("10.0.1.1", "10.0.7.1"), "no label that lasts"), (flow("1.1.1.1", "8.8.8.8"), "neither side is a pod")])
def test_what_no_policy_says_is_listed_with_the_reason(recorded: Flow, words: str) -> None:
    bare = pod("bare", {"pod-template-hash": "1"}, "10.0.7.1")
    generated = World(WEB, API, bare).learn(recorded)
    assert words in " ".join(left.reason for left in generated.left)
    assert all("8080" not in json.dumps(document) for document in generated.policies)


def test_a_scan_is_not_learnt_where_the_log_tells_who_was_answered() -> None:
    real = flow("10.0.1.1", "10.0.2.1", 8080, answered=True)
    scan = [flow("10.0.1.1", "10.0.2.1", port, answered=False) for port in range(1, 20)]
    generated = World(WEB, API).learn(real, *scan)
    assert {left.reason for left in generated.left} == {
        "nobody is seen to answer it, as to others: a scan looks like this"}
    assert len(generated.left) == 19
    assert World(WEB, API).learn(*scan).left == [], "a log that tells of no answers at all says nothing of these"
    datagram = World(WEB, API).learn(real, flow("10.0.1.1", "10.0.2.1", 514, "UDP", answered=False))
    assert datagram.left == []
    assert "datagrams that nobody answered are allowed as others are: 1" in datagram.notes[0]


def test_workloads_that_were_never_seen_are_named() -> None:
    world = World(WEB, API, pod("batch", {"app": "batch"}, "10.0.1.9"))
    assert world.learn(flow("10.0.1.1", "10.0.2.1")).notes == ["never seen, and without a policy: shop/batch"]


def test_a_cluster_whose_dns_is_elsewhere_is_told_of() -> None:
    world = World(WEB, pod("dns", {"dns": "yes"}, "10.0.0.9", namespace="kube-system"))
    world.topology = Topology(world.topology.pods[:2], world.topology.namespaces)
    assert any("to which DNS is allowed" in note for note in world.learn(flow("10.0.1.1", "8.8.8.8")).notes)


def test_ports_that_no_service_has_are_marked() -> None:
    world = World(WEB, PORTED_API, documents=(API_SERVICE,))
    generated = world.learn(flow("10.0.1.1", "10.0.2.1", 8080), flow("10.0.1.1", "10.0.2.1", 9090))
    assert [(connection.destination.shown, connection.port) for connection in generated.undeclared] == [
        ("shop/api", 9090)]
    assert World(WEB, API).learn(flow("10.0.1.1", "10.0.2.1", 9090)).undeclared == [], "no Service is known at all"


def test_what_is_seen_first_after_the_time_of_learning_is_no_part() -> None:
    world = World(WEB, API)
    world.observed = Observed(world.ends, until=200)
    generated = world.learn(flow("10.0.1.1", "10.0.2.1", 1, first=100, last=100),
                            flow("10.0.1.1", "10.0.2.1", 2, first=300, last=300))
    assert [left.reason for left in generated.left] == ["it was first seen after --until"]
    assert world.verdicts(generated) == [Verdict.ALLOWED, Verdict.CUT]


def test_only_for_the_pods_of_some_namespaces() -> None:
    generated = World(WEB, API, DB).learn(flow("10.0.2.1", "10.0.3.1", 5432), namespaces=frozenset({"data"}))
    assert [document["metadata"]["namespace"] for document in generated.policies] == ["data"]


PORTED_API = pod("api", {"app": "api"}, "10.0.2.1", ports=frozenset({NamedPort("http", "TCP", 8080)}))
API_SERVICE: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "shop"}, "spec": {
        "selector": {"app": "api"}, "ports": [{"port": 80, "targetPort": "http"}]}}
SERVICE: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {
        "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}}
PORTED = pod("web", {"app": "web"}, "10.0.1.1", ports=frozenset({NamedPort("http", "TCP", 8080)}))


def services(*documents: dict[str, Any]) -> Generated:
    world = World(PORTED, documents=documents)
    return Generation(world.topology, world.declared, world.ends).of_services()


def test_services_declare_ingress_and_say_nothing_of_egress() -> None:
    (web,) = services(SERVICE).policies
    assert web["spec"] == {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"], "ingress": [
        {"from": [{"namespaceSelector": {}}], "ports": [{"port": 8080, "protocol": "TCP"}]}]}


def test_services_for_the_outside_are_open_to_it() -> None:
    (web,) = services({**SERVICE, "spec": {**SERVICE["spec"], "type": "LoadBalancer"}}).policies
    assert [peer.get("ipBlock") for peer in web["spec"]["ingress"][0]["from"]] == [
        {"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}, None]


def test_services_of_which_nothing_is_known_are_told_of() -> None:
    generated = services({**SERVICE, "spec": {"ports": [{"port": 80}]}},
                         {**SERVICE, "metadata": {"name": "b", "namespace": "shop"},
                          "spec": {"selector": {"app": "none"}, "ports": [{"port": 80}]}})
    assert generated.policies == []
    assert len(generated.notes) == 2


def test_whoever_is_outside_only_where_a_service_offers_it() -> None:
    offered = {**SERVICE, "spec": {**SERVICE["spec"], "type": "NodePort"}}
    flows = [flow(f"8.8.8.{last}", "10.0.1.1", 8080) for last in range(1, 5)]
    assert len(World(PORTED, documents=(SERVICE,)).learn(*flows, open_services=True).policies[0]["spec"]["ingress"][0][
        "from"]) == 4
    (rule,) = World(PORTED, documents=(offered,)).learn(*flows, open_services=True).policies[0]["spec"]["ingress"]
    assert [peer["ipBlock"]["cidr"] for peer in rule["from"]] == ["0.0.0.0/0", "::/0"]


@pytest.mark.parametrize("kind", ["NetworkPolicy", "CiliumNetworkPolicy"])
@pytest.mark.parametrize("seed", range(20))
def test_they_allow_what_was_observed_and_nothing_beside_it(seed: int, kind: str) -> None:
    """Of random worlds: every pair of pods and every port, by the engine."""
    chance = random.Random(seed)
    pods: list[Pod] = []
    while len(pods) < 8:
        labels = {"app": f"a{chance.randrange(3)}", **{key: chance.choice("xy") for key in ("tier", "track")
                                                     if chance.random() < 0.5}}
        namespace = chance.choice(("one", "two"))
        if all((known.namespace, known.labels) != (namespace, labels) for known in pods):
            pods.append(pod(f"w{len(pods)}", labels, f"10.0.1.{len(pods) + 1}", namespace=namespace))
    world = World(*pods)
    observed = {(chance.randrange(8), chance.randrange(8), chance.choice((80, 443)), chance.choice(("TCP", "UDP")))
                for _ in range(15)}
    generated = world.learn(*(flow(f"10.0.1.{source + 1}", f"10.0.1.{target + 1}", port, protocol)
                              for source, target, port, protocol in observed), kind=kind)
    assert generated.left == []
    assert {document["kind"] for document in generated.policies} == {kind}
    assert set(world.verdicts(generated)) == {Verdict.ALLOWED}
    engine = world.engine(generated)
    seen = {end for source, target, _, _ in observed for end in (source, target)}
    for source in seen:
        for target in seen:
            outcome = engine.outcome(engine.classes.of(pods[source]), engine.classes.of(pods[target]))
            allowed = {(port, protocol) for port in (80, 443) for protocol in ("TCP", "UDP")
                       if key(protocol, port) in outcome.allowed}  # type: ignore[arg-type]
            assert allowed == {(port, protocol) for begin, end, port, protocol in observed
                               if (begin, end) == (source, target)}
            assert not outcome.depends
