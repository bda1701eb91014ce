"""Who can reach whom among many pods and policies: from documents to every answer, and again after a change.

    python -m bench.network.connectivity [PODS POLICIES]   10,000 and 2,000 by default
    python -m bench.network.connectivity cyclonus          beside `cyclonus analyze --mode probe`, as large as it bears
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from tests.apiserver import program

from custody.network import kubernetes
from custody.network.addresses import address_text
from custody.network.connectivity import Connectivity
from custody.network.documents import Documents, read
from custody.network.findings import findings
from custody.network.model import Direction, Policy

Document = dict[str, Any]
_TIERS = ("web", "api", "db", "cache", "worker")


def namespaces(rng: random.Random, count: int) -> list[Document]:
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"ns{at}", "labels": {
        "team": f"team{rng.randrange(max(1, count // 8))}", "env": rng.choice(("prod", "prod", "stage", "dev"))}}}
        for at in range(count)]


def pods(rng: random.Random, count: int, spaces: int) -> list[Document]:
    """Of Deployments, and a tenth of StatefulSets, whose pods have labels of their own; namespaces of all sizes."""
    result: list[Document] = []
    weights = [1 / (at + 3) for at in range(spaces)]
    workload = 0
    while len(result) < count:
        namespace, name = rng.choices(range(spaces), weights)[0], f"w{workload}"
        workload += 1
        stateful, tier = rng.random() < .1, rng.choice(_TIERS)
        template = f"{rng.getrandbits(32):08x}"
        for replica in range(min(count - len(result), rng.choice((1, 2, 3, 3, 5, 10, 20)))):
            at = len(result)
            labels = {"app.kubernetes.io/name": f"app{workload % 40}", "app.kubernetes.io/component": tier,
                      "app.kubernetes.io/instance": name,
                      **({"statefulset.kubernetes.io/pod-name": f"{name}-{replica}"} if stateful else
                         {"pod-template-hash": template})}
            result.append({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": f"{name}-{replica}", "namespace": f"ns{namespace}", "labels": labels},
                "spec": {"containers": [{"name": "main", "ports": [
                    {"name": "http" if tier in ("web", "api") else "data", "containerPort": 8080}]}]},
                "status": {"podIP": f"10.{at >> 16 & 255}.{at >> 8 & 255}.{at & 255}"}})
    return result


def policies(rng: random.Random, count: int, spaces: int) -> list[Document]:
    """A default denial in most namespaces, and allow rules by labels, namespaces, blocks, ports by number and name."""
    result: list[Document] = []
    for at in range(count):
        namespace = f"ns{at % spaces}"
        spec: Document = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"] if at % 3 == 0 else ["Ingress"]}
        if at >= spaces:
            chosen = rng.choice(("app.kubernetes.io/name", "app.kubernetes.io/component"))
            value = f"app{rng.randrange(40)}" if chosen.endswith("name") else rng.choice(_TIERS)
            spec["podSelector"] = {"matchLabels": {chosen: value}}
            peers: list[Document] = []
            for _ in range(rng.randint(1, 3)):
                kind = rng.random()
                if kind < .5:
                    peers.append({"podSelector": {"matchLabels": {"app.kubernetes.io/component": rng.choice(_TIERS)}}})
                elif kind < .8:
                    team = f"team{rng.randrange(max(1, spaces // 8))}"
                    peers.append({"namespaceSelector": {"matchLabels": {"team": team}},
                                  "podSelector": {"matchExpressions": [{"key": "app.kubernetes.io/component",
                                                                        "operator": "In", "values": ["web", "api"]}]}})
                else:
                    peers.append({"ipBlock": {"cidr": f"172.{rng.randint(16, 31)}.{rng.randrange(256)}.0/24"}})
            ports = [{"port": rng.choice((80, 443, 8080, "http", "data"))}]
            spec["ingress"] = [{"from": peers, "ports": ports}]
            if "Egress" in spec["policyTypes"]:
                spec["egress"] = [{"to": [{"namespaceSelector": {}}], "ports": [{"protocol": "UDP", "port": 53}]},
                                  {"to": peers, "ports": ports}]
        result.append({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                       "metadata": {"name": f"p{at}", "namespace": namespace}, "spec": spec})
    return result


def documents(rng: random.Random, pod_count: int, policy_count: int) -> list[Document]:
    spaces = max(4, pod_count // 50)
    return [*namespaces(rng, spaces), *pods(rng, pod_count, spaces), *policies(rng, policy_count, spaces)]


def timed(work: Callable[[], Any], clock: Callable[[], float] = process_time) -> tuple[float, Any]:
    """Seconds of this process's CPU, which a machine that is not idle does not change much."""
    start = clock()
    result = work()
    return clock() - start, result


def answer_all(engine: Connectivity) -> int:
    """Both directions of every class, folded."""
    return sum(len(engine.reach(number, direction).pods) for number in range(len(engine.classes))
               for direction in Direction)


