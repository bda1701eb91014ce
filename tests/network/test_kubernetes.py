"""NetworkPolicy, trap by trap: what is missing and what is empty, ports, blocks, and what the plugin decides."""

from __future__ import annotations

from typing import Any

import pytest

from custody.errors import MalformedError, UnsupportedError
from custody.network import kubernetes
from custody.network.addresses import number
from custody.network.intervals import EMPTY
from custody.network.judgement import End, judge
from custody.network.model import Node
from custody.network.names import ends
from custody.network.ports import ALL, key
from tests.network.worlds import asked, cluster_policy, engine, pod, policy, verdict, world

A = pod("x/a", "10.0.0.1", "http=8080 dns=53/UDP", app="a")
B = pod("x/b", "10.0.0.2", "http=80", app="b")
C = pod("y/c", "10.1.0.1", "http=80", app="a")
WORLD = world(A, B, C, x={"team": "one"}, y={"team": "two"})
DENY_ALL: dict[str, Any] = {"policyTypes": ["Ingress", "Egress"]}


def test_no_policy_allows_everything() -> None:
    assert asked(engine(WORLD), "y/c", "x/a").ingress.reason == "no policy selects it"  # type: ignore[union-attr]
    assert verdict(engine(WORLD), "y/c", "x/a") == "allowed"


@pytest.mark.parametrize(("spec", "ingress", "egress"), [
    ({}, "denied", "allowed"),  # without policyTypes it is about ingress
    ({"egress": [{"to": [{"podSelector": {}}]}]}, "denied", "denied"),  # and about egress where that has rules
    ({"egress": []}, "denied", "allowed"),  # an empty list is none
    ({"policyTypes": ["Egress"]}, "allowed", "denied"),
    ({"policyTypes": ["Egress"], "ingress": [{}]}, "allowed", "denied"),
    ({"policyTypes": ["Ingress"], "egress": [{}]}, "denied", "allowed"),
    ({"ingress": []}, "denied", "allowed"), ({"ingress": None}, "denied", "allowed"),
    ({"ingress": [{}]}, "allowed", "allowed"),
    ({"ingress": [{"from": []}]}, "allowed", "allowed"),  # an empty list of peers means everybody
    ({"ingress": [{"from": [], "ports": []}]}, "allowed", "allowed"),
    ({"ingress": [{"from": [{"podSelector": {}}]}]}, "denied", "allowed"),  # of its own namespace
    ({"ingress": [{"from": [{"namespaceSelector": {}}]}]}, "allowed", "allowed"),
    ({"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "two"}}, "podSelector": {
        "matchLabels": {"app": "b"}}}]}]}, "denied", "allowed"),  # both in one element have to be true
    ({"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "two"}}}, {"podSelector": {
        "matchLabels": {"app": "b"}}}]}]}, "allowed", "allowed"),  # elements are alternatives
    ({"ingress": [{"ports": [{"port": 80}]}]}, "allowed", "allowed"),
    ({"ingress": [{"ports": [{"port": 80, "protocol": "UDP"}]}]}, "denied", "allowed"),
    ({"ingress": [{"ports": [{"protocol": "TCP"}]}]}, "allowed", "allowed"),
    ({"ingress": [{"ports": [{"port": 70, "endPort": 80}]}]}, "allowed", "allowed"),
    ({"ingress": [{"ports": [{"port": 81, "endPort": 90}]}]}, "denied", "allowed"),
])
def test_what_is_missing_and_what_is_empty(spec: dict[str, Any], ingress: str, egress: str) -> None:
    judging = engine(WORLD, policy("x", podSelector={"matchLabels": {"app": "b"}}, **spec))
    assert (verdict(judging, "y/c", "x/b"), verdict(judging, "x/b", "y/c")) == (ingress, egress)


def test_policies_add_up_and_replies_need_no_rule() -> None:
    deny = policy("x", "deny", **DENY_ALL)
    web = policy("x", "web", podSelector={"matchLabels": {"app": "b"}}, ingress=[{"from": [{"namespaceSelector": {}}]}])
    judging = engine(WORLD, deny, web)
    assert verdict(judging, "y/c", "x/b") == "allowed"
    assert verdict(judging, "x/b", "y/c") == "denied"
    assert verdict(judging, "x/a", "x/b") == "denied", "the source's egress has to allow it too"


@pytest.mark.parametrize(("target", "port", "expected"), [
    ("x/a", "8080/TCP", "allowed"), ("x/a", "80/TCP", "denied"), ("x/b", "80/TCP", "allowed"), ("x/b", "80/UDP",
     "denied"),
    ("x/b", "8080/TCP", "denied")])
def test_a_named_port_is_the_destinations(target: str, port: str, expected: str) -> None:
    by_ingress = engine(WORLD, policy("x", ingress=[{"ports": [{"port": "http"}]}]))
    by_egress = engine(WORLD, policy("y", policyTypes=["Egress"], egress=[{"ports": [{"port": "http"}]}]))
    assert [verdict(judging, "y/c", target, port) for judging in (by_ingress, by_egress)] == [expected, expected]


