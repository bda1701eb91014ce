"""A made-up cluster that both policies are answered from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from custody.policy.kinds import Kinds, guessed_plural
from custody.policy.migrate.answers import Answers
from custody.policy.migrate.samples import Vocabulary
from custody.ports.lookup import (
    Absent,
    Answer,
    Answered,
    ApiCall,
    NamespaceLabels,
    Question,
    Roles,
)
from policylang.variables import has_variables


class Cluster:
    """Objects by what they are; asked for by path, as the API server is."""

    def __init__(self, kinds: Kinds, rule: Mapping[str, Any], objects: Iterable[dict[str, Any]] = ()) -> None:
        """`rule`: what it asks for and is none of `objects` is made up."""
        self._kinds = kinds
        self._versions: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for document in objects:
            key = document["apiVersion"], document["kind"], *map(document["metadata"].get, ("namespace", "name"))
            self._versions.setdefault(key, []).append(document)
        self._objects = [versions[0] for versions in self._versions.values()]
        vocabulary = Vocabulary()
        vocabulary.policy(rule)
        self._made = Answers(rule, vocabulary)
        self._labels = dict(_labels(rule))
        self._turns = 0

    def turn(self) -> None:
        """What is made up may be another thing from now on."""
        self._made.turn()
        self._turns += 1
        self._objects = [versions[self._turns % len(versions)] for versions in self._versions.values()]

    def answer(self, question: Question) -> Answer:
        match question:
            case NamespaceLabels():
                return Answered(self._labels if self._turns % 2 else {})
            case Roles():
                return Answered({"roles": [], "clusterRoles": []})
            case ApiCall(path, "GET", _) if self._objects:
                return self._path(path) or self._made.answer(question)
        return self._made.answer(question)

    def _path(self, path: str) -> Answer | None:
        """None for what no object of this cluster is of the kind of."""
        parts = urlsplit(path)
        steps = [unquote(step) for step in parts.path.split("/")[1:]]
        if steps[:1] == ["api"] and len(steps) > 2:
            version, rest = steps[1], steps[2:]
        elif steps[:1] == ["apis"] and len(steps) > 3:
            version, rest = f"{steps[1]}/{steps[2]}", steps[3:]
        else:
            return None
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        labels = dict(pair.split("=", 1) for text in parse_qs(parts.query).get("labelSelector", [])
                      for pair in text.split(",") if "=" in pair and "!" not in pair)
        kind = self._kind(version, rest[0])
        if not any((document["kind"], document["apiVersion"]) == (kind, version) for document in self._objects):
            return None
        hits = [document for document in self._objects if kind and document["kind"] == kind
                and document["apiVersion"] == version
                and (not namespace or document["metadata"].get("namespace") == namespace)
                and labels.items() <= (document["metadata"].get("labels") or {}).items()]
        if len(rest) == 1:
            return Answered({"apiVersion": version, "kind": f"{kind}List", "items": hits})
        named = next((document for document in hits if document["metadata"]["name"] == rest[1]
                      and (document["metadata"].get("namespace") or "") == namespace), None)
        return Absent() if named is None else Answered(named)

    def _kind(self, version: str, plural: str) -> str:
        """Empty where it is not known."""
        group, _, number = version.rpartition("/")
        known = ((resource.kind, resource.plural) for resource in self._kinds.resources
                 if (resource.group, resource.version) == (group, number))
        told = ((str(document["kind"]), guessed_plural(document["kind"])) for document in self._objects
                if document["apiVersion"] == version)
        return next((kind for kind, name in (*known, *told) if name == plural), "")


def _labels(part: Any, *, within: bool = False) -> Iterator[tuple[str, str]]:
    """What a rule's namespaceSelectors ask for."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            if within and key == "matchLabels":
                yield from ((label, text.replace("*", "z").replace("?", "q")) for label, text in value.items())
            elif within and key == "matchExpressions":
                yield from ((entry["key"], (entry.get("values") or ["z"])[0]) for entry in value
                            if entry["operator"] in ("In", "Exists"))
            else:
                yield from _labels(value, within=within or key == "namespaceSelector")
    elif isinstance(part, list):
        for inner in part:
            yield from _labels(inner, within=within)


def sources(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What the generate rules of a policy clone, where it is told what that is."""
    made = []
    for rule in document["spec"]["rules"]:
        generate = rule.get("generate") or {}
        for pattern in [generate, *(generate.get("foreach") or [])]:
            if (clone := pattern.get("clone")) and not has_variables(clone):
                made.append(_source(pattern.get("apiVersion") or "v1", pattern["kind"], clone.get("namespace") or "",
                                    clone["name"], {}))
            if (clones := pattern.get("cloneList")) and not has_variables(clones):
                labels = (clones.get("selector") or {}).get("matchLabels") or {}
                for text in clones["kinds"]:
                    version, _, kind = text.rpartition("/")
                    made += [_source(version or "v1", kind, clones.get("namespace") or "", name, chosen)
                             for name, chosen in (("first", labels), ("second", labels), ("third", {"other": "x"}))]
    return made


def _source(version: str, kind: str, namespace: str, name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "data": {"key": "dmFsdWU="},
            "metadata": {"name": name, **({"namespace": namespace} if namespace else {}), "labels": labels,
                         "uid": f"uid-{name}", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z",
                         "ownerReferences": [{"apiVersion": "v1", "kind": "Namespace", "name": "x", "uid": "y"}]}}
