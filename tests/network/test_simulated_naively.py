"""Lines of a flow log, simulated, beside a judge that knows nothing of classes, groups or tiers."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from custody.formats.flows.recognition import read
from custody.network.addresses import address_text, number
from custody.network.connectivity import Connectivity
from custody.network.documents import read_policies
from custody.network.ends import Ends
from custody.network.model import Pod, Topology, Workload
from custody.network.observed import Observed
from custody.network.simulation import Verdict, simulate
from tests.fuzz.netpol import MIXTURES, certain
from tests.network import generated, naive

OUTSIDE = ("8.8.8.8", "93.184.216.34", "2606:2800::1")
PORTS = (80, 81, 443, 8080, 5)
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


def world(chance: random.Random) -> Topology:
    """Pods of which some have one controller and the same labels, so that they are judged as one."""
    made = generated.world(chance, plain=True)
    pods = []
    for pod in made.pods:
        alike = next((known for known in pods if known.namespace == pod.namespace), None)
        if alike is not None and chance.random() < .5:
            pod = replace(alike, name=pod.name, addresses=pod.addresses)
        pods.append(replace(pod, workload=Workload("Deployment", f"w{chance.randrange(2)}")))
    return replace(made, pods=tuple(pods))


def line(source: str, destination: str, protocol: str, port: int) -> bytes:
    state = "ESTABLISHED " if protocol != "udp" else ""
    return (f"{protocol:<8} {PROTOCOLS[protocol]} 99 {state}src={source} dst={destination} sport=40000 dport={port} "
            f"src={destination} dst={source} sport={port} dport=40000 [ASSURED] mark=0 use=1").encode()


def simulated(seed: int) -> Counter[Verdict]:
    """Raises AssertionError where the two do not agree."""
    chance = random.Random(seed)
    topology = world(chance)
    documents = certain(generated.policies(chance, chance.choice(MIXTURES)))
    policies = read_policies([(f"d{at}", document) for at, document in enumerate(documents)], topology)
    sides: list[Pod | str] = [*topology.pods, *OUTSIDE]
    counted: Counter[Verdict] = Counter()
    for source in sides:
        for target in sides:
            if source == target or (isinstance(source, str) and isinstance(target, str)):
                continue
            protocol, port = chance.choice(list(PROTOCOLS)), chance.choice(PORTS)
            names = [end if isinstance(end, str) else address_text(end.addresses[0]) for end in (source, target)]
            observed = Observed(Ends(topology, policies=policies))
            for told in read([line(names[0], names[1], protocol, port)], "flows"):
                observed.add("flows", *told)
            (row,) = simulate(observed, Connectivity(topology, policies))
            made = naive.Connection(topology, source, target, protocol.upper(), port)
            passes = all(naive.half(documents, direction, subject, peer, made) for direction, subject, peer in (
                ("egress", source, target), ("ingress", target, source)) if isinstance(subject, Pod))
            assert row.verdict is (Verdict.ALLOWED if passes else Verdict.CUT), (seed, names, protocol, port, documents)
            assert passes or row.judged.policies, "what denies it is named"
            counted[row.verdict] += 1
    return counted


@pytest.mark.parametrize("seed", range(25))
def test_both_say_the_same(seed: int) -> None:
    assert simulated(seed)


def test_both_answers_are_among_them() -> None:
    counted: Counter[Verdict] = sum((simulated(seed) for seed in range(100, 110)), Counter())
    assert min(counted[Verdict.ALLOWED], counted[Verdict.CUT]) > 50


def test_pods_that_a_block_tells_apart_are_judged_apart() -> None:
    pods = tuple(Pod("shop", f"web-{at}", {"app": "web"}, (number(f"10.0.0.{at}"),),
                     workload=Workload("Deployment", "web")) for at in (1, 2))
    api = Pod("shop", "api-1", {"app": "api"}, (number("10.0.0.3"),))
    topology = Topology((*pods, api), {})
    policies = read_policies([("x", {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "x", "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": {"app": "api"}}, "ingress": [
            {"from": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]}]}})], topology)
    observed = Observed(Ends(topology, policies=policies))
    for source in ("10.0.0.1", "10.0.0.2"):
        for told in read([line(source, "10.0.0.3", "tcp", 80)], "flows"):
            observed.add("flows", *told)
    verdicts = sorted(row.verdict.name for row in simulate(observed, Connectivity(topology, policies)))
    assert verdicts == ["ALLOWED", "CUT"]
