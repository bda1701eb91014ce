"""What a policy asks that only the world can answer: typed questions, and an answer that is never mistaken for none.

A question without an answer, an answer that there is no such thing, and a failure to get one are three things: nobody
may take the second for the third. All of them are plain data, so that a decision's inputs can be kept and asked again.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class NamespaceLabels(msgspec.Struct, frozen=True, tag="namespaceLabels"):
    """Answered by a map of texts."""

    namespace: str

    def __str__(self) -> str:
        return f"the labels of namespace {self.namespace!r}"


class ConfigMap(msgspec.Struct, frozen=True, tag="configMap"):
    """Answered by the object, as `GET` gives it."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"ConfigMap {self.namespace}/{self.name}"


class ApiCall(msgspec.Struct, frozen=True, tag="apiCall"):
    """A request to the cluster's API server. Answered by the decoded JSON."""

    path: str
    """With its query: `/api/v1/namespaces/default/pods?labelSelector=app%3Dweb`."""
    method: str = "GET"
    body: str = ""
    """JSON text."""

    def __str__(self) -> str:
        return f"{self.method} {self.path} of the API server"


class ImageData(msgspec.Struct, frozen=True, tag="imageData"):
    """Answered by a registry's manifest and config of an image, in the map that Kyverno calls imageData."""

    image: str

    def __str__(self) -> str:
        return f"the data of image {self.image}"


class ExternalData(msgspec.Struct, frozen=True, tag="externalData"):
    """Answered by a Gatekeeper provider's response (externaldata.gatekeeper.sh)."""

    provider: str
    keys: tuple[str, ...]

    def __str__(self) -> str:
        return f"external data of provider {self.provider} for {', '.join(self.keys)}"


class HttpCall(msgspec.Struct, frozen=True, tag="httpCall"):
    """Any HTTP server. Answered by `{"status": …, "headers": {…}, "body": text}`."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    ca_bundle: str = ""
    """PEM; empty for the machine's own authorities."""

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


class Roles(msgspec.Struct, frozen=True, tag="roles"):
    """Answered by `{"roles": ["namespace:name"], "clusterRoles": ["name"]}`: what bindings give to who asks."""

    username: str
    groups: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"the roles of {self.username}"


class GlobalEntry(msgspec.Struct, frozen=True, tag="globalEntry"):
    """Answered by the data of a GlobalContextEntry, or of one of its projections."""

    name: str
    projection: str = ""

    def __str__(self) -> str:
        return f"the global context entry {'/'.join(filter(None, [self.name, self.projection]))}"


class Addresses(msgspec.Struct, frozen=True, tag="addresses"):
    """Answered by the list of a host name's IP addresses."""

    host: str

    def __str__(self) -> str:
        return f"the addresses of {self.host}"


Question = (NamespaceLabels | ConfigMap | ApiCall | ImageData | ExternalData | HttpCall | Addresses | Roles
            | GlobalEntry)
"""The time is none of them: a decision has one, `Context.now`."""


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    value: Any


class Absent(msgspec.Struct, frozen=True, tag="absent"):
    """Whoever would know says that there is no such thing."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It could not be had, whole: never to be read as absent."""

    reason: str


class Disabled(msgspec.Struct, frozen=True, tag="disabled"):
    """Nobody is to be asked: policies are tried out, and what is asked for is given otherwise or left out.

    Whatever cannot do without it fails. See `policy.model.Simulated`.
    """


Answer = Answered | Absent | Failed | Disabled


class Lookup(Protocol):
    """Answers questions. Any number may be asked at once."""

    async def answer(self, question: Question) -> Answer:
        """Never raises for what the world did: that is `Failed`, with the reason. Cancelled where the time is over."""
        ...
