"""Types with fields that are not protobuf messages: Kubernetes' requests and namespaces, Object and JSONPatch literals.

Their values are plain dicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from custody.languages.cel.declare import Function
from custody.languages.cel.kubernetes.jsonpatch import PATCH_FIELDS
from custody.languages.cel.types import BOOL, DYN, INT, STRING, TIMESTAMP, Type, list_of, map_of, message

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

    def new(self, name: str, fields: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - all are dicts
        return fields
