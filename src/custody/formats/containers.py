"""Containers as a node tells of them: status of pods (core/v1), the list of the container runtime (`crictl ps -o
json`, the CRI's ListContainersResponse as JSON), and what runtimes keep on disk of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.kit.members import items, list_of, mapping, object_of, objects_of, text_of
from policylang.errors import Words

_DIGEST = re.compile(r"(?:.*@)?(sha256:[0-9a-f]{64})\Z")
_SPECS = {"containerStatuses": "containers", "initContainerStatuses": "initContainers",
          "ephemeralContainerStatuses": "ephemeralContainers"}
_MOST = 100_000
_MOST_PODS = 200_000
_PODS = "Pods, as of `kubectl get pods -A -o json`"


class Running(NamedTuple):
    """A container of a pod."""

    namespace: str
    pod: str
    uid: str
    name: str
    image: str
    """As the pod's spec names it, or the runtime."""
    digest: str
    """Of the manifest, or of the index that named it; empty where the node does not say."""
    identifier: str
    """Of the container, without the runtime's scheme; empty before it is started."""
    volumes: tuple[str, ...] = ()
    started: str = ""
    """RFC 3339; empty where it does not run."""
    ephemeral: bool = False


def of_pod(pod: Mapping[str, Any]) -> Iterator[Running]:
    """The containers of a pod that has not ended. What of a pod is of another kind than the API's is passed over."""
    pod = dict(pod)
    status, spec, metadata = object_of(pod, "status"), object_of(pod, "spec"), object_of(pod, "metadata")
    if status.get("phase") in ("Succeeded", "Failed"):
        return
    told: set[str] = set()
    for statuses, specs in _SPECS.items():
        named = {text_of(container, "name"): container for container in objects_of(spec, specs)}
        for container in objects_of(status, statuses):
            name = text_of(container, "name")
            told.add(name)
            yield _running(metadata, named.get(name, {}), container, specs == "ephemeralContainers")
        for name, container in named.items():
            if name not in told and specs != "initContainers":
                yield _running(metadata, container, {}, specs == "ephemeralContainers")


def _running(metadata: dict[str, Any], spec: dict[str, Any], status: dict[str, Any], ephemeral: bool) -> Running:
    match = _DIGEST.match(text_of(status, "imageID"))
    state = object_of(object_of(status, "state"), "running")
    return Running(
        namespace=text_of(metadata, "namespace"), pod=text_of(metadata, "name"), uid=text_of(metadata, "uid"),
        name=text_of(status, "name") or text_of(spec, "name"), image=text_of(spec, "image") or text_of(status, "image"),
        digest=match[1] if match and "@" in text_of(status, "imageID") else "",
        identifier=text_of(status, "containerID").rpartition("://")[2],
        volumes=tuple(path for mount in objects_of(spec, "volumeMounts") if (path := text_of(mount, "mountPath"))),
        started=text_of(state, "startedAt"), ephemeral=ephemeral)


def pods_of(document: Any, where: str) -> list[dict[str, Any]]:
    """The pods of `kubectl get pods -o json`: of one Pod, a PodList, or a List of Pods.

    Raises MalformedError for anything else: a document without pods would say that none runs.
    """
    kind = text_of(mapping(document, where), "kind")
    if kind == "Pod":
        return [document]
    if kind not in ("", "List", "PodList") or document.get("items") is None:
        raise MalformedError(where, got=Words(f"kind {kind}" if kind else "no kind, and no items"), expected=_PODS)
    pods = []
    for place, value in enumerate(items(document, "items", where, _MOST_PODS)):
        pod = mapping(value, f"{where}.items[{place}]")
        if (kind := text_of(pod, "kind")) not in ("", "Pod"):
            raise MalformedError(f"{where}.items[{place}]", got=Words(f"kind {kind}"), expected=_PODS)
        pods.append(pod)
    return pods


def of_runtime(document: Any, where: str) -> list[Running]:
    """The containers that run, by `crictl ps -o json`. Raises MalformedError, naming the field."""
    running = []
    if mapping(document, where).get("containers") is None:
        raise MalformedError(f"{where}.containers", got=None, expected="`crictl ps -o json`")
    for place, value in enumerate(items(mapping(document, where), "containers", where, _MOST)):
        here = f"{where}.containers[{place}]"
        entry = mapping(value, here)
        identifier = text_of(entry, "id")
        if not re.fullmatch(r"[0-9a-f]{12,64}", identifier):
            raise MalformedError(f"{here}.id", got=identifier, expected="12 to 64 hexadecimal digits")
        if text_of(entry, "state") not in ("", "CONTAINER_RUNNING"):
            continue
        labels = object_of(entry, "labels")
        match = _DIGEST.match(text_of(entry, "imageRef"))
        running.append(Running(
            namespace=text_of(labels, "io.kubernetes.pod.namespace"), pod=text_of(labels, "io.kubernetes.pod.name"),
            uid=text_of(labels, "io.kubernetes.pod.uid"),
            name=text_of(object_of(entry, "metadata"), "name"), image=text_of(object_of(entry, "image"), "image"),
            digest=match[1] if match else "", identifier=identifier))
    return running


