"""Which containers run here, as the cluster or the container runtime told: for events that name only an identifier."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from custody.formats.telemetry.event import Fields
from custody.formats.telemetry.processes import repository, tag
from custody.runtime.event import Place

_MOST = 100_000
_SHORT, _WHOLE = 12, 64
_AGAIN = 5.0
"""Seconds after which a container that nobody knew is asked for again."""


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


FIELDS = frozenset(("container.name", "container.image", "container.image.repository", "container.image.tag",
                    "container.image.digest", "k8s.ns.name", "k8s.pod.name", "k8s.pod.uid"))
"""What events of sensors have by it."""


class Containers:
    """By identifier; those that were told of longest ago go where there are too many."""

    def __init__(self, most: int = _MOST, *, find: Callable[[str], Container | None] | None = None,
                 steady: Callable[[], float] = time.monotonic) -> None:
        """`find` is asked, in the same call, of a whole identifier that nobody told of; not of the same soon again."""
        self._most, self._find, self._steady = most, find, steady
        self._kept: OrderedDict[str, Container] = OrderedDict()
        self._missed: OrderedDict[str, float] = OrderedDict()

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
        if container is None and self._find is not None and len(identifier) == _WHOLE:
            container = self._asked(identifier)
        return container if container is not None and container.identifier.startswith(identifier) else None

    def _asked(self, identifier: str) -> Container | None:
        assert self._find is not None
        now = self._steady()
        if now - self._missed.get(identifier, -_AGAIN) < _AGAIN:
            return None
        container = self._find(identifier)
        if container is not None:
            self._missed.pop(identifier, None)
            self.note((container,))
            return container
        self._missed[identifier] = now
        if len(self._missed) > self._most:
            self._missed.popitem(last=False)
        return None

    def fields(self, identifier: str) -> Mapping[str, Any] | None:
        """`FIELDS` of a container; None where nobody told of it. Those that are not known are not there."""
        container = self.get(identifier)
        if container is None:
            return None
        told = {"container.name": container.name, "container.image": container.image,
                "container.image.repository": repository(container.image), "container.image.tag": tag(container.image),
                "container.image.digest": container.digest, "k8s.ns.name": container.namespace,
                "k8s.pod.name": container.pod, "k8s.pod.uid": container.pod_uid}
        return {name: value for name, value in told.items() if value}

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
