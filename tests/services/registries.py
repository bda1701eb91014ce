"""A registry that can be told to misbehave: one image, what is planted beside it, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from custody.formats import bundle as bundles
from custody.formats import oci
from custody.kit.digest import sha256
from custody.server.asgi import Receive, Scope, Send, respond
from tests.sign.authority import IMAGE

Fault = Callable[[Receive, Send], Awaitable[None]]


def answers(status: int, body: bytes = b"{}", content_type: str = oci.MANIFEST) -> Fault:
    async def fault(_: Receive, send: Send) -> None:
        await respond(send, status, body, content_type.encode())

    return fault


async def drip(receive: Receive, send: Send) -> None:
    """An answer of 3 MB, ten bytes a second, for as long as somebody listens."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3000000")]})
    await receive()
    gone = asyncio.ensure_future(receive())
    while not gone.done():
        await send({"type": "http.response.body", "body": b" ", "more_body": True})
        await asyncio.wait([gone], timeout=0.1)


class FakeRegistry:
    """Answers for every repository alike. `faults` are looked up by a part of the path, first match."""

    def __init__(self, subject: str = IMAGE) -> None:
        self.subject = subject
        self.held: dict[str, tuple[bytes, str]] = {}
        self.referrers: list[oci.Descriptor] = []
        self.faults: dict[str, Fault] = {}
        self.asked: list[str] = []
        self.open = 0

    def blob(self, data: bytes) -> oci.Descriptor:
        self.held[sha256(data)] = (data, "application/octet-stream")
        return oci.Descriptor(bundles.MEDIA_TYPE, sha256(data), len(data))

    def manifest(self, layers: tuple[oci.Descriptor, ...], *, artifact_type: str = bundles.MEDIA_TYPE,
                 annotations: Mapping[str, str] | None = None, tag: str | None = None) -> oci.Descriptor:
        body = oci.Manifest(oci.MANIFEST, oci.EMPTY_DESCRIPTOR, layers, artifact_type=artifact_type,
                            annotations=annotations or {})
        data = json.dumps(body.to_json()).encode()
        self.held[tag or sha256(data)] = (data, oci.MANIFEST)
        return oci.Descriptor(oci.MANIFEST, sha256(data), len(data), annotations or {}, artifact_type)

    def refer(self, layers: tuple[oci.Descriptor, ...], **more: Any) -> oci.Descriptor:
        entry = self.manifest(layers, **more)
        self.referrers.append(entry)
        return entry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        self.asked.append(path)
        fault = next((fault for part, fault in self.faults.items() if part in path), None)
        self.open += 1
        try:
            if fault is drip and method == "HEAD":
                await respond(send, 200, b"", oci.MANIFEST.encode())
            elif fault is not None:
                await fault(receive, send)
            else:
                await self._answer(path, method, send)
        finally:
            self.open -= 1

    async def _answer(self, path: str, method: str, send: Send) -> None:
        last = path.rpartition("/")[2]
        if "/referrers/" in path:
            listed = self.referrers if last == self.subject else []
            await respond(send, 200, json.dumps(oci.Index(oci.INDEX, tuple(listed)).to_json()).encode(),
                          oci.INDEX.encode())
        elif last == self.subject and method == "HEAD":
            await respond(send, 200, b"", oci.MANIFEST.encode(), [(b"docker-content-digest", last.encode())], length=9)
        elif last in self.held:
            data, kind = self.held[last]
            await respond(send, 200, data, kind.encode(), length=len(data)) if method == "GET" else await respond(
                send, 200, b"", kind.encode(), [(b"docker-content-digest", sha256(data).encode())], length=len(data))
        else:
            await respond(send, 404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
