"""What `netpol check` says: coverage of workloads, and each finding where it belongs and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from custody.network.coverage import Cover, rows
from custody.network.findings import Finding, findings
from tests.network.worlds import cilium, cluster_policy, engine, pod, policy, world

WORLD = world(pod("x/a", "10.0.0.1", "http=8080", app="a"), pod("x/b", "10.0.0.2", app="b"), pod("y/c", "10.0.1.1",
    app="c"),
              x={"team": "one"}, y={"team": "two"})
RULE: dict[str, Any] = {"from": [{"podSelector": {}}]}


def told(*documents: dict[str, Any], code: str) -> list[Finding]:
    return [finding for finding in findings(engine(WORLD, *documents)) if finding.code == code]


def test_how_workloads_are_covered() -> None:
    judging = engine(WORLD, policy("x", "deny", policyTypes=["Ingress", "Egress"]),
                     policy("x", "a", podSelector={"matchLabels": {"app": "a"}}, ingress=[RULE]))
    assert [(row.namespace, row.name, row.ingress, row.egress, row.policies) for row in rows(judging)] == [
        ("x", "a", Cover.ISOLATED, Cover.CLOSED, ("NetworkPolicy x/a", "NetworkPolicy x/deny")),
        ("x", "b", Cover.CLOSED, Cover.CLOSED, ("NetworkPolicy x/deny",)), ("y", "c", Cover.OPEN, Cover.OPEN, ())]


def test_an_admin_rule_opens_what_a_denial_closed() -> None:
    judging = engine(WORLD, policy("x", "deny"), cluster_policy("c", 1, ingress=[
        {"action": "Accept", "from": [{"namespaces": {}}]}]))
    assert [row.ingress for row in rows(judging)] == [Cover.ISOLATED, Cover.ISOLATED, Cover.OPEN]


@pytest.mark.parametrize(("document", "code", "message"), [
    (policy("x", podSelector={"matchLabels": {"app": "z"}}), "selects-nothing", "none of the pods"),
    (policy("x", ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "z"}}}]}]), "peers-match-nothing",
     "none of"),
    (policy("x", ingress=[{}]), "allows-all", "everything from everybody"),
    (policy("x", policyTypes=["Egress"], egress=[{}]), "allows-all", "everything to everybody"),
    (policy("x", policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]), "any-address",
     "all IPv4 addresses"),
    (policy("x", policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {"cidr": "::/0"}}]}]), "any-address", "all IPv6"),
    (policy("x", ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}]), "host-bits", "is read as 10.0.0.0/8"),
    (policy("x", ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"ipBlock": {"cidr": "10.1.0.0/16"}}]}]),
     "contained-block", "10.1.0.0/16"),
    (policy("x", ingress=[{"ports": [{"port": "https"}]}]), "unknown-port-name", "a port named https of TCP"),
    (policy("y", policyTypes=["Egress"], egress=[{"ports": [{"port": "https"}]}]), "unknown-port-name", "its peers"),
    (policy("x", ingress=[RULE, {"from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}]), "never-asked",
     "NetworkPolicy x/p spec.ingress[0]"),
    (policy("x", ingress=[{}, {"from": [{"podSelector": {}}], "ports": [{"port": 80}]}]), "never-asked",
     "changes nothing"),
    (cilium("l", ingress=[{"fromEntities": ["cluster"]}], ingressDeny=[{"fromEntities": ["all"]}]), "never-asked",
     "spec.ingressDeny[0]"),
    (policy("x", policyTypes=["Egress"], egress=[{"ports": [{"port": 443}]}]), "no-dns",
     "no name server (53/UDP) to ask"),
    (policy("x", policyTypes=["Ingress"]), "metadata-reachable", "169.254.169.254"),
])
def test_a_finding(document: dict[str, Any], code: str, message: str) -> None:
    listed = told(document, code=code)
    assert listed, [finding.code for finding in findings(engine(WORLD, document))]
    assert message in listed[0].message


@pytest.mark.parametrize(("document", "code"), [
    (policy("x", ingress=[RULE, {"from": [{"namespaceSelector": {}}]}]), "never-asked"),  # the second adds the others
    (policy("x", ingress=[{"ports": [{"port": 80}], **RULE}, {"ports": [{"port": 81}], **RULE}]), "never-asked"),
    (policy("x", ingress=[RULE]), "peers-match-nothing"), (policy("x", ingress=[{"from": [{"ipBlock": {
        "cidr": "192.0.2.0/24"}}]}]), "peers-match-nothing"),
    (policy("x", ingress=[{"ports": [{"port": "http"}]}]), "unknown-port-name"),
    (policy("x", ingress=[{"ports": [{"port": 80}]}]), "allows-all"), (policy("x", ingress=[RULE]), "allows-all"),
    (policy("x", ingress=[{"from": [{"ipBlock": {"cidr": "0.0.0.0/1"}}]}]), "any-address"),
    (policy("x", ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]), "host-bits"),
    (policy("x", policyTypes=["Egress"]), "no-dns"),  # nothing to look names up for
    (policy("x", policyTypes=["Egress"], egress=[{"ports": [{"port": 53, "protocol": "UDP"}]}]), "no-dns"),
])
def test_none_where_there_is_nothing(document: dict[str, Any], code: str) -> None:
    assert [finding for finding in told(document, code=code) if "namespace y" not in finding.subject] == []


def test_metadata_is_of_those_who_reach_it() -> None:
    closed = policy("x", policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {
        "cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}}]}])
    assert [finding.subject for finding in told(closed, code="metadata-reachable")] == ["namespace y"]


def test_a_rule_that_an_earlier_policy_decides() -> None:
    deny = cluster_policy("c", 1, ingress=[{"action": "Deny", "from": [{"namespaces": {}}]}, {
        "action": "Accept", "from": [{"pods": {"namespaceSelector": {},
            "podSelector": {"matchLabels": {"app": "a"}}}}]}])
    [silent, *_] = told(deny, code="never-asked")
    assert (silent.subject, silent.where) == ("ClusterNetworkPolicy c", "d0: spec.ingress[1]")
    passing = cluster_policy("c", 1, ingress=[{"action": "Pass", "from": [{"namespaces": {}}]}])
    assert told(passing, policy("x", ingress=[RULE]), code="never-asked") == []


def test_equal_priorities_and_namespaces_without_policies() -> None:
    first, second = (cluster_policy(name, 1, ingress=[{"action": word, "from": [{"namespaces": {}}]}])
                     for name, word in (("c", "Accept"), ("d", "Deny")))
    assert [finding.subject for finding in told(first, second, code="equal-priority")] == ["ClusterNetworkPolicy d"]
    assert [finding.subject for finding in told(policy("x"), code="no-policy")] == ["namespace y"]


def test_labels_that_are_not_known_are_told_where_they_are_asked_for() -> None:
    unknown = world(pod("x/a", app="a"))
    from dataclasses import replace

    from custody.network.model import Namespace

    unknown = replace(unknown, namespaces={"x": Namespace("x", declared=False)})
    asking = policy("x", ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"team": "one"}}}]}])
    assert [finding.code for finding in findings(engine(unknown, asking)) if finding.code == "unknown-namespace"]
    assert not [finding for finding in findings(engine(unknown, policy("x"))) if finding.code == "unknown-namespace"]
