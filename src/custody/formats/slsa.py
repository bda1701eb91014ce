"""SLSA build provenance: version 1 is read and written, version 0.2 is read (slsa.dev/spec/v1.0/provenance)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.formats.protojson import Message
from custody.kit.clock import format_rfc3339, parse_rfc3339

PROVENANCE_V1 = "https://slsa.dev/provenance/v1"
PROVENANCE_V02 = "https://slsa.dev/provenance/v0.2"
_MAX_DEPENDENCIES = 100_000


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
        definition["resolvedDependencies"] = [item.to_json() for item in self.resolved_dependencies]
        builder: dict[str, Any] = {"id": self.builder_id}
        if self.builder_version:
            builder["version"] = dict(self.builder_version)
        metadata: dict[str, Any] = {"invocationId": self.invocation_id} if self.invocation_id else {}
        for key, moment in (("startedOn", self.started_on), ("finishedOn", self.finished_on)):
            if moment is not None:
                metadata[key] = format_rfc3339(moment)
        details: dict[str, Any] = {"builder": builder, "metadata": metadata}
        if self.byproducts:
            details["byproducts"] = [item.to_json() for item in self.byproducts]
        return {"buildDefinition": definition, "runDetails": details}


def parse_provenance(predicate: Any, predicate_type: str, where: str = "provenance") -> Provenance:
    """Raises MalformedError, naming the field; UnsupportedError for another predicate type.

    Fields that the specification does not define are ignored, as its parsing rules demand ("monotonic").
    """
    root = Message(predicate, where)
    if predicate_type == PROVENANCE_V02:
        return _version_02(root)
    if predicate_type != PROVENANCE_V1:
        raise UnsupportedError(f"{where}: predicate type", f"{predicate_type!r} is no SLSA provenance")
    definition, details = root.message("buildDefinition"), root.message("runDetails")
    builder, metadata = details.message("builder"), details.optional("metadata")
    return Provenance(
        builder_id=_required(builder, "id"), build_type=_required(definition, "buildType"),
        external_parameters=_object(definition, "externalParameters", required=True),
        internal_parameters=_object(definition, "internalParameters"),
        resolved_dependencies=_resources(definition, "resolvedDependencies"),
        builder_version=_object(builder, "version"),
        invocation_id=metadata.text("invocationId", "") if metadata else "",
        started_on=_moment(metadata, "startedOn"), finished_on=_moment(metadata, "finishedOn"),
        byproducts=_resources(details, "byproducts"))


def _version_02(root: Message) -> Provenance:
    invocation, metadata = root.optional("invocation"), root.optional("metadata")
    external: dict[str, Any] = {}
    if invocation is not None:
        external = {name: invocation.raw(name) for name in ("configSource", "parameters") if invocation.has(name)}
    return Provenance(
        builder_id=_required(root.message("builder"), "id"), build_type=_required(root, "buildType"),
        external_parameters=external,
        internal_parameters=_object(invocation, "environment") if invocation else {},
        resolved_dependencies=_resources(root, "materials"),
        invocation_id=metadata.text("buildInvocationId", "") if metadata else "",
        started_on=_moment(metadata, "buildStartedOn"), finished_on=_moment(metadata, "buildFinishedOn"))


def _required(entry: Message, name: str) -> str:
    value = entry.text(name, "")
    if not value:
        raise entry.missing(name, "a URI")
    return value


def _object(entry: Message, name: str, *, required: bool = False) -> dict[str, Any]:
    value = entry.raw(name)
    if value is None and not required:
        return {}
    if not isinstance(value, dict):
        raise MalformedError(f"{entry.where}.{name}", got=value, expected="an object")
    return value


def _resources(entry: Message, name: str) -> tuple[Resource, ...]:
    result = []
    for item in entry.messages(name, _MAX_DEPENDENCIES):
        digest = _object(item, "digest")
        if not all(isinstance(value, str) for value in digest.values()):
            raise MalformedError(f"{item.where}.digest", got=digest, expected="algorithm names with hexadecimal values")
        result.append(Resource(item.text("uri", ""), digest, item.text("name", ""), _object(item, "annotations")))
    return tuple(result)


def _moment(metadata: Message | None, name: str) -> datetime | None:
    if metadata is None or not metadata.has(name):
        return None
    return parse_rfc3339(metadata.raw(name), f"{metadata.where}.{name}")
