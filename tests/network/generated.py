"""Random pods and policies of all kinds: small worlds in which rules meet."""

from __future__ import annotations

import random
from typing import Any

from custody.network.addresses import number
from custody.network.model import NamedPort, Namespace, Node, Pod, Topology
from custody.network.ports import PROTOCOLS

Document = dict[str, Any]
_APPS, _ROLES, _ENVIRONMENTS = ("a", "b", "c"), ("front", "back"), ("prod", "dev")
NUMBERS = (80, 81, 443, 8080)
NAMES = ("web", "alt", "absent")


def world(rng: random.Random, *, plain: bool = False, single: bool = False) -> Topology:
    """`plain`: no hosts' networks, and every pod has an address; `single`: a port's number is of one protocol."""
    namespaces = {name: Namespace(name, {"ns": name, **(
        {"env": rng.choice(_ENVIRONMENTS)} if rng.random() < .7 else {})}) for name in "xyz"}
    pods = []
    for at, namespace in enumerate(namespaces):
        for index in range(3):
            labels = {"app": rng.choice(_APPS)}
            if rng.random() < .6:
                labels["role"] = rng.choice(_ROLES)
            numbers = rng.sample(NUMBERS, 3)
            ports = frozenset(NamedPort(name, protocol, port)
                              for name, port in zip(("web", "alt", "more"), numbers, strict=True)
                              for protocol in rng.sample(PROTOCOLS, 1 if single else rng.randint(1, 3)))
            known = plain or rng.random() < .8
            pods.append(Pod(namespace, f"p{index}", labels, (number(f"192.168.{at}.{index + 1}"),) if known else (),
                            ports, not plain and rng.random() < .1, rng.choice(("default", "robot")), node="n0",
                            representative=not known))
    return Topology(tuple(pods), namespaces, (Node("n0", {"zone": "a"}, (number("10.9.0.1"),)),))


def selector(rng: random.Random, *, namespace: bool = False) -> Document:
    values: dict[str, tuple[str, ...]] = {"ns": ("x", "y", "w"), "env": _ENVIRONMENTS} if namespace else {
        "app": _APPS, "role": _ROLES, "absent": ("1",)}
    result: Document = {}
    if rng.random() < .5:
        key = rng.choice(list(values))
        result["matchLabels"] = {key: rng.choice(values[key])}
    if rng.random() < .5:
        result["matchExpressions"] = []
        for _ in range(rng.randint(1, 2)):
            key, operator = rng.choice(list(values)), rng.choice(("In", "NotIn", "Exists", "DoesNotExist"))
            requirement: Document = {"key": key, "operator": operator}
            if operator in ("In", "NotIn"):
                requirement["values"] = rng.sample(values[key], rng.randint(1, len(values[key])))
            result["matchExpressions"].append(requirement)
    return result


def _block(rng: random.Random) -> Document:
    cidr, inner = rng.choice((("192.168.0.0/16", ("192.168.1.0/24", "192.168.0.2/32", "192.168.2.0/30")),
                              ("192.168.1.0/24", ("192.168.1.0/31", "192.168.1.3/32")), ("0.0.0.0/0", ("192.168.0.0/23",
                              "10.0.0.0/8")), ("10.0.0.0/8", ("10.1.0.0/16",)), ("192.168.0.1/32", ())))
    block: Document = {"cidr": cidr}
    if inner and rng.random() < .6:
        block["except"] = rng.sample(inner, rng.randint(1, len(inner)))
    return block


def _kubernetes_port(rng: random.Random) -> Document:
    port: Document = {}
    if rng.random() < .7:
        port["protocol"] = rng.choice(PROTOCOLS)
    chance = rng.random()
    if chance < .5:
        port["port"] = rng.choice(NUMBERS)
        if rng.random() < .4:
            port["endPort"] = port["port"] + rng.choice((0, 1, 400))
    elif chance < .85:
        port["port"] = rng.choice(NAMES)
    return port


