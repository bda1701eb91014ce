"""Where an event happened. Events themselves are of `formats.telemetry`, since those make them who read bytes."""

from __future__ import annotations

from typing import Any, NamedTuple

from custody.formats.telemetry.event import Fields as Fields
from custody.formats.telemetry.event import RuntimeEvent as RuntimeEvent


class Place(NamedTuple):
    """Where something happened. Empty is unknown."""

    node: str = ""
    namespace: str = ""
    pod: str = ""
    pod_uid: str = ""
    container: str = ""
    """The name in the pod's spec."""
    container_id: str = ""
    """Without a scheme; runtimes print the first 12 digits of 64."""
    image: str = ""
    """As the container runtime names it."""
    digest: str = ""
    """`sha256:…` of the manifest that runs, or of the index that named it."""
    refused: bool = False
    """An API server refused the request: nothing happened there, and whoever asked may have no right to."""

    @classmethod
    def of(cls, fields: Fields) -> Place:
        """By the fields of Falco's container plugin, and of an audit event's object."""
        get = fields.get
        digest = _text(get("container.image.digest"))
        return cls(
            node=_text(get("evt.hostname")),
            namespace=_text(get("k8s.ns.name")) or _text(get("ka.target.namespace")),
            pod=_text(get("k8s.pod.name")) or (
                _text(get("ka.target.name")) if get("ka.target.resource") == "pods" else ""),
            pod_uid=_text(get("k8s.pod.uid")),
            container=_text(get("container.name")),
            container_id=_container(_text(get("container.id"))),
            image=_text(get("container.image")),
            digest=digest if digest.startswith("sha256:") else "",
            refused=get("ka.auth.decision") == "forbid" or _text(get("ka.response.code")).startswith(("4", "5")))


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value != "<NA>" else ""


def _container(identifier: str) -> str:
    return "" if identifier == "host" else identifier
