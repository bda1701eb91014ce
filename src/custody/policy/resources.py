"""The resources of an API server, as its discovery and CustomResourceDefinitions tell them.

Aggregated discovery is apidiscovery.k8s.io/v2 (KEP-3352), definitions are apiextensions.k8s.io/v1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from custody.errors import MalformedError
from policylang.errors import Shape

OPERATIONS = ("CREATE", "UPDATE", "DELETE", "CONNECT")
_OPERATION_OF = {"create": "CREATE", "update": "UPDATE", "patch": "UPDATE", "delete": "DELETE",
                 "deletecollection": "DELETE"}
_CONNECTED = re.compile(r"(Pod|Service|Node)\w+Options\Z")
"""The kinds of subresources that are connected to (core/v1 PodExecOptions and the like)."""


class Subresource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: str
    kind: str
    group: str = ""
    version: str = ""
    operations: tuple[str, ...] = ()
    """Those with which the API server asks webhooks about it."""


class ApiResource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One resource in one version, as discovery tells it."""

    group: str = ""
    version: str
    kind: str
    plural: str
    singular: str = ""
    short: tuple[str, ...] = ()
    namespaced: bool = False
    operations: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()


class Discovered(NamedTuple):
    resources: list[ApiResource]
    unknown: frozenset[tuple[str, str]]
    """(group, version) of aggregated APIs whose own server gives no answer: their kinds are not among `resources`."""


def type_of(document: Any) -> str:
    """Version and kind, for a message: `apps/v1 Deployment`."""
    written = [str(document[field]) for field in ("apiVersion", "kind") if document.get(field)]
    return " ".join(written) or "a document without apiVersion and kind"


def of_discovery(documents: Sequence[Any], source: str) -> Discovered:
    """From the two documents of aggregated discovery, of /api and /apis. Raises MalformedError."""
    resources: list[ApiResource] = []
    unknown: set[tuple[str, str]] = set()
    for document in documents:
        if not isinstance(document, dict) or document.get("kind") != "APIGroupDiscoveryList":
            got = document.get("kind") if isinstance(document, dict) else Shape(document)
            raise MalformedError(source, got=got, expected="an APIGroupDiscoveryList, which Kubernetes 1.27 and newer "
                                 "answer")
        try:
            discovered = msgspec.convert(document, _GroupList)
        except msgspec.ValidationError as error:
            raise MalformedError(source, got=str(error), expected="an APIGroupDiscoveryList") from None
        for group in discovered.items:
            for version in group.versions:
                if version.freshness == "Stale":
                    unknown.add((group.metadata.name, version.version))
                    continue
                resources += [_resource(group.metadata.name, version.version, resource)
                              for resource in version.resources if resource.response_kind is not None]
    return Discovered(resources, frozenset(unknown))


def is_crd(document: Any) -> bool:
    return isinstance(document, dict) and document.get("kind") == "CustomResourceDefinition"


def of_crd(document: Any, where: str) -> list[ApiResource]:
    """The served versions of a custom resource. Raises MalformedError."""
    if not is_crd(document) or document.get("apiVersion") != "apiextensions.k8s.io/v1":
        got = f"{document.get('apiVersion')} {document.get('kind')}" if isinstance(document, dict) else (
            Shape(document))
        raise MalformedError(where, got=got, expected="apiextensions.k8s.io/v1 CustomResourceDefinition")
    try:
        spec = msgspec.convert(document.get("spec"), _CrdSpec)
    except msgspec.ValidationError as error:
        raise MalformedError(f"{where}: spec", got=str(error), expected="group, names, scope and versions") from None
    resources = []
    for version in spec.versions if spec.group else ():
        if not version.served:
            continue
        given = version.subresources or _CrdSubresources()
        subresources = []
        if given.status is not None:
            subresources.append(Subresource(name="status", kind=spec.names.kind, group=spec.group,
                                            version=version.name, operations=("UPDATE",)))
        if given.scale is not None:
            subresources.append(Subresource(name="scale", kind="Scale", group="autoscaling", version="v1",
                                            operations=("UPDATE",)))
        resources.append(ApiResource(
            group=spec.group, version=version.name, kind=spec.names.kind, plural=spec.names.plural,
            singular=spec.names.singular or spec.names.kind.lower(), short=tuple(spec.names.short_names),
            namespaced=spec.scope == "Namespaced", operations=("CREATE", "UPDATE", "DELETE"),
            subresources=tuple(subresources)))
    if not resources:
        raise MalformedError(f"{where}: spec.versions", got="none that is served", expected="a served version")
    return resources


# ── the wire ────────────────────────────────────────────────────────────────────────────────────────────────────────

class _Named(msgspec.Struct, frozen=True):
    name: str = ""


class _Kind(msgspec.Struct):
    kind: str
    group: str = ""
    version: str = ""


class _Sub(msgspec.Struct, rename="camel"):
    subresource: str
    response_kind: _Kind | None = None
    verbs: list[str] = []


class _Resource(msgspec.Struct, rename="camel"):
    resource: str
    response_kind: _Kind | None = None
    scope: str = "Cluster"
    singular_resource: str = ""
    verbs: list[str] = []
    short_names: list[str] = []
    subresources: list[_Sub] = []


class _Version(msgspec.Struct):
    version: str
    resources: list[_Resource] = []
    freshness: str = ""


class _Group(msgspec.Struct):
    metadata: _Named = _Named()
    versions: list[_Version] = []


class _GroupList(msgspec.Struct):
    items: list[_Group] = []


def _operations(verbs: Sequence[str], kind: str = "") -> tuple[str, ...]:
    if _CONNECTED.match(kind):
        return ("CONNECT",)
    asked = {_OPERATION_OF[verb] for verb in verbs if verb in _OPERATION_OF}
    return tuple(operation for operation in OPERATIONS if operation in asked)


def _resource(group: str, version: str, resource: _Resource) -> ApiResource:
    assert resource.response_kind is not None
    # A kind without a version is of the resource's own group and version.
    subresources = tuple(
        Subresource(name=sub.subresource, kind=sub.response_kind.kind,
                    group=sub.response_kind.group if sub.response_kind.version else group,
                    version=sub.response_kind.version or version,
                    operations=_operations(sub.verbs, sub.response_kind.kind))
        for sub in resource.subresources if sub.response_kind is not None)
    return ApiResource(group=group, version=version, kind=resource.response_kind.kind, plural=resource.resource,
                       singular=resource.singular_resource, short=tuple(resource.short_names),
                       namespaced=resource.scope == "Namespaced", operations=_operations(resource.verbs),
                       subresources=subresources)


class _CrdNames(msgspec.Struct, rename="camel"):
    plural: str
    kind: str
    singular: str = ""
    short_names: list[str] = []


class _CrdSubresources(msgspec.Struct):
    status: dict[str, Any] | None = None
    scale: dict[str, Any] | None = None


class _CrdVersion(msgspec.Struct):
    name: str
    served: bool
    subresources: _CrdSubresources | None = None


class _CrdSpec(msgspec.Struct):
    group: str
    names: _CrdNames
    scope: str
    versions: list[_CrdVersion]
