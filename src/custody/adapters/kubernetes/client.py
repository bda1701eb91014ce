"""The objects of a cluster through its API server: Kubernetes' API conventions, "Kubernetes API Concepts".

Lists come in pages of one version, watches go on from a version and end by themselves, writes say as whom they own
fields. Nothing is tried again here: only the caller knows what may be done twice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from custody.adapters.kubernetes.cluster import Cluster, Reply
from custody.errors import AuthenticationError, MalformedError, NetworkError
from custody.policy.kinds import Kinds
from custody.policy.resources import ApiResource
from custody.ports.cluster import ApiError, Event, Listing, Object, Patch, Propagation, Served
from policylang.errors import Shape

PAGE = 500
"""Objects that are asked for at once."""
MAX_PAGE = 64 * 1024 * 1024
MAX_OBJECT = 16 * 1024 * 1024
"""Bytes of one object; etcd takes some 1.5 MB."""
MAX_OBJECTS = 200_000
"""Of one list, where the caller says no other number."""
_LARGE = 64 * 1024  # bytes that are parsed beside the event loop
_RESTARTS = 3
_REFRESH = 2.0  # seconds for which a kind that is not served is not asked for again
_SEGMENT = re.compile(r"(?!\.{1,2}\Z)[^/%\x00-\x1f]{1,253}")
_CONTENT = {"json": "application/json-patch+json", "merge": "application/merge-patch+json",
            "strategic": "application/strategic-merge-patch+json"}
_APPLY = "application/apply-patch+yaml"


class ClusterClient:
    """Implements ports.cluster.ClusterObjects. For one event loop."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._kinds: Kinds | None = None
        self._asking: asyncio.Task[Kinds] | None = None
        self._asked = 0.0

    @property
    def url(self) -> str:
        return self.cluster.url

    # Discovery

    async def kinds(self, *, refresh: bool = False) -> Kinds:
        """What is served: as it was asked last, or with `refresh` as it is now.

        Raises NetworkError, AuthenticationError, MalformedError.
        """
        if self._kinds is not None and not refresh:
            return self._kinds
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self.cluster.kinds())
        self._kinds = await asyncio.shield(self._asking)
        self._asked = asyncio.get_running_loop().time()
        return self._kinds

    async def resource(self, api_version: str, kind: str, *, refresh: bool = False) -> ApiResource | None:
        group, _, version = api_version.rpartition("/")
        known = _of_kind(await self.kinds(refresh=refresh), group, version, kind)
        if known is None and asyncio.get_running_loop().time() > self._asked + _REFRESH:
            known = _of_kind(await self.kinds(refresh=True), group, version, kind)
        if known is None and self._kinds is not None and (group, version) in self._kinds.unknown:
            raise NetworkError(f"{self.url}: whether {api_version} {kind} is served is not known: the API server "
                               "behind this group gives no answer (Stale)")
        return known

    # Reading

    async def get(self, resource: Served, name: str, namespace: str = "", *, subresource: str = "") -> Object | None:
        path = path_of(resource, namespace, name, subresource)
        try:
            return await self._object("GET", path)
        except ApiError as error:
            if error.missing:
                return None
            raise

    async def list(self, resource: Served, namespace: str = "", *, labels: str = "", fields: str = "",
                   most: int | None = None, first: int | None = None) -> Listing:
        for _ in range(_RESTARTS):
            try:
                return await self._pages(resource, namespace, labels, fields, most or MAX_OBJECTS, first)
            except ApiError as error:  # the version that the pages are of was compacted away meanwhile
                if not error.expired:
                    raise
        raise NetworkError(f"GET {self.url}{path_of(resource, namespace)}: its version expired {_RESTARTS} times "
                           "before the last page")

    async def _pages(self, resource: Served, namespace: str, labels: str, fields: str, most: int,
                     first: int | None) -> Listing:
        items: list[Object] = []
        version = ""
        async for page in self.pages(resource, namespace, labels=labels, fields=fields, size=min(first or PAGE, PAGE)):
            items += page.items
            version = page.version
            if len(items) > most:
                raise NetworkError(f"GET {self.url}{path_of(resource, namespace)}: got more than {most} objects")
            if first and len(items) >= first:
                break
        return Listing(items, version)

    async def pages(self, resource: Served, namespace: str = "", *, labels: str = "", fields: str = "",
                    mixed: bool = False, size: int = PAGE) -> AsyncIterator[Listing]:
        path = path_of(resource, namespace)
        typed = {"apiVersion": api_version(resource), "kind": resource.kind}  # a list does not repeat them
        more, late = "", ""
        while True:
            asked = {"limit": size, "continue": more, "labelSelector": labels, "fieldSelector": fields}
            try:
                page = await self._object("GET", path, asked, limit=MAX_PAGE)
            except ApiError as error:
                # Who took too long is given another place to go on from (Kubernetes API concepts, "410 Gone").
                metadata, before = error.status.get("metadata"), late
                late = str(metadata.get("continue") or "") if isinstance(metadata, dict) else ""
                if not (mixed and more and error.expired and late) or before:
                    raise
                more = late
                continue
            late = ""
            metadata, listed = page.get("metadata"), page.get("items")
            if not isinstance(metadata, dict) or not isinstance(listed, list | None):
                raise MalformedError(f"GET {self.url}{path}", got=str(page.get("kind")), expected="a list of objects")
            more = str(metadata.get("continue") or "")
            yield Listing([{**typed, **item} for item in listed or ()], str(metadata.get("resourceVersion") or ""))
            if not more:
                return

    async def watch(self, resource: Served, namespace: str = "", *, version: str, labels: str = "",
                    fields: str = "", seconds: int = 45) -> AsyncIterator[Event]:
        path = path_of(resource, namespace)
        where = f"watch {self.url}{path}"
        query = _query({"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true",
                        "timeoutSeconds": seconds, "labelSelector": labels, "fieldSelector": fields})
        async with await self.cluster.open("GET", path + query) as answer:
            if answer.status != 200:
                self._check(Reply(answer.status, await answer.read(MAX_OBJECT)), where)
                raise NetworkError(f"{where}: answered {answer.status}, expected 200")
            parts: list[bytes] = []
            size = 0
            async for chunk in answer.chunks():
                *lines, rest = chunk.split(b"\n")
                for line in lines:
                    yield _event(b"".join([*parts, line]), where)
                    parts, size = [], 0
                parts.append(rest)
                size += len(rest)
                if size > MAX_OBJECT:
                    raise NetworkError(f"{where}: got an event of more than {MAX_OBJECT} bytes")

    # Writing

    async def create(self, resource: Served, document: Object, *, dry_run: bool = False,
                     subresource: str = "") -> Object:
        metadata = document.get("metadata") or {}
        name = str(metadata.get("name") or "") if subresource else ""
        return await self._object("POST", path_of(resource, str(metadata.get("namespace") or ""), name, subresource),
                                  _dry(dry_run), document)

    async def replace(self, resource: Served, document: Object, *, dry_run: bool = False,
                      subresource: str = "") -> Object:
        return await self._object("PUT", _path_to(resource, document, subresource), _dry(dry_run), document)

    async def apply(self, resource: Served, document: Object, *, manager: str, force: bool = True,
                    dry_run: bool = False, subresource: str = "") -> Object:
        return await self._object("PATCH", _path_to(resource, document, subresource),
                                  {"fieldManager": manager, "force": "true" if force else "", **_dry(dry_run)},
                                  document, content=_APPLY)

    async def patch(self, resource: Served, name: str, namespace: str, patch: Any, kind: Patch = "merge", *,
                    dry_run: bool = False, subresource: str = "") -> Object:
        return await self._object("PATCH", path_of(resource, namespace, name, subresource), _dry(dry_run), patch,
                                  content=_CONTENT[kind])

    async def delete(self, resource: Served, name: str, namespace: str = "", *, uid: str = "", version: str = "",
                     propagation: Propagation = "Background", grace: int | None = None, dry_run: bool = False) -> bool:
        preconditions = {key: value for key, value in (("uid", uid), ("resourceVersion", version)) if value}
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if preconditions:
            options["preconditions"] = preconditions
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if dry_run:
            options["dryRun"] = ["All"]  # an API server that is given options does not look at the query
        try:
            await self._object("DELETE", path_of(resource, namespace, name), _dry(dry_run), options)
        except ApiError as error:
            if error.missing:
                return False
            raise
        return True

    # The wire

    async def ask(self, method: str, path: str, body: Any = None, *, limit: int = MAX_OBJECT) -> Any:
        """Any path, such as /version or a SubjectAccessReview's: the decoded JSON."""
        return await self._object(method, path, {}, body, limit=limit)

    async def _object(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None, *,
                      content: str = "application/json", limit: int = MAX_OBJECT) -> Object:
        sent = None if body is None else msgspec.json.encode(body)
        reply = await self.cluster.ask(method, path + _query(query or {}), limit=limit, body=sent, content=content)
        where = f"{method} {self.url}{path}"
        self._check(reply, where)
        if len(reply.body) <= _LARGE:
            return _decoded(reply.body, where)
        return await asyncio.to_thread(_decoded, reply.body, where)

    def _check(self, reply: Reply, where: str) -> None:
        if 200 <= reply.status < 300:
            return
        try:
            status = msgspec.json.decode(reply.body)
        except msgspec.MsgspecError:
            status = None
        if isinstance(status, dict) and status.get("kind") == "Status":
            raise ApiError(where, status, reply.status)
        if reply.status in (401, 403):
            raise AuthenticationError(f"{where}: answered {reply.status}")
        text = reply.body[:200].decode("utf-8", "replace").strip()
        raise NetworkError(f"{where}: answered {reply.status}{': ' + text if text.isprintable() and text else ''}")


