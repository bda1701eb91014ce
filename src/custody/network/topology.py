"""Pods and what makes them, namespaces, nodes, services: the Topology of Kubernetes' own documents.

A controller counts as one pod of its template, unless pods that it has made are among the documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from custody.errors import MalformedError
from custody.formats.fields import Fields
from custody.network.addresses import number
from custody.network.model import NamedPort, Namespace, Node, Pod, Service, Topology, Workload
from custody.network.ports import LAST, PROTOCOLS, protocol_named

_CONTROLLERS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("apps", "Deployment"): ("template",), ("apps", "StatefulSet"): ("template",), ("apps", "DaemonSet"): ("template",),
    ("apps", "ReplicaSet"): ("template",), ("", "ReplicationController"): ("template",),
    ("batch", "Job"): ("template",), ("batch", "CronJob"): ("jobTemplate", "spec", "template")}
"""Where below spec a kind has its pods' template."""
_MADE = ("ReplicaSet", "Job")
"""Those that other controllers make."""


def read(documents: Sequence[tuple[str, dict[str, Any]]]) -> Topology:
    """Of the documents that are of these kinds. Raises MalformedError."""
    pods: dict[str, Pod] = {}
    namespaces: dict[str, Namespace] = {}
    nodes: list[Node] = []
    services: list[Service] = []
    accounts: dict[tuple[str, str], Mapping[str, str]] = {}
    templates: list[Pod] = []
    controllers: dict[tuple[str, Workload | None], Pod] = {}
    for where, document in documents:
        group, kind = str(document.get("apiVersion", "")).rpartition("/")[0], str(document.get("kind"))
        if (group, kind) == ("", "Pod"):
            pod = _pod(document, where)
            if pod is not None:
                if pod.place in pods:
                    raise MalformedError(where, got=f"pod {pod.place} again",
                                         expected=f"each once: it is in {pods[pod.place].where}")
                pods[pod.place] = pod
        elif (group, kind) == ("", "Namespace"):
            name = _text(_metadata(document, where), "name", where)
            namespace = Namespace(name, _labels(_metadata(document, where), f"{where}.metadata"))
            if namespaces.setdefault(name, namespace) != namespace:
                raise MalformedError(where, got=f"namespace {name} again, with other labels", expected="each once")
        elif (group, kind) == ("", "Node"):
            nodes.append(_node(document, where))
            if any(node.name == nodes[-1].name and node != nodes[-1] for node in nodes):
                raise MalformedError(where, got=f"node {nodes[-1].name} again, with others", expected="each once")
        elif (group, kind) == ("", "Service"):
            services.append(_service(document, where))
        elif (group, kind) == ("", "ServiceAccount"):
            metadata = _metadata(document, where)
            key = (_namespace(metadata), _text(metadata, "name", where))
            labels = _labels(metadata, f"{where}.metadata")
            if accounts.setdefault(key, labels) != labels:
                raise MalformedError(where, got=f"service account {'/'.join(key)} again, with other labels",
                                     expected="each once")
        elif (group, kind) in _CONTROLLERS:
            template = _template(document, where, kind, _CONTROLLERS[group, kind])
            if template is not None:
                known = controllers.setdefault((template.namespace, template.workload), template)
                if known is not template:
                    raise MalformedError(where, got=f"{kind} {template.place} again",
                                         expected=f"each once: it is in {known.where}")
                templates.append(template)
    made: dict[tuple[str, Workload | None], list[Pod]] = {}
    for pod in pods.values():
        made.setdefault((pod.namespace, pod.workload), []).append(pod)
    for template in templates:
        if not any(_made_of(template, pod) for pod in made.get((template.namespace, template.workload), ())):
            if template.place in pods:
                template = _renamed(template, pods)
            pods[template.place] = template
    for pod in pods.values():
        namespaces.setdefault(pod.namespace, Namespace(pod.namespace, declared=False))
    return Topology(tuple(pods.values()), namespaces, tuple(nodes), tuple(services), accounts)


def is_source(group: str, kind: str) -> bool:
    """Whether it is a pod, what makes pods, or what is asked about them."""
    return (group, kind) in _CONTROLLERS or (not group and kind in ("Pod", "Namespace", "Node"))


def _made_of(template: Pod, pod: Pod) -> bool:
    """Whether a pod that runs is as its controller's template has it now: else the template's are still to come, and
    policies may see them otherwise. Admission may have added to it."""
    return (template.labels.items() <= pod.labels.items() and template.ports <= pod.ports
            and template.host_network == pod.host_network and template.account == pod.account)


def _renamed(template: Pod, taken: Iterable[str]) -> Pod:
    """A controller of another kind has the name: its kind tells them apart."""
    from dataclasses import replace

    kind = template.workload.kind.lower() if template.workload else "pod"
    name = f"{template.name}.{kind}"
    return replace(template, name=name if f"{template.namespace}/{name}" not in taken else f"{name}.2")


def _metadata(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    metadata = document.get("metadata")
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict):
        raise MalformedError(f"{where}.metadata", got=type(metadata).__name__, expected="a map")
    return metadata


def _namespace(metadata: Mapping[str, Any]) -> str:
    namespace = metadata.get("namespace")
    return namespace if isinstance(namespace, str) and namespace else "default"


def _text(part: Mapping[str, Any], name: str, where: str) -> str:
    value = part.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedError(f"{where}.metadata.{name}", got=value, expected="text")
    return value


