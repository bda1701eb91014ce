"""Objects of a kind, made of the fields that policies name, and others that differ from them in one step."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Sequence
from typing import Any

from custody.formats.kubernetes.schema import BOOLEAN, DEDUCED, NUMERIC, STRING, UNTYPED, Schemas, Type
from custody.policy.equivalent.words import Words
from custody.policy.podfields import TEMPLATES

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_DEEPEST = 14
_IMAGES = ("nginx", "nginx:1.29", "ghcr.io/org/app:v1", f"ghcr.io/org/app@sha256:{'0' * 64}")
_PLAIN = 0.4
_PARTS = ("metadata", "labels", "annotations", "spec", "template", "jobTemplate", *_CONTAINERS)
_ALONE = ("status", "managedFields", "ownerReferences", "finalizers", "creationTimestamp", "deletionTimestamp",
          "uid", "resourceVersion", "generation", "selfLink", "deletionGracePeriodSeconds", "name", "namespace",
          "generateName")
_LABEL = re.compile(r"[^A-Za-z0-9._/-]")
Object = dict[str, Any]


class Objects:
    """Of one kind. `schema`: None for a kind of which nothing is known, whose objects have the fields of `paths`."""

    def __init__(self, api_version: str, kind: str, schemas: Schemas, words: Words, chance: random.Random,
                 paths: Object) -> None:
        self._api_version, self._kind = api_version, kind
        self._schema = schemas.kind(api_version, kind)
        self._words, self._random, self._paths = words, chance, paths
        self._images = [*_IMAGES, *words.images]
        self._useful: dict[int, bool] = {}
        self._named = 0

    def new(self) -> Object:
        gaps = self._random.choice((0.1, 0.4, 0.7, 0.9))
        if self._schema is None:
            made = self._loose(self._paths, gaps)
            made = made if isinstance(made, dict) else {}
            if self._random.random() < 0.6:
                metadata = made.get("metadata")
                made["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "labels": {
                    self._key("labels"): self._text("") for _ in range(self._random.choice((1, 1, 2)))}}
        else:
            made = self._map(self._schema, gaps, 0, "")
        return self._whole(made)

    def step(self, document: Object) -> Object:
        """The same but for one thing."""
        made = copy.deepcopy(document)
        for _ in range(4):
            holder, key = self._place(made)
            draw = self._random.random()
            if holder is None:
                break
            if draw < 0.25:
                del holder[key]
            elif draw < 0.4 and isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
            elif draw < 0.5 and isinstance(holder, dict) and key in _CONTAINERS:
                place = self._random.choice(_CONTAINERS)
                holder[key], holder[place] = holder.get(place) or [], holder[key]
            elif draw < 0.7 and isinstance(holder, dict):
                self._added(made)
            else:
                holder[key] = self._other(holder[key], str(key))
            if self._random.random() < 0.7:
                break
        return self._whole(made)

    # ── by the kind's schema ────────────────────────────────────────────────────────────────────────────────────

    def _is_useful(self, of: Type, depth: int = 0) -> bool:
        """Whether something in it is named by the policies."""
        known = self._useful.get(id(of))
        if known is None and depth < _DEEPEST:
            self._useful[id(of)] = False  # of what contains itself
            inner = [*of.fields.items(), *((name, part) for name, part in (("", of.element), ("", of.item))
                                           if part is not None and part not in (UNTYPED, DEDUCED))]
            known = self._useful[id(of)] = any(name in self._words.names or self._is_useful(part, depth + 1)
                                               for name, part in inner)
        return bool(known)

    def _map(self, of: Type, gaps: float, depth: int, name: str) -> Object:
        made: Object = {}
        if depth > _DEEPEST:
            return made
        for field, part in of.fields.items():
            if field in _ALONE or (depth == 0 and field in ("apiVersion", "kind")):
                continue
            named = field in self._words.names
            if not (named or self._is_useful(part)):
                continue
            if self._random.random() >= (0.15 if field in _PARTS else gaps):
                made[field] = self._value(part, gaps, depth + 1, field)
        if not of.fields and of.element is not None:
            for _ in range(self._random.choice((0, 1, 1, 2))):
                key = self._key(name)
                beside = self._words.labels.get(key)
                made[key] = self._random.choice(beside) if beside and of.element.scalar == STRING and (
                    self._random.random() < 0.5) else self._value(of.element, gaps, depth + 1, key)
        return made

    def _value(self, of: Type, gaps: float, depth: int, name: str) -> Any:
        if of in (UNTYPED, DEDUCED):
            return self._random.choice(self._words.texts)
        if of.scalar == BOOLEAN:
            return self._random.random() < 0.5
        if of.scalar == NUMERIC:
            return self._random.choice(self._words.numbers)
        if of.scalar == STRING:
            return self._text(name)
        if of.is_list and not of.is_map:
            entries = [self._value(of.item, gaps, depth + 1, name) for _ in range(self._random.choice((0, 1, 1, 2, 3)))]
            keys = [*dict.fromkeys([*of.keys, *filter(None, [of.merge_key])])]
            for at, entry in enumerate(entries):
                for key in keys if isinstance(entry, dict) else ():
                    field = of.item.field(key)
                    if field is not None and key not in entry:
                        entry[key] = 8000 + at if field.scalar == NUMERIC else f"{name.lower()}-{at}"
            return entries
        if of.is_map and not of.scalar:
            return self._map(of, gaps, depth, name)
        if self._random.random() < 0.5:  # a quantity, or a number or a text
            return self._random.choice(self._words.numbers)
        quantities = [text for text in self._words.texts if text[:1].isdigit()]
        return self._random.choice(quantities or ["1"])

    def _key(self, name: str) -> str:
        keys = [*self._words.labels] if name != "limits" and name != "requests" else ["cpu", "memory"]
        return _LABEL.sub("z", self._random.choice(keys or ["app"])) or "app"

    def _text(self, name: str) -> str:
        if name == "image":
            return self._random.choice(self._images)
        return self._random.choice(self._words.values if self._random.random() < _PLAIN else self._words.texts)

    # ── of kinds that nobody knows ──────────────────────────────────────────────────────────────────────────────

    def _loose(self, paths: Any, gaps: float) -> Any:
        if isinstance(paths, list):
            return [self._loose(paths[0], gaps) for _ in range(self._random.choice((0, 1, 1, 2, 3)))]
        if isinstance(paths, dict) and paths:
            return {name: self._loose(below, gaps) for name, below in paths.items() if self._random.random() >= gaps}
        draw = self._random.random()
        if draw < 0.1:
            return draw < 0.05
        return self._random.choice(self._words.numbers if draw < 0.4 else self._words.texts)

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _place(self, document: Any) -> tuple[Any, Any]:
        """Somewhere in it, but for what says what it is."""
        places: list[tuple[Any, Any]] = []
        waiting: list[tuple[Any, tuple[str, ...]]] = [(document, ())]
        while waiting:
            holder, path = waiting.pop()
            keys: Sequence[Any] = [*holder] if isinstance(holder, dict) else range(len(holder))
            for key in keys:
                if (not path and key in ("apiVersion", "kind", "metadata")) or (
                        path == ("metadata",) and key in ("name", "namespace")):
                    if key == "metadata":
                        waiting.append((holder[key], ("metadata",)))
                    continue
                places.append((holder, key))
                if isinstance(holder[key], (dict, list)):
                    waiting.append((holder[key], (*path, str(key))))
        return self._random.choice(places) if places else (None, None)

    def _other(self, value: Any, name: str) -> Any:
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return self._random.choice((value - 1, value + 1, *self._words.numbers))
        if isinstance(value, str):
            return self._text(name)
        return value

    def _added(self, document: Object) -> None:
        """With fields of another object."""
        source = self.new()
        at: Any = document
        while isinstance(at, dict) and isinstance(source, dict):
            keys = [key for key in source if key not in ("apiVersion", "kind", "name", "namespace")]
            if not keys:
                return
            key = self._random.choice(keys)
            if key not in at or self._random.random() < 0.2:
                at[key] = source[key]
                return
            at, source = at[key], source[key]
            if isinstance(at, list) and isinstance(source, list) and at and source:
                at, source = self._random.choice(at), self._random.choice(source)

    # ── what the API server takes ───────────────────────────────────────────────────────────────────────────────

    def _whole(self, made: Object) -> Object:
        metadata = made.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        for field in ("labels", "annotations"):
            if field in metadata:
                held = metadata[field] if isinstance(metadata[field], dict) else {}
                metadata[field] = {key: _LABEL.sub("z", str(value)) if field == "labels" else str(value)
                                   for key, value in held.items()}
        metadata.setdefault("name", "sample")
        made = {**made, "apiVersion": self._api_version, "kind": self._kind, "metadata": metadata}
        if self._kind in TEMPLATES:
            holder: Any = made
            for part in TEMPLATES[self._kind].split("/")[1:]:
                if not isinstance(holder.get(part), dict):
                    holder[part] = {}
                holder = holder[part]
            _containers(holder)
        return made


def _containers(spec: Object) -> None:
    """With a container, and a name and an image in each."""
    if not spec.get("containers"):
        spec["containers"] = [{}]
    for field in _CONTAINERS:
        entries = spec.get(field)
        if not isinstance(entries, list):
            spec.pop(field, None)
            continue
        spec[field] = [entry for entry in entries if isinstance(entry, dict)]
        for at, entry in enumerate(spec[field]):
            entry["name"] = f"{field.lower()}-{at}"
            if not isinstance(entry.get("image"), str) or not entry["image"]:
                entry["image"] = "nginx:1.29"
