"""What objects and policies are called in reports, events and requests for updates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from custody.admission.definitions import SCHEDULED
from custody.policy.kinds import Kinds, Selector
from custody.policy.load import PolicySet
from custody.policy.model import Request, Resource
from custody.policy.resources import ApiResource
from custody.policy.rule import Policy, Rule
from custody.ports.cluster import Object


class Reference(NamedTuple):
    """core/v1 ObjectReference."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Reference:
        metadata = document.get("metadata") or {}
        return cls(str(document.get("apiVersion") or ""), str(document.get("kind") or ""),
                   str(metadata.get("namespace") or ""), str(metadata.get("name") or ""),
                   str(metadata.get("uid") or ""))

    @classmethod
    def about(cls, request: Request) -> Reference:
        """What a request is about, also where it creates something that has no uid yet."""
        kind = request.parent or request.kind
        version = f"{kind.group}/{kind.version}" if kind.group else kind.version
        metadata = (request.object or request.old_object or {}).get("metadata") or {}
        return cls(version, kind.kind, request.namespace, request.name or str(metadata.get("name") or ""),
                   str(metadata.get("uid") or ""))

    def document(self) -> dict[str, str]:
        fields = {"apiVersion": self.api_version, "kind": self.kind, "namespace": self.namespace, "name": self.name,
                  "uid": self.uid}
        return {name: value for name, value in fields.items() if value}

    def __str__(self) -> str:
        """`Pod default/web`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def is_scheduled(policy: Policy) -> bool:
    """Whether it is due by a schedule, and asked about no request."""
    return policy.kind in SCHEDULED


def source_of(policies: PolicySet, policy: Policy) -> Object:
    """The document that a policy is named by."""
    return next((document for document in policies.sources(policy) if isinstance(document, dict)
                 and document.get("kind") == policy.kind), {})


def notes_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its annotations."""
    given = (document.get("metadata") or {}).get("annotations")
    return given if isinstance(given, dict) else {}


def resources_of(rule: Rule, kinds: Kinds) -> Iterator[ApiResource]:
    """Those whose objects a rule may speak of, subresources left out. A rule about every kind has none: it is asked
    about requests alone, as Kyverno does it."""
    for part in rule.scope.match.filters:
        for _, text in part.kinds:
            if text in ("*", "*/*", "*/*/*"):
                continue
            targets = kinds.find(Selector.parse(text, "kinds"))
            yield from (target.resource for target in targets if target.subresource is None)
        for selected in part.resources:
            if any(name == "*" for name, _ in selected.resources):
                continue
            yield from (resource for resource in kinds.resources if selected.selects(
                Resource(resource.plural, resource.version, resource.group), "", ""))


def version_of(resource: ApiResource) -> str:
    """Its apiVersion."""
    return f"{resource.group}/{resource.version}" if resource.group else resource.version
