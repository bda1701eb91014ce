"""Requests that are a little less than one: what a counter-example is made smaller by."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from custody.policy.model import Request, User
from custody.policy.podfields import TEMPLATES

Object = dict[str, Any]


def reduced(request: Request) -> Iterator[Request]:
    """Each without one part of it, of those that an API server could be asked."""
    if request.operation == "UPDATE" and not request.subresource:
        yield msgspec.structs.replace(request, operation="CREATE", old_object=None)
    if request.user.username != "admin":
        yield msgspec.structs.replace(request, user=User(username="admin"))
    if request.namespace not in ("", "default") and request.kind.kind != "Namespace":
        yield msgspec.structs.replace(request, namespace="default", **{
            name: {**document, "metadata": {**document["metadata"], "namespace": "default"}}
            for name in ("object", "old_object") if isinstance(document := getattr(request, name), dict)})
    for name in ("object", "old_object"):
        document = getattr(request, name)
        for smaller in _less(document) if isinstance(document, dict) else ():
            if _could_be(smaller):
                yield msgspec.structs.replace(request, **{name: smaller})


def _could_be(document: Object) -> bool:
    """Whether it has the pod with a container that its kind must have."""
    pointer = TEMPLATES.get(document["kind"])
    at: Any = document
    for part in pointer.split("/")[1:] if pointer else ():
        at = at.get(part) if isinstance(at, dict) else None
    return pointer is None or (isinstance(at, dict) and bool(at.get("containers")))


def _less(document: Object) -> Iterator[Object]:
    """Large parts first."""
    waiting: list[tuple[Any, ...]] = [()]
    for path in waiting:
        at: Any = document
        for part in path:
            at = at[part]
        keys: Sequence[Any] = [*at] if isinstance(at, dict) else range(len(at))
        for key in keys:
            if (not path and key in ("apiVersion", "kind")) or (path == ("metadata",) and key in ("name", "namespace")):
                continue
            if isinstance(at[key], (dict, list)):
                waiting.append((*path, key))
            if path or key != "metadata":
                made = copy.deepcopy(document)
                holder: Any = made
                for part in path:
                    holder = holder[part]
                del holder[key]
                if not (isinstance(at[key], str) and key in ("name", "image") and path[:1] != ("metadata",)):
                    yield made