def test_a_named_port_has_its_protocol() -> None:
    judging = engine(WORLD, policy("x", ingress=[{"ports": [{"port": "dns"}]}]))
    assert verdict(judging, "y/c", "x/a", "53/UDP") == "denied", "protocol is TCP where none is named"
    assert verdict(engine(WORLD, policy("x", ingress=[{"ports": [{"port": "dns", "protocol": "UDP"}]}])),
                   "y/c", "x/a", "53/UDP") == "allowed"


def test_blocks_and_what_they_leave_out() -> None:
    judging = engine(WORLD, policy("x", ingress=[{"from": [{"ipBlock": {
        "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}}]}]))
    assert [verdict(judging, source, "x/a") for source in ("10.3.0.1", "10.1.0.9", "10.2.0.0", "11.0.0.0",
        "fd00::1")] == [
        "allowed", "denied", "denied", "denied", "denied"]
    assert verdict(judging, "x/b", "x/a") == "allowed"
    assert verdict(judging, "y/c", "x/a") == "denied"


def test_blocks_of_both_families() -> None:
    dual = pod("x/d", "10.0.0.9 fd00::9", app="d")
    judging = engine(world(A, dual), policy("x", podSelector={"matchLabels": {"app": "a"}}, ingress=[
        {"from": [{"ipBlock": {"cidr": "fd00::/8", "except": ["fd01::/16"]}}]}]))
    assert [verdict(judging, source, "x/a") for source in ("fd00::1", "fd01::1", "10.0.0.1", "x/d")] == [
        "allowed", "denied", "denied", "depends"]
    assert [judge(judging, end, End(A), key("TCP", 80)).verdict.value
            for word in ("fd00::9", "10.0.0.9") for end in ends(word, judging.topology, "--from")] == [
        "allowed", "denied"], "who names an address asks about that one"
    cells = {judging.classes.samples[cell.source].place: cell.outcome for cell in judging.cells()
             if judging.classes.samples[cell.target].place == "x/a"}
    assert cells["x/d"] == (EMPTY, ALL)


def test_a_denial_of_one_family_does_not_cut_the_other() -> None:
    dual = pod("x/d", "10.0.0.9 fd00::9", app="d")
    deny = cluster_policy("v4", 1, egress=[{"action": "Deny", "to": [{"networks": ["0.0.0.0/0"]}]}])
    both = cluster_policy("both", 1, egress=[{"action": "Deny", "to": [{"networks": ["0.0.0.0/0", "::/0"]}]}])
    assert verdict(engine(world(A, dual), deny), "x/a", "x/d") == "depends"
    assert verdict(engine(world(A, dual), both), "x/a", "x/d") == "denied"


@pytest.mark.parametrize(("spec", "message"), [
    ({"ingress": [{"ports": [{"port": "80"}]}]}, r"ports\[0\]\.port: got '?80"),
    ({"ingress": [{"ports": [{"port": "HTTP"}]}]}, r"port: got '?HTTP"),
    ({"ingress": [{"ports": [{"port": "a--b"}]}]}, "port: got"),
    ({"ingress": [{"ports": [{"port": "abcdefghijklmnop"}]}]}, "port: got"),
    ({"ingress": [{"ports": [{"port": 80, "protocol": ""}]}]}, "protocol: got"),
    ({"policyTypes": ["Ingress", "Egress", "Ingress"]}, "3 items"),
    ({"podSelector": {"matchLabels": {"a b": "c"}}}, "the key a b"),
    ({"podSelector": {"matchLabels": {"a/b/c": "d"}}}, "the key a/b/c"),
    ({"podSelector": {"matchLabels": {"A.com/b": "d"}}}, "the key A.com/b"),
    ({"podSelector": {"matchLabels": {"a": "b c"}}}, "a: b c"),
    ({"podSelector": {"matchLabels": {"a": "x" * 64}}}, "a: xxx"),
    ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b c"]}]}}, "a: b c"),
    ({"podSelector": {"matchExpressions": [{"key": "a_", "operator": "DoesNotExist"}]}}, "the key a_"),
])
def test_what_the_api_server_refuses_is_not_judged_as_a_policy_that_selects_nobody(spec: dict[str, Any], message: str
                                                                                   ) -> None:
    """Each is refused by a real one (1.34, --dry-run=server): such a policy does not stand, and isolates nobody."""
    with pytest.raises(MalformedError, match=message):
        engine(WORLD, policy("x", **spec))


@pytest.mark.parametrize("name", ["Web", "a/b", "-a"])
def test_a_policy_has_a_name_that_the_api_server_takes(name: str) -> None:
    with pytest.raises(MalformedError, match=r"metadata\.name: got"):
        engine(WORLD, policy("x", name))


def test_an_address_that_is_not_known() -> None:
    unknown = pod("x/u", app="u")
    judging = engine(world(A, unknown), policy("x", podSelector={"matchLabels": {"app": "a"}}, ingress=[
        {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]))
    judgement = asked(judging, "x/u", "x/a")
    assert judgement.verdict.value == "depends"
    assert judgement.ingress is not None
    assert judgement.ingress.uncertain[0].reasons == ("the pod's address is not known",)
    everywhere = engine(world(A, unknown), policy("x", podSelector={"matchLabels": {"app": "a"}}, ingress=[
        {"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]}]))
    assert verdict(everywhere, "x/u", "x/a") == "allowed"


def test_what_the_plugin_decides() -> None:
    host, node = pod("x/h", "10.9.0.1", host=True, app="h"), Node("n", {}, (number("10.9.0.1"), number("10.9.0.2")))
    own = pod("x/o", "10.0.0.7", node="n", app="o")
    topology = world(A, host, own, nodes=(node,))
    denied = engine(topology, policy("x", **DENY_ALL))
    loop = asked(denied, "x/a", "x/a")
    assert loop.verdict.value == "depends"
    assert "to itself" in loop.notes[0]
    assert verdict(engine(topology), "x/a", "x/a") == "allowed"
    assert verdict(engine(topology, policy("x")), "x/a", "x/h") == "depends", "whether policies see the host's network"
    by_label = policy("x", podSelector={"matchLabels": {"app": "a"}}, ingress=[{"from": [{"podSelector": {
        "matchLabels": {"app": "h"}}}]}])
    judgement = asked(engine(topology, by_label), "x/h", "x/a")
    assert judgement.verdict.value == "depends"
    assert judgement.ingress is not None
    assert "whether selectors mean it" in judgement.ingress.uncertain[0].reasons[0]
    kubelet = asked(denied, "10.9.0.2", "x/o")
    assert kubelet.verdict.value == "depends"
    assert "own node" in kubelet.notes[0]
    assert verdict(denied, "10.9.0.2", "x/a") == "denied", "of a pod on no known node"


def test_the_reason_names_policy_rule_and_document() -> None:
    judging = engine(WORLD, policy("x", "deny"), policy("x", "web", ingress=[
        {"ports": [{"port": 443}]}, {"from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}]))
    ingress = asked(judging, "x/a", "x/b").ingress
    assert ingress is not None
    assert ingress.reason == "NetworkPolicy x/web allows it: spec.ingress[1]"
    assert ingress.decided is not None
    assert ingress.decided.policy.where == "d1"
    refused = asked(judging, "y/c", "x/b").ingress
    assert refused is not None
    assert refused.reason == "no rule allows it: isolated by NetworkPolicy x/deny, NetworkPolicy x/web"


@pytest.mark.parametrize(("spec", "where", "message"), [
    ({"policyTypes": ["Both"]}, "policyTypes[0]", "Ingress or Egress"),
    ({"ingress": [{"from": [{}]}]}, "ingress[0].from[0]", "podSelector, namespaceSelector or ipBlock"),
    ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]}, "ipBlock", "ipBlock alone"),
    ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0"}}]}]}, "cidr", "address block"),
    ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/255.0.0.0"}}]}]}, "cidr", "address block"),
    ({"ingress": [{"from": [{"ipBlock": {"cidr": "::ffff:10.0.0.0/104"}}]}]}, "cidr", "IPv4 or of IPv6"),
    ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]}, "except[0]",
     "inside of 10.0.0.0/8"),
    ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}]}, "except[0]",
      "inside of"),
    ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["fd00::/16"]}}]}]}, "except[0]", "inside of"),
    ({"ingress": [{"ports": [{"port": 80, "endPort": 79}]}]}, "endPort", "at least port, 80"),
    ({"ingress": [{"ports": [{"endPort": 79}]}]}, "endPort", "where port is no number"),
    ({"ingress": [{"ports": [{"port": "http", "endPort": 79}]}]}, "endPort", "where port is no number"),
    ({"ingress": [{"ports": [{"port": 0}]}]}, "port", "from 1 to 65535"),
    ({"ingress": [{"ports": [{"port": 65536}]}]}, "port", "from 1 to 65535"),
    ({"ingress": [{"ports": [{"port": True}]}]}, "port", "number or name"),
    ({"ingress": [{"ports": [{"port": 80, "protocol": "ICMP"}]}]}, "protocol", "TCP, UDP or SCTP"),
    ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, "values", "at least one value"),
    ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}, "values",
      "no values"),
    ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}, "operator", "In, NotIn, Exists"),
    ({"podSelector": {"matchLabels": {"a": 1}}}, "matchLabels.a", "text"),
])
def test_what_is_wrong_is_named(spec: dict[str, Any], where: str, message: str) -> None:
    with pytest.raises(MalformedError) as raised:
        kubernetes.read(policy("x", **spec), "file[0]")
    assert where in raised.value.where
    assert message in raised.value.message


@pytest.mark.parametrize("field", ["ingres", "podselector", "priority"])
def test_fields_that_it_does_not_have(field: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"file\[0\].spec.{field}"):
        kubernetes.read(policy("x", **{field: []}), "file[0]")
    with pytest.raises(UnsupportedError, match=r"ingress\[0\].froms"):
        kubernetes.read(policy("x", ingress=[{"froms": []}]), "file[0]")