def network_policy(rng: random.Random, at: int) -> Document:
    spec: Document = {"podSelector": selector(rng)}
    types = rng.choice((["Ingress"], ["Egress"], ["Ingress", "Egress"]))
    if rng.random() < .8:
        spec["policyTypes"] = types
    for word, end in (("ingress", "from"), ("egress", "to")):
        if rng.random() < .75:
            spec[word] = []
            for _ in range(rng.randint(0, 3)):
                rule: Document = {}
                if rng.random() < .8:
                    rule[end] = []
                    for _ in range(rng.randint(0, 2)):
                        chance = rng.random()
                        if chance < .25:
                            rule[end].append({"ipBlock": _block(rng)})
                        elif chance < .5:
                            rule[end].append({"podSelector": selector(rng)})
                        elif chance < .75:
                            rule[end].append({"namespaceSelector": selector(rng, namespace=True)})
                        else:
                            rule[end].append({"namespaceSelector": selector(rng, namespace=True),
                                              "podSelector": selector(rng)})
                if rng.random() < .7:
                    rule["ports"] = [_kubernetes_port(rng) for _ in range(rng.randint(0, 2))]
                spec[word].append(rule)
    if "policyTypes" not in spec:  # as the API server would have written it
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": f"np{at}", "namespace": rng.choice("xyz")}, "spec": spec}


def _beta_protocol(rng: random.Random) -> Document:
    if rng.random() < .3:
        return {"destinationNamedPort": rng.choice(NAMES)}
    first = rng.choice(NUMBERS)
    port = {"number": first} if rng.random() < .6 else {"range": {"start": first, "end": first + rng.choice((1, 400))}}
    return {rng.choice(("tcp", "udp", "sctp")): {"destinationPort": port}}


def _admin_port(rng: random.Random) -> Document:
    chance, first = rng.random(), rng.choice(NUMBERS)
    if chance < .3:
        return {"namedPort": rng.choice(NAMES)}
    protocol = rng.choice(PROTOCOLS)
    if chance < .6:
        return {"portNumber": {"protocol": protocol, "port": first}}
    return {"portRange": {"protocol": protocol, "start": first, "end": first + rng.choice((1, 400))}}


def _pods_of(rng: random.Random) -> Document:
    if rng.random() < .5:
        return {"namespaces": selector(rng, namespace=True)}
    return {"pods": {"namespaceSelector": selector(rng, namespace=True), "podSelector": selector(rng)}}


def cluster_policy(rng: random.Random, at: int) -> Document:
    kind = rng.choice(("ClusterNetworkPolicy", "ClusterNetworkPolicy", "AdminNetworkPolicy"))
    beta = kind == "ClusterNetworkPolicy"
    words = ("Accept", "Deny", "Pass") if beta else ("Allow", "Deny", "Pass")
    spec: Document = {"priority": rng.randint(0, 3), "subject": _pods_of(rng)}
    if beta:
        spec["tier"] = rng.choice(("Admin", "Baseline"))
    for word, end in (("ingress", "from"), ("egress", "to")):
        spec[word] = []
        for _ in range(rng.randint(0, 3)):
            rule: Document = {"action": rng.choice(words), end: [_pods_of(rng) for _ in range(rng.randint(1, 2))]}
            named = False
            if rng.random() < .7:
                ports = [_beta_protocol(rng) if beta else _admin_port(rng) for _ in range(rng.randint(1, 2))]
                rule["protocols" if beta else "ports"] = ports
                named = any("destinationNamedPort" in port or "namedPort" in port for port in ports)
            if end == "to" and not named and rng.random() < .4:
                rule[end].append(rng.choice(({"networks": [_block(rng)["cidr"]]}, {"nodes": {}})))
            if end == "to" and not named and rule["action"] in ("Accept", "Allow") and rng.random() < .1:
                rule[end].append({"domainNames": ["example.com"]})
            spec[word].append(rule)
    version = rng.choice(("v1alpha2", "v1beta1")) if beta else "v1alpha1"
    return {"apiVersion": f"policy.networking.k8s.io/{version}", "kind": kind, "metadata": {"name": f"c{at}"},
            "spec": spec}


