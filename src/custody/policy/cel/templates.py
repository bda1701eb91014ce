"""Pods made of the pod templates in any object, for policies about pods that speak of custom resources.

Kyverno 1.19 pkg/cel/autogen/extract: a map with `spec.containers` that have names and images, below `spec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from custody.errors import MalformedError
from custody.policy.model import Kind, Request, Resource
from custody.policy.podfields import MAX_DEPTH, MAX_NODES


class Template(NamedTuple):
    """`path` as `spec.replicatedJobs[0].template.spec.template`."""

    path: str
    value: dict[str, Any]


def templates(document: Mapping[str, Any] | None) -> list[Template]:
    """In the document's order. Raises MalformedError for an object that is too large or too deep."""
    spec = (document or {}).get("spec")
    if not isinstance(spec, dict):
        return []
    made: list[Template] = []
    left = MAX_NODES
    waiting: list[tuple[str, Any, int]] = [("spec", spec, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise MalformedError(path[:100], got="an object too large or too deep to be searched",
                                 expected=f"at most {MAX_NODES} values, {MAX_DEPTH} levels")
        if isinstance(value, dict):
            if _is_template(value):
                made.append(Template(path, value))
            else:
                waiting += reversed([(f"{path}.{name}", inner, depth + 1) for name, inner in value.items()])
        elif isinstance(value, list):
            waiting += reversed([(f"{path}[{at}]", inner, depth + 1) for at, inner in enumerate(value)])
    return made


def pod_requests(request: Request) -> list[tuple[str, Request]]:
    """A request about a pod for each template that an object has; of a deletion, for those that it had."""
    deleted = not request.object
    source, beside = ((request.old_object, request.object) if deleted else (request.object, request.old_object))
    others = {template.path: template for template in templates(beside)}
    made = []
    for template in templates(source):
        pod, other = _pod(template, request), others.get(template.path)
        other_pod = _pod(other, request) if other is not None else None
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        made.append((template.path, msgspec.structs.replace(
            request, kind=Kind("Pod"), resource=Resource("pods"), name=name, namespace=namespace, parent=None,
            object=other_pod if deleted else pod, old_object=pod if deleted else other_pod)))
    return made


def _is_template(value: dict[str, Any]) -> bool:
    spec = value.get("spec")
    if not isinstance(value.get("metadata", {}), dict) or not isinstance(spec, dict):
        return False
    containers = spec.get("containers")
    return isinstance(containers, list) and bool(containers) and all(
        isinstance(container, dict) and isinstance(container.get("name"), str) and container["name"] != ""
        and isinstance(container.get("image"), str) for container in containers)


def _pod(template: Template, request: Request) -> dict[str, Any]:
    metadata = dict(template.value.get("metadata") or {})
    if not isinstance(metadata.get("name"), str) or not metadata["name"]:
        metadata["name"] = request.name
    if not isinstance(metadata.get("namespace"), str) or not metadata["namespace"]:
        metadata["namespace"] = request.namespace
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.value["spec"]}
