"""What the Kyverno CLI is told of a request beside the resource: values files, `--set`, and who asks.

Formats: cli.kyverno.io/v1alpha1 Values and UserInfo. A field that nobody reads is refused by its path.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.policy.fields import Fields
from custody.policy.model import Kind, Simulated, User
from policylang.errors import Shape

OPERATIONS = ("CREATE", "UPDATE", "DELETE")
_NAMESPACE = {"apiVersion": "v1", "kind": "Namespace"}
_VALUES_OPERATIONS = (*OPERATIONS, "CONNECT")


class Part(NamedTuple):
    """A subresource, and the resource that it is of."""

    own: Kind
    name: str
    """`status`, `binding`."""
    parent: Kind


@dataclass
class Values:
    everywhere: dict[str, Any] = field(default_factory=dict)
    resources: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """By the names of policy and resource."""
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    elements: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    """Both by `policy/rule`."""
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Namespaces, whole, by name."""
    parts: list[Part] = field(default_factory=list)
    set: dict[str, str] = field(default_factory=dict)
    """By `--set`."""

    @property
    def operation(self) -> str:
        """Of every request; empty where nothing is said."""
        operation = self.everywhere.get("request.operation")
        return operation if isinstance(operation, str) else ""

    @property
    def silent(self) -> bool:
        """Whether nothing is said but labels of namespaces, so that policies are told the same."""
        return not (self.everywhere or self.resources or self.rules or self.elements or self.set)

    def of(self, policy: str, resource: str) -> dict[str, Any]:
        """Names with dots, and values, for one policy and one resource."""
        values = {**self.everywhere, **self.resources.get((policy, resource), {}), **self.set}
        values.setdefault("request.operation", "CREATE")
        return values

    def simulated(self, policy: str, values: Mapping[str, Any]) -> Simulated | None:
        """What a decision is told of it; None where nothing is said."""
        told = {name: value for name, value in values.items()
                if name != "request.operation" and not name.startswith(("request.object", "request.oldObject"))}
        prefix = f"{policy}/"
        if not told and not any(rule.startswith(prefix) for rule in (*self.rules, *self.elements)):
            return None
        return Simulated(policies={policy: told} if told else {},
                         rules={rule: variables for rule, variables in self.rules.items() if rule.startswith(prefix)},
                         elements={rule: variables for rule, variables in self.elements.items()
                                   if rule.startswith(prefix)})


def read_values(document: Any, where: str) -> Values:
    """Of a values file. Raises MalformedError, UnsupportedError."""
    fields = _versioned(document, where, "Values")
    values = read_spec(fields)
    fields.done()
    return values


def read_spec(fields: Fields) -> Values:
    """What a values file and a test's `values` have in common."""
    values = Values(everywhere=dict(fields.take("globalValues", dict) or {}))
    for policy in fields.each("policies"):
        name = policy.need("name", str)
        for resource in policy.each("resources"):
            key = (name, resource.need("name", str))
            values.resources.setdefault(key, {}).update(resource.take("values", dict) or {})
            resource.done()
        for rule in policy.each("rules"):
            key_of_rule = f"{name}/{rule.need('name', str)}"
            values.rules[key_of_rule] = dict(rule.take("values", dict) or {})
            for variable, elements in (rule.take("foreachValues", dict) or {}).items():
                if not isinstance(elements, list):
                    raise MalformedError(f"{rule.path('foreachValues')}.{variable}", got=Shape(elements),
                                         expected="a list")
                values.elements.setdefault(key_of_rule, {})[variable] = elements
            rule.done()
        policy.done()
    for selector in fields.each("namespaceSelector"):
        name, labels = selector.need("name", str), selector.text_map("labels")
        values.namespaces[name] = labels
        values.objects[name] = {**_NAMESPACE, "metadata": {"name": name, "labels": labels}}
        selector.done()
    for document in fields.take("namespaces", list) or ():  # whole objects, which come before the short form
        namespace = Fields(document, fields.path("namespaces"))
        metadata = Fields(namespace.need("metadata", dict), namespace.path("metadata"))
        name = metadata.need("name", str)
        values.namespaces[name] = metadata.text_map("labels")
        values.objects[name] = {**_NAMESPACE, **document}
    for part in fields.each("subresources"):
        own, parent = part.inner("subresource"), part.inner("parentResource")
        if own is None or parent is None:
            raise MalformedError(part.where, got="one of them", expected="subresource and parentResource")
        name = own.need("name", str)
        if "/" not in name:
            raise MalformedError(own.path("name"), got=name, expected="resource/subresource, such as pods/binding")
        values.parts.append(Part(_kind(own), name.split("/")[1], _kind(parent)))
        part.done()
    if values.operation not in ("", *_VALUES_OPERATIONS):
        raise MalformedError(fields.path("globalValues"), got=f"request.operation {values.operation}",
                             expected=f"one of {', '.join(_VALUES_OPERATIONS)}")
    return values


