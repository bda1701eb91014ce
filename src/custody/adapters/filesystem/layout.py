"""The distribution API over an OCI layout on this disk: a RegistryClient reads and writes a folder, and no socket is
opened. Whatever host and repository a URL names, it is the layout that answers.

Spoken is what the client asks: manifests, blobs, uploads in one piece, referrers in pages. Nothing is deleted (405).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from custody.errors import NetworkError, StorageError
from custody.formats import oci, reference
from custody.formats.reference import Reference
from custody.kit import digest as digests
from custody.kit.address import Reach
from custody.ports.http import Content, collect
from custody.registry.layout import Layout

_PATH = re.compile(r"/v2/(?P<repository>.+?)/(?P<kind>manifests|referrers|blobs/uploads|blobs|tags)/(?P<rest>.*)\Z")
_PIECE = 1 << 20
_PAGE = 1000


class LayoutAnswer:
    """Implements ports.http.Answer over bytes or a file."""

    def __init__(self, status: int, body: bytes | Path = b"", headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.headers: Mapping[str, str] = headers or {}
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        if isinstance(self._body, bytes):
            if self._body:
                yield self._body
            return
        try:
            with self._body.open("rb") as stream:
                while chunk := stream.read(_PIECE):
                    yield chunk
        except OSError as error:
            raise NetworkError(f"{self._body}: {error.strerror}") from None

    async def read(self, limit: int) -> bytes:
        return await collect(self.chunks(), limit, str(self._body) if isinstance(self._body, Path) else "the layout")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        return None


class LayoutHttp:
    """Implements ports.http.Http over a layout; `close` writes its index."""

    judges_reach = False

    def __init__(self, layout: Layout, *, writable: bool = False) -> None:
        self._layout = layout
        self._writable = writable
        self._name: Reference | None = None

    async def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
                      body: bytes | Content | None = None, reach: Reach | None = None) -> LayoutAnswer:  # noqa: ARG002
        parts = urlsplit(url)
        match = _PATH.match(unquote(parts.path))
        if match is None:
            return LayoutAnswer(200 if parts.path == "/v2/" else 404, b"{}")
        if method not in ("GET", "HEAD") and not self._writable:
            return _error(405, "UNSUPPORTED", f"{self._layout.root} is only read")
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        kind, rest = match["kind"], match["rest"]
        if kind == "blobs/uploads" and method in ("POST", "PUT"):
            return await self._upload(method, parts.path, query, body)
        if method == "PUT" and kind == "manifests" and isinstance(body, bytes):
            self._name = Reference(reference.parse_host(parts.netloc), match["repository"])
            return self._put(rest, body, (headers or {}).get("Content-Type", oci.MANIFEST), self._name)
        if method not in ("GET", "HEAD"):
            return _error(405, "UNSUPPORTED", f"{method} is not done in an OCI layout")
        if kind == "manifests":
            return self._manifest(rest, bodiless=method == "HEAD")
        if kind == "blobs" and digests.is_digest(rest):
            path = self._layout.blob(rest)
            return _error(404, "BLOB_UNKNOWN", rest) if path is None else LayoutAnswer(
                200, b"" if method == "HEAD" else path, {"content-length": str(path.stat().st_size)})
        if kind == "referrers" and digests.is_digest(rest):
            return self._referrers(rest, parts.path, query.get("from", "0"))
        return _error(404, "NAME_UNKNOWN", url)

    async def close(self) -> None:
        self._layout.flush(self._name)

    def _manifest(self, identifier: str, *, bodiless: bool) -> LayoutAnswer:
        digest: str | None = identifier if digests.is_digest(identifier) else None
        if digest is None and (entry := self._layout.tagged(identifier)) is not None:
            digest = entry.digest
        held = self._layout.manifest(digest) if digest else None
        if held is None:
            return _error(404, "MANIFEST_UNKNOWN", f"{identifier} in {self._layout.root}")
        descriptor, data = held
        return LayoutAnswer(200, b"" if bodiless else data, {
            "content-type": descriptor.media_type, "content-length": str(descriptor.size),
            "docker-content-digest": descriptor.digest})

    def _referrers(self, digest: str, path: str, start: str) -> LayoutAnswer:
        at, referrers = int(start) if start.isdecimal() else 0, self._layout.referrers(digest)
        index = oci.Index(oci.INDEX, tuple(referrers[at:at + _PAGE]))
        following = f'<{path}?from={at + _PAGE}>; rel="next"' if at + _PAGE < len(referrers) else ""
        return LayoutAnswer(200, json.dumps(index.to_json()).encode(),
                            {"content-type": oci.INDEX, **({"link": following} if following else {})})

    def _put(self, identifier: str, data: bytes, media_type: str, name: Reference) -> LayoutAnswer:
        if digests.is_digest(identifier) and digests.compute(data, identifier.partition(":")[0]) != identifier:
            return _error(400, "DIGEST_INVALID", identifier)
        descriptor = self._layout.put_manifest(data, media_type, name, identifier)
        subject = oci.parse_manifest(data, identifier, media_type).subject
        return LayoutAnswer(201, b"", {"docker-content-digest": descriptor.digest,
                                       **({"oci-subject": subject.digest} if subject else {})})

    async def _upload(self, method: str, path: str, query: Mapping[str, str],
                      body: bytes | Content | None) -> LayoutAnswer:
        if method == "POST":  # a mount too: what is elsewhere is uploaded
            return LayoutAnswer(202, b"", {"location": f"{path}{secrets.token_hex(8)}"})
        digest = query.get("digest", "")
        if not digests.is_digest(digest) or body is None:
            return _error(400, "DIGEST_INVALID", digest)
        draft = self._layout.root / f".draft-{secrets.token_hex(8)}"
        try:
            if not await asyncio.to_thread(_write, draft, body, digest):
                return _error(400, "DIGEST_INVALID", digest)
            self._layout.put_blob(digest, draft)
        except OSError as error:
            raise StorageError(f"{self._layout.root}: {error.strerror}") from None
        finally:
            draft.unlink(missing_ok=True)
        return LayoutAnswer(201)


def _write(draft: Path, body: bytes | Content, digest: str) -> bool:
    """Whether the bytes have the digest."""
    state = hashlib.new(digest.partition(":")[0])
    with draft.open("xb") as stream:
        if isinstance(body, bytes):
            state.update(body)
            stream.write(body)
        else:
            with body.open() as source:
                while chunk := source.read(_PIECE):
                    state.update(chunk)
                    stream.write(chunk)
    return digests.matches(state, digest)


def _error(status: int, code: str, message: str) -> LayoutAnswer:
    return LayoutAnswer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(),
                        {"content-type": "application/json"})
