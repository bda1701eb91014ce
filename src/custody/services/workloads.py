"""Deployments and their like of a cluster: by which labels they know their pods, whatever pods there are now."""

from __future__ import annotations

from custody.network.documents import Document
from custody.services.networking import Objects

_KINDS = (("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("apps/v1", "DaemonSet"))
MOST = 100_000
"""Objects of a kind."""


async def workloads(cluster: Objects) -> list[Document]:
    """Raises ApiError where they may not be read, and NetworkError."""
    listed: list[Document] = []
    for version, kind in _KINDS:
        resource = await cluster.resource(version, kind)
        if resource is None:
            continue
        for item in (await cluster.list(resource, most=MOST)).items:
            metadata = item.get("metadata") or {}
            listed.append((f"{kind}/{metadata.get('namespace')}/{metadata.get('name')}",
                           {**item, "apiVersion": version, "kind": kind}))
    return listed
