"""What policies ask of the world, answered by documents: objects, labels, calls and images that somebody wrote down.

Two kinds of engines ask differently, as in the Kyverno CLI: what kyverno.io's context entries load is left out where
nobody says it (`Disabled`), so that a values file can stand for it; CEL's functions are told that there is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from custody.policy.kinds import Kinds
from custody.policy.model import Kind
from custody.policy.resources import ApiResource
from custody.ports.lookup import (
    Absent,
    Answer,
    Answered,
    ApiCall,
    BlobEvidence,
    ConfigMap,
    Disabled,
    Failed,
    GlobalEntry,
    HttpCall,
    ImageData,
    ImageEvidence,
    ImageLayers,
    NamespaceLabels,
    PublicKeyAt,
    Question,
    Roles,
)
from custody.services.simulation.documents import guessed, kind_of, name_of, namespace_of

_NAMESPACES = "/api/v1/namespaces/"
_OF_IMAGES = (ImageData, ImageEvidence, ImageLayers, BlobEvidence, PublicKeyAt)
_Place = tuple[str, str, str]
"""Group, version, plural."""


class Objects:
    """Objects by the paths under which an API server would have them."""

    def __init__(self, documents: Iterable[dict[str, Any]], kinds: Kinds) -> None:
        self._kinds = {Kind(resource.kind, resource.version, resource.group): resource for resource in kinds.resources}
        self._known = {(resource.group, resource.version, resource.plural): resource for resource in kinds.resources}
        self._by_place: dict[_Place, dict[tuple[str, str], dict[str, Any]]] = {}
        for document in documents:
            self.add(document)

    def add(self, document: dict[str, Any]) -> None:
        resource = self.resource(kind_of(document))
        place = (resource.group, resource.version, resource.plural)
        self._known.setdefault(place, resource)
        self._by_place.setdefault(place, {})[namespace_of(document), name_of(document)] = document

    def resource(self, kind: Kind) -> ApiResource:
        return self._kinds.get(kind) or guessed(kind)

    def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        resource = self.resource(kind)
        return self._by_place.get((resource.group, resource.version, resource.plural), {}).get((namespace, name))

    def answer(self, path: str) -> Answer:
        """GET of an object or a list; a list of what is served and of which there is nothing is empty."""
        path, _, query = path.partition("?")
        steps = [unquote(step) for step in path.strip("/").split("/")]
        match steps:
            case ["api", version, *rest]:
                group = ""
            case ["apis", group, version, *rest]:
                pass
            case _:
                return Failed(f"failed to parse path: {path}")
        namespace = ""
        if len(rest) >= 3 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        if not 1 <= len(rest) <= 2:
            return Failed(f"failed to parse path: {path}")
        place = (group, version, rest[0])
        if place not in self._known:
            return Failed(f"the server could not find the requested resource: {path}")
        objects = self._by_place.get(place, {})
        if len(rest) == 2:
            document = objects.get((namespace, rest[1]))
            return Absent() if document is None else Answered(document)
        labels = dict(pair.split("=", 1) for key, value in parse_qsl(query) if key == "labelSelector"
                      for pair in value.replace("==", "=").split(",") if "=" in pair)
        items = [document for (inside, _), document in sorted(objects.items(), key=lambda entry: entry[0])
                 if namespace in ("", inside) and _labelled(document, labels)]
        return Answered({"apiVersion": f"{group}/{version}" if group else version,
                         "kind": f"{self._known[place].kind}List", "metadata": {}, "items": items})


def _labelled(document: dict[str, Any], labels: Mapping[str, str]) -> bool:
    metadata = document.get("metadata")
    own = metadata.get("labels") if isinstance(metadata, dict) else None
    return all(isinstance(own, dict) and own.get(key) == value for key, value in labels.items())


@dataclass(kw_only=True)
class World:
    """What is known. `objects` are of a cluster that is pretended; None where there is none."""

    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    """Labels, by the namespace's name."""
    namespace_objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Whole, as CEL's `namespaceObject` is."""
    objects: Objects | None = None
    config_maps: bool = False
    """Whether `objects` answer for ConfigMaps."""
    strict: bool = False
    """Whether a namespace that is not among them is one that there is not."""
    told: Objects | None = None
    """What CEL's `resource` library is told of, where no cluster is pretended."""
    sources: Objects | None = None
    """What rules of kyverno.io that generate clone from, where no cluster is pretended."""
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    """(status, body) by (method, URL or path); the method is empty where it does not matter."""
    entries: dict[str, Any] = field(default_factory=dict)
    """Of the global context."""
    roles: Sequence[str] = ()
    cluster_roles: Sequence[str] = ()
    outside: bool = False
    """Whether a cluster can be asked for what is not known here."""
    registries: bool = False
    """Whether registries, and the key services that policies name, can be asked."""

    def answers(self, engine: str, outside: Mapping[Question, Answer]) -> Known:
        """For one engine's rules; `outside` is what was asked of others by now."""
        return Known(self, cel=engine != "kyverno.io", outside=outside)


