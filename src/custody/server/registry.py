"""The registry's HTTP interface (OCI distribution-spec v1.1, end-1 to end-14), as raw ASGI for the sake of blobs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlencode

from custody.errors import ConflictError, CustodyError, MalformedError, NotFoundError, VerificationError
from custody.formats import oci
from custody.formats.reference import is_repository
from custody.kit import digest as digests
from custody.registry.store import (
    BlobUnknownError,
    ChangedError,
    ManifestUnknownError,
    MissingPartError,
    Registry,
)
from custody.server.asgi import (
    DisconnectedError,
    Headers,
    Receive,
    Scope,
    Send,
    TooLargeError,
    chunks,
    header,
    read_body,
    respond,
    respond_json,
)
from custody.server.routes import ROUTE

_CHUNK = 1 << 20
_PAGE = 1_000
_VERSION = (b"docker-distribution-api-version", b"registry/2.0")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_CONTENT_RANGE = re.compile(r"(\d+)-(\d+)\Z")


class _Refusal(Exception):  # noqa: N818 - an answer, not an error of ours
    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers


class _Call(NamedTuple):
    """One request to a repository; `part` is the digest, tag or upload that the path names."""

    scope: Scope
    receive: Receive
    send: Send
    name: str
    part: str
    query: dict[str, list[str]]


class RegistryApp:
    """An ASGI application under /v2/."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._dispatch(scope, receive, send)
        except DisconnectedError:
            return
        except _Refusal as refusal:
            await _error(send, refusal.status, refusal.code, refusal.message, refusal.headers)
        except CustodyError as error:
            await _error(send, *_status(error), error.message)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        if path in ("/v2/", "/v2"):
            await respond_json(send, 200, {}, [_VERSION])
            return
        if path == "/v2/_catalog":
            await self._catalog(send, query)
            return
        match = ROUTE.match(path)
        if match is None:
            raise _Refusal(404, "NAME_UNKNOWN", f"no such path: {path}")
        name = match["name"]
        if not is_repository(name):
            raise _Refusal(400 if method == "POST" else 404, "NAME_INVALID", f"{name!r} is not a repository name")
        part, handlers = next((part, routes) for part, routes in self._routes().items() if match[part] is not None)
        handler = handlers.get(method)
        if handler is None:
            raise _Refusal(405, "UNSUPPORTED", f"{method} is not for this path",
                           [(b"allow", ", ".join(handlers).encode())])
        await handler(_Call(scope, receive, send, name, match[part], query))

    def _routes(self) -> dict[str, dict[str, Any]]:
        return {
            "upload": {"POST": self._start, "PATCH": self._append, "PUT": self._finish, "GET": self._progress,
                       "DELETE": self._cancel},
            "blob": {"GET": self._blob, "HEAD": self._blob, "DELETE": self._delete_blob},
            "reference": {"GET": self._manifest, "HEAD": self._manifest, "PUT": self._put_manifest,
                          "DELETE": self._delete_manifest},
            "tags": {"GET": self._tags},
            "subject": {"GET": self._referrers},
        }

    # Blobs

    async def _blob(self, call: _Call) -> None:
        path = self._registry.blob(call.name, _digest(call.part))
        size = path.stat().st_size
        headers = [(b"docker-content-digest", call.part.encode()), (b"accept-ranges", b"bytes"),
                   (b"etag", f'"{call.part}"'.encode())]
        if header(call.scope, b"if-none-match") == f'"{call.part}"':
            await respond(call.send, 304, headers=headers, content_type=b"", length=0)
            return
        start, end = _range(header(call.scope, b"range"), size)
        status = 200
        if (start, end) != (0, size) or header(call.scope, b"range"):
            status = 206
            headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size)))
        if call.scope["method"] == "HEAD":
            await respond(call.send, status, content_type=b"application/octet-stream", headers=headers,
                          length=end - start)
            return
        await call.send({"type": "http.response.start", "status": status, "headers": [
            (b"content-length", b"%d" % (end - start)), (b"content-type", b"application/octet-stream"), *headers]})
        if status == 200 and "http.response.pathsend" in call.scope.get("extensions", {}):
            await call.send({"type": "http.response.pathsend", "path": str(path)})
        else:
            await _send_file(call.send, path, start, end)

    async def _delete_blob(self, call: _Call) -> None:
        await asyncio.to_thread(self._registry.delete_blob, call.name, _digest(call.part))
        await respond(call.send, 202, content_type=b"")

    # Uploads

    async def _start(self, call: _Call) -> None:
        if call.part:
            raise _Refusal(405, "UNSUPPORTED", "POST starts an upload, PATCH and PUT continue it")
        if mounted := call.query.get("mount"):
            digest = _digest(mounted[0])
            if await asyncio.to_thread(self._registry.mount, call.name, digest, call.query.get("from", [None])[0]):
                await self._created(call.send, call.name, digest)
                return
        if given := call.query.get("digest"):  # the whole blob in one request (end-4b)
            digest = _digest(given[0])
            started = self._registry.blobs.begin()
            try:
                async for chunk in chunks(call.receive):
                    started.write(chunk)
            except BaseException:
                started.abort()
                raise
            await asyncio.to_thread(self._registry.finish_upload, call.name, started, digest)
            await self._created(call.send, call.name, digest)
            return
        started = self._registry.blobs.begin()
        started.suspend()
        await respond(call.send, 202, content_type=b"", headers=_upload_headers(call.name, started.name, 0))

    async def _append(self, call: _Call) -> None:
        current = await self._resume(call.part)
        _check_order(call.scope, call.name, call.part, current.size)
        try:
            async for chunk in chunks(call.receive):
                current.write(chunk)
        finally:
            current.suspend()
        await respond(call.send, 202, content_type=b"", headers=_upload_headers(call.name, call.part, current.size))

    async def _finish(self, call: _Call) -> None:
        digest = _digest((call.query.get("digest") or [""])[0])
        current = await self._resume(call.part)
        _check_order(call.scope, call.name, call.part, current.size)
        try:
            async for chunk in chunks(call.receive):
                current.write(chunk)
        except BaseException:
            current.suspend()
            raise
        await asyncio.to_thread(self._registry.finish_upload, call.name, current, digest)
        await self._created(call.send, call.name, digest)

    async def _progress(self, call: _Call) -> None:
        current = await self._resume(call.part)
        await respond(call.send, 204, content_type=b"", headers=_upload_headers(call.name, call.part, current.size))

    async def _cancel(self, call: _Call) -> None:
        (await self._resume(call.part)).abort()
        await respond(call.send, 204, content_type=b"")

    async def _resume(self, upload: str) -> Any:
        current = await asyncio.to_thread(self._registry.blobs.resume, upload)
        if current is None:
            raise _Refusal(404, "BLOB_UPLOAD_UNKNOWN", f"no upload {upload}")
        return current

    async def _created(self, send: Send, name: str, digest: str) -> None:
        await respond(send, 201, content_type=b"", headers=[
            (b"location", f"/v2/{quote(name)}/blobs/{digest}".encode()), (b"docker-content-digest", digest.encode())])

    # Manifests

    async def _manifest(self, call: _Call) -> None:
        if ":" in call.part:
            _digest(call.part)
        found, data = self._registry.manifest(call.name, call.part)
        head = call.scope["method"] == "HEAD"
        await respond(call.send, 200, b"" if head else data, found.media_type.encode(), length=len(data), headers=[
            (b"docker-content-digest", found.digest.encode()), (b"etag", f'"{found.digest}"'.encode())])

    async def _put_manifest(self, call: _Call) -> None:
        if ":" in call.part:
            _digest(call.part)
        media_type = header(call.scope, b"content-type").partition(";")[0].strip()
        if not media_type:
            raise _Refusal(400, "MANIFEST_INVALID", "Content-Type: got none, expected the manifest's media type")
        data = await read_body(call.receive, oci.MAX_MANIFEST)
        tags = call.query.get("tag", []) if ":" in call.part else []
        found, subject = await asyncio.to_thread(self._registry.put_manifest, call.name, call.part, data, media_type,
                                                 tags, _condition(call.scope))
        headers = [(b"location", f"/v2/{quote(call.name)}/manifests/{found.digest}".encode()),
                   (b"docker-content-digest", found.digest.encode())]
        if subject:
            headers.append((b"oci-subject", subject.encode()))
        headers += [(b"oci-tag", tag.encode()) for tag in tags]
        await respond(call.send, 201, content_type=b"", headers=headers)

    async def _delete_manifest(self, call: _Call) -> None:
        await asyncio.to_thread(self._registry.delete_manifest, call.name, call.part)
        await respond(call.send, 202, content_type=b"")

    # Discovery

    async def _tags(self, call: _Call) -> None:
        if not self._registry.repositories.has_repository(call.name):
            raise _Refusal(404, "NAME_UNKNOWN", f"no repository {call.name}")
        limit = _limit(call.query)
        found = self._registry.repositories.tags(call.name, call.query.get("last", [""])[0],
                                                 None if limit is None else limit + 1)
        headers: list[tuple[bytes, bytes]] = []
        if limit is not None and len(found) > limit:
            found = found[:limit]
            if found:
                headers.append(_next(f"/v2/{quote(call.name)}/tags/list", n=limit, last=found[-1]))
        await respond_json(call.send, 200, {"name": call.name, "tags": found}, headers)

    async def _referrers(self, call: _Call) -> None:
        kind = call.query.get("artifactType", [None])[0]
        last = call.query.get("last", [""])[0]
        found = self._registry.repositories.referrers(call.name, _digest(call.part), kind, last, _PAGE + 1)
        headers: list[tuple[bytes, bytes]] = []
        if kind:
            headers.append((b"oci-filters-applied", b"artifactType"))
        if len(found) > _PAGE:
            found = found[:_PAGE]
            more = {"last": found[-1].digest, **({"artifactType": kind} if kind else {})}
            headers.append(_next(f"/v2/{quote(call.name)}/referrers/{call.part}", **more))
        body = json.dumps(oci.Index(oci.INDEX, tuple(found)).to_json(), separators=(",", ":")).encode()
        await respond(call.send, 200, body, oci.INDEX.encode(), headers)

    async def _catalog(self, send: Send, query: Any) -> None:
        names = [name for name in self._registry.repositories.names() if name > query.get("last", [""])[0]]
        limit = _limit(query)
        headers: list[tuple[bytes, bytes]] = []
        if limit is not None and len(names) > limit:
            names = names[:limit]
            headers = [_next("/v2/_catalog", n=limit, last=names[-1])] if names else []
        await respond_json(send, 200, {"repositories": names}, headers)


