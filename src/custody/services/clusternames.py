"""What a cluster calls containers and addresses: of its pods and Services."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from custody.formats.containers import Running, of_pod, owners
from custody.kit.members import list_of, object_of, objects_of, text_of
from custody.runtime.containers import Container

_NAME = re.compile(r"[a-z0-9.-]{1,253}\Z")


def containers_of(pods: Iterable[Mapping[str, Any]]) -> Iterator[Container]:
    for pod in pods:
        above = owners(pod)
        for running in of_pod(pod):
            if running.identifier:
                kind, name = above[-1] if above else ("Pod", running.pod)
                yield Container(running.identifier, running.digest, running.image, running.namespace, running.pod,
                                running.uid, running.name, running.volumes, f"{kind}/{running.namespace}/{name}")


def container_of(running: Running) -> Container:
    """Without its owner, which only the cluster knows."""
    return Container(running.identifier, running.digest, running.image, running.namespace, running.pod, running.uid,
                     running.name, running.volumes)


def names_of(pods: Sequence[Mapping[str, Any]], services: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """`service/NAMESPACE/NAME` and `pod/NAMESPACE/OWNER` by address. Pods of the host's network have the node's
    address, and so no name of their own.
    """
    names: dict[str, str] = {}
    for pod in pods:
        plain = dict(pod)
        metadata, status = object_of(plain, "metadata"), object_of(plain, "status")
        if object_of(plain, "spec").get("hostNetwork") is True or status.get("phase") in ("Succeeded", "Failed"):
            continue
        above = owners(pod)
        name = above[-1][1] if above else text_of(metadata, "name")
        for entry in objects_of(status, "podIPs"):
            _put(names, text_of(entry, "ip"), "pod", text_of(metadata, "namespace"), name)
    for service in services:
        plain = dict(service)
        metadata, spec = object_of(plain, "metadata"), object_of(plain, "spec")
        for address in (text_of(spec, "clusterIP"), *list_of(spec, "clusterIPs"), *list_of(spec, "externalIPs"), *(
                text_of(entry, "ip") for entry in objects_of(object_of(object_of(plain, "status"), "loadBalancer"),
                                                              "ingress"))):
            if isinstance(address, str):
                _put(names, address, "service", text_of(metadata, "namespace"), text_of(metadata, "name"))
    return names


def _put(names: dict[str, str], address: str, kind: str, namespace: str, name: str) -> None:
    if address and address != "None" and _NAME.match(namespace) and _NAME.match(name):
        names[address] = f"{kind}/{namespace}/{name}"
