"""What documents declare beside pods and policies: ports and addresses of Services, by which labels controllers know
their pods, and since when a pod runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.kit.clock import parse_rfc3339
from custody.network import addresses
from custody.network.ports import PROTOCOLS, Protocol, protocol_named
from policylang.errors import Shape

_CONTROLLERS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")


class ServicePort(NamedTuple):
    protocol: Protocol
    port: int
    """At the Service's address."""
    target: int | str
    """At the pod: a number, or the name that its container gives it."""
    node_port: int = 0


@dataclass(frozen=True, slots=True)
class DeclaredService:
    namespace: str
    name: str
    selector: Mapping[str, str]
    """Empty where it selects no pods: its endpoints are somebody else's."""
    addresses: tuple[int, ...]
    """As network.addresses numbers them: of the cluster, and external ones."""
    ports: tuple[ServicePort, ...]
    outside: bool = False
    """Whether it is meant to be reached from outside of the cluster."""

    @property
    def place(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Declared:
    services: tuple[DeclaredService, ...] = ()
    born: Mapping[str, int] = field(default_factory=dict)
    """Seconds since 1970 by `namespace/name` of a pod."""
    selectors: Mapping[tuple[str, str, str], Mapping[str, str]] = field(default_factory=dict)
    """`spec.selector.matchLabels` by namespace, kind and name of a controller."""

    def since(self, place: str) -> int:
        """When the pod was made; 0 where nobody says."""
        return self.born.get(place, 0)


def read(documents: Iterable[tuple[str, Mapping[str, Any]]]) -> Declared:
    """Of (where, document); kinds that say none of these are passed over. Raises MalformedError."""
    services: list[DeclaredService] = []
    born: dict[str, int] = {}
    selectors: dict[tuple[str, str, str], Mapping[str, str]] = {}
    for where, document in documents:
        kind = document.get("kind")
        if kind == "Service" and document.get("apiVersion") == "v1":
            services.append(_service(document, where))
        elif kind == "Pod":
            metadata = _map(document, "metadata", where)
            if isinstance(created := metadata.get("creationTimestamp"), str):
                moment: datetime = parse_rfc3339(created, f"{where}: metadata.creationTimestamp")
                born[f"{metadata.get('namespace') or 'default'}/{metadata.get('name')}"] = int(moment.timestamp())
        elif kind in _CONTROLLERS and str(document.get("apiVersion")).partition("/")[0] == "apps":
            metadata = _map(document, "metadata", where)
            chosen = _map(_map(_map(document, "spec", where), "selector", f"{where}: spec"), "matchLabels",
                          f"{where}: spec.selector")
            if chosen and all(isinstance(value, str) for value in chosen.values()):
                place = (metadata.get("namespace") or "default", str(kind), str(metadata.get("name")))
                selectors[place] = chosen
    return Declared(tuple(services), born, selectors)


def _service(document: Mapping[str, Any], where: str) -> DeclaredService:
    metadata, spec = _map(document, "metadata", where), _map(document, "spec", where)
    selector = _map(spec, "selector", f"{where}: spec")
    if not all(isinstance(value, str) for value in selector.values()):
        raise MalformedError(f"{where}: spec.selector", got=Shape(selector), expected="labels")
    balancer = _map(_map(document, "status", where), "loadBalancer", f"{where}: status")
    texts = [*_list(spec, "clusterIPs", where), spec.get("clusterIP"), *_list(spec, "externalIPs", where),
             spec.get("loadBalancerIP"),
             *(entry.get("ip") for entry in _list(balancer, "ingress", where) if isinstance(entry, dict))]
    known = dict.fromkeys(addresses.number(text, f"{where}: an address of the Service") for text in texts
                          if isinstance(text, str) and text not in ("", "None"))
    ports = tuple(_port(port, f"{where}: spec.ports[{at}]") for at, port in enumerate(_list(spec, "ports", where)))
    return DeclaredService(
        namespace=_text(metadata, "namespace", where) or "default", name=_text(metadata, "name", where),
        selector=selector, addresses=tuple(known), ports=ports,
        outside=spec.get("type") in ("NodePort", "LoadBalancer") or bool(spec.get("externalIPs")))


def _port(port: Any, where: str) -> ServicePort:
    if not isinstance(port, dict):
        raise MalformedError(where, got=Shape(port), expected="a port")
    number, protocol = port.get("port"), port.get("protocol") or "TCP"
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 65535:
        raise MalformedError(f"{where}.port", got=number, expected="1 to 65535")
    if protocol not in PROTOCOLS:
        raise MalformedError(f"{where}.protocol", got=protocol, expected=", ".join(PROTOCOLS))
    target = port.get("targetPort") or number
    if isinstance(target, bool) or not isinstance(target, (int, str)) or (
            isinstance(target, int) and not 1 <= target <= 65535):
        raise MalformedError(f"{where}.targetPort", got=Shape(target), expected="1 to 65535, or a port's name")
    if isinstance(target, str) and target.isdecimal() and target.isascii() and len(target) <= 5:
        target = int(target)
    node = port.get("nodePort")
    return ServicePort(protocol_named(protocol), number, target, node if isinstance(node, int) else 0)


def _map(document: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    value = document.get(name)
    if value is not None and not isinstance(value, dict):
        raise MalformedError(f"{where}: {name}", got=Shape(value), expected="a map")
    return value or {}


def _list(document: Mapping[str, Any], name: str, where: str) -> list[Any]:
    value = document.get(name)
    if value is not None and not isinstance(value, list):
        raise MalformedError(f"{where}: {name}", got=Shape(value), expected="a list")
    return value or []


def _text(document: Mapping[str, Any], name: str, where: str) -> str:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise MalformedError(f"{where}: {name}", got=Shape(value), expected="text")
    return value or ""
