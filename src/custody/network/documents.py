"""All documents together: pods and what makes them, namespaces, and policies of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.kit.near import near
from custody.network import calico, cilium, cluster, kubernetes
from custody.network.model import Identity, Policy, Topology
from custody.network.topology import is_source
from custody.network.topology import read as read_topology

Document = tuple[str, dict[str, Any]]
"""Where it stands, and the document."""
KINDS: Mapping[str, tuple[str, ...]] = {
    "networking.k8s.io": ("NetworkPolicy",),
    cluster.GROUP: tuple(cluster.READERS),
    calico.GROUP: ("NetworkPolicy", "GlobalNetworkPolicy", "Tier", "NetworkSet", "GlobalNetworkSet"),
    cilium.GROUP: ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "CiliumCIDRGroup"),
}
"""Kinds of policies, and what those refer to, by group. Other kinds of these groups are refused where they filter."""
STORED = "crd.projectcalico.org/v1"
"""What Calico keeps its kinds as, where no API server of its own serves projectcalico.org/v3."""
_FILTERS = {calico.GROUP: ("HostEndpoint", "Profile", "StagedNetworkPolicy", "StagedGlobalNetworkPolicy",
                           "StagedKubernetesNetworkPolicy"),
            cilium.GROUP: ("CiliumLocalRedirectPolicy", "CiliumEgressGatewayPolicy")}
_POLICY = "networkpolicy"
"""How the names of kinds end that are policies, whoever's they are."""
_RULING = {"k8s.ovn.org": ("EgressFirewall",), "security.istio.io": ("AuthorizationPolicy",),
           "crd.antrea.io": ("Tier",)}
"""Kinds of others that let pass and cut, and are not named so."""
_PODS = ("Pod", "Namespace", "Node", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob",
         "ReplicationController")
_OWN = ("", "apps", "batch", "extensions", "networking.k8s.io", cluster.GROUP, calico.GROUP, cilium.GROUP)
"""Groups of which every kind that is about pods or policies is known: others there are none that an API server has."""
_QUIET = frozenset({"StagedNetworkPolicy", "StagedGlobalNetworkPolicy", "StagedKubernetesNetworkPolicy", "Profile"})


class Unread(NamedTuple):
    """A document that says something about the network and is not judged."""

    where: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Documents:
    """What was read."""

    topology: Topology
    policies: tuple[Policy, ...]
    unread: tuple[Unread, ...]


def group_of(document: Mapping[str, Any]) -> str:
    return str(document.get("apiVersion", "")).rpartition("/")[0]


def is_policy(document: Mapping[str, Any]) -> bool:
    """Whether it is a policy, or what policies refer to; not a pod or a namespace."""
    return str(document.get("kind")) in KINDS.get(group_of(document), ())


def read(documents: Sequence[Document], advance: Callable[[int], None] | None = None) -> Documents:
    """Pods, namespaces and policies among the documents; others are passed over. `advance` is told of each policy.

    Raises MalformedError and UnsupportedError with the document and the field; a policy that stands there twice is one
    too.
    """
    documents = [(where, served(document)) for where, document in documents]
    unread = [Unread(where, str(document.get("kind")), reason) for where, document in documents
              if (reason := _unread(document, where))]
    topology = read_topology(documents)
    policies = read_policies(documents, topology, advance)
    return Documents(topology, tuple(policies), tuple(unread))


def served(document: dict[str, Any]) -> dict[str, Any]:
    """As Calico's API server shows what Calico keeps in resources of its own (crd.projectcalico.org/v1): kinds are
    alike, and names of policies begin with their tier's. Others are as they are."""
    if document.get("apiVersion") != STORED or str(document.get("kind")) not in KINDS[calico.GROUP]:
        return document
    result = {**document, "apiVersion": f"{calico.GROUP}/v3"}
    metadata, spec = document.get("metadata"), document.get("spec")
    if (isinstance(metadata, dict) and isinstance(name := metadata.get("name"), str) and isinstance(spec, dict)
            and str(document["kind"]).endswith("Policy") and spec.get("tier") in (None, "", "default")):
        result["metadata"] = {**metadata, "name": name.removeprefix("default.") or name}
    return result