def api_version(resource: Served) -> str:
    return f"{resource.group}/{resource.version}" if resource.group else resource.version


def path_of(resource: Served, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """`/apis/apps/v1/namespaces/a/deployments/b/scale`. Raises MalformedError for what is no part of a path."""
    parts = ["", "apis", resource.group, resource.version] if resource.group else ["", "api", resource.version]
    if resource.namespaced and namespace:
        parts += ["namespaces", _segment(namespace, "namespace")]
    parts.append(resource.plural)
    if name:
        parts.append(_segment(name, "name"))
    if subresource:
        parts.append(_segment(subresource, "subresource"))
    return "/".join(parts)


def _path_to(resource: Served, document: Object, subresource: str) -> str:
    metadata = document.get("metadata") or {}
    name = str(metadata.get("name") or "")
    if not name:
        raise MalformedError("metadata.name", got="none", expected=f"the name of a {resource.kind}")
    return path_of(resource, str(metadata.get("namespace") or ""), name, subresource)


def _segment(text: str, field: str) -> str:
    if not _SEGMENT.fullmatch(text):
        raise MalformedError(field, got=text, expected="a name that is no path")
    return quote(text, safe="")


def _of_kind(kinds: Kinds, group: str, version: str, kind: str) -> ApiResource | None:
    return next((resource for resource in kinds.resources
                 if (resource.group, resource.version, resource.kind) == (group, version, kind)), None)


def _query(parameters: Mapping[str, Any]) -> str:
    text = urlencode({name: value for name, value in parameters.items() if value not in ("", None)})
    return f"?{text}" if text else ""


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _decoded(body: bytes, where: str) -> Object:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedError(where, got=str(error), expected="an object in JSON") from None
    if not isinstance(document, dict):
        raise MalformedError(where, got=Shape(document), expected="an object")
    return document


def _event(line: bytes, where: str) -> Event:
    document = _decoded(line, where)
    happened, subject = document.get("type"), document.get("object")
    if happened == "ERROR" and isinstance(subject, dict):
        raise ApiError(where, subject, int(subject.get("code") or 500))
    if happened not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK") or not isinstance(subject, dict):
        raise MalformedError(where, got=str(happened), expected="an event of a watch")
    return Event(happened, subject, str((subject.get("metadata") or {}).get("resourceVersion") or ""))
