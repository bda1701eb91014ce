"""SLSA build provenance: version 1 as it is written (slsa.dev/spec/v1.0/provenance), and what it and 0.2 say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.kit.clock import format_rfc3339, parse_rfc3339
from custody.kit.members import list_of, object_of, text_of

PROVENANCE_V1 = "https://slsa.dev/provenance/v1"


@dataclass(frozen=True, slots=True)
class Resource:
    """A ResourceDescriptor: what went into a build, or came out beside its subjects."""

    uri: str = ""
    digest: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    annotations: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        fields = {"name": self.name, "uri": self.uri, "digest": dict(self.digest),
                  "annotations": dict(self.annotations)}
        return {key: value for key, value in fields.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Who built, how, from what."""

    builder_id: str
    build_type: str
    external_parameters: Mapping[str, Any]
    """All that somebody outside the builder chose; a verifier checks every one of them."""
    internal_parameters: Mapping[str, Any] = field(default_factory=dict)
    resolved_dependencies: tuple[Resource, ...] = ()
    builder_version: Mapping[str, str] = field(default_factory=dict)
    invocation_id: str = ""
    started_on: datetime | None = None
    finished_on: datetime | None = None
    byproducts: tuple[Resource, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The predicate, version 1."""
        definition: dict[str, Any] = {"buildType": self.build_type,
                                      "externalParameters": dict(self.external_parameters)}
        if self.internal_parameters:
            definition["internalParameters"] = dict(self.internal_parameters)
        definition["resolvedDependencies"] = [dependency.to_json() for dependency in self.resolved_dependencies]
        builder: dict[str, Any] = {"id": self.builder_id}
        if self.builder_version:
            builder["version"] = dict(self.builder_version)
        metadata: dict[str, Any] = {"invocationId": self.invocation_id} if self.invocation_id else {}
        for key, moment in (("startedOn", self.started_on), ("finishedOn", self.finished_on)):
            if moment is not None:
                metadata[key] = format_rfc3339(moment)
        details: dict[str, Any] = {"builder": builder, "metadata": metadata}
        if self.byproducts:
            details["byproducts"] = [byproduct.to_json() for byproduct in self.byproducts]
        return {"buildDefinition": definition, "runDetails": details}


class Told(NamedTuple):
    """What provenance of any version says for people; empty where it says nothing."""

    builder: str
    repository: str
    commit: str
    finished: datetime | None


_V02 = "https://slsa.dev/provenance/v0.2"
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")


def told_of(predicate_type: str, predicate: Any) -> Told | None:
    """Of version 1 or 0.2; None for other predicates. Fields of another kind than the specification's say nothing."""
    if not isinstance(predicate, dict) or predicate_type not in (PROVENANCE_V1, _V02):
        return None
    if predicate_type == PROVENANCE_V1:
        details = object_of(predicate, "runDetails")
        builder, metadata = object_of(details, "builder"), object_of(details, "metadata")
        sources, finished = list_of(object_of(predicate, "buildDefinition"), "resolvedDependencies"), "finishedOn"
    else:
        builder, metadata = object_of(predicate, "builder"), object_of(predicate, "metadata")
        sources, finished = list_of(predicate, "materials"), "buildFinishedOn"
    repository = commit = ""
    for source in sources[:1000]:
        if not isinstance(source, dict):
            continue
        uri, digest = text_of(source, "uri"), object_of(source, "digest")
        stated = text_of(digest, "gitCommit") or (text_of(digest, "sha1") if uri.startswith("git+") else "")
        if _COMMIT.match(stated):
            repository, commit = uri[:1000], stated
            break
    try:
        at = parse_rfc3339(text_of(metadata, finished), finished)
    except MalformedError:
        at = None
    return Told(text_of(builder, "id")[:1000], repository, commit, at)
