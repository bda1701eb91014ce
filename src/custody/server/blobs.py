"""Blobs on their way out (distribution-spec v1.1, end-2 and end-10), whole or a range of them (RFC 9110 section 14)."""

from __future__ import annotations

import re
from asyncio import wrap_future

from custody.ports.blobs import Blob
from custody.registry.store import Registry
from custody.server.asgi import DisconnectedError, header, respond
from custody.server.distribution import Call, Refusal, digest_of, on_disk
from custody.server.sendfile import send_blob

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z", re.ASCII)
_SMALL = 64 * 1024  # bytes that are read at once with the file's opening


class BlobPulls:
    """Handlers of GET, HEAD and DELETE."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def get(self, call: Call) -> None:
        digest = digest_of(call.part)
        head = call.scope["method"] == "HEAD"
        blob, data = await on_disk(self._open, call.name, digest, head)
        try:
            await self._answer(call, digest, blob, data, head)
        finally:
            blob.close()

    async def delete(self, call: Call) -> None:
        await wrap_future(self._registry.delete_blob(call.name, digest_of(call.part)))
        await respond(call.send, 202, content_type=b"")

    def _open(self, name: str, digest: str, head: bool) -> tuple[Blob, bytes | None]:
        """The blob, and its bytes where it is small or they are not asked for."""
        blob = self._registry.blob(name, digest)
        if head:
            return blob, b""
        if blob.size > _SMALL:
            return blob, None
        try:
            return blob, blob.read(0, blob.size)
        except BaseException:
            blob.close()
            raise

    async def _answer(self, call: Call, digest: str, blob: Blob, data: bytes | None, head: bool) -> None:
        etag = f'"{digest}"'
        headers = [(b"docker-content-digest", digest.encode()), (b"accept-ranges", b"bytes"), (b"etag", etag.encode())]
        if _matches(header(call.scope, b"if-none-match"), etag):
            await respond(call.send, 304, headers=headers, content_type=b"", length=0)
            return
        asked = header(call.scope, b"range")
        if header(call.scope, b"if-range") not in ("", etag):
            asked = ""
        part = _range(asked, blob.size)
        start, end = part or (0, blob.size)
        if part:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, blob.size)))
        kind, status = b"application/octet-stream", 206 if part else 200
        if data is not None:
            body = data[start:end]
            if not head and len(body) != end - start:
                raise DisconnectedError  # the file is shorter than it was
            await respond(call.send, status, body, kind, headers, length=end - start)
            return
        await call.send({"type": "http.response.start", "status": status, "headers": [
            (b"content-length", b"%d" % (end - start)), (b"content-type", kind), *headers]})
        await send_blob(call.scope, call.send, blob, start, end)


def _matches(value: str, etag: str) -> bool:
    """If-None-Match (RFC 9110 section 13.1.2)."""
    return value.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in value.split(","))


def _range(value: str, size: int) -> tuple[int, int] | None:
    """Half-open byte range of a Range header; one range only, others mean the whole: None."""
    match = _RANGE.match(value)
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    start, end = (max(0, size - int(last)), size) if not first else (int(first), min(size, int(last or size) + 1))
    if start >= end:
        raise Refusal(416, "RANGE_INVALID", f"got {value}, the blob has {size} bytes",
                      [(b"content-range", b"bytes */%d" % size)])
    return start, end
