"""What rules look up, made up: answers with the fields that their contexts name, and now and then none."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from custody.policy.migrate.queries import spans
from custody.policy.migrate.samples import Samples, Vocabulary
from custody.ports.lookup import (
    Absent,
    Answer,
    Answered,
    ApiCall,
    ConfigMap,
    Failed,
    GlobalEntry,
    ImageData,
    NamespaceLabels,
    Question,
)

_IMAGE = re.compile(r"(?:(?P<registry>[^/]*[.:][^/]*)/)?(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>.+))?")


class Answers:
    """Of one rule. The same question has the same answer until `turn()`."""

    def __init__(self, rule: Mapping[str, Any], vocabulary: Vocabulary) -> None:
        self._random = random.Random(0)  # noqa: S311 - the same answers each time
        self._samples = Samples(vocabulary, typed=True)
        self._sources = [(_asked(entry), vocabulary.answers[id(entry)]) for entry in entries(rule)
                         if id(entry) in vocabulary.answers]
        self._known: dict[str, Answer] = {}

    def turn(self) -> None:
        self._known = {}

    def answer(self, question: Question) -> Answer:
        if isinstance(question, NamespaceLabels):
            return Answered({})
        name = str(question)
        if isinstance(question, ConfigMap):
            name = str(ApiCall(f"/api/v1/namespaces/{question.namespace}/configmaps/{question.name}"))
        if name not in self._known:
            self._known[name] = self._made(name, question)
        return self._known[name]

    def _made(self, name: str, question: Question) -> Answer:
        draw = self._random.random()
        if draw < 0.05:
            return Absent() if draw < 0.03 else Failed("made up")
        tree = next((tree for asked, tree in self._sources if asked.fullmatch(name)), {})
        if isinstance(question, ImageData):
            return Answered(self._image(question.image, tree))
        if isinstance(question, GlobalEntry):
            return Answered(self._samples.value(tree))
        if not isinstance(question, ApiCall | ConfigMap):
            return Failed("it is not made up")
        path = urlsplit(name.removeprefix("GET ").partition(" ")[0])
        labels = dict(pair.partition("=")[::2] for key, pair in parse_qsl(path.query) if key == "labelSelector")
        if "items" in tree:
            items = tree["items"][0] if isinstance(tree["items"], list) else {}
            return Answered({"items": [self._object(items, f"item-{at}", labels) for at in range(
                self._random.choice((0, 1, 1, 2, 3, 12)))]})
        return Answered(self._object(tree, path.path.rpartition("/")[2], labels))

    def _object(self, tree: Any, name: str, labels: dict[str, str]) -> dict[str, Any]:
        made = self._samples.value(tree)
        made = made if isinstance(made, dict) else {}
        metadata = made.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        for field in ("labels", "annotations"):
            if isinstance(metadata.get(field), dict):
                metadata[field] = {key: str(value) for key, value in metadata[field].items()}
            else:
                metadata.pop(field, None)
        if labels:
            metadata["labels"] = {**metadata.get("labels", {}), **labels}
        made["metadata"] = {**metadata, "name": str(metadata.get("name") or name), "uid": f"uid-{name}",
                            "namespace": str(metadata.get("namespace") or "default")}
        if isinstance(made.get("data"), dict):  # of a ConfigMap
            made["data"] = {key: str(value) for key, value in made["data"].items()}
        return made

    def _image(self, image: str, tree: Any) -> dict[str, Any]:
        made = self._samples.value(tree)
        made = made if isinstance(made, dict) else {}
        named = _IMAGE.match(image)
        parts = named.groupdict() if named is not None else {}
        for field in ("manifest", "configData"):
            made[field] = _texts(made[field]) if isinstance(made.get(field), dict) else {}
        return {**made, "image": image, "resolvedImage": f"{image.partition('@')[0]}@sha256:{'a' * 64}",
                "registry": parts.get("registry") or "index.docker.io", "repository": parts.get("repository") or "",
                "identifier": parts.get("digest") or parts.get("tag") or "latest"}


def _texts(value: Any) -> Any:
    """As an image says of itself, in texts."""
    if isinstance(value, dict):
        return {key: _texts(inner) for key, inner in value.items()}
    return [_texts(inner) for inner in value] if isinstance(value, list) else str(value)


def entries(rule: Any) -> Iterator[dict[str, Any]]:
    """The entries of all contexts of a rule."""
    if isinstance(rule, dict):
        for key, value in rule.items():
            if key == "context" and isinstance(value, list):
                yield from (entry for entry in value if isinstance(entry, dict))
            yield from entries(value)
    elif isinstance(rule, list):
        for value in rule:
            yield from entries(value)


def _asked(entry: Mapping[str, Any]) -> re.Pattern[str]:
    """The questions of an entry, as they are said in words."""
    if "configMap" in entry:
        place = entry["configMap"]
        text = (f"GET /api/v1/namespaces/{place.get('namespace') or '{{x}}'}/configmaps/{place['name']} "
                "of the API server")
    elif "apiCall" in entry:
        text = f"GET {entry['apiCall'].get('urlPath', '')} of the API server"
    elif "imageRegistry" in entry:
        text = f"the data of image {entry['imageRegistry']['reference']}"
    else:
        text = "the global context entry {{x}}"
    parts, last = [], 0
    for start, end in spans(text):
        parts += [re.escape(text[last:start]), ".*"]
        last = end
    return re.compile("".join([*parts, re.escape(text[last:])]))
