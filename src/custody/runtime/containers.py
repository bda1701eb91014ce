"""Which containers run here, as the cluster or the container runtime told: for events that name only an identifier."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from custody.formats.telemetry.event import Fields
from custody.runtime.event import Place

_MOST = 100_000
_SHORT = 12


class Container(NamedTuple):
    """A container of a pod, or one that a runtime was asked for directly."""

    identifier: str
    """64 hexadecimal digits."""
    digest: str
    """Of the manifest, or of the index that named it; empty where the node says neither."""
    image: str = ""
    namespace: str = ""
    pod: str = ""
    pod_uid: str = ""
    name: str = ""
    volumes: tuple[str, ...] = ()
    """Paths at which volumes are mounted."""
    workload: str = ""
    """`Deployment/shop/web`: the topmost owner that is known."""


class Containers:
    """By identifier; those that were told of longest ago go where there are too many."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: OrderedDict[str, Container] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def note(self, containers: Iterable[Container]) -> None:
        for container in containers:
            if len(container.identifier) < _SHORT:
                continue
            self._kept[container.identifier[:_SHORT]] = container
            self._kept.move_to_end(container.identifier[:_SHORT])
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def get(self, identifier: str) -> Container | None:
        """By the whole identifier or its first 12 digits."""
        container = self._kept.get(identifier[:_SHORT])
        return container if container is not None and container.identifier.startswith(identifier) else None

    def place(self, fields: Fields) -> tuple[Place, Container | None]:
        """Where an event happened, completed by what is known of its container."""
        place = Place.of(fields)
        container = self.get(place.container_id) if place.container_id else None
        if container is None:
            return place, None
        return place._replace(
            namespace=place.namespace or container.namespace, pod=place.pod or container.pod,
            pod_uid=place.pod_uid or container.pod_uid, container=place.container or container.name,
            image=place.image or container.image, digest=container.digest or place.digest), container