def of_bundle(document: Any, identifier: str) -> Running | None:
    """A container by its OCI runtime configuration (`config.json`), with the annotations that containerd's CRI plug-in
    and CRI-O give it; None of a pod's sandbox, and of one without them. Raises MalformedError.
    """
    spec = mapping(document, "config.json")
    said = object_of(spec, "annotations")
    cri = "io.kubernetes.cri-o." if "io.kubernetes.cri-o.ContainerType" in said else "io.kubernetes.cri."
    if cri == "io.kubernetes.cri-o.":
        kind, image = text_of(said, f"{cri}ContainerType"), text_of(said, f"{cri}ImageName")
        digest = _DIGEST.match(reference) if "@" in (reference := text_of(said, f"{cri}ImageRef")) else None
        keys = tuple(f"io.kubernetes.{key}" for key in ("pod.namespace", "pod.name", "pod.uid", "container.name"))
    else:
        kind, image, digest = text_of(said, f"{cri}container-type"), text_of(said, f"{cri}image-name"), None
        keys = tuple(f"{cri}{key}" for key in ("sandbox-namespace", "sandbox-name", "sandbox-uid", "container-name"))
    if kind != "container":
        return None
    digest = digest or (_DIGEST.match(image) if "@" in image else None)
    volumes = tuple(path for mount in objects_of(spec, "mounts")
                    if text_of(mount, "type") == "bind" and (path := text_of(mount, "destination")))
    namespace, pod, uid, name = (text_of(said, key) for key in keys)
    return Running(namespace, pod, uid, name, image, digest[1] if digest else "", identifier, volumes)


def of_docker(document: Any, repositories: Any = None) -> Running:
    """A container by Docker's own state (`config.v2.json`). `repositories` is Docker's `repositories.json`, which says
    under which digests images were pulled. Raises MalformedError.
    """
    state = mapping(document, "config.v2.json")
    config = object_of(state, "Config")
    labels, image = object_of(config, "Labels"), text_of(config, "Image")
    digest = text_of(object_of(state, "ImageManifest"), "digest")
    if not _DIGEST.match(digest):
        digest = _pulled(repositories, image, text_of(state, "Image"))
    return Running(
        namespace=text_of(labels, "io.kubernetes.pod.namespace"), pod=text_of(labels, "io.kubernetes.pod.name"),
        uid=text_of(labels, "io.kubernetes.pod.uid"),
        name=text_of(labels, "io.kubernetes.container.name") or text_of(state, "Name").lstrip("/"), image=image,
        digest=digest, identifier=text_of(state, "ID"), volumes=tuple(map(str, object_of(state, "MountPoints"))))


def _pulled(repositories: Any, image: str, identifier: str) -> str:
    """The digest by which an image of this identifier was pulled: of the repository that is named before others."""
    digests: list[tuple[bool, str]] = []
    listed = object_of(repositories, "Repositories") if isinstance(repositories, dict) else {}
    for repository, names in listed.items():
        for name, target in names.items() if isinstance(names, dict) else ():
            if target == identifier and "@" in name and (match := _DIGEST.match(name)):
                digests.append((image != repository and not image.startswith((f"{repository}:", f"{repository}@")),
                                match[1]))
    return min(digests)[1] if digests else ""


def owners(pod: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(kind, name) of what a pod belongs to: its owner, and the Deployment or CronJob that made that, by its name."""
    pod = dict(pod)
    metadata = object_of(pod, "metadata")
    named: list[tuple[str, str]] = []
    for reference in list_of(metadata, "ownerReferences"):
        if not isinstance(reference, dict):
            continue
        kind, name = text_of(reference, "kind"), text_of(reference, "name")
        if not kind or not name:
            continue
        named.append((kind, name))
        above, _, mark = name.rpartition("-")
        labels = object_of(metadata, "labels")
        if kind == "ReplicaSet" and above and mark == labels.get("pod-template-hash"):
            named.append(("Deployment", above))
        elif kind == "Job" and above and mark.isdigit():
            named.append(("CronJob", above))
    return named
