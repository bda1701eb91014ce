"""Policies judged a second way: one connection at a time, from the documents as they stand, in the words of their APIs.

Nothing of custody.network is used but the pods. It knows no uncertainty: it is given pods with addresses and without
the host's network, rules that nothing narrows, and priorities of which no two are equal.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable
from typing import Any

from custody.network.addresses import address_text
from custody.network.model import Pod, Topology

Document = dict[str, Any]
_NUMBERS = {6: "TCP", 17: "UDP", 132: "SCTP"}


class Connection:
    def __init__(self, world: Topology, source: Pod | str, target: Pod | str, protocol: str, port: int) -> None:
        self.world, self.source, self.target, self.protocol, self.port = world, source, target, protocol, port

    def named(self, name: str, protocol: str | None) -> bool:
        """Whether the port is what the destination's containers call so."""
        return isinstance(self.target, Pod) and any(
            named.name == name and named.number == self.port and named.protocol == self.protocol
            and protocol in (None, self.protocol) for named in self.target.ports)


def _address(end: Pod | str) -> str:
    return address_text(end.addresses[0]) if isinstance(end, Pod) else end


def _in(end: Pod | str, block: str) -> bool:
    address = ipaddress.ip_address(_address(end))
    network = ipaddress.ip_network(block if "/" in block else f"{block}/32")
    return address.version == network.version and address in network


def _labels(selector: Document, labels: dict[str, str]) -> bool:
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], expression.get("values") or []
        good = {"In": key in labels and labels[key] in values, "NotIn": key not in labels or labels[key] not in values,
                "Exists": key in labels, "DoesNotExist": key not in labels}[expression["operator"]]
        if not good:
            return False
    return True


def _namespace_labels(world: Topology, name: str) -> dict[str, str]:
    return {**world.namespaces[name].labels, "kubernetes.io/metadata.name": name}


# Kubernetes

def _kubernetes_selects(policy: Document, pod: Pod, direction: str) -> bool:
    spec = policy["spec"]
    types = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    return (policy["metadata"]["namespace"] == pod.namespace and direction.capitalize() in types
            and _labels(spec["podSelector"], dict(pod.labels)))


def _kubernetes_allows(policy: Document, direction: str, peer: Pod | str, made: Connection) -> bool:
    for rule in policy["spec"].get(direction) or []:
        peers = rule.get("from" if direction == "ingress" else "to")
        ports = rule.get("ports")
        if ports and not any(_kubernetes_port(port, made) for port in ports):
            continue
        if not peers or any(_kubernetes_peer(entry, policy, peer, made.world) for entry in peers):
            return True
    return False


def _kubernetes_port(port: Document, made: Connection) -> bool:
    protocol, number = port.get("protocol", "TCP"), port.get("port")
    if protocol != made.protocol:
        return False
    if number is None:
        return True
    if isinstance(number, str):
        return made.named(number, protocol)
    return bool(number <= made.port <= port.get("endPort", number))


def _kubernetes_peer(entry: Document, policy: Document, peer: Pod | str, world: Topology) -> bool:
    if "ipBlock" in entry:
        return _in(peer, entry["ipBlock"]["cidr"]) and not any(
            _in(peer, block) for block in entry["ipBlock"].get("except") or [])
    if not isinstance(peer, Pod):
        return False
    if "namespaceSelector" in entry:
        if not _labels(entry["namespaceSelector"], _namespace_labels(world, peer.namespace)):
            return False
    elif peer.namespace != policy["metadata"]["namespace"]:
        return False
    return _labels(entry.get("podSelector") or {}, dict(peer.labels))


# Cluster-wide policies of network-policy-api

def _picked(part: Document, pod: Pod, world: Topology) -> bool:
    namespace = _namespace_labels(world, pod.namespace)
    if "namespaces" in part:
        return _labels(part["namespaces"], namespace)
    return (_labels(part["pods"]["namespaceSelector"], namespace)
            and _labels(part["pods"]["podSelector"], dict(pod.labels)))


def _cluster_action(policy: Document, direction: str, peer: Pod | str, made: Connection) -> str | None:
    """Of its first rule that matches: allow, deny or pass."""
    for rule in policy["spec"].get(direction) or []:
        ports = rule.get("protocols") or rule.get("ports")
        if ports and not any(_cluster_port(port, made) for port in ports):
            continue
        for entry in rule["from" if direction == "ingress" else "to"]:
            if "networks" in entry:
                hit = any(_in(peer, block) for block in entry["networks"])
            elif "nodes" in entry:
                hit = not isinstance(peer, Pod) and any(
                    address_text(address) == peer for node in made.world.nodes for address in node.addresses
                    if _labels(entry["nodes"], dict(node.labels)))
            else:
                hit = isinstance(peer, Pod) and _picked(entry, peer, made.world)
            if hit:
                return str(rule["action"]).lower().replace("accept", "allow")
    return None