def baseline(rng: random.Random) -> Document:
    document = cluster_policy(rng, 0)
    while document["kind"] != "AdminNetworkPolicy":
        document = cluster_policy(rng, 0)
    del document["spec"]["priority"]
    for word in ("ingress", "egress"):
        document["spec"][word] = [rule for rule in document["spec"][word] if rule["action"] != "Pass"]
    for rule in document["spec"]["egress"]:
        rule["to"] = [peer for peer in rule["to"] if "domainNames" not in peer]
    return {**document, "kind": "BaselineAdminNetworkPolicy", "metadata": {"name": "default"}}


def expression(rng: random.Random, depth: int = 0, *, namespace: bool = False) -> str:
    """In Calico's language."""
    values: dict[str, tuple[str, ...]] = {"ns": ("x", "y"), "env": _ENVIRONMENTS} if namespace else {
        "app": _APPS, "role": _ROLES, "absent": ("1",)}
    chance = rng.random()
    if depth < 2 and chance < .4:
        sign = rng.choice(("&&", "||"))
        left, right = (expression(rng, depth + 1, namespace=namespace) for _ in range(2))
        return f"({left} {sign} {right})"
    if chance < .5:
        return f"!{'(' + expression(rng, depth + 1, namespace=namespace) + ')'}" if depth < 2 else "all()"
    key = rng.choice(list(values))
    value = rng.choice(values[key])
    return rng.choice((f"{key} == '{value}'", f'{key} != "{value}"', f"has({key})", f"{key} in {{'{value}', 'x'}}",
                       f"{key} not in {{ '{value}' }}", f"{key} contains '{value[0]}'",
                       f"{key} starts with '{value[:2]}'", f"{key} ends with '{value[-1]}'", "all()"))


def _entity(rng: random.Random, protocol: str | None, *, ports: bool) -> Document:
    entity: Document = {}
    if rng.random() < .5:
        entity["selector"] = expression(rng)
    if rng.random() < .3:
        entity["namespaceSelector"] = expression(rng, namespace=True)
    if rng.random() < .2:
        entity["notSelector"] = expression(rng)
    if rng.random() < .25:
        entity["nets"] = [_block(rng)["cidr"]]
    if rng.random() < .15:
        entity["notNets"] = ["192.168.0.0/31"]
    if rng.random() < .15:
        entity["serviceAccounts"] = {"names": ["robot"]}
    if ports and protocol and rng.random() < .6:
        if rng.random() < .7:
            entity["ports"] = rng.sample((80, "80:443", "web", 8080), 2)
        else:
            entity["notPorts"] = rng.sample((80, "80:443", "web"), 1)
    return entity


def calico_policy(rng: random.Random, at: int) -> Document:
    kind = rng.choice(("NetworkPolicy", "GlobalNetworkPolicy"))
    spec: Document = {"selector": expression(rng), "tier": rng.choice(("default", "first", "late"))}
    if rng.random() < .7:
        spec["order"] = rng.choice((1, 500, 2000.5))
    if kind == "GlobalNetworkPolicy" and rng.random() < .3:
        spec["namespaceSelector"] = expression(rng, namespace=True)
    if rng.random() < .5:
        spec["types"] = rng.choice((["Ingress"], ["Egress"], ["Ingress", "Egress"]))
    for word, near, far in (("ingress", "destination", "source"), ("egress", "source", "destination")):
        spec[word] = []
        for _ in range(rng.randint(0, 3)):
            rule: Document = {"action": rng.choice(("Allow", "Deny", "Pass", "Log"))}
            protocol = rng.choice((None, "TCP", "UDP", 132, "ICMP"))
            if protocol is not None:
                rule["protocol"] = protocol
            carried = protocol if protocol in ("TCP", "UDP", 132) else None
            rule[far] = _entity(rng, str(carried) if carried else None, ports=word == "egress")
            own = _entity(rng, str(carried) if carried else None, ports=word == "ingress")
            for name in ("nets", "notNets"):
                own.pop(name, None)
            if rng.random() < .5 or "ports" in own:
                rule[near] = own
            spec[word].append(rule)
    metadata: Document = {"name": f"k{at}"}
    if kind == "NetworkPolicy":
        metadata["namespace"] = rng.choice("xyz")
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec}


