"""Random pods and policies: the engine beside its explanation, beside a naive judge, and beside cyclonus.

usage: python -m tests.fuzz.netpol [N] [SEED]      N worlds with policies of all kinds, and N of Kubernetes' alone
"""

from __future__ import annotations

import copy
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from custody.network.addresses import number
from custody.network.connectivity import Connectivity
from custody.network.documents import read_policies
from custody.network.judgement import End, judge
from custody.network.model import Direction, Pod, Topology
from custody.network.ports import PROTOCOLS, key
from custody.network.tiers import Outcome
from tests.apiserver import AbsentError, program
from tests.network import cyclonus, generated, naive

ADDRESSES = ("10.1.2.3", "10.9.0.1", "8.8.8.8", "fd00::1")
NUMBERS = (80, 81, 443, 480, 8080, 5)
MIXTURES = ("k", "c", "a", "l", "kc", "ka", "kl", "kcal")


def engine(world: Topology, documents: list[dict[str, Any]]) -> Connectivity:
    return Connectivity(world, read_policies([(f"d{at}", document) for at, document in enumerate(documents)], world))


def said(outcome: Outcome, port: int) -> str:
    return "allowed" if port in outcome.allowed else "depends" if port in outcome.depends else "denied"


def certain(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what makes a verdict depend: equal priorities, domain names, requests, the pod's own node."""
    taken: set[tuple[str, int]] = set()
    kept = copy.deepcopy(documents)
    for document in kept:
        spec = document["spec"]
        if document["kind"] in ("ClusterNetworkPolicy", "AdminNetworkPolicy"):
            tier = spec.get("tier", "Admin")
            while (tier, spec["priority"]) in taken or (tier, spec["priority"]) == ("Baseline", 0):
                spec["priority"] += 1
            taken.add((tier, spec["priority"]))
            for rule in spec["egress"]:
                rule["to"] = [peer for peer in rule["to"] if "domainNames" not in peer] or [{"namespaces": {}}]
        if document["apiVersion"].startswith("cilium.io"):
            for word in ("ingress", "egress", "ingressDeny", "egressDeny"):
                for rule in spec.get(word, []):
                    for entities in ("fromEntities", "toEntities"):
                        if entities in rule:
                            rule[entities] = [entity for entity in rule[entities] if entity != "host"]
                    for part in rule.get("toPorts", []):
                        part.pop("rules", None)
    return kept


def explained(rng: random.Random) -> Counter[str]:
    """Every verdict beside its explanation, with all that is uncertain. Raises AssertionError."""
    world = generated.world(rng)
    judging = engine(world, generated.policies(rng, rng.choice(MIXTURES)))
    counted: Counter[str] = Counter()
    for source in world.pods:
        for target in (*world.pods, *ADDRESSES):
            for direction in Direction:
                counted += _explained(judging, source, target, direction)
    return counted


def _explained(judging: Connectivity, subject: Pod, peer: Pod | str, direction: Direction) -> Counter[str]:
    counted: Counter[str] = Counter()
    own, far = End(subject), End(peer) if isinstance(peer, Pod) else End(None, number(peer))
    if own == far:
        return counted
    reach = judging.reach(judging.classes.of(subject), direction)
    outcome = reach.at(judging.classes.of(peer)) if isinstance(peer, Pod) else reach.outside(number(peer))
    for protocol in PROTOCOLS:
        for port in NUMBERS:
            leaving = direction is Direction.EGRESS
            judgement = judge(judging, own if leaving else far, far if leaving else own, key(protocol, port))
            half = judgement.egress if leaving else judgement.ingress
            assert half is not None
            if judgement.notes:
                continue  # from the pod's own node
            folded = said(outcome, key(protocol, port))
            assert folded == half.verdict.value, (subject.place, peer, direction, protocol, port, folded, half)
            counted[folded] += 1
    return counted


def naively(rng: random.Random) -> int:
    """Every verdict beside the naive judge's. Raises AssertionError; returns how many were compared."""
    world = generated.world(rng, plain=True)
    documents = certain(generated.policies(rng, rng.choice(MIXTURES)))
    judging = engine(world, documents)
    compared = 0
    for subject in world.pods:
        for peer in (*world.pods, *ADDRESSES):
            for direction in Direction:
                reach = judging.reach(judging.classes.of(subject), direction)
                outcome = reach.at(judging.classes.of(peer)) if isinstance(peer, Pod) else reach.outside(number(peer))
                leaving = direction is Direction.EGRESS
                for protocol in PROTOCOLS:
                    for port in NUMBERS:
                        made = naive.Connection(world, subject if leaving else peer, peer if leaving else subject,
                                                protocol, port)
                        expected = naive.half(documents, direction.value, subject, peer, made)
                        answer = said(outcome, key(protocol, port))
                        assert answer == ("allowed" if expected else "denied"), (
                            subject, peer, direction, protocol, port, answer, documents)
                        compared += 1
    return compared


def present(part: Any) -> Any:
    """NotIn of labels that are there alone: of absent ones Kubernetes says that it matches (apimachinery,
    labels.Requirement.Matches), and cyclonus that it does not.
    """
    if isinstance(part, list):
        return [present(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    result = {name: present(inner) for name, inner in part.items()}
    expressions = result.get("matchExpressions")
    if expressions:
        result["matchExpressions"] = expressions + [{"key": expression["key"], "operator": "Exists"}
                                                    for expression in expressions if expression["operator"] == "NotIn"]
    return result


def by_cyclonus(rng: random.Random, judge_program: Path, folder: Path) -> int:
    """NetworkPolicies alone, beside cyclonus. Raises AssertionError; returns how many verdicts were compared.

    It takes a port's name by the number alone, so that it is asked of ports that the target's containers have.
    """
    world = generated.world(rng, plain=True, single=True)
    places = {pod.place: pod for pod in world.pods}
    documents = present([generated.network_policy(rng, at) for at in range(rng.randint(1, 6))])
    judging = engine(world, documents)
    ports = [(protocol, port) for protocol in PROTOCOLS for port in generated.NUMBERS]
    compared = 0
    for name, tables in cyclonus.answers(judge_program, folder, world, documents, ports).items():
        protocol, _, port = name.partition("/")
        at = key(protocol, int(port))  # type: ignore[arg-type]
        for (source, target), answers in tables["Combined"].items():
            expected = answers[name]
            if (protocol, int(port)) not in {(named.protocol, named.number) for named in places[target].ports}:
                continue
            outcome = judging.outcome(judging.classes.of(places[source]), judging.classes.of(places[target]))
            assert said(outcome, at) == ("allowed" if expected == "." else "denied"), (
                places[source], places[target], name, expected, documents)
            compared += 1
    return compared


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    total: Counter[str] = Counter()
    compared = 0
    for at in range(seed, seed + count):
        total += explained(random.Random(at))
        compared += naively(random.Random(at))
    print(f"{count} worlds: {sum(total.values())} explanations agree ({dict(total)}), {compared} naive verdicts agree")
    try:
        judge_program = Path(program("cyclonus"))
    except AbsentError as absent:
        print(absent)
        return
    with tempfile.TemporaryDirectory() as folder:
        judged = sum(by_cyclonus(random.Random(at), judge_program, Path(folder)) for at in range(seed, seed + count))
    print(f"cyclonus: {count} sets of policies, {judged} verdicts agree")


if __name__ == "__main__":
    main()