def _cluster_port(port: Document, made: Connection) -> bool:
    name = port.get("destinationNamedPort") or port.get("namedPort")
    if name:
        return made.named(name, None)
    if "portNumber" in port:
        return (port["portNumber"]["protocol"], port["portNumber"]["port"]) == (made.protocol, made.port)
    if "portRange" in port:
        span = port["portRange"]
        return span["protocol"] == made.protocol and span["start"] <= made.port <= span["end"]
    (protocol, part), = port.items()
    if protocol.upper() != made.protocol:
        return False
    chosen = part["destinationPort"]
    if "number" in chosen:
        return bool(chosen["number"] == made.port)
    return bool(chosen["range"]["start"] <= made.port <= chosen["range"]["end"])


# Calico

def _truth(expression: str, labels: dict[str, str]) -> bool:
    """An expression of Calico as Python says it."""
    text = re.sub(r"([\w./-]+)\s+not in\s*\{([^}]*)\}", r"(L.get('\1') not in (\2,))", expression)
    text = re.sub(r"(?<!not )\b([\w./-]+)\s+in\s*\{([^}]*)\}", r"(L.get('\1') in (\2,))", text)
    text = re.sub(r"([\w./-]+)\s+contains\s+'([^']*)'", r"('\2' in L.get('\1', '\\0'))", text)
    text = re.sub(r"([\w./-]+)\s+starts with\s+'([^']*)'", r"L.get('\1', '\\0').startswith('\2')", text)
    text = re.sub(r"([\w./-]+)\s+ends with\s+'([^']*)'", r"L.get('\1', '\\0').endswith('\2')", text)
    text = re.sub(r"([\w./-]+)\s*(==|!=)\s*(['\"][^'\"]*['\"])", r"(L.get('\1') \2 \3)", text)
    text = re.sub(r"has\(([^)]*)\)", r"('\1' in L)", text).replace("all()", "True")
    text = re.sub(r"!(?!=)", " not ", text).replace("&&", " and ").replace("||", " or ")
    return bool(eval(text.strip() or "True", {"__builtins__": {}}, {"L": labels}))  # of this module's own text


def _calico_endpoint(policy: Document, entity: Document, end: Pod | str, world: Topology, sets: list[Document],
                     *, own: bool = False) -> bool:
    """Whether an end is what `source` or `destination` of a rule mean."""
    home = policy["metadata"].get("namespace")
    chosen, rejected = entity.get("selector"), entity.get("notSelector")
    spaces, accounts = entity.get("namespaceSelector"), entity.get("serviceAccounts")
    limited = chosen or spaces or accounts or (rejected and home)
    if isinstance(end, Pod):
        if limited:
            if spaces:
                if not _truth(spaces, _namespace_labels(world, end.namespace)):
                    return False
            elif home and end.namespace != home:
                return False
            if chosen and not _truth(chosen, dict(end.labels)):
                return False
            if accounts and end.account not in accounts["names"]:
                return False
        if rejected and _truth(rejected, dict(end.labels)):
            return False
    else:
        holding = [known for known in sets if any(_in(end, block) for block in known["spec"]["nets"])]
        if limited and not any(_set_is_meant(entity, home, known) for known in holding):
            return False
        if rejected and any(_truth(rejected, known["metadata"]["labels"]) for known in holding):
            return False
    if own:
        return True
    if entity.get("nets") and not any(_in(end, block) for block in entity["nets"]):
        return False
    return not any(_in(end, block) for block in entity.get("notNets") or [])


def _set_is_meant(entity: Document, home: str | None, known: Document) -> bool:
    """Whether selectors mean a GlobalNetworkSet, which is in no namespace and of no service account."""
    spaces = entity.get("namespaceSelector")
    if entity.get("serviceAccounts") or (home and not spaces):
        return False
    if spaces and not _truth(spaces.replace("all()", "has(no-such)"), {}):
        return False
    return _truth(entity.get("selector") or "all()", known["metadata"]["labels"])


