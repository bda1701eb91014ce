"""What a template says that it reads of the inventory: `metadata.gatekeeper.sh/requires-sync-data`.

Gatekeeper pkg/cachemanager/parser: a list of requirements, each a list of alternatives, each of groups, versions and
kinds. A requirement is met where one kind of one of its alternatives is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from custody.errors import MalformedError
from custody.kit import strictjson
from custody.policy.fields import Fields
from custody.policy.model import Kind
from policylang.errors import Shape

ANNOTATION = "metadata.gatekeeper.sh/requires-sync-data"
Requirement = tuple[Kind, ...]
"""Kinds of which one will do."""


def requirements(template: Mapping[str, Any]) -> list[Requirement]:
    """[] for a template that asks for nothing. Raises MalformedError."""
    metadata = template.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    text = annotations.get(ANNOTATION) if isinstance(annotations, dict) else None
    if text is None:
        return []
    where = f"metadata.annotations[{ANNOTATION}]"
    if not isinstance(text, str):
        raise MalformedError(where, got=Shape(text), expected="text")
    # It is written in quotes that are none of YAML's nor of JSON's, since what is in it has quotes.
    parsed = strictjson.loads(text.strip().removeprefix('"').removesuffix('"').encode(), where)
    if not isinstance(parsed, list):
        raise MalformedError(where, got=Shape(parsed), expected="a list of requirements")
    return [tuple(_kinds(alternatives, f"{where}[{at}]")) for at, alternatives in enumerate(parsed)]


def _kinds(alternatives: Any, where: str) -> Iterator[Kind]:
    if not isinstance(alternatives, list):
        raise MalformedError(where, got=Shape(alternatives), expected="a list of alternatives")
    for at, alternative in enumerate(alternatives):
        fields = Fields(alternative, f"{where}[{at}]")
        groups, versions, kinds = (fields.texts(name) for name in ("groups", "versions", "kinds"))
        fields.done()
        yield from (Kind(kind, version, group) for group, version, kind in product(groups, versions, kinds))


def unmet(required: Iterable[Requirement], kept: Collection[Kind]) -> list[Requirement]:
    return [requirement for requirement in required if not any(kind in kept for kind in requirement)]


def said(requirement: Requirement) -> str:
    """`networking.k8s.io/v1:Ingress OR extensions/v1beta1:Ingress`."""
    return " OR ".join(f"{kind.group}/{kind.version}:{kind.kind}" for kind in requirement)
