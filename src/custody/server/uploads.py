"""Blobs on their way in (distribution-spec v1.1, end-4 to end-6 and end-11 to end-13).

One request at a time has a session. A PUT or DELETE ends a PATCH that is still open, since its connection may be dead;
any other second request is refused with 409. Bodies are hashed and written by threads, while the next bytes arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote

from custody.errors import StorageError, VerificationError
from custody.registry.store import Registry
from custody.registry.uploads import Upload, UploadBusyError
from custody.server.asgi import Receive, Scope, chunks, header, read_body, respond
from custody.server.distribution import Call, Refusal, digest_of, on_disk

_SMALL = 1 << 20  # bytes of a blob that is kept in memory until it is committed
_HELD = 64 << 20  # bytes of all such blobs together; above that they go to the disk first
_PENDING = 1 << 20  # bytes of a body that wait for the write before them
_CONTENT_RANGE = re.compile(r"(\d{1,18})-(\d{1,18})\Z", re.ASCII)
_ALGORITHMS = ("sha256", "sha384", "sha512")


class BlobPushes:
    """Handlers of POST, PATCH, PUT, GET and DELETE."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._uploads = registry.uploads
        self._held = 0

    async def start(self, call: Call) -> None:
        if call.part:
            raise Refusal(405, "UNSUPPORTED", "POST starts an upload, PATCH and PUT continue it",
                          [(b"allow", b"GET, PATCH, PUT, DELETE")])
        if mounted := call.parameter("mount"):
            digest = digest_of(mounted)
            if await asyncio.wrap_future(self._registry.mount(call.name, digest, call.parameter("from"))):
                await _created(call, digest)
                return
        algorithm = call.parameter("digest-algorithm") or "sha256"
        if algorithm not in _ALGORITHMS:
            raise Refusal(400, "DIGEST_INVALID", f"digest-algorithm: got {algorithm[:60]!r}, expected one of "
                                                 f"{', '.join(_ALGORITHMS)}")
        given = call.parameter("digest")
        if given is None:
            upload = self._uploads.begin(call.name, algorithm)
            await respond(call.send, 202, content_type=b"", headers=_place(call.name, upload))
            return
        digest = digest_of(given)  # the whole blob in one request (end-4b)
        if not await self._take_small(call, digest):
            lease = _Lease(revocable=False)
            upload = self._uploads.begin(call.name, digest.partition(":")[0])
            self._uploads.claim(call.name, upload.name, lease)
            try:
                await _into(call.receive, upload)
                await self._commit(call.name, upload, digest)
            except BaseException:
                self._uploads.discard(upload)
                raise
        await _created(call, digest)

    async def append(self, call: Call) -> None:
        async with self._claimed(call) as upload:
            _check_order(call, upload)
            await _into(call.receive, upload)
        await respond(call.send, 202, content_type=b"", headers=_place(call.name, upload))

    async def finish(self, call: Call) -> None:
        digest = digest_of(call.parameter("digest") or "")
        async with self._claimed(call) as upload:
            _check_order(call, upload)
            if upload.draft is not None or not await self._take_whole(call, upload, digest):
                await _into(call.receive, upload)
                await self._commit(call.name, upload, digest)
        await _created(call, digest)

    async def progress(self, call: Call) -> None:
        upload = (self._uploads.find(call.name, call.part) if self._uploads.is_open(call.part) else
                  await on_disk(self._uploads.find, call.name, call.part))
        await respond(call.send, 204, content_type=b"", headers=_place(call.name, upload))

    async def cancel(self, call: Call) -> None:
        async with self._claimed(call) as upload:
            await on_disk(self._uploads.discard, upload)
        await respond(call.send, 204, content_type=b"")

    async def _take_whole(self, call: Call, upload: Upload, digest: str) -> bool:
        """`_take_small` for a session without bytes; it is over unless the disk failed."""
        try:
            taken = await self._take_small(call, digest)
        except VerificationError:
            self._uploads.end(upload)
            raise
        if taken:
            self._uploads.end(upload)
        return taken

    async def _take_small(self, call: Call, digest: str) -> bool:
        """Commit a body that fits into memory; False, with nothing read, where it does not or may not."""
        length = _length(call.scope)
        if length is None or length > _SMALL or self._held + length > _HELD:
            return False
        self._held += length
        try:
            data = await read_body(call.receive, length)
            await asyncio.wrap_future(self._registry.put_blob(call.name, digest, data))
        finally:
            self._held -= length
        return True

    async def _commit(self, name: str, upload: Upload, digest: str) -> None:
        """The session is over after that, whatever the outcome."""
        try:
            draft = await on_disk(upload.complete, digest)
        except BaseException:
            self._uploads.end(upload)
            raise
        try:
            await asyncio.wrap_future(self._registry.put_blob(name, digest, draft))
        except StorageError:
            await on_disk(self._uploads.discard, upload)
            raise
        self._uploads.end(upload)

    @contextlib.asynccontextmanager
    async def _claimed(self, call: Call) -> AsyncIterator[Upload]:
        """The session for this request alone. An error leaves it to be continued, unless it was ended."""
        method = call.scope["method"]
        lease = _Lease(revocable=method == "PATCH")
        upload = await self._claim(call, lease, takes_over=method in ("PUT", "DELETE"))
        try:
            yield upload
        except asyncio.CancelledError:
            if not lease.taken():
                raise
            raise Refusal(409, "BLOB_UPLOAD_INVALID", f"upload {upload.name} was taken over by another request",
                          _place(call.name, upload)) from None
        finally:
            if upload.holder is lease:
                self._uploads.release(upload)
            lease.ended.set()

    async def _claim(self, call: Call, lease: _Lease, takes_over: bool) -> Upload:
        if not self._uploads.is_open(call.part):
            await on_disk(self._uploads.find, call.name, call.part)
        try:
            return self._uploads.claim(call.name, call.part, lease)
        except UploadBusyError as busy:
            holder = busy.upload.holder
            if not (takes_over and isinstance(holder, _Lease) and holder.revocable):
                raise Refusal(409, "BLOB_UPLOAD_INVALID", busy.message, _place(call.name, busy.upload)) from None
            await holder.revoke()
        return self._uploads.claim(call.name, call.part, lease)


