"""Which images run in a cluster: what its pods say, as sightings of the inventory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from custody.errors import UnsupportedError
from custody.ports.cluster import Listing, Served
from custody.ports.inventory import Sighting, Sightings

_DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})\Z")
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


class Pods(Protocol):
    """Of `ports.cluster.ClusterObjects`, what is asked here."""

    @property
    def url(self) -> str: ...

    async def resource(self, api_version: str, kind: str, *, refresh: bool = False) -> Served | None: ...

    async def list(self, resource: Served, namespace: str = "", *, labels: str = "", fields: str = "",
                   most: int | None = None, first: int | None = None) -> Listing: ...


async def see_pods(cluster: Pods, store: Sightings, now: datetime) -> int:
    """Every pod that runs is seen, and those of this cluster that no longer do are let go of. How many images they run.

    Raises ApiError, NetworkError: then nothing is let go of.
    """
    kind = await cluster.resource("v1", "Pod")
    if kind is None:
        raise UnsupportedError(cluster.url, "serves no pods")
    name = urlsplit(cluster.url).netloc
    listing = await cluster.list(kind)
    sightings = [Sighting(digest, "pod", f"{name}/{_place(pod)}", now) for pod in listing.items
                 for digest in images(pod)]
    store.see(sightings)
    store.gone("pod", now, f"{name}/")
    return len({sighting.image for sighting in sightings})


def images(pod: Mapping[str, Any]) -> Iterator[str]:
    """Digests of the manifests that its containers run, as the node says (`imageID`); of a pod that has ended none.

    A node that names only the image's configuration says nothing here.
    """
    status = pod.get("status")
    if not isinstance(status, dict) or status.get("phase") in ("Succeeded", "Failed"):
        return
    told: set[str] = set()
    for field in _STATUSES:
        for container in status.get(field) or ():
            match = _DIGEST.search(str(container.get("imageID") or "")) if isinstance(container, dict) else None
            if match is not None and match[1] not in told:
                told.add(match[1])
                yield match[1]


def _place(pod: Mapping[str, Any]) -> str:
    metadata = pod.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
