"""Generated NetworkPolicies said as CiliumNetworkPolicies (cilium.io/v2; cilium/cilium, pkg/policy/api).

Only for what `generation` writes. Three things differ: a rule has peers of one kind, so that pods and addresses stand
in rules of their own; addresses never mean nodes, which are the entities host and remote-node, all of them; and a
direction without rules is denied by an empty one, which matches nobody.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from custody.network.selector import NAME_LABEL

API_VERSION, KIND = "cilium.io/v2", "CiliumNetworkPolicy"
_NAMESPACE = "k8s:io.kubernetes.pod.namespace"
_NODES = ["host", "remote-node"]
_Json = dict[str, Any]


def of(policy: _Json, nodes: Collection[str] = ()) -> tuple[_Json, bool]:
    """The same said so, and whether that allows more: `nodes` are blocks of nodes' addresses."""
    spec, wider = policy["spec"], False
    said: _Json = {"endpointSelector": spec["podSelector"]}
    for direction, end in (("ingress", "from"), ("egress", "to")):
        if direction not in spec:
            continue
        rules: list[_Json] = []
        for rule in spec[direction]:
            ports = [{"port": str(port["port"]), "protocol": port["protocol"]} for port in rule["ports"]]
            blocks = [peer["ipBlock"]["cidr"] for peer in rule[end] if "ipBlock" in peer]
            of_nodes = any(block in nodes for block in blocks)
            wider = wider or of_nodes
            for name, peers in (
                    (f"{end}Endpoints", [_endpoint(peer) for peer in rule[end] if "ipBlock" not in peer]),
                    (f"{end}CIDR", [block for block in blocks if block not in nodes]),
                    (f"{end}Entities", _NODES if of_nodes else [])):
                if peers:
                    rules.append({name: peers, "toPorts": [{"ports": ports}]})
        said[direction] = rules or [{}]
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": policy["metadata"], "spec": said}, wider


def _endpoint(peer: _Json) -> _Json:
    """A selector of endpoints: of the policy's namespace, where it names none."""
    chosen = peer.get("podSelector", {})
    labels, expressions = dict(chosen.get("matchLabels", {})), list(chosen.get("matchExpressions", []))
    if (namespaces := peer.get("namespaceSelector")) is not None:
        named = namespaces.get("matchLabels", {}).get(NAME_LABEL)
        if named is not None:
            labels[_NAMESPACE] = named
        else:
            expressions.append({"key": _NAMESPACE, "operator": "Exists"})
    return {**({"matchLabels": labels} if labels else {}), **({"matchExpressions": expressions} if expressions else {})}
