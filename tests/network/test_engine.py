"""The engine beside its explanation, a naive judge and cyclonus on random worlds; changes beside a fresh start."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.network.connectivity import Connectivity
from custody.network.documents import read_policies
from custody.network.intervals import EMPTY, Intervals
from custody.network.model import Direction, Namespace
from custody.network.ports import ALL
from tests.conftest import peer
from tests.fuzz import netpol
from tests.network import generated
from tests.network.worlds import engine, pod, policy, verdict, world

NUMBERS = st.sets(st.integers(0, 60), max_size=20)


def intervals(numbers: set[int]) -> Intervals:
    return Intervals((number, number) for number in numbers)


@given(NUMBERS, NUMBERS)
def test_intervals_are_sets(left: set[int], right: set[int]) -> None:
    one, two = intervals(left), intervals(right)
    assert [one | two, one & two, one - two, one ^ two] == [
        intervals(left | right), intervals(left & right), intervals(left - right), intervals(left ^ right)]
    assert (len(one), bool(one), one == two) == (len(left), bool(left), left == right)
    assert {number for number in range(61) if number in one} == left
    assert all(first[1] + 1 < second[0] for first, second in zip(one.pairs, one.pairs[1:], strict=False))
    assert Intervals([(5, 4)]) == EMPTY


@pytest.mark.parametrize("seed", range(12))
def test_every_verdict_is_what_its_explanation_says(seed: int) -> None:
    assert sum(netpol.explained(random.Random(seed)).values()) > 3000


@pytest.mark.parametrize("seed", range(12))
def test_the_naive_judge_says_the_same(seed: int) -> None:
    assert netpol.naively(random.Random(seed)) > 3000


@pytest.mark.peer
def test_cyclonus_says_the_same(tmp_path: Path) -> None:
    program = Path(peer("cyclonus"))
    assert sum(netpol.by_cyclonus(random.Random(seed), program, tmp_path) for seed in range(25)) > 5000


def answers(engine: Connectivity) -> dict[tuple[str, str, Direction], object]:
    """Of each pair of pods, and of each pod and all addresses."""
    numbers = {pod.place: engine.classes.of(pod) for pod in engine.topology.pods}
    result: dict[tuple[str, str, Direction], object] = {}
    for direction in Direction:
        for place, number in numbers.items():
            reach = engine.reach(number, direction)
            for other, at in numbers.items():
                result[place, other, direction] = reach.at(at)
            result[place, "outside", direction] = dict(reach.addresses)
    return result


@pytest.mark.parametrize("seed", range(25))
def test_a_change_is_what_a_start_from_nothing_says(seed: int) -> None:
    rng = random.Random(seed)
    world = generated.world(rng)
    around = generated.calico_surroundings(rng)
    documents = [(f"d{at}", document) for at, document in enumerate([*around, *(
        rng.choice((generated.network_policy, generated.cluster_policy, generated.calico_policy,
            generated.cilium_policy))(
            rng, at) for at in range(14))])]
    policies = read_policies(documents, world)
    identities = list(dict.fromkeys(policy.identity for policy in policies))
    engine = Connectivity(world)
    kept: list[object] = []
    for step in range(20):
        chance = rng.random()
        if chance < .5:
            identity = rng.choice(identities)
            kept = [known for known in kept if known != identity]
            parts = [policy for policy in policies if policy.identity == identity] if rng.random() < .8 else []
            engine.change(identity, parts)
            kept += [identity] if parts else []
        elif chance < .75:
            pod = rng.choice(engine.topology.pods or world.pods)
            engine.put(replace(pod, labels={"app": rng.choice("abc"), "step": str(step)}))
        elif chance < .85 and len(engine.topology.pods) > 3:
            engine.remove(rng.choice(engine.topology.pods).place)
        else:
            name = rng.choice("xyz")
            engine.relabel(Namespace(name, {"ns": name, "env": rng.choice(("prod", "dev"))}))
        fresh = Connectivity(engine.topology, [policy for policy in policies if policy.identity in kept])
        assert answers(engine) == answers(fresh), step
        assert sum(map(len, engine.classes.members)) == len(engine.topology.pods)


def test_pods_that_no_policy_can_tell_apart_are_one_class() -> None:
    rng = random.Random(1)
    world = generated.world(rng, plain=True)
    same = replace(world.pods[0], name="again", addresses=(world.pods[0].addresses[0] + 100,), labels={
        **world.pods[0].labels, "statefulset.kubernetes.io/pod-name": "again-0"})
    policies = read_policies([("d", generated.network_policy(random.Random(3), 0))], world)
    engine = Connectivity(replace(world, pods=(*world.pods, same)), policies)
    assert engine.classes.of(same) == engine.classes.of(world.pods[0])
    [told] = read_policies([("d", {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {
        "name": "own", "namespace": same.namespace}, "spec": {"podSelector": {"matchLabels": {
            "statefulset.kubernetes.io/pod-name": "again-0"}}}})], world)
    engine.change(told.identity, [told])
    assert engine.classes.of(same) != engine.classes.of(world.pods[0])
    assert engine.isolated(engine.classes.of(same), Direction.INGRESS)


def test_a_class_that_is_divided_twice_before_it_is_asked_about_again() -> None:
    pods = tuple(pod("x/p" + str(at), f"10.0.0.{at}", app="a", **{f"l{at}": "1"}) for at in range(4))
    topology = world(*pods, pod("x/q", "10.0.1.1", app="b"))
    judging = engine(topology, policy("x", "q", podSelector={"matchLabels": {"app": "b"}}, ingress=[
        {"from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}]))
    assert verdict(judging, "x/p3", "x/q") == "allowed"
    target = judging.classes.of(topology.pods[-1])
    judging.reach(target, Direction.INGRESS)
    everybody = frozenset(judging.classes.of(known) for known in pods)
    assert len(everybody) == 1
    for document in (policy("x", "one", podSelector={"matchExpressions": [{"key": "l0", "operator": "DoesNotExist"}]}),
                     policy("x", "two", podSelector={"matchExpressions": [{"key": "l1", "operator": "DoesNotExist"},
                                                                         {"key": "app", "operator": "In",
                                                                          "values": ["a"]}]})):
        parts = read_policies([("d", document)], topology)
        judging.change(parts[0].identity, parts)
    assert len({judging.classes.of(known) for known in pods}) == 3
    assert [judging.outcome(judging.classes.of(known), target).allowed == ALL for known in pods] == [True] * 4