class Known(Mapping[Question, Answer]):
    """The answers of a world, found as they are asked for."""

    def __init__(self, world: World, *, cel: bool, outside: Mapping[Question, Answer]) -> None:
        self._world = world
        self._cel = cel
        self._outside = outside
        self._asked: dict[Question, Answer] = {}

    def __getitem__(self, question: Question) -> Answer:
        answer = self._asked.get(question)
        if answer is None:
            answer = self._outside.get(question) or self._answer(question)
            if answer is None:
                raise KeyError(question)
            self._asked[question] = answer
        return answer

    def __iter__(self) -> Iterator[Question]:
        return iter(self._asked)

    def __len__(self) -> int:
        return len(self._asked)

    def _answer(self, question: Question) -> Answer | None:
        """None where others are to be asked."""
        known = self._known(question)
        if self._world.registries and isinstance(question, _OF_IMAGES) and not isinstance(known, Answered):
            return None
        if isinstance(known, Disabled) and self._world.outside:
            return None
        return known

    def _known(self, question: Question) -> Answer:
        world = self._world
        match question:
            case NamespaceLabels(namespace):
                return self._labels(namespace)
            case ConfigMap(namespace, name):
                if world.objects is None or not world.config_maps:
                    return Disabled()
                document = world.objects.get(Kind("ConfigMap"), namespace, name)
                return Absent() if document is None else Answered(document)
            case ApiCall(path, method, _):
                return self._call(path, method)
            case HttpCall(method, url):
                if (mocked := self._mocked(method, url)) is None:
                    return Failed(f"no response is mocked for {method} {url}") if self._cel else Disabled()
                status, body = mocked
                if self._cel:  # a mock is seen with its status beside the body, whatever the body is
                    status, body = 200, {"body": body, "statusCode": status}
                return Answered({"status": status, "headers": {"content-type": ["application/json"]},
                                 "body": json.dumps(body)})
            case ImageData(image):
                if image in world.images:
                    return Answered(world.images[image])
                return Disabled()
            case GlobalEntry(name, projection):
                return self._entry(name, projection)
            case Roles():
                return Answered({"roles": list(world.roles), "clusterRoles": list(world.cluster_roles)})
        return Failed("nobody is asked where policies are tried out")

    def _labels(self, namespace: str) -> Answer:
        world = self._world
        if namespace in world.namespaces:
            return Answered(world.namespaces[namespace])
        document = world.objects.get(Kind("Namespace"), "", namespace) if world.objects is not None else None
        if document is not None:
            metadata = document.get("metadata")
            labels = metadata.get("labels") if isinstance(metadata, dict) else None
            return Answered(labels if isinstance(labels, dict) else {})
        if world.outside:
            return Disabled()
        return Absent() if world.strict else Answered({})

    def _mocked(self, method: str, url: str) -> tuple[int, Any] | None:
        calls = self._world.calls
        return calls.get((method, url)) or calls.get(("", url))

    def _call(self, path: str, method: str) -> Answer:
        if (mocked := self._mocked(method, path)) is not None:
            status, body = mocked
            return Answered(body) if 200 <= status < 300 else Failed(f"HTTP {status} from apiCall mock")
        world = self._world
        if self._cel and path.startswith(_NAMESPACES) and (name := path.removeprefix(_NAMESPACES)) in (
                world.namespace_objects):
            return Answered(world.namespace_objects[name])
        objects = world.told if self._cel and world.told is not None else world.objects
        if objects is None and not self._cel and world.sources is not None and method == "GET":
            source = world.sources.answer(path)
            if isinstance(source, Answered) and source.value.get("items") != []:
                return source
        if objects is None:
            return Absent() if self._cel and not world.outside else Disabled()
        if method != "GET":
            return Failed(f"method {method} not supported for fake client")
        answer = objects.answer(path)
        return Disabled() if world.outside and not isinstance(answer, Answered) else answer

    def _entry(self, name: str, projection: str) -> Answer:
        entries = self._world.entries
        if name not in entries:
            return Absent() if self._cel or entries else Disabled()
        value = entries[name]
        if not projection:
            return Answered(value)
        if not isinstance(value, dict) or projection not in value:
            return Failed(f"projection {projection!r} not found in global context entry {name!r}")
        return Answered(value[projection])
