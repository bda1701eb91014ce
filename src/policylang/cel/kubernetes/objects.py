"""Types with fields that are not protobuf messages: Kubernetes' requests and namespaces, Object and JSONPatch literals.

Their values are plain dicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from policylang.cel.libraries.kubernetes.jsonpatch import PATCH_FIELDS
from policylang.cel.library import Function
from policylang.cel.types import BOOL, DYN, INT, STRING, TIMESTAMP, Type, list_of, map_of, message

Fields = Mapping[str, Type]

_TEXTS = list_of(STRING)
_KIND = message("kubernetes.GroupVersionKind")
_RESOURCE = message("kubernetes.GroupVersionResource")

REQUEST = message("kubernetes.AdmissionRequest")
NAMESPACE = message("kubernetes.Namespace")

ADMISSION: Mapping[str, Fields] = {
    "kubernetes.GroupVersionKind": {"group": STRING, "version": STRING, "kind": STRING},
    "kubernetes.GroupVersionResource": {"group": STRING, "version": STRING, "resource": STRING},
    "kubernetes.UserInfo": {"username": STRING, "uid": STRING, "groups": _TEXTS, "extra": map_of(STRING, _TEXTS)},
    "kubernetes.AdmissionRequest": {
        "kind": _KIND, "resource": _RESOURCE, "subResource": STRING, "requestKind": _KIND, "requestResource": _RESOURCE,
        "requestSubResource": STRING, "name": STRING, "namespace": STRING, "operation": STRING,
        "userInfo": message("kubernetes.UserInfo"), "dryRun": BOOL, "options": DYN,
    },
    "kubernetes.NamespaceSpec": {"finalizers": _TEXTS},
    "kubernetes.NamespaceCondition": {
        "status": STRING, "type": STRING, "lastTransitionTime": TIMESTAMP, "message": STRING, "reason": STRING,
    },
    "kubernetes.NamespaceStatus": {"conditions": list_of(message("kubernetes.NamespaceCondition")), "phase": STRING},
    "kubernetes.NamespaceMetadata": {
        "name": STRING, "generateName": STRING, "namespace": STRING, "labels": map_of(STRING, STRING),
        "annotations": map_of(STRING, STRING), "UID": STRING, "creationTimestamp": TIMESTAMP,
        "deletionGracePeriodSeconds": INT, "deletionTimestamp": TIMESTAMP, "generation": INT,
        "resourceVersion": STRING, "finalizers": _TEXTS,
    },
    "kubernetes.Namespace": {
        "metadata": message("kubernetes.NamespaceMetadata"), "spec": message("kubernetes.NamespaceSpec"),
        "status": message("kubernetes.NamespaceStatus"),
    },
}


class Declared:
    """A TypeProvider over named types and their fields. `patch` adds JSONPatch and Object, whose fields are free."""

    def __init__(self, types: Mapping[str, Fields], *, patch: bool = False) -> None:
        self.types: dict[str, Fields] = dict(types)
        self.patch = patch
        if patch:
            self.types["JSONPatch"] = PATCH_FIELDS

    def has_type(self, name: str) -> bool:
        return name in self.types or (self.patch and (name == "Object" or name.startswith("Object.")))

    def field_type(self, name: str, field: str) -> Type | None:
        fields = self.types.get(name)
        if fields is None:
            return DYN if self.has_type(name) else None
        return fields.get(field)

    def enum_value(self, name: str) -> tuple[Type, Any] | None:  # noqa: ARG002 - there are none
        return None

    def functions(self) -> Iterable[Function]:
        return ()

    def new(self, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        return ObjectValue(name, fields) if name == "Object" or name.startswith("Object.") else fields


class ObjectValue(dict[str, Any]):
    """What `Object.spec{…}` makes: the dict of its fields, and the name that was written."""

    __slots__ = ("name",)

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.name = name

    @property
    def cel_type(self) -> Type:
        return message(self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectValue, (self.name, dict(self))


def misnamed(value: Any, path: str = "Object") -> list[str]:
    """What is wrong with the names of Object literals: `Object.spec` stands in the field spec of `Object`.

    An apply configuration that has any is refused, its message `type mismatch: ` and these, a line each.
    """
    wrong: list[str] = []
    if isinstance(value, ObjectValue):
        if value.name != path:
            wrong.append(f'unexpected type name "{value.name}", expected "{path}", which matches field name path from '
                         "root Object type")
        for name, held in value.items():
            wrong += misnamed(held, f"{path}.{name}")
    elif isinstance(value, (list, dict)):
        for held in value if isinstance(value, list) else value.values():
            wrong += misnamed(held, path)
    return wrong