def large(pod_count: int, policy_count: int) -> None:
    rng = random.Random(1)
    listed = documents(rng, pod_count, policy_count)
    reading, result = timed(lambda: read([(f"d{at}", document) for at, document in enumerate(listed)]))
    building, engine = timed(lambda: Connectivity(result.topology, result.policies))
    folding, _ = timed(lambda: answer_all(engine))
    cells, pairs = timed(lambda: sum(1 for _ in engine.cells()))
    print(f"{pod_count} pods of {len(engine.classes)} classes, {policy_count} policies")
    print(f"  documents read      {reading:6.2f} s")
    print(f"  classes, selection  {building:6.2f} s")
    print(f"  verdicts folded     {folding:6.2f} s")
    print(f"  pairs of classes    {cells:6.2f} s   {pairs} may connect")
    print(f"  together            {reading + building + folding + cells:6.2f} s   "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    linting, found = timed(lambda: findings(engine))
    print(f"  findings            {linting:6.2f} s   {len(found)}")
    _changes(engine, result, rng)


def _changes(engine: Connectivity, result: Documents, rng: random.Random) -> None:
    """Medians and largest of 40, in CPU time: the change, and whatever it makes another answer of."""
    policy_times, label_times, pod_times = [], [], []
    for at in range(40):
        policy = rng.choice(result.policies)
        peer = rng.choice(result.policies)
        changed = [replace(policy, ingress=peer.ingress, egress=peer.egress)]
        policy_times.append(timed(lambda changed=changed: (engine.change(changed[0].identity, changed),
                                                           answer_all(engine)))[0])
        fresh: list[Policy] = kubernetes.read({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": f"new{at}", "namespace": "ns0"},
            "spec": {"podSelector": {"matchLabels": {"statefulset.kubernetes.io/pod-name": f"w{at}-0"}},
                     "ingress": [{"from": [{"ipBlock": {"cidr": f"10.0.{at}.0/25"}}]}]}}, "new")
        label_times.append(timed(lambda fresh=fresh: (engine.change(fresh[0].identity, fresh), answer_all(engine)))[0])
        pod = rng.choice(result.topology.pods)
        moved = replace(pod, labels={**pod.labels, "app.kubernetes.io/component": f"other{at}"})
        pod_times.append(timed(lambda moved=moved: (engine.put(moved), answer_all(engine)))[0])
    for name, times in (("a policy changed", policy_times), ("a policy that tells pods apart", label_times),
                        ("a pod changed", pod_times)):
        print(f"  {name:31} median {statistics.median(times) * 1000:6.1f} ms, largest {max(times) * 1000:6.1f} ms")


def beside_cyclonus() -> None:
    """Whole processes, medians of five, in turn: the matrix of six ports among 60 pods by 30 policies."""
    rng = random.Random(2)
    listed = documents(rng, 60, 30)
    result = read([(f"d{at}", document) for at, document in enumerate(listed)])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "all.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": listed}))
        (folder / "policies.json").write_text(json.dumps({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicyList",
            "items": [document for document in listed if document["kind"] == "NetworkPolicy"]}))
        (folder / "probe.json").write_text(json.dumps({"Resources": {
            "Namespaces": {space.name: dict(space.all_labels()) for space in result.topology.namespaces.values()},
            "Pods": [{"Namespace": pod.namespace, "Name": pod.name, "Labels": dict(pod.labels),
                      "IP": address_text(pod.addresses[0]), "Containers": [
                          {"Name": port.name, "Port": port.number, "Protocol": port.protocol, "PortName": port.name}
                          for port in pod.ports]} for pod in result.topology.pods]},
            "Probes": [{"Port": port, "Protocol": protocol} for port in (8080, 443)
                       for protocol in ("TCP", "UDP", "SCTP")]}))
        ours, theirs = [], []
        commands = ((ours, [sys.executable, "-c", "from custody.cli.main import main; main()", "netpol", "connectivity",
                            folder / "all.json", "-o", "json"]),
                    (theirs, [program("cyclonus"), "analyze", "--mode", "probe", "--policy-path",
                              folder / "policies.json", "--probe-path", folder / "probe.json"]))
        for _ in range(5):
            for times, command in commands:
                times.append(timed(lambda command=command: subprocess.run(command, capture_output=True, check=True),
                                   perf_counter)[0])
    own, peer = statistics.median(ours), statistics.median(theirs)
    print(f"60 pods, 30 policies: custody (all ports) {own:.2f} s, cyclonus (six ports) {peer:.2f} s, "
          f"ratio {peer / own:.1f}")


if __name__ == "__main__":
    if sys.argv[1:] == ["cyclonus"]:
        beside_cyclonus()
    else:
        large(*(int(word) for word in sys.argv[1:3] or ("10000", "2000")))
