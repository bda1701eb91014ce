"""Small clusters for tests: pods by a line each, policies as documents."""

from __future__ import annotations

from typing import Any

from custody.network.addresses import number
from custody.network.connectivity import Connectivity
from custody.network.documents import read_policies
from custody.network.judgement import End, Judgement, judge
from custody.network.model import NamedPort, Namespace, Node, Pod, Topology
from custody.network.ports import key, protocol_named

Document = dict[str, Any]


def pod(place: str, address: str = "", ports: str = "", *, host: bool = False, account: str = "default",
        node: str = "", **labels: str) -> Pod:
    """`ports`: `http=80/TCP dns=53/UDP`."""
    namespace, _, name = place.partition("/")
    named = []
    for word in ports.split():
        title, _, rest = word.partition("=")
        value, _, protocol = rest.partition("/")
        named.append(NamedPort(title, protocol_named(protocol or "TCP"), int(value)))
    return Pod(namespace, name, labels, tuple(number(word) for word in address.split()), frozenset(named), host,
        account,
               node=node)


def world(*pods: Pod, nodes: tuple[Node, ...] = (), **namespaces: dict[str, str]) -> Topology:
    names = {pod.namespace for pod in pods} | set(namespaces)
    return Topology(pods, {name: Namespace(name, namespaces.get(name, {})) for name in names}, nodes)


def policy(namespace: str = "x", name: str = "p", **spec: Any) -> Document:
    """A NetworkPolicy that selects all pods of its namespace, unless the spec says otherwise."""
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace}, "spec": {"podSelector": {}, **spec}}


def cluster_policy(name: str, priority: int, tier: str = "Admin", **spec: Any) -> Document:
    return {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
            "spec": {"tier": tier, "priority": priority, "subject": {"namespaces": {}}, **spec}}


def calico(name: str, namespace: str = "", **spec: Any) -> Document:
    metadata: Document = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy" if namespace else "GlobalNetworkPolicy",
            "metadata": metadata, "spec": spec}


def cilium(name: str, namespace: str = "x", **spec: Any) -> Document:
    metadata: Document = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "cilium.io/v2", "metadata": metadata,
            "kind": "CiliumNetworkPolicy" if namespace else "CiliumClusterwideNetworkPolicy",
            "spec": {"endpointSelector": {}, **spec}}


def engine(topology: Topology, *documents: Document) -> Connectivity:
    return Connectivity(topology, read_policies([(f"d{at}", document) for at, document in enumerate(documents)],
        topology))


def asked(judging: Connectivity, source: str, target: str, port: str = "80/TCP") -> Judgement:
    """Of two places, or addresses."""
    pods = {pod.place: pod for pod in judging.topology.pods}
    value, _, protocol = port.partition("/")
    ends = [End(pods[word]) if word in pods else End(None, number(word)) for word in (source, target)]
    return judge(judging, ends[0], ends[1], key(protocol_named(protocol), int(value)))


def verdict(judging: Connectivity, source: str, target: str, port: str = "80/TCP") -> str:
    return asked(judging, source, target, port).verdict.value
