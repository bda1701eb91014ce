"""All documents together: pods and what makes them, namespaces, and policies of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.network import calico, cilium, cluster, kubernetes
from custody.network.model import Identity, Policy, Topology
from custody.network.topology import read as read_topology

Document = tuple[str, dict[str, Any]]
"""Where it stands, and the document."""
KINDS: Mapping[str, tuple[str, ...]] = {
    "networking.k8s.io": ("NetworkPolicy",),
    cluster.GROUP: tuple(cluster.READERS),
    calico.GROUP: ("NetworkPolicy", "GlobalNetworkPolicy", "Tier", "NetworkSet", "GlobalNetworkSet"),
    "crd.projectcalico.org": (),
    cilium.GROUP: ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "CiliumCIDRGroup"),
}
"""Kinds of policies, and what those refer to, by group. Other kinds of these groups are refused where they filter."""
_FILTERS = {calico.GROUP: ("HostEndpoint", "Profile", "StagedNetworkPolicy", "StagedGlobalNetworkPolicy",
                           "StagedKubernetesNetworkPolicy"),
            cilium.GROUP: ("CiliumLocalRedirectPolicy", "CiliumEgressGatewayPolicy")}
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

    @property
    def by_identity(self) -> dict[Identity, list[Policy]]:
        result: dict[Identity, list[Policy]] = {}
        for policy in self.policies:
            result.setdefault(policy.identity, []).append(policy)
        return result


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
    topology = read_topology(documents)
    policies = read_policies(documents, topology, advance)
    unread = tuple(Unread(where, str(document.get("kind")), "it is not evaluated by custody")
                   for where, document in documents if str(document.get("kind")) in _FILTERS.get(group_of(document), ())
                   and str(document.get("kind")) not in _QUIET)
    return Documents(topology, tuple(policies), unread)


def read_policies(documents: Iterable[Document], topology: Topology, advance: Callable[[int], None] | None = None
                  ) -> list[Policy]:
    """The policies alone, in the order of their documents."""
    listed = list(documents)
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
                around.sets.append(calico.address_set(document, where))
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
