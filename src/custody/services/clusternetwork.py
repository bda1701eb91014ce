"""All that says who may reach whom in a cluster, as documents: pods and what makes them, namespaces, nodes, Services,
and policies of every kind that the API server serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from custody.network.documents import Document
from custody.ports.cluster import ClusterObjects, Object

_AROUND: tuple[tuple[str, str], ...] = (
    ("v1", "Namespace"), ("v1", "Pod"), ("v1", "Node"), ("v1", "Service"), ("v1", "ServiceAccount"),
    ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"), ("batch/v1", "CronJob"))
_POLICIES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("networking.k8s.io/v1",), "NetworkPolicy"),
    (("policy.networking.k8s.io/v1alpha2",), "ClusterNetworkPolicy"),
    (("policy.networking.k8s.io/v1alpha1",), "AdminNetworkPolicy"),
    (("policy.networking.k8s.io/v1alpha1",), "BaselineAdminNetworkPolicy"),
    (("projectcalico.org/v3",), "Tier"), (("projectcalico.org/v3",), "NetworkPolicy"),
    (("projectcalico.org/v3",), "GlobalNetworkPolicy"), (("projectcalico.org/v3",), "NetworkSet"),
    (("projectcalico.org/v3",), "GlobalNetworkSet"),
    (("cilium.io/v2",), "CiliumNetworkPolicy"), (("cilium.io/v2",), "CiliumClusterwideNetworkPolicy"),
    (("cilium.io/v2", "cilium.io/v2alpha1"), "CiliumCIDRGroup"))
"""A kind that is served in none of its versions stands nowhere; of several, the first is read."""
MOST = 200_000
"""Objects of a kind."""


async def documents(cluster: ClusterObjects, advance: Callable[[int], None] | None = None) -> list[Document]:
    """Each with the place by which errors name it, `Pod shop/web-1`; `advance` is told how many there are more.

    Raises NetworkError, AuthenticationError, and ApiError where a kind that is served may not be read: nothing is said
    of a part of a cluster.
    """
    listed: list[Document] = []
    for versions, kind in (*(((version,), kind) for version, kind in _AROUND), *_POLICIES):
        for document in await _all(cluster, versions, kind):
            metadata = document.get("metadata") or {}
            namespace = metadata.get("namespace")
            listed.append((f"{kind} {f'{namespace}/' if namespace else ''}{metadata.get('name')}", document))
            if advance is not None:
                advance(1)
    return listed


async def _all(cluster: ClusterObjects, versions: Sequence[str], kind: str) -> list[Object]:
    for version in versions:
        resource = await cluster.resource(version, kind)
        if resource is not None:
            return [{"apiVersion": version, "kind": kind, **document}
                    for document in (await cluster.list(resource, most=MOST)).items]
    return []
