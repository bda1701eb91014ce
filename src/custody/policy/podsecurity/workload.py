"""What runs pods: a pod, or an object of Kubernetes' own that makes pods of a template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from custody.errors import MalformedError, UnsupportedError
from custody.policy.podfields import ABOUT_PODS, TEMPLATES, pod_templates
from policylang.errors import Shape

GROUPS = {"Pod": "", "PodTemplate": "", "ReplicationController": "", "ReplicaSet": "apps", "Deployment": "apps",
          "StatefulSet": "apps", "DaemonSet": "apps", "Job": "batch", "CronJob": "batch"}
"""By kind: the API group of each kind that the API server's plug-in looks at."""


class Workload(NamedTuple):
    kind: str
    namespace: str
    name: str
    metadata: Any
    """Of the pod, or of the template."""
    spec: Any

    @property
    def title(self) -> str:
        """`deployment shop/web`."""
        return f"{self.kind.lower()} {'/'.join(filter(None, (self.namespace, self.name)))}"


def workload_of(document: Mapping[str, Any], namespace: str = "") -> Workload | None:
    """What an object runs; None for what has no pod. `namespace` is where it goes that names none.

    Raises UnsupportedError for a custom resource that holds pod specs, whose controller alone knows what it makes of
    them, and MalformedError for an object without its pod.
    """
    kind, group = str(document.get("kind") or ""), str(document.get("apiVersion") or "").rpartition("/")[0]
    metadata = document.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise MalformedError("metadata", got=Shape(metadata), expected="a map")
    held = metadata or {}
    name = held.get("name") or held.get("generateName") or ""
    if GROUPS.get(kind) != group:
        if group not in ABOUT_PODS and (templates := pod_templates(document)):
            raise UnsupportedError(templates[0][0] or "/", f"{document.get('apiVersion')} {kind} holds a pod spec of "
                                   "which only its controller knows what it makes",
                                   hint="judge the pods or Deployments that it makes")
        return None
    holder: Any = document
    for field in TEMPLATES[kind].split("/")[1:-1]:
        holder = holder.get(field) if isinstance(holder, Mapping) else None
    if kind == "ReplicationController" and holder is None:
        return None  # its template is optional
    spec = holder.get("spec") if isinstance(holder, Mapping) else None
    if not isinstance(holder, Mapping) or not isinstance(spec, dict):
        raise MalformedError(TEMPLATES[kind].replace("/", ".")[1:], got="nothing" if spec is None else Shape(spec),
                             expected="the spec of a pod")
    return Workload(kind, str(held.get("namespace") or namespace), str(name), holder.get("metadata"), spec)