def _labels(part: Mapping[str, Any], where: str, name: str = "labels") -> dict[str, str]:
    labels = part.get(name)
    labels = {} if labels is None else labels
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise MalformedError(f"{where}.{name}", got=labels, expected="a map of texts")
    return labels


def _list(part: Mapping[str, Any], name: str, where: str) -> Iterator[dict[str, Any]]:
    values = part.get(name)
    values = [] if values is None else values
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise MalformedError(f"{where}.{name}", got=type(values).__name__, expected="a list of maps")
    yield from values


def _pod(document: Mapping[str, Any], where: str) -> Pod | None:
    """None of one that has ended."""
    metadata = _metadata(document, where)
    status = document.get("status") or {}
    if not isinstance(status, dict):
        raise MalformedError(f"{where}.status", got=type(status).__name__, expected="a map")
    if status.get("phase") in ("Succeeded", "Failed"):
        return None
    addresses = [entry.get("ip") for entry in _list(status, "podIPs", f"{where}.status")] or [status.get("podIP")]
    owner = next((entry for entry in _list(metadata, "ownerReferences", f"{where}.metadata")
                  if entry.get("controller")), None)
    return _made(document.get("spec") or {}, metadata, where, f"{where}.spec", _namespace(metadata),
                 metadata.get("name") or metadata.get("generateName"),
                 workload=_owner(owner, metadata),
                 addresses=tuple(number(str(address), f"{where}.status.podIP") for address in addresses if address))


def _owner(owner: Mapping[str, Any] | None, metadata: Mapping[str, Any]) -> Workload | None:
    """The controller that a person wrote: a ReplicaSet's Deployment, a Job's CronJob, by the names that they give."""
    if owner is None or owner.get("kind") == "Node":
        return None
    kind, name = str(owner.get("kind")), str(owner.get("name"))
    labels = metadata.get("labels")
    template = labels.get("pod-template-hash") if isinstance(labels, dict) else ""
    if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
        return Workload("Deployment", name.removesuffix(f"-{template}"))
    if kind == "Job" and name.rpartition("-")[2].isdecimal() and len(name.rpartition("-")[2]) >= 8:
        return Workload("CronJob", name.rpartition("-")[0])  # CronJob's controller adds the minutes since 1970
    return Workload(kind, name)


def _template(document: Mapping[str, Any], where: str, kind: str, path: tuple[str, ...]) -> Pod | None:
    metadata = _metadata(document, where)
    if kind in _MADE and any(entry.get("controller") for entry in
                             _list(metadata, "ownerReferences", f"{where}.metadata")):
        return None
    part, place = document.get("spec") or {}, f"{where}.spec"
    for step in path:
        part = part.get(step) if isinstance(part, dict) else None
        place = f"{place}.{step}"
        if not isinstance(part, dict):
            raise MalformedError(place, got="nothing" if part is None else type(part).__name__, expected="a map")
    name = metadata.get("name") or metadata.get("generateName")
    return _made(part.get("spec") or {}, _metadata(part, place), place, f"{place}.spec", _namespace(metadata), name,
                 workload=Workload(kind, str(name)), representative=True)


def _made(spec: Any, metadata: Mapping[str, Any], where: str, place: str, namespace: str, name: Any, *,
          workload: Workload | None, addresses: tuple[int, ...] = (), representative: bool = False) -> Pod:
    if not isinstance(name, str) or not name:
        raise MalformedError(f"{where}.metadata.name", got=name, expected="text")
    if not isinstance(spec, dict):
        raise MalformedError(place, got=type(spec).__name__, expected="a map")
    ports = {port for containers in ("containers", "initContainers")
             for container in _list(spec, containers, place)
             if containers == "containers" or container.get("restartPolicy") == "Always"  # a sidecar, which runs on
             for port in _ports(container, f"{place}.{containers}")}
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    return Pod(namespace, name, _labels(metadata, f"{where}.metadata"), addresses, frozenset(ports),
               spec.get("hostNetwork") is True, str(account), workload, str(spec.get("nodeName") or ""),
               representative, where)


def _ports(container: Mapping[str, Any], where: str) -> Iterator[NamedPort]:
    for entry in _list(container, "ports", where):
        fields = Fields(entry, f"{where}.ports")
        name, chosen, value = fields.take("name", str), fields.take("protocol", str) or "TCP", fields.need(
            "containerPort", int)
        if chosen not in PROTOCOLS:
            raise MalformedError(fields.path("protocol"), got=chosen, expected="TCP, UDP or SCTP")
        if not 1 <= value <= LAST:
            raise MalformedError(fields.path("containerPort"), got=value, expected=f"a port from 1 to {LAST}")
        if name:
            yield NamedPort(name, protocol_named(chosen), value)


def _node(document: Mapping[str, Any], where: str) -> Node:
    metadata, status = _metadata(document, where), document.get("status") or {}
    addresses = [str(entry.get("address")) for entry in _list(status if isinstance(status, dict) else {}, "addresses",
                                                              f"{where}.status")
                 if entry.get("type") in ("InternalIP", "ExternalIP")]
    return Node(_text(metadata, "name", where), _labels(metadata, f"{where}.metadata"),
                tuple(number(address, f"{where}.status.addresses") for address in addresses))


def _service(document: Mapping[str, Any], where: str) -> Service:
    metadata, spec = _metadata(document, where), document.get("spec") or {}
    return Service(_namespace(metadata), _text(metadata, "name", where),
                   _labels(spec if isinstance(spec, dict) else {}, f"{where}.spec", "selector"))