def _kind(fields: Fields) -> Kind:
    for unread in ("name", "singularName", "namespaced", "verbs", "shortNames", "categories", "storageVersionHash"):
        fields.any(unread)
    kind = Kind(fields.need("kind", str), fields.take("version", str) or "v1", fields.take("group", str) or "")
    fields.done()
    return kind


def read_set(texts: Iterable[str]) -> dict[str, str]:
    """`name=value` of `--set`, several of them between commas.

    Raises MalformedError for what is neither; `request.object.…` is of the resource, and cannot be set.
    """
    values: dict[str, str] = {}
    for text in texts:
        for pair in text.split(","):
            name, equals, value = (part.strip() for part in pair.partition("="))
            if not (name and equals and value) or "=" in value:
                raise MalformedError("--set", got=pair, expected="name=value")
            if "request.object." in name:
                raise MalformedError("--set", got=name, expected="a variable that is not of the resource itself")
            values.setdefault(name, value)
    return values


class Who(NamedTuple):
    """Who asks."""

    user: User = User()
    roles: tuple[str, ...] = ()
    cluster_roles: tuple[str, ...] = ()


def read_who(document: Any, where: str) -> Who:
    """Of a UserInfo file. Raises MalformedError, UnsupportedError."""
    fields = _versioned(document, where, "UserInfo")
    roles, cluster_roles = tuple(fields.texts("roles")), tuple(fields.texts("clusterRoles"))
    fields.take("synchronize", bool)  # what kyverno.io/v2 RequestInfo calls dryRun: no request is a dry run here
    told = fields.inner("userInfo")
    user = User()
    if told is not None:
        extra = told.take("extra", dict) or {}
        user = User(username=told.take("username", str) or "", uid=told.take("uid", str) or "",
                    groups=tuple(told.texts("groups")), extra={name: list(values) for name, values in extra.items()})
        told.done()
    fields.done()
    return Who(user, roles, cluster_roles)


def _versioned(document: Any, where: str, kind: str) -> Fields:
    fields = Fields(document, where)
    fields.take("metadata", dict)
    version, own = fields.take("apiVersion", str), fields.take("kind", str)
    if not version or not own:
        raise MalformedError(where, got="no apiVersion or no kind", expected=f"cli.kyverno.io/v1alpha1 {kind}",
                             hint="the form without them is from before Kyverno 1.15; no Kyverno CLI reads it now")
    return fields


def put(document: dict[str, Any], name: str, value: Any) -> None:
    """Set what a name with dots means, in place; a map is merged into a map. A part in quotes may have dots."""
    steps = next(csv.reader([name], delimiter="."))
    for step in steps[:-1]:
        inner = document.get(step)
        document[step] = document = dict(inner) if isinstance(inner, dict) else {}
    _merge(document, steps[-1], value)


def _merge(document: dict[str, Any], name: str, value: Any) -> None:
    here = document.get(name)
    if isinstance(value, dict) and isinstance(here, dict):
        merged = dict(here)
        for key, inner in value.items():
            _merge(merged, key, inner)
        document[name] = merged
    else:
        document[name] = value
