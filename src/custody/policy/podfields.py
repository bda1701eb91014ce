"""The fields of a pod that bring bytes into it, and the pod specs that stand in any object.

Kubernetes' API (core/v1 PodSpec, 1.34): the images of three kinds of containers, and image volumes (KEP-4639). That
the list is whole is held against the API server's OpenAPI schema by a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from custody.errors import MalformedError
from custody.formats.jsonpatch import escaped

IMAGE_FIELDS = ("/initContainers/[]/image", "/containers/[]/image", "/ephemeralContainers/[]/image",
                "/volumes/[]/image/reference")
"""JSON Pointers below a PodSpec; `[]` stands for each entry of a list. In the order in which images are judged."""
TEMPLATES = {"Pod": "/spec", "PodTemplate": "/template/spec", "CronJob": "/spec/jobTemplate/spec/template/spec",
             **dict.fromkeys(("ReplicationController", "ReplicaSet", "Deployment", "StatefulSet", "DaemonSet", "Job"),
                             "/spec/template/spec")}
"""Where Kubernetes' own kinds hold a PodSpec."""
HOLDERS = {kind: pointer for kind, pointer in TEMPLATES.items() if kind != "PodTemplate"}
"""Of the kinds in which Kyverno looks for images and pods."""
ABOUT_PODS = frozenset({"kyverno.io", "policies.kyverno.io", "templates.gatekeeper.sh", "constraints.gatekeeper.sh",
                        "mutations.gatekeeper.sh", "admissionregistration.k8s.io", "apiextensions.k8s.io"})
"""API groups whose objects speak of pods and make none: a pattern of a policy is no pod template."""
MAX_DEPTH = 100
_STEPS = [(field, kind, tuple(path)) for field in IMAGE_FIELDS for _, kind, _, *path in [field.split("/")]]
MAX_NODES = 500_000
_ASIDE = ("metadata", "status")
"""What the API server keeps beside an object's spec: nothing in it makes a pod."""


def image_texts(pod_spec: dict[str, Any], pointer: str = "") -> Iterator[tuple[str, str, str]]:
    """(field of IMAGE_FIELDS, pointer of the text, text) of each image that a PodSpec names.

    `pointer` is where the PodSpec stands. What is absent, empty or no text is left out, as the API server refuses it.
    """
    for field, kind, path in _STEPS:
        holders = pod_spec.get(kind)
        if not isinstance(holders, list):
            continue
        for at, value in enumerate(holders):
            for step in path:
                value = value.get(step) if isinstance(value, dict) else None
            if isinstance(value, str) and value.strip():
                yield field, "/".join((pointer, kind, str(at), *path)), value


def pod_templates(document: Any) -> list[tuple[str, dict[str, Any]]]:
    """(pointer, PodSpec) of each part of an object that names images as a PodSpec does, in the document's order.

    A Pod's own is at `/spec`, a Deployment's at `/spec/template/spec`, a CronJob's at
    `/spec/jobTemplate/spec/template/spec`; those of custom resources are found wherever they stand. Raises
    MalformedError for an object that is deeper or larger than the API server stores.
    """
    templates: list[tuple[str, dict[str, Any]]] = []
    left = MAX_NODES
    waiting: list[tuple[str, Any, int]] = [("", document, 0)]
    while waiting:
        pointer, part, depth = waiting.pop()
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise MalformedError(pointer[:100] or "object", got="an object too large or too deep to be searched",
                                 expected=f"at most {MAX_NODES} values, {MAX_DEPTH} levels")
        if isinstance(part, dict):
            if next(image_texts(part), None) is not None:
                templates.append((pointer, part))
            children = [(f"{pointer}/{escaped(key)}", value, depth + 1) for key, value in part.items()
                        if isinstance(value, (dict, list)) and (depth or key not in _ASIDE)]
        else:
            children = [(f"{pointer}/{at}", value, depth + 1) for at, value in enumerate(part)
                        if isinstance(value, (dict, list))] if isinstance(part, list) else []
        waiting += reversed(children)
    return templates