def _calico_ports(entity: Document, made: Connection) -> bool:
    def inside(values: Iterable[Any]) -> bool:
        for value in values:
            first, _, last = str(value).partition(":")
            if first.isdecimal():
                if int(first) <= made.port <= int(last or first):
                    return True
            elif made.named(str(value), made.protocol):
                return True
        return False

    if entity.get("ports") and not inside(entity["ports"]):
        return False
    return not (entity.get("notPorts") and inside(entity["notPorts"]))


def _calico_action(policy: Document, direction: str, subject: Pod, peer: Pod | str, made: Connection,
                   sets: list[Document]) -> str | None:
    for rule in policy["spec"].get(direction) or []:
        protocol = rule.get("protocol")
        protocol = _NUMBERS.get(protocol, protocol) if isinstance(protocol, int) else protocol
        if protocol is not None and protocol != made.protocol:
            continue
        near, far = ("destination", "source") if direction == "ingress" else ("source", "destination")
        if not _calico_endpoint(policy, rule.get(far) or {}, peer, made.world, sets):
            continue
        if not _calico_endpoint(policy, rule.get(near) or {}, subject, made.world, sets, own=True):
            continue
        if not _calico_ports(rule.get("destination") or {}, made):
            continue
        if rule["action"] != "Log":
            return str(rule["action"]).lower()
    return None


def _calico_selects(policy: Document, pod: Pod, direction: str, world: Topology) -> bool:
    spec, home = policy["spec"], policy["metadata"].get("namespace")
    if home is not None and home != pod.namespace:
        return False
    if spec.get("namespaceSelector") and not _truth(spec["namespaceSelector"], _namespace_labels(world, pod.namespace)):
        return False
    has = [word for word in ("ingress", "egress") if [rule for rule in spec.get(word) or [] if rule["action"] != "Log"]]
    types = spec.get("types") or (["Ingress", "Egress"] if len(has) == 2 else ["Egress"] if has == ["egress"]
                                  else ["Ingress"])
    return direction.capitalize() in types and _truth(spec.get("selector") or "all()", dict(pod.labels))


# Cilium

def _cilium_selects(policy: Document, pod: Pod) -> bool:
    home = policy["metadata"].get("namespace")
    return (home is None or home == pod.namespace) and _labels(policy["spec"]["endpointSelector"], dict(pod.labels))


def _cilium_isolates(policy: Document, direction: str) -> bool:
    said = (policy["spec"].get("enableDefaultDeny") or {}).get(direction)
    return bool(policy["spec"].get(direction) or policy["spec"].get(f"{direction}Deny")) if said is None else bool(said)


def _cilium_matches(policy: Document, rules: Iterable[Document], end: str, peer: Pod | str, made: Connection) -> bool:
    for rule in rules:
        named = [name for name in (f"{end}Endpoints", f"{end}Entities", f"{end}CIDRSet") if name in rule]
        if not named and not rule.get("toPorts"):
            continue
        if named and not _cilium_peer(policy, rule, end, peer, made):
            continue
        if rule.get("toPorts") and not any(_cilium_port(port, made) for part in rule["toPorts"]
                                           for port in part["ports"]):
            continue
        return True
    return False


def _cilium_peer(policy: Document, rule: Document, end: str, peer: Pod | str, made: Connection) -> bool:
    for selector in rule.get(f"{end}Endpoints") or []:
        if isinstance(peer, Pod):
            space = "k8s:io.kubernetes.pod.namespace"
            labels = {**peer.labels, space: peer.namespace}
            home = policy["metadata"].get("namespace")
            if _labels(selector, labels) and (home in (None, peer.namespace)
                                              or space in (selector.get("matchLabels") or {})):
                return True
    nodes = {address_text(address) for node in made.world.nodes for address in node.addresses}
    for entity in rule.get(f"{end}Entities") or []:
        if entity == "all" or (entity == "world" and not isinstance(peer, Pod) and peer not in nodes) or (
                entity == "cluster" and (isinstance(peer, Pod) or peer in nodes)):
            return True
    return any(not isinstance(peer, Pod) and peer not in nodes and _in(peer, block["cidr"])
               and not any(_in(peer, inner) for inner in block.get("except") or [])
               for block in rule.get(f"{end}CIDRSet") or [])


def _cilium_port(port: Document, made: Connection) -> bool:
    protocol = port.get("protocol", "ANY")
    if protocol not in ("ANY", made.protocol):
        return False
    if not port["port"].isdecimal():
        return made.named(port["port"], None if protocol == "ANY" else protocol)
    first = int(port["port"])
    return first == 0 or first <= made.port <= port.get("endPort", first)


