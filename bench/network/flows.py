"""Flow logs read, simulated, and made policies of: flows a second by format, beside reading the same lines with json.

usage: python -m bench.network.flows [LINES] [RUNS]

Processor time (user and system), the best of some runs; the memory is the process' own after it read the same lines as
they are made, which are in no file then. The world: 1,000
Deployments of two pods in 40 namespaces, 2,000 NetworkPolicies (one for ingress and one for egress each), flows between
5,000 pairs and to 2,000 addresses outside. The ratio of JSON formats is to `json.loads` of each line and nothing else,
in the same run.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from tests.network import flowlines

from custody.formats.flows.recognition import FORMATS, read
from custody.network import addresses, kubernetes
from custody.network.connectivity import Connectivity
from custody.network.declared import Declared
from custody.network.ends import Ends, with_made
from custody.network.generation import Generation
from custody.network.model import Namespace, Pod, Topology, Workload
from custody.network.observed import Observed
from custody.network.simulation import Verdict, simulate

WORKLOADS, NAMESPACES, PAIRS, OUTSIDE = 1000, 40, 5000, 2000
PIECE = 1 << 20


def labels(at: int) -> dict[str, str]:
    return {"app": f"w{at}", "pod-template-hash": "9b649846d"}


def topology() -> Topology:
    pods = [Pod(f"n{at % NAMESPACES}", f"w{at}-9b649846d-bbb{copy}x", labels(at),
                (addresses.number(f"10.{copy}.{at // 250}.{at % 250 + 1}"),), workload=Workload("Deployment", f"w{at}"))
            for at in range(WORKLOADS) for copy in range(2)]
    return Topology(tuple(pods), {f"n{at}": Namespace(f"n{at}") for at in range(NAMESPACES)})


def pairs(chance: random.Random) -> list[tuple[int, str, int]]:
    """(source workload, destination: a workload's address or one outside, port)."""
    inside = [(chance.randrange(WORKLOADS), f"10.0.{at // 250}.{at % 250 + 1}", chance.choice((80, 443, 8080, 9090)))
              for at in (chance.randrange(WORKLOADS) for _ in range(PAIRS))]
    return inside + [(chance.randrange(WORKLOADS), f"93.184.{at // 250}.{at % 250}", 443) for at in range(OUTSIDE)]


def lines(form: str, count: int) -> Iterator[bytes]:
    chance = random.Random(7)
    known = pairs(chance)
    for at in range(count):
        source, destination, port = known[chance.randrange(len(known))]
        begin, sent = f"10.{at % 2}.{source // 250}.{source % 250 + 1}", 32768 + at % 28000
        yield _LINES[form](begin, source, destination, sent, port)


def _hubble(begin: str, source: int, destination: str, sent: int, port: int) -> bytes:
    return flowlines.hubble(
        IP={"source": begin, "destination": destination, "ipVersion": "IPv4"},
        source__namespace=f"n{source % NAMESPACES}",
        source__pod_name=f"w{source}-9b649846d-bbb0x", source__workloads=[{"name": f"w{source}", "kind": "Deployment"}],
        destination={"identity": 2, "labels": ["reserved:world"]} if destination.startswith("93.") else
        {"identity": 24075}, l4={"TCP": {"source_port": sent, "destination_port": port, "flags": {"SYN": True}}})


def _calico(begin: str, source: int, destination: str, _: int, port: int) -> bytes:
    return flowlines.calico(
        source_namespace=f"n{source % NAMESPACES}", source_name_aggr=f"w{source}-9b649846d-*", source_ip=begin,
        dest_ip=destination, dest_name_aggr="pub", dest_namespace="-", dest_type="net", dest_port=port,
        dest_labels=None, reporter="src")


_LINES: dict[str, Callable[[str, int, str, int, int], bytes]] = {
    "hubble": _hubble, "calico": _calico,
    "gcp-vpc": lambda begin, _, destination, sent, port: flowlines.gcp(connection={
        "src_ip": begin, "src_port": sent, "dest_ip": destination, "dest_port": port, "protocol": 6}),
    "conntrack": lambda begin, _, destination, sent, port: (
        f"ipv4     2 tcp      6 99 ESTABLISHED src={begin} dst={destination} sport={sent} dport={port} "
        f"src={destination} dst={begin} sport={port} dport={sent} [ASSURED] mark=0 zone=0 use=2").encode(),
    "aws-vpc": lambda begin, _, destination, sent, port: (
        f"2 123456789010 eni-1235b8ca123456789 {begin} {destination} {sent} {port} 6 20 4249 1763634000 1763634060 "
        "ACCEPT OK").encode()}


def policies(made: Topology) -> Connectivity:
    """Everything may enter but to port 9090, and leave but to addresses outside."""
    documents = []
    for at in range(WORKLOADS):
        metadata = {"namespace": f"n{at % NAMESPACES}"}
        subject = {"matchLabels": {"app": f"w{at}"}}
        documents += [
            {"metadata": {**metadata, "name": f"in{at}"}, "spec": {"podSelector": subject, "ingress": [
                {"from": [{"namespaceSelector": {}}], "ports": [{"port": port} for port in (80, 443, 8080)]}]}},
            {"metadata": {**metadata, "name": f"out{at}"}, "spec": {
                "podSelector": subject, "policyTypes": ["Egress"], "egress": [{"to": [{"namespaceSelector": {}}]}]}}]
    return Connectivity(made, [policy for document in documents for policy in kubernetes.read(
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", **document}, "bench")])


def timed(work: Callable[[], object], runs: int) -> float:
    best = float("inf")
    for _ in range(runs):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best


def bare(data: bytes) -> None:
    for line in data.splitlines():
        json.loads(line)


def observe(form: str, pieces: Iterable[bytes], made: Topology) -> Observed:
    observed = Observed(Ends(made))
    for number, said in read(pieces, form, form):
        observed.add(form, number, said)
    return observed


def cut(data: bytes) -> Iterator[bytes]:
    return (data[at:at + PIECE] for at in range(0, len(data), PIECE))


def one(form: str, count: int, runs: int) -> None:
    made = topology()
    observed = observe(form, (line + b"\n" for line in lines(form, count)), made)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    data = b"\n".join(lines(form, count))
    base = timed(lambda: bare(data), runs) if data[:1] == b"{" else 0.0
    took = timed(lambda: observe(form, cut(data), made), runs)
    beside = f"{took / base:.2f} x json.loads  " if base else " " * 19
    print(f"{form:<10} {count / took:>10,.0f} flows/s  {len(data) / took / 1e6:>6,.0f} MB/s  {beside}"
          f"{len(observed.connections):,} connections  {memory:,.0f} MiB")
    if form != "hubble":
        return
    whole = with_made(made, observed.ends)
    engine = policies(whole)
    rows = list(simulate(observed, engine))
    denied = sum(row.verdict is Verdict.CUT for row in rows)
    judged = timed(lambda: list(simulate(observed, engine)), 1)
    print(f"simulate   {len(rows):,} connections under 2,000 policies in {judged:.2f} s, {denied:,} would be cut")
    begin = time.process_time()
    generated = Generation(whole, Declared(), observed.ends).of_flows(observed)
    print(f"generate   {len(generated.policies):,} policies in {time.process_time() - begin:.2f} s")


def main(count: int = 200_000, runs: int = 3) -> None:
    """A process for each format, so that the memory is its own."""
    for form in FORMATS:
        subprocess.run([sys.executable, "-m", "bench.network.flows", str(count), str(runs), form], check=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        one(sys.argv[3], int(sys.argv[1]), int(sys.argv[2]))
    else:
        main(*map(int, sys.argv[1:3]))