async def _send_file(send: Send, path: Path, start: int, end: int) -> None:
    with path.open("rb", buffering=0) as stream:
        stream.seek(start)
        left = end - start
        while left > 0:
            chunk = stream.read(min(_CHUNK, left))
            if not chunk:
                raise DisconnectedError  # the file is shorter than it was: break the connection off
            left -= len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": left > 0})
    if start == end:
        await send({"type": "http.response.body", "body": b""})


def _condition(scope: Scope) -> Callable[[str | None], bool]:
    """If-Match and If-None-Match: * (RFC 9110 section 13.1), with which clients guard fallback tags."""
    wanted, none = header(scope, b"if-match"), header(scope, b"if-none-match") == "*"
    return lambda digest: not (none and digest) and wanted in ("", "*" if digest else "", f'"{digest}"')


def _digest(text: str) -> str:
    if not digests.is_digest(text):
        raise _Refusal(400, "DIGEST_INVALID", f"got {text!r}, expected {digests.ALGORITHMS}")
    return text


def _range(value: str, size: int) -> tuple[int, int]:
    """Half-open byte range of a Range header (RFC 9110 section 14.2); one range only, others mean the whole."""
    match = _RANGE.match(value)
    if match is None or match.groups() == ("", ""):
        return 0, size
    first, last = match.groups()
    start, end = (max(0, size - int(last)), size) if not first else (int(first), min(size, int(last or size) + 1))
    if start >= end:
        raise _Refusal(416, "RANGE_INVALID", f"got {value}, the blob has {size} bytes",
                       [(b"content-range", b"bytes */%d" % size)])
    return start, end