def calico_surroundings(rng: random.Random) -> list[Document]:
    kinds = [{"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": name},
              "spec": {"order": order, "defaultAction": rng.choice(("Deny", "Pass"))}}
             for name, order in (("first", 10), ("late", 2_000_000))]
    return [*kinds, {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",
                     "metadata": {"name": "partners", "labels": {"role": "back"}}, "spec": {"nets": ["10.1.0.0/16"]}}]


def _cilium_rule(rng: random.Random, end: str, *, deny: bool) -> Document:
    rule: Document = {}
    chance = rng.random()
    if chance < .5:
        rule[f"{end}Endpoints"] = [_cilium_selector(rng) for _ in range(rng.randint(0, 2))]
    elif chance < .7:
        rule[f"{end}Entities"] = rng.sample(("all", "world", "cluster", "none", "host"), rng.randint(1, 2))
    elif chance < .85:
        rule[f"{end}CIDRSet"] = [_block(rng)]
    if rng.random() < .6:
        rule["toPorts"] = []
        for _ in range(rng.randint(1, 2)):
            ports = []
            for _ in range(rng.randint(1, 2)):
                port: Document = {"port": rng.choice(("80", "443", "web", "0"))}
                if rng.random() < .7:
                    port["protocol"] = rng.choice((*PROTOCOLS, "ANY"))
                if port["port"].isdecimal() and port["port"] != "0" and rng.random() < .3:
                    port["endPort"] = int(port["port"]) + 1
                ports.append(port)
            rule["toPorts"].append({"ports": ports})
            if not deny and rng.random() < .1:
                rule["toPorts"][-1]["rules"] = {"http": [{"method": "GET"}]}
    return rule


def _cilium_selector(rng: random.Random) -> Document:
    result = selector(rng)
    if rng.random() < .3:
        result.setdefault("matchLabels", {})["k8s:io.kubernetes.pod.namespace"] = rng.choice("xyz")
    return result


def cilium_policy(rng: random.Random, at: int) -> Document:
    kind = rng.choice(("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"))
    spec: Document = {"endpointSelector": selector(rng)}
    for word, end in (("ingress", "from"), ("egress", "to")):
        for name, deny in ((word, False), (f"{word}Deny", True)):
            if rng.random() < .5:
                spec[name] = [_cilium_rule(rng, end, deny=deny) for _ in range(rng.randint(0, 2))]
    if rng.random() < .3:
        spec["enableDefaultDeny"] = {rng.choice(("ingress", "egress")): rng.random() < .5}
    metadata: Document = {"name": f"l{at}"}
    if kind == "CiliumNetworkPolicy":
        metadata["namespace"] = rng.choice("xyz")
    return {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, "spec": spec}


def policies(rng: random.Random, kinds: str = "kcal") -> list[Document]:
    """Of some kinds: k Kubernetes, c cluster-wide ones, a Calico, l Cilium."""
    documents: list[Document] = []
    for at in range(rng.randint(1, 5)):
        makers = {"k": network_policy, "c": cluster_policy, "a": calico_policy, "l": cilium_policy}
        documents.append(makers[rng.choice(kinds)](rng, at))
    if "c" in kinds and rng.random() < .3:
        documents.append(baseline(rng))
    if "a" in kinds:
        documents += calico_surroundings(rng)
    return documents


