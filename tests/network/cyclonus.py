"""cyclonus, which judges NetworkPolicies: its generated cases with what it expects of them, and its answers."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from custody.network.addresses import number
from custody.network.model import NamedPort, Namespace, Pod, Topology
from custody.network.ports import PROTOCOLS

Table = dict[tuple[str, str], dict[str, str]]
"""Of (source, target): for `TCP/80` and so on `.` for allowed, `X` for denied."""


class Step(NamedTuple):
    case: str
    """Its description."""
    number: int
    policies: list[dict[str, Any]]
    ingress: Table
    egress: Table
    combined: Table


_CASE = re.compile(r"^starting test case #\d+$", re.MULTILINE)
_STEP = re.compile(r"^step (\d+) on (?:all available ports/protocols|port (\S+), protocol (\S+)):$", re.MULTILINE)
_POLICY = re.compile(r"^Network policy:\n\n(.*?)\n\n", re.MULTILINE | re.DOTALL)


def cases(program: Path) -> list[list[Step]]:
    """All cases that it generates, with what it expects of them; nothing is asked of a cluster."""
    done = subprocess.run([program, "generate", "--mock", "--noisy", "--exclude=", "--retries", "0",
                           "--perturbation-wait-seconds", "0"], capture_output=True, text=True, check=True, timeout=300)
    return [list(_steps(text)) for text in _CASE.split(done.stdout)[1:]]


def _steps(text: str) -> Iterator[Step]:
    title = re.search(r"^evaluating test case: (.*)$", text, re.MULTILINE)
    assert title is not None
    parts = _STEP.split(text)[1:]
    for at, port, protocol, body in zip(parts[::4], parts[1::4], parts[2::4], parts[3::4], strict=True):
        policies = [{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                     **yaml.safe_load(policy.replace("creationTimestamp: null", ""))}
                    for policy in _POLICY.findall(body)]
        plain = f"{protocol}/{port}" if port else ""
        yield Step(title[1], int(at), policies, *(table(body, f"Expected {name}:", plain)
                                                  for name in ("ingress", "egress", "combined")))


def table(text: str, title: str, plain: str = "") -> Table:
    """The table below a title: of one port, `plain`; of the same ports everywhere; or of a pod's own ports each."""
    body = text.partition(f"\n{title}\n")[2].partition("\n\n")[0]
    rows: list[list[str]] = []
    fresh = True
    for line in body.splitlines():
        if line.startswith("+"):
            fresh = True
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if fresh or plain:  # where it is of one port, no line is between two rows
            rows.append(cells)
        else:
            rows[-1] = [f"{before}\n{cell}" for before, cell in zip(rows[-1], cells, strict=True)]
        fresh = False
    head, *lines = rows
    ports = [word for word in head[0].split() if word]
    targets = [word.strip().lower() for word in head[1:]]
    result: Table = {}
    for source, *cells in lines:
        for target, cell in zip(targets, cells, strict=True):
            if plain:
                answers = {plain: cell.strip()}
            elif ports:
                answers = dict(zip(ports, cell.split(), strict=True))
            else:
                answers = dict(re.findall(r"(\S+): (\S+)", cell))
            result[source.strip(), target] = answers
    return result


def pod(namespace: str, name: str, at: int, labels: dict[str, str] | None = None) -> Pod:
    """As cyclonus makes them: six ports, each with a name."""
    ports = frozenset(NamedPort(f"serve-{port}-{protocol.lower()}", protocol, port)
                      for port in (80, 81) for protocol in PROTOCOLS)
    return Pod(namespace, name, {"pod": name} if labels is None else labels, (number(f"192.168.1.{at}"),), ports)


def topology() -> Topology:
    """Namespaces x, y and z with pods a, b and c."""
    pods = [pod(namespace, name, at * 3 + number + 1) for at, namespace in enumerate("xyz")
            for number, name in enumerate("abc")]
    return Topology(tuple(pods), {name: Namespace(name, {"ns": name}) for name in "xyz"})


def answers(program: Path, folder: Path, world: Topology, policies: Sequence[dict[str, Any]],
            ports: Sequence[tuple[str, int]]) -> dict[str, dict[str, Table]]:
    """What it says of own policies and pods: by `TCP/80` the tables `Ingress`, `Egress` and `Combined`."""
    from custody.network.addresses import address_text

    # Of several documents in YAML it reads the first, and takes a namespace called y for a truth value.
    (folder / "policies.json").write_text(json.dumps({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicyList", "items": list(policies)}))
    model = {"Resources": {
        "Namespaces": {name: dict(namespace.all_labels()) for name, namespace in world.namespaces.items()},
        "Pods": [{"Namespace": pod.namespace, "Name": pod.name, "Labels": dict(pod.labels),
                  "IP": address_text(pod.addresses[0]),
                  "Containers": [{"Name": f"c-{named.name}", "Port": named.number, "Protocol": named.protocol,
                                  "PortName": named.name} for named in sorted(pod.ports)]} for pod in world.pods]},
        "Probes": [{"Port": port, "Protocol": protocol} for protocol, port in ports]}
    (folder / "probe.json").write_text(json.dumps(model))
    done = subprocess.run([program, "analyze", "--mode", "probe", "--policy-path", folder / "policies.json",
                           "--probe-path", folder / "probe.json"], capture_output=True, text=True, check=True,
                          timeout=120)
    result: dict[str, dict[str, Table]] = {}
    bodies = done.stdout.split("Ingress:\n")[1:-1]  # the last is of a cluster's pods, which it asks for besides
    for (protocol, port), body in zip(ports, bodies, strict=True):
        whole = f"\nIngress:\n{body}"
        result[f"{protocol}/{port}"] = {title: table(whole, f"{title}:", f"{protocol}/{port}")
                                        for title in ("Ingress", "Egress", "Combined")}
    return result