class _Lease:
    """A request's hold on a session."""

    def __init__(self, revocable: bool) -> None:
        self.revocable = revocable
        self.ended = asyncio.Event()
        self._task = asyncio.current_task()
        self._revoked = False

    async def revoke(self) -> None:
        """End the request that holds it; returns when it writes no more."""
        self._revoked = True
        self.revocable = False
        if self._task is not None:
            self._task.cancel()
        await self.ended.wait()

    def taken(self) -> bool:
        """Whether a cancellation came from `revoke`; then it is over."""
        if self._revoked and self._task is not None:
            self._task.uncancel()
        return self._revoked


class _Pump:
    """Hands bytes to `write` in a thread, one call at a time, the next one with all that came meanwhile."""

    def __init__(self, write: Callable[[list[bytes]], None]) -> None:
        self._write = write
        self._pending: list[bytes] = []
        self._size = 0  # bytes that are pending
        self._running: asyncio.Future[None] | None = None
        self._error: BaseException | None = None

    async def put(self, data: bytes) -> None:
        """Returns when there is room for more. Raises what `write` raised."""
        self._pending.append(data)
        self._size += len(data)
        self._next()
        while self._running is not None and self._size >= _PENDING:
            await asyncio.wait([self._running])
            self._next()
        if self._error is not None:
            raise self._error

    async def drain(self) -> None:
        """All is written on return. Raises what `write` raised."""
        while self._running is not None or (self._pending and self._error is None):
            if self._running is not None:
                await asyncio.wait([self._running])
            self._next()
        if self._error is not None:
            raise self._error

    async def stop(self) -> None:
        """Nothing is being written on return, whoever cancels meanwhile: a thread cannot be stopped."""
        self._pending.clear()
        while self._running is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([self._running])
            self._next()

    def _next(self, _: object = None) -> None:
        if self._running is not None and self._running.done():
            self._error = self._error or self._running.exception()
            self._running = None
        if self._running is None and self._pending and self._error is None:
            batch, self._pending, self._size = self._pending, [], 0
            self._running = on_disk(self._write, batch)
            self._running.add_done_callback(self._next)


async def _into(receive: Receive, upload: Upload) -> None:
    """The request's body, appended. Raises StorageError, DisconnectedError; what came before that is kept."""
    pump = _Pump(upload.write)
    try:
        try:
            async for chunk in chunks(receive):
                await pump.put(chunk)
        finally:
            if not _cancelling():
                await pump.drain()
    finally:
        await pump.stop()


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _length(scope: Scope) -> int | None:
    """Content-Length; None where there is none, or none that can be counted with."""
    value = header(scope, b"content-length")
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None


def _check_order(call: Call, upload: Upload) -> None:
    value = header(call.scope, b"content-range")
    if not value:
        return
    match, length = _CONTENT_RANGE.match(value), _length(call.scope)
    if match is None or int(match[1]) != upload.size or (
            length is not None and length != int(match[2]) - int(match[1]) + 1):
        raise Refusal(416, "BLOB_UPLOAD_INVALID", f"Content-Range: got {value[:60]}, expected it to begin at "
                                                  f"{upload.size} and to be as long as the body",
                      _place(call.name, upload))


def _place(name: str, upload: Upload) -> list[tuple[bytes, bytes]]:
    return [(b"location", f"/v2/{quote(name)}/blobs/uploads/{upload.name}".encode()),
            (b"range", b"0-%d" % max(0, upload.size - 1)), (b"docker-upload-uuid", upload.name.encode())]


async def _created(call: Call, digest: str) -> None:
    await respond(call.send, 201, content_type=b"", headers=[
        (b"location", f"/v2/{quote(call.name)}/blobs/{digest}".encode()), (b"docker-content-digest", digest.encode())])
