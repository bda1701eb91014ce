"""The pods that are in a namespace already when it is labelled anew: what the API server warns of then.

Source: k8s.io/pod-security-admission v0.34 admission/admission.go, EvaluatePodsInNamespace. A pod is kept as the
checks read it, without what differs between the pods of one controller and decides nothing: thousands of pods are
some tens of shapes, which fit into a decision's record, and each is judged once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.policy.podsecurity import standard
from custody.policy.podsecurity.checks import ANNOTATED
from custody.policy.podsecurity.configuration import Demand
from policylang.errors import Shape

MOST = 3000
"""Pods that are judged, as by the API server."""
UNLISTED = "failed to list pods while checking new PodSecurity enforce level"
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_PLAIN = ("hostNetwork", "hostPID", "hostIPC", "hostUsers", "runtimeClassName", "securityContext", "os")
_HANDLERS = ("livenessProbe", "readinessProbe", "startupProbe")


class Entry(NamedTuple):
    """A pod on the roll of its namespace."""

    name: str
    controller: str
    """Its uid; "" for a pod that nothing controls."""
    shape: str
    """What the checks read of the pod, as JSON."""


def entry(pod: Mapping[str, Any]) -> Entry:
    """Of a pod as the API server gives it. Raises MalformedError for what is none."""
    metadata, spec = pod.get("metadata"), pod.get("spec")
    if not isinstance(metadata, dict) or not isinstance(spec, dict) or not isinstance(metadata.get("name"), str):
        raise MalformedError("pod", got=Shape(pod), expected="an object with metadata.name and a spec")
    return Entry(metadata["name"], _controller(metadata),
                 json.dumps(_reduced(metadata, spec), sort_keys=True, separators=(",", ":")))


class Roll:
    """The pods of a namespace: `answer` is what `ports.lookup.NamespacePods` is answered by."""

    def __init__(self) -> None:
        self._shapes: dict[str, int] = {}
        self._pods: list[tuple[str, str, int]] = []

    def __len__(self) -> int:
        return len(self._pods)

    def add(self, pods: Iterable[Entry]) -> None:
        self._pods += [(name, uid, self._shapes.setdefault(shape, len(self._shapes))) for name, uid, shape in pods]

    def answer(self, total: int | None = None) -> dict[str, Any]:
        """`{"total": …, "shapes": [{"annotations": …, "spec": …}], "pods": [[name, controller's uid, shape], …]}`.

        `total` is how many pods there are, where they could not all be called up.
        """
        return {"total": max(total or 0, len(self)), "shapes": [json.loads(shape) for shape in self._shapes],
                "pods": [list(pod) for pod in self._pods]}


class _Group(NamedTuple):
    name: str
    """The first of the pods, by name."""
    pods: int


def warnings(namespace: str, demand: Demand, answer: Any, exempt_classes: Iterable[str] = ()) -> list[str]:
    """What is said of the pods of a namespace that is to enforce this, in the API server's words.

    `answer` is that of `NamespacePods`; an empty list: all of them meet it. Raises MalformedError.
    """
    total, shapes, pods = _read(answer)
    exempt = frozenset(exempt_classes)
    left_out = {at for at, (_, spec) in enumerate(shapes)
                if isinstance(name := spec.get("runtimeClassName"), str) and name in exempt}
    listed = _prioritized([pod for pod in pods if pod[2] not in left_out])
    count = total - (len(pods) - len(listed))
    checked = listed[:MOST]
    reasons: dict[int, str] = {}
    groups: dict[str, _Group] = {}
    for name, _, shape in checked:
        if shape not in reasons:
            annotations, spec = shapes[shape]
            reasons[shape] = ", ".join(failure.reason for failure in standard.evaluate(
                spec, {"annotations": annotations}, *demand))
        if reason := reasons[shape]:
            known = groups.get(reason)
            groups[reason] = _Group(min(name, known.name), known.pods + 1) if known else _Group(name, 1)
    said = []
    if len(checked) < count:
        said.append(f"new PodSecurity enforce level only checked against the first {len(checked)} of {count} existing "
                    "pods")
    if groups:
        said.append(f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{demand}"')
    return said + sorted(f"{group.name}{_beside(group.pods - 1)}: {reason}" for reason, group in groups.items())


def _beside(others: int) -> str:
    return "" if not others else " (and 1 other pod)" if others == 1 else f" (and {others} other pods)"


def _prioritized(pods: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """One pod of each controller, and those without one, before the replicas of those."""
    seen: set[str] = set()
    first: list[tuple[str, str, int]] = []
    replicas: list[tuple[str, str, int]] = []
    for pod in pods:
        (replicas if pod[1] and pod[1] in seen else first).append(pod)
        seen.add(pod[1])
    return first + replicas


def _read(answer: Any) -> tuple[int, list[tuple[dict[str, str], dict[str, Any]]], list[tuple[str, str, int]]]:
    """Raises MalformedError: a record may come from anybody."""
    try:
        shapes = [(dict(shape["annotations"]), dict(shape["spec"])) for shape in answer["shapes"]]
        pods = [(str(name), str(uid), int(shape)) for name, uid, shape in answer["pods"]]
        if any(not 0 <= shape < len(shapes) for _, _, shape in pods):
            raise ValueError("a pod without a shape")
        return max(int(answer["total"]), len(pods)), shapes, pods
    except (KeyError, TypeError, ValueError):
        raise MalformedError("pods of a namespace", got=Shape(answer), expected="total, shapes and pods") from None


def _controller(metadata: Mapping[str, Any]) -> str:
    """The uid of the owner that controls it; "" for none."""
    references = metadata.get("ownerReferences")
    for reference in references if isinstance(references, list) else ():
        if isinstance(reference, dict) and reference.get("controller") is True:
            return str(reference.get("uid") or "")
    return ""


def _reduced(metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    annotations = metadata.get("annotations")
    kept: dict[str, Any] = {field: spec[field] for field in _PLAIN if spec.get(field) is not None}
    for kind in _CONTAINERS:
        if isinstance(containers := spec.get(kind), list):
            kept[kind] = [_container(container) for container in containers if isinstance(container, dict)]
    if isinstance(volumes := spec.get("volumes"), list):
        sources = {source for volume in volumes if isinstance(volume, dict)
                   for source, value in volume.items() if source != "name" and value is not None}
        kept["volumes"] = [{source: {}} for source in sorted(sources)]
    return {"annotations": {key: value for key, value in annotations.items()
                            if isinstance(value, str) and key.startswith(ANNOTATED)}
            if isinstance(annotations, dict) else {}, "spec": kept}


def _container(container: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {"name": container.get("name")}
    if container.get("securityContext") is not None:
        kept["securityContext"] = container["securityContext"]
    if isinstance(ports := container.get("ports"), list) and (
            numbers := [port["hostPort"] for port in ports if isinstance(port, dict) and port.get("hostPort")]):
        kept["ports"] = [{"hostPort": number} for number in sorted(numbers, key=str)]
    for field in _HANDLERS:
        if hosts := _hosts(container.get(field)):
            kept[field] = hosts
    lifecycle = container.get("lifecycle")
    if isinstance(lifecycle, dict) and (hooks := {hook: hosts for hook in ("postStart", "preStop")
                                                  if (hosts := _hosts(lifecycle.get(hook)))}):
        kept["lifecycle"] = hooks
    return kept


def _hosts(handler: Any) -> dict[str, Any]:
    if not isinstance(handler, dict):
        return {}
    return {action: {"host": handler[action]["host"]} for action in ("httpGet", "tcpSocket")
            if isinstance(handler.get(action), dict) and handler[action].get("host")}