# Together

def _of_group(documents: list[Document], group: str, *kinds: str) -> list[Document]:
    return [document for document in documents
            if document["apiVersion"].partition("/")[0] == group and document["kind"] in kinds]


def half(documents: list[Document], direction: str, subject: Pod, peer: Pod | str, made: Connection) -> bool:
    """Whether the policies of one end let it pass."""
    world = made.world
    wide = [document for document in _of_group(documents, "policy.networking.k8s.io", "ClusterNetworkPolicy",
                                               "AdminNetworkPolicy", "BaselineAdminNetworkPolicy")
            if _picked(document["spec"]["subject"], subject, world)]
    baseline = [document for document in wide if document["spec"].get("tier") == "Baseline"
                or document["kind"] == "BaselineAdminNetworkPolicy"]
    steps: list[tuple[float, Any]] = [
        (1000.0, lambda: _in_order([document for document in wide if document not in baseline], direction, peer, made)),
        (1e6, lambda: _middle(documents, direction, subject, peer, made)),
        (1e7, lambda: _in_order(baseline, direction, peer, made))]
    steps += [(tier["spec"]["order"], lambda tier=tier: _calico_tier(documents, tier, direction, subject, peer, made))
              for tier in _of_group(documents, "projectcalico.org", "Tier")]
    for _, step in sorted(steps, key=lambda pair: pair[0]):
        answer = step()
        if answer in ("allow", "deny"):
            return bool(answer == "allow")
    return True


def _in_order(policies: list[Document], direction: str, peer: Pod | str, made: Connection) -> str | None:
    for policy in sorted(policies, key=lambda policy: policy["spec"].get("priority", 0)):
        answer = _cluster_action(policy, direction, peer, made)
        if answer is not None:
            return answer
    return None


def _of_tier(documents: list[Document], name: str, direction: str, subject: Pod, made: Connection) -> list[Document]:
    """Calico's policies that select the subject there, in their order."""
    chosen = [policy for policy in _of_group(documents, "projectcalico.org", "NetworkPolicy", "GlobalNetworkPolicy")
              if policy["spec"].get("tier", "default") == name
              and _calico_selects(policy, subject, direction, made.world)]
    return sorted(chosen, key=lambda policy: (policy["spec"].get("order", math.inf), policy["metadata"]["name"]))


def _calico_tier(documents: list[Document], tier: Document, direction: str, subject: Pod, peer: Pod | str,
                 made: Connection) -> str | None:
    chosen = _of_tier(documents, tier["metadata"]["name"], direction, subject, made)
    sets = _of_group(documents, "projectcalico.org", "GlobalNetworkSet")
    for policy in chosen:
        answer = _calico_action(policy, direction, subject, peer, made, sets)
        if answer is not None:
            return answer
    return "deny" if chosen and tier["spec"].get("defaultAction", "Deny") == "Deny" else None


def _middle(documents: list[Document], direction: str, subject: Pod, peer: Pod | str, made: Connection) -> str | None:
    """The default tier, in which NetworkPolicies, Calico's policies and Cilium's stand."""
    plain = [policy for policy in _of_group(documents, "networking.k8s.io", "NetworkPolicy")
             if _kubernetes_selects(policy, subject, direction)]
    cilium = [policy for policy in _of_group(documents, "cilium.io", "CiliumNetworkPolicy",
                                             "CiliumClusterwideNetworkPolicy") if _cilium_selects(policy, subject)]
    end = "from" if direction == "ingress" else "to"
    if any(_cilium_matches(policy, policy["spec"].get(f"{direction}Deny") or [], end, peer, made) for policy in cilium):
        return "deny"
    sets = _of_group(documents, "projectcalico.org", "GlobalNetworkSet")
    calico = _of_tier(documents, "default", direction, subject, made)
    early = [policy for policy in calico if policy["spec"].get("order", math.inf) < 1000]
    for policy in early:
        if (answer := _calico_action(policy, direction, subject, peer, made, sets)) is not None:
            return "next" if answer == "pass" else answer
    if any(_kubernetes_allows(policy, direction, peer, made) for policy in plain) or any(
            _cilium_matches(policy, policy["spec"].get(direction) or [], end, peer, made) for policy in cilium):
        return "allow"
    for policy in calico:
        if policy not in early and (answer := _calico_action(policy, direction, subject, peer, made, sets)) is not None:
            return "next" if answer == "pass" else answer
    return "deny" if plain or calico or any(_cilium_isolates(policy, direction) for policy in cilium) else None
