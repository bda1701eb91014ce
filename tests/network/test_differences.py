"""What a change of policies makes appear and vanish: exact, by workload, with the rules that are why."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from custody.network.connectivity import Connectivity
from custody.network.differences import compare
from custody.network.documents import read_policies
from custody.network.ports import text
from tests.network import generated
from tests.network.worlds import calico, cluster_policy, engine, pod, policy, world

WORLD = world(pod("x/a", "10.0.0.1", app="a"), pod("x/b", "10.0.0.2", app="b"), pod("y/c", "10.0.1.1", app="a"))


def test_the_same_said_otherwise_is_equivalent() -> None:
    by_label = engine(WORLD, policy("x", ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "a"}}}],
                                                   "ports": [{"port": 80, "endPort": 82}]}]))
    by_list = engine(WORLD, policy("x", "q", ingress=[
        {"from": [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a"]}]}}],
         "ports": [{"port": 82}, {"port": 80}, {"port": 81}]}]))
    assert compare(by_label, by_list).equivalent
    assert compare(engine(WORLD), engine(WORLD, policy("x", ingress=[{}], egress=[{}]))).equivalent


def test_what_appears_and_vanishes_and_why() -> None:
    old = engine(WORLD, policy("x", podSelector={"matchLabels": {"app": "b"}}, ingress=[
        {"from": [{"podSelector": {}}], "ports": [{"port": 80}]}]))
    new = engine(WORLD, policy("x", podSelector={"matchLabels": {"app": "b"}}, ingress=[
        {"from": [{"namespaceSelector": {}}], "ports": [{"port": 443}]}]))
    comparison = compare(old, new)
    assert [(change.source, change.target, text(change.delta.appeared), text(change.delta.vanished))
            for change in comparison.changes] == [("x/a", "x/b", "443/TCP", "80/TCP"), ("y/c", "x/b", "443/TCP",
                    "none")]
    assert comparison.changes[1].before == ("ingress: no rule allows it: isolated by NetworkPolicy x/p",)
    assert comparison.changes[1].after == ("ingress: NetworkPolicy x/p allows it: spec.ingress[0]",)


def test_addresses_outside() -> None:
    old = engine(WORLD, policy("x", policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]))
    new = engine(WORLD, policy("x", policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {
        "cidr": "192.0.2.0/23", "except": ["192.0.2.128/25"]}}]}]))
    changes = {(change.source, change.target): change.delta for change in compare(old, new).changes}
    assert {ends: (text(delta.appeared), text(delta.vanished)) for ends, delta in changes.items()} == {
        ("x/a", "192.0.3.0/24"): ("all", "none"), ("x/b", "192.0.3.0/24"): ("all", "none"),
        ("x/a", "192.0.2.128/25"): ("none", "all"), ("x/b", "192.0.2.128/25"): ("none", "all")}


def test_what_becomes_uncertain() -> None:
    new = engine(WORLD, calico("k", ingress=[{"action": "Allow", "http": {"methods": ["GET"]}}]))
    assert {text(change.delta.unsure) for change in compare(engine(WORLD), new).changes} == {"all"}


def test_pods_of_one_side_are_named_and_not_compared() -> None:
    more = replace(WORLD, pods=(*WORLD.pods[1:], pod("x/n", "10.0.0.9")))
    comparison = compare(engine(WORLD), engine(more, policy("x")))
    assert (comparison.added, comparison.removed) == (["x/n"], ["x/a"])
    assert {change.source for change in comparison.changes} == {"y/c", "0.0.0.0/0, ::/0"}


def test_no_more_than_asked_for() -> None:
    comparison = compare(engine(WORLD), engine(WORLD, policy("x"), policy("y")), most=2)
    assert (len(comparison.changes), comparison.total > 2) == (2, True)


@pytest.mark.parametrize("seed", range(10))
def test_it_is_the_difference_of_all_pairs(seed: int) -> None:
    rng = random.Random(seed)
    topology = generated.world(rng)

    def made() -> Connectivity:
        documents = generated.policies(rng, "kc")
        return Connectivity(topology, read_policies([(f"d{at}", document) for at, document in enumerate(documents)],
            topology))

    old, new = made(), made()
    expected = set()
    for source in topology.pods:
        for target in topology.pods:
            if source.place != target.place:
                before, after = (judging.outcome(judging.classes.of(source), judging.classes.of(target))
                                 for judging in (old, new))
                if before != after:
                    expected.add((source.place, target.place, before, after))
    compared = {(change.source, change.target) for change in compare(old, new).changes
                if change.source in {pod.place for pod in topology.pods} and change.target in {
                    pod.place for pod in topology.pods}}
    assert compared == {(source, target) for source, target, _, _ in expected}
    assert compare(old, old).equivalent
    backwards = compare(new, old)
    assert {(change.source, change.target, change.delta.appeared) for change in compare(old, new).changes} == {
        (change.source, change.target, change.delta.vanished) for change in backwards.changes}


def test_a_tie_that_is_broken() -> None:
    tied = [cluster_policy(name, 1, ingress=[{"action": word, "from": [{"namespaces": {}}]}])
            for name, word in (("c", "Accept"), ("d", "Deny"))]
    comparison = compare(engine(WORLD, *tied), engine(WORLD, tied[0]))
    assert {text(change.delta.unsure) for change in comparison.changes} == {"all"}