def _check_order(scope: Scope, name: str, upload: str, size: int) -> None:
    value = header(scope, b"content-range")
    if not value:
        return
    match = _CONTENT_RANGE.match(value)
    length = header(scope, b"content-length")
    if match is None or int(match[1]) != size or (length and int(length) != int(match[2]) - int(match[1]) + 1):
        raise _Refusal(416, "BLOB_UPLOAD_INVALID", f"Content-Range: got {value}, expected it to begin at {size}",
                       _upload_headers(name, upload, size))


def _upload_headers(name: str, upload: str, size: int) -> list[tuple[bytes, bytes]]:
    return [(b"location", f"/v2/{quote(name)}/blobs/uploads/{upload}".encode()),
            (b"range", b"0-%d" % max(0, size - 1)), (b"docker-upload-uuid", upload.encode())]


def _limit(query: dict[str, list[str]]) -> int | None:
    value = query.get("n", [None])[0]
    if value is None:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise _Refusal(400, "UNSUPPORTED", f"n: got {value!r}, expected a number of entries")
    return int(value)


def _next(path: str, **query: object) -> tuple[bytes, bytes]:
    return b"link", f'<{path}?{urlencode(query)}>; rel="next"'.encode()


def _status(error: CustodyError) -> tuple[int, str]:
    match error:
        case BlobUnknownError():
            return 404, "BLOB_UNKNOWN"
        case ManifestUnknownError():
            return 404, "MANIFEST_UNKNOWN"
        case MissingPartError():
            return 400, "MANIFEST_BLOB_UNKNOWN"
        case TooLargeError():
            return 413, "SIZE_INVALID"
        case VerificationError():
            return (500, "MANIFEST_UNVERIFIED") if "at rest" in error.message else (400, "DIGEST_INVALID")
        case ChangedError():
            return 412, "DENIED"
        case MalformedError() | ConflictError():
            return 400, "MANIFEST_INVALID"
        case NotFoundError():
            return 404, "NAME_UNKNOWN"
    return error.http_status, "UNKNOWN"


async def _error(send: Send, status: int, code: str, message: str, headers: Headers = ()) -> None:
    await respond_json(send, status, {"errors": [{"code": code, "message": message, "detail": None}]}, headers)