def _unread(document: Mapping[str, Any], where: str) -> str:
    """Why a document that says who may reach whom, or what makes pods, is not judged; empty where it is, or does not.

    Raises UnsupportedError where it is none that an API server would take, such as a NetworkPolicy of another group:
    passed over, it would count as a policy that allows.
    """
    group, kind = group_of(document), str(document.get("kind"))
    if kind in KINDS.get(group, ()):
        return ""
    if kind in _FILTERS.get(group, ()):
        return "" if kind in _QUIET else "it is not evaluated by custody"
    policy = kind.lower().endswith(_POLICY)
    pods = kind.lower() in {name.lower() for name in _PODS}
    if group in (*_OWN, "crd.projectcalico.org") and (
            policy or group == cluster.GROUP or (pods and not is_source(group, kind))):
        raise UnsupportedError(f"{where}: {document.get('apiVersion')} {kind}", "no kind that custody judges",
                               hint=near(kind, [*_PODS, *(name for names in KINDS.values() for name in names)],
                                         "look at its apiVersion and kind"))
    if policy or kind in _RULING.get(group, ()):
        return "it is not evaluated by custody: what it lets pass or cuts is not in the answer"
    if group not in _OWN and _holds_pods(document):
        return "it makes pods of which only its controller knows, and they are not judged"
    return ""


def _holds_pods(document: Mapping[str, Any]) -> bool:
    part: Any = document
    for step in ("spec", "template", "spec"):
        part = part.get(step) if isinstance(part, Mapping) else None
    return isinstance(part, Mapping) and isinstance(part.get("containers"), list)


def read_policies(documents: Iterable[Document], topology: Topology, advance: Callable[[int], None] | None = None
                  ) -> list[Policy]:
    """The policies alone, in the order of their documents."""
    listed = [(where, served(document)) for where, document in documents]
    around = calico.Surroundings(namespaces={name: namespace.all_labels()
                                             for name, namespace in topology.namespaces.items()})
    for where, document in listed:
        if group_of(document) == calico.GROUP:
            if document.get("kind") == "Tier":
                tier = calico.tier(document, where)
                if tier.name in around.tiers and tier.name != "default":
                    raise MalformedError(where, got=f"Tier {tier.name} again", expected="each once")
                if tier.name != "default":
                    around.tiers[tier.name] = tier
            elif document.get("kind") in ("NetworkSet", "GlobalNetworkSet"):
                known = calico.address_set(document, where)
                if any(before.identity == known.identity for before in around.sets):
                    raise MalformedError(where, got=f"{known.identity} again", expected="each once")
                around.sets.append(known)
    groups = cilium.groups([(where, document) for where, document in listed
                            if group_of(document) == cilium.GROUP and document.get("kind") == "CiliumCIDRGroup"])
    result: list[Policy] = []
    places: dict[Identity, str] = {}
    for where, document in listed:
        parts = _policy(document, where, around, groups)
        if parts is None:
            continue
        if parts:
            identity = parts[0].identity
            if identity in places:
                raise MalformedError(where, got=f"{identity}, which is in {places[identity]} too", expected="each once")
            places[identity] = where
        result += parts
        if advance is not None:
            advance(1)
    return result


def _policy(document: dict[str, Any], where: str, around: calico.Surroundings, groups: Mapping[str, Any]
            ) -> list[Policy] | None:
    group, kind = group_of(document), str(document.get("kind"))
    if group == "networking.k8s.io" and kind == kubernetes.KIND:
        return kubernetes.read(document, where)
    if group == cluster.GROUP and kind in cluster.READERS:
        return list(cluster.READERS[kind](document, where))
    if group == calico.GROUP and kind in ("NetworkPolicy", "GlobalNetworkPolicy"):
        return calico.read(document, where, around)
    if group == cilium.GROUP and kind in ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"):
        return cilium.read(document, where, groups)
    return None
