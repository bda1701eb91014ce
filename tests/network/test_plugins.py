"""Calico's and Cilium's own policies: order, tiers, expressions; denials first, entities, what narrows a rule."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import MalformedError, UnsupportedError
from custody.network.addresses import number
from custody.network.calicoselector import parse
from custody.network.documents import read_policies
from custody.network.model import Direction, Node
from custody.network.selector import Scope, matches
from tests.network.worlds import asked, calico, cilium, engine, pod, policy, verdict, world

WORLD = world(pod("x/a", "10.0.0.1", "http=8080", app="a", role="front"), pod("x/b", "10.0.0.2", app="b",
    account="robot"),
              pod("y/c", "10.0.1.1", app="a"), pod("y/h", "10.9.0.1", host=True, app="b"),
              nodes=(Node("n", {"zone": "z"}, (number("10.9.0.1"),)),), x={"team": "one"}, y={"team": "two"})
ALLOW, DENY = {"action": "Allow"}, {"action": "Deny"}


def labels(**own: str) -> Any:
    return {Scope.POD: own, Scope.NAMESPACE: {}, Scope.ACCOUNT: {}, Scope.ABOUT: {}}


@pytest.mark.parametrize(("expression", "expected"), [
    ("", True), ("all()", True), ("app == 'a'", True), ('app == "b"', False), ("app != 'b'", True), ("absent != 'b'",
     True),
    ("has(app)", True), ("!has(app)", False), ("! has( app )", False), ("app in {'a', 'b'}", True), ("app in {}",
     False),
    ("app not in {'a'}", False), ("absent not in {'a'}", True), ("absent in {'a'}", False),
    ("app == 'a' && role == 'back'", False), ("app == 'a' || role == 'back'", True),
    ("app == 'b' || app == 'a' && role == 'front'", True), ("(app == 'b' || app == 'a') && role == 'back'", False),
    ("!(app == 'a') || role contains 'ron'", True), ("role starts with 'fr'", True), ("role ends with 'fr'", False),
    ("!!has(app)", True), ("app not  in{'b'}", True), ("app startswith 'a'", True), ("x-y.z/w == 'v'", False)])
def test_expressions(expression: str, expected: bool) -> None:
    parsed = parse(expression, "selector", lambda key: (Scope.POD, key))
    assert matches(parsed, labels(app="a", role="front")) is expected


@pytest.mark.parametrize("expression", [
    "app", "app =", "app = 'a'", "app == a", "app == 'a", "app == 'a' &&", "(app == 'a'", "app == 'a')", "has()",
        "has(",
    "app in 'a'", "app in {'a'", "app in {'a' 'b'}", "&& has(app)", "app == 'a' has(b)", "global()", "app\n== 'a'",
    "(" * 40 + "has(app)" + ")" * 40, "has(a) || " * 200 + "has(a)", "app == 'a' & has(b)"])
def test_what_is_no_expression(expression: str) -> None:
    with pytest.raises(MalformedError, match=r"^spec\.selector: "):
        parse(expression, "spec.selector", lambda key: (Scope.POD, key))


def tier(name: str, order: float, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": name},
            "spec": {"order": order, **spec}}


@pytest.mark.parametrize(("documents", "expected"), [
    ([calico("k", "x")], "denied"), ([calico("k", "x", egress=[ALLOW])], "allowed"),  # about what it has rules for
    ([calico("k", "x", ingress=[ALLOW])], "allowed"), ([calico("k", "x", selector="app == 'b'")], "allowed"),
    ([calico("k", "x", ingress=[DENY, ALLOW])], "denied"),
    ([calico("k", "x", ingress=[{"action": "Log"}, ALLOW])], "allowed"),
    ([calico("k", order=10, ingress=[ALLOW]), calico("a", order=20, ingress=[DENY])], "allowed"),
    ([calico("k", ingress=[ALLOW]), calico("a", ingress=[DENY])], "denied"),  # equal orders: by name
    ([calico("k", ingress=[ALLOW]), calico("z", order=1, ingress=[DENY])], "denied"),
    ([calico("k", order=10, ingress=[DENY]), policy("x", ingress=[{}])], "denied"),  # NetworkPolicies stand at 1000
    ([calico("k", order=2000, ingress=[DENY]), policy("x", ingress=[{}])], "allowed"),
    ([calico("k", ingress=[{"action": "Pass"}])], "allowed"),
    ([tier("first", 1), calico("k", tier="first", ingress=[{"action": "Pass"}]), calico("d", ingress=[DENY])],
      "denied"),
    ([tier("first", 1), calico("k", tier="first", ingress=[{**ALLOW, "protocol": "UDP"}])], "denied"),
    ([tier("first", 1, defaultAction="Pass"), calico("k", tier="first", ingress=[{**ALLOW, "protocol": "UDP"}])],
     "allowed"),
    ([calico("k", "x", ingress=[{**ALLOW, "source": {"selector": "app == 'a'"}}])], "denied"),  # of its own namespace
    ([calico("k", "x", ingress=[{**ALLOW, "source": {"selector": "app == 'a'", "namespaceSelector": "all()"}}])],
     "allowed"),
    ([calico("k", "x", ingress=[{**ALLOW, "source": {"namespaceSelector": "team == 'two'"}}])], "allowed"),
    ([calico("k", "x", ingress=[{**ALLOW, "source": {"namespaceSelector": "global()"}}])], "denied"),
    ([calico("k", ingress=[{**ALLOW, "source": {"selector": "app == 'a'"}}])], "allowed"),
    ([calico("k", ingress=[{**ALLOW, "source": {"notSelector": "app == 'a'"}}])], "denied"),
    ([calico("k", ingress=[{**ALLOW, "source": {"nets": ["10.0.1.0/24"]}}])], "allowed"),
    ([calico("k", ingress=[{**ALLOW, "source": {"nets": ["10.0.0.0/16"], "notNets": ["10.0.1.0/24"]}}])], "denied"),
    ([calico("k", ingress=[{**ALLOW, "source": {"serviceAccounts": {"names": ["robot"]}}}])], "denied"),
    ([calico("k", ingress=[{**ALLOW, "protocol": "TCP", "destination": {"ports": [80]}}])], "allowed"),
    ([calico("k", ingress=[{**ALLOW, "protocol": 6, "destination": {"ports": ["79:81"]}}])], "allowed"),
    ([calico("k", ingress=[{**ALLOW, "protocol": "TCP", "destination": {"ports": ["http"]}}])], "denied"),
    ([calico("k", ingress=[{**ALLOW, "protocol": "TCP", "destination": {"notPorts": [80]}}])], "denied"),
    ([calico("k", ingress=[{**ALLOW, "notProtocol": "TCP"}])], "denied"),
    ([calico("k", ingress=[{**ALLOW, "protocol": "ICMP"}])], "denied"),
    ([calico("k", ingress=[{**ALLOW, "ipVersion": 6}])], "denied"),
    ([calico("k", ingress=[{**ALLOW, "destination": {"selector": "app == 'b'"}}])], "denied"),  # not about this pod
    ([calico("k", ingress=[{**ALLOW, "destination": {"selector": "role == 'front'"}}])], "allowed"),
    ([calico("k", ingress=[{**ALLOW, "http": {"methods": ["GET"]}}])], "depends"),
    ([calico("k", ingress=[{**ALLOW, "protocol": "TCP", "source": {"ports": [1024]}}])], "depends"),
])
def test_calico(documents: list[dict[str, Any]], expected: str) -> None:
    assert verdict(engine(WORLD, *documents), "y/c", "x/a") == expected


def test_a_set_of_addresses_is_meant_by_its_labels() -> None:
    partners = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",
                "metadata": {"name": "partners", "labels": {"role": "partner"}}, "spec": {"nets": ["192.0.2.0/24"]}}
    rule = {**ALLOW, "destination": {"selector": "role == 'partner'"}}
    judging = engine(WORLD, partners, calico("k", types=["Egress"], egress=[rule]))
    assert [verdict(judging, "x/a", address) for address in ("192.0.2.9", "192.0.3.1")] == ["allowed", "denied"]
    namespaced = engine(WORLD, partners, calico("k", "x", types=["Egress"], egress=[rule]))
    assert verdict(namespaced, "x/a", "192.0.2.9") == "denied", "a set of no namespace is not of the policy's"


@pytest.mark.parametrize(("document", "error", "message"), [
    (calico("k", tier="nowhere"), MalformedError, "a Tier that is there"),
    (calico("k", doNotTrack=True), UnsupportedError, "doNotTrack"),
    (calico("k", ingress=[{"action": "Drop"}]), MalformedError, "Allow, Deny, Pass or Log"),
    (calico("k", ingress=[{**ALLOW, "destination": {"ports": [80]}}]), MalformedError, "ports without one protocol"),
    (calico("k", ingress=[{**ALLOW, "protocol": "TCP", "destination": {"ports": ["90:80"]}}]), MalformedError,
     "lower one"),
    (calico("k", ingress=[{**DENY, "http": {}}]), MalformedError, "http in Allow rules"),
    (calico("k", ingress=[{**ALLOW, "sources": {}}]), UnsupportedError, "sources"),
    (calico("k", selector="app = 'a'"), MalformedError, "spec.selector"),
    (calico("k", order="first"), MalformedError, "a number"),
    (calico("k", "x", namespaceSelector="all()"), UnsupportedError, "namespaceSelector"),
    (cilium("l", ingress=[{"fromRequires": [{}]}]), UnsupportedError, "fromRequires"),
    (cilium("l", ingress=[{"fromEntities": ["wrld"]}]), MalformedError, "an entity of Cilium"),
    (cilium("l", ingress=[{"toFQDNs": []}]), UnsupportedError, "toFQDNs"),
    (cilium("l", egress=[{"toFQDNs": [{"matchName": "a", "matchPattern": "b"}]}]), MalformedError, "matchName or"),
    (cilium("l", ingressDeny=[{"toPorts": [{"ports": [], "rules": {"http": [{}]}}]}]), MalformedError, "what denies"),
    (cilium("l", ingress=[{"toPorts": [{"ports": [{"port": "99999"}]}]}]), MalformedError, "ports up to 65535"),
    (cilium("l", ingress=[{"toPorts": [{"ports": [{"port": "80", "endPort": 79}]}]}]), MalformedError,
     "lower one first"),
    (cilium("l", ingress=[{"fromCIDRSet": [{"cidrGroupRef": "g"}]}]), MalformedError,
     "a CiliumCIDRGroup that is there"),
    (cilium("l", ingress=[{"fromEndpoints": [{"matchLabels": {"reserved:host": ""}}]}]), UnsupportedError,
     "of reserved"),
    (cilium("l", nodeSelector={}), MalformedError, "CiliumClusterwideNetworkPolicy"),
    ({**cilium("l"), "spec": None}, MalformedError, "spec or specs"),
    (cilium("l", priority=1), UnsupportedError, "priority"),
])
def test_what_is_refused_by_name(document: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_policies([("d", document)], WORLD)


def test_the_default_tier_is_as_calico_has_it() -> None:
    read_policies([("d", tier("default", 1e6, defaultAction="Deny"))], WORLD)
    for document, message in ((tier("default", 5), r"spec\.order: got 5"),
                              (tier("default", 1e6, defaultAction="Pass"), r"spec\.defaultAction: got '?Pass")):
        with pytest.raises(MalformedError, match=message):
            read_policies([("d", document)], WORLD)


def test_of_equal_orders_the_name_decides_with_what_follows_it() -> None:
    """`allow-x/…` stands before `allow/…`, as the hyphen does before the slash."""
    longer, shorter = calico("allow-x", order=1, ingress=[DENY]), calico("allow", order=1, ingress=[ALLOW])
    assert verdict(engine(WORLD, shorter, longer), "y/c", "x/a") == "denied"
    assert verdict(engine(WORLD, {**shorter, "metadata": {"name": "a"}}, longer), "y/c", "x/a") == "allowed"


def test_sets_and_groups_stand_once() -> None:
    group = {"apiVersion": "cilium.io/v2alpha1", "kind": "CiliumCIDRGroup", "metadata": {"name": "g"},
             "spec": {"externalCIDRs": ["10.0.0.0/8"]}}
    addresses = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet", "metadata": {"name": "s"},
                 "spec": {"nets": ["10.0.0.0/8"]}}
    for document in (group, addresses):
        with pytest.raises(MalformedError, match="again"):
            read_policies([("d", document), ("e", document)], WORLD)


@pytest.mark.parametrize("match", [
    {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "y"}}, {"matchLabels": {"io.kubernetes.pod.namespace": "y"}}])
def test_a_cilium_policy_never_selects_pods_of_another_namespace(match: dict[str, Any]) -> None:
    """Cilium puts its own namespace over it (ParseToCiliumRule)."""
    judging = engine(WORLD, cilium("l", "x", endpointSelector=match, ingress=[{}]))
    assert (verdict(judging, "x/a", "y/c"), verdict(judging, "y/c", "x/a")) == ("allowed", "denied")
    apart = engine(WORLD, cilium("l", "x", ingress=[{}], endpointSelector={"matchExpressions": [
        {"key": "k8s:io.kubernetes.pod.namespace", "operator": "In", "values": ["y"]}]}))
    assert (verdict(apart, "x/b", "y/c"), verdict(apart, "y/c", "x/a")) == ("allowed", "allowed")


@pytest.mark.parametrize(("rule", "expected"), [
    ({"toCIDR": ["0.0.0.0/0"]}, ("denied", "allowed")), ({"toEntities": ["world"]}, ("denied", "allowed")),
    ({"toCIDRSet": [{"cidr": "10.0.0.0/8"}]}, ("denied", "denied")),
    ({"toEntities": ["cluster"]}, ("allowed", "denied")), ({"toEntities": ["all"]}, ("allowed", "allowed"))])
def test_blocks_and_the_world_are_no_nodes_to_cilium(rule: dict[str, Any], expected: tuple[str, str]) -> None:
    """docs.cilium.io, "Layer 3 Policies", IP/CIDR based: addresses of nodes are entities."""
    bare = world(*(known for known in WORLD.pods if not known.host_network), nodes=WORLD.nodes)
    judging = engine(bare, cilium("l", egress=[rule]))
    assert (verdict(judging, "x/a", "10.9.0.1"), verdict(judging, "x/a", "192.0.2.1")) == expected
    reach = judging.reach(judging.classes.of(bare.pods[0]), Direction.EGRESS)
    assert tuple("allowed" if reach.outside(number(address)).allowed else "denied"
                 for address in ("10.9.0.1", "192.0.2.1")) == expected
    denied = engine(bare, cilium("l", egressDeny=[rule], enableDefaultDeny={"egress": False}))
    assert verdict(denied, "x/a", "10.9.0.1") != expected[0]


@pytest.mark.parametrize(("spec", "expected"), [
    ({"ingress": [{}]}, "denied"),  # names nobody and no port: nothing is allowed
    ({"ingress": []}, "allowed"), ({}, "allowed"),
    ({"ingress": [{"fromEndpoints": [{}]}]}, "denied"),  # of its own namespace
    ({"ingress": [{"fromEndpoints": []}]}, "denied"),
    ({"ingress": [{"fromEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "y"}}]}]}, "allowed"),
    ({"ingress": [{"fromEndpoints": [{"matchLabels": {"io.cilium.k8s.namespace.labels.team": "two"}}]}]}, "allowed"),
    ({"ingress": [{"fromEndpoints": [{"matchExpressions": [
        {"key": "io.kubernetes.pod.namespace", "operator": "Exists"}]}]}]}, "allowed"),
    ({"ingress": [{"fromEntities": ["cluster"]}]}, "allowed"), ({"ingress": [{"fromEntities": ["world"]}]}, "denied"),
    ({"ingress": [{"fromEntities": ["all"]}]}, "allowed"),
    ({"ingress": [{"fromCIDR": ["10.0.0.0/8"]}]}, "denied"),  # addresses are never pods
    ({"ingress": [{"toPorts": [{"ports": [{"port": "80"}]}]}]}, "allowed"),
    ({"ingress": [{"toPorts": [{"ports": [{"port": "80", "protocol": "UDP"}]}]}]}, "denied"),
    ({"ingress": [{"toPorts": [{"ports": [{"port": "0", "protocol": "TCP"}]}]}]}, "allowed"),
    ({"ingress": [{"toPorts": [{"ports": [{"port": "http", "protocol": "TCP"}]}]}]}, "denied"),
    ({"ingress": [{"icmps": [{"fields": [{"type": 8}]}]}]}, "denied"),
    ({"ingress": [{"fromEntities": ["all"]}], "ingressDeny": [{"fromEntities": ["cluster"]}]}, "denied"),
    ({"ingressDeny": [{"fromEntities": ["world"]}]}, "denied"),  # isolates as rules that allow do
    ({"ingressDeny": [{"fromEntities": ["world"]}], "enableDefaultDeny": {"ingress": False}}, "allowed"),
    ({"ingress": [{}], "enableDefaultDeny": {"ingress": False}}, "allowed"),
    ({"enableDefaultDeny": {"ingress": True}}, "denied"),
    ({"ingress": [{"toPorts": [{"ports": [{"port": "80"}], "rules": {"http": [{"method": "GET"}]}}]}]}, "depends"),
    ({"ingress": [{"fromEntities": ["all"], "authentication": {"mode": "required"}}]}, "depends"),
])
def test_cilium(spec: dict[str, Any], expected: str) -> None:
    assert verdict(engine(WORLD, cilium("l", **spec)), "y/c", "x/a") == expected


def test_cilium_denies_what_kubernetes_allows_and_adds_to_it() -> None:
    assert verdict(engine(WORLD, policy("x", ingress=[{}]), cilium("l", ingressDeny=[{"fromEntities": ["cluster"]}])),
                   "y/c", "x/a") == "denied"
    assert verdict(engine(WORLD, policy("x"), cilium("l", ingress=[{"fromEntities": ["cluster"]}])), "y/c", "x/a"
                   ) == "allowed"


def test_names_may_be_any_address() -> None:
    judging = engine(WORLD, cilium("l", egress=[{"toFQDNs": [{"matchName": "example.com"}]}]))
    assert [verdict(judging, "x/a", target) for target in ("8.8.8.8", "y/c")] == ["depends", "denied"]
    egress = asked(judging, "x/a", "8.8.8.8").egress
    assert egress is not None
    assert egress.uncertain[0].reasons == ("only to addresses of example.com",)


def test_clusterwide_selectors_mean_pods_of_all_namespaces_and_no_hosts() -> None:
    judging = engine(WORLD, cilium("l", "", ingress=[{"fromEndpoints": [{}]}]))
    assert [verdict(judging, source, "x/a") for source in ("y/c", "y/h", "8.8.8.8")] == ["allowed", "denied", "denied"]
    group = {"apiVersion": "cilium.io/v2alpha1", "kind": "CiliumCIDRGroup", "metadata": {"name": "g"},
             "spec": {"externalCIDRs": ["192.0.2.0/24"]}}
    by_group = engine(WORLD, group, cilium("l", "", ingress=[{"fromCIDRSet": [
        {"cidrGroupRef": "g", "except": ["192.0.2.0/30"]}]}]))
    assert [verdict(by_group, source, "x/a") for source in ("192.0.2.9", "192.0.2.1")] == ["allowed", "denied"]
