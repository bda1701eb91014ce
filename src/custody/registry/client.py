"""A client of OCI registries (distribution-spec v1.1): every byte that comes back is checked against its digest.

Images keep the names that people wrote; `mirrors` only changes where they are fetched from. How registries are asked
(tokens, redirects, retries, deadlines) is `transport`; which manifests refer to an image is `referrers`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import urlencode

from custody.errors import (
    AuthenticationError,
    DeniedError,
    MalformedError,
    NetworkError,
    UnsupportedError,
    VerificationError,
)
from custody.formats import oci
from custody.formats.reference import Reference
from custody.kit import digest as digests
from custody.kit import strictjson
from custody.ports.http import Content, Http
from custody.registry.budget import Budget
from custody.registry.logins import Find, Logins
from custody.registry.origin import joined, origin_of
from custody.registry.referrers import Referrers, fallback_tag
from custody.registry.requests import DELETE, PULL, PUSH, Requests
from custody.registry.tokens import Tokens
from custody.registry.transport import Transport

__all__ = ["RegistryClient", "fallback_tag"]

_MAX_ANSWER = 4 * 1024 * 1024
_UPLOADS = 3
_STORED = (200, 201, 202, 204)
_GONE = (400, 404, 416)
"""Answers to the end of an upload after which it is begun anew: the session is not what it was before a failure."""


class RegistryClient:
    """One client for any number of registries; use it with `async with`, or close `http` yourself.

    `now` are seconds of a monotonic clock, by which tokens expire and what was learned is forgotten.
    """

    def __init__(self, http: Http, *, mirrors: Mapping[str, str] | None = None, plain_http: Sequence[str] = (),
                 now: Callable[[], float] = time.monotonic) -> None:
        self._logins = Logins(now=now)
        self._requests = Requests(Transport(http, Tokens(self._logins, now)), mirrors or {}, plain_http)
        self._referrers = Referrers(self._requests, now)

    def knowing(self, find: Find, *, plain_http: Sequence[str] = (), ca: str = "",
                now: Callable[[], float] = time.monotonic) -> RegistryClient:
        """A client over the same connections that has other logins, and tokens of its own; it closes none of them.

        `plain_http` are hosts that are asked without TLS, beside those that this client asks so. With `ca`,
        certificates in PEM, its connections are its own and believe those alone. Raises UnsupportedError,
        MalformedError for them.
        """
        view = copy.copy(self)
        view._logins = Logins(find, now)
        view._requests = self._requests.known_by(Tokens(view._logins, now), plain_http, ca)
        view._referrers = Referrers(view._requests, now)
        return view

    def within(self, budget: Budget) -> RegistryClient:
        """A view of this client whose requests end with the budget; tokens, connections and facts are shared.

        Its methods raise NetworkError when the time is over and VerificationError when there are too many bytes.
        """
        view = copy.copy(self)
        view._requests = self._requests.within(budget)
        view._referrers = self._referrers.within(budget)
        return view

    @property
    def http(self) -> Http:
        """What asks, for others that must be asked about what a registry holds; it is closed with the client."""
        return self._requests.transport.http

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        self._logins.close()
        await self._requests.transport.close()

    # Reading

    async def ping(self, ref: Reference) -> None:
        """Ask an image's registry whether it is there; any answer is one. Raises NetworkError."""
        await self._requests.ping(ref)

    async def check_login(self, ref: Reference) -> None:
        """Ask an image's registry whether it takes our login. Raises AuthenticationError, NetworkError."""
        await self._requests.check_login(ref)

    async def resolve(self, ref: Reference) -> oci.Descriptor:
        """Digest, size and media type of a manifest. Raises NotFoundError."""
        return await self._requests.resolve(ref) or (await self.manifest(ref))[0]

    async def manifest(self, ref: Reference) -> tuple[oci.Descriptor, bytes]:
        """A manifest's descriptor and exact bytes. Raises NotFoundError, VerificationError."""
        return await self._requests.manifest(ref)

    async def image(self, ref: Reference, platform: str | None = None) -> tuple[oci.Descriptor, oci.Manifest]:
        """The manifest of one platform, through an index where there is one (of linux/amd64 where none is named).

        What an index or the caller says of the platform is compared with the image's own configuration. Raises
        UsageError where there is no such platform, VerificationError where the image is of another one.
        """
        from custody.registry.image import DEFAULT_PLATFORM, check_platform, choose_platform

        descriptor, data = await self.manifest(ref)
        body = oci.parse_manifest(data, str(ref), descriptor.media_type)
        demanded = platform
        if isinstance(body, oci.Index):
            demanded = platform or DEFAULT_PLATFORM
            ref = ref.at(choose_platform(body, demanded, str(ref)).digest)
            descriptor, data = await self.manifest(ref)
            body = oci.parse_manifest(data, str(ref), descriptor.media_type)
        if not isinstance(body, oci.Manifest):
            raise MalformedError(str(ref), got="an index inside an index", expected="an image manifest")
        if demanded is not None and body.config.media_type in oci.CONFIG_TYPES:
            config = await self.blob(ref, body.config, max_size=oci.MAX_CONFIG)
            check_platform(oci.parse_config(config, f"{ref}: config"), demanded, str(ref))
        return descriptor, body

    async def blob(self, ref: Reference, descriptor: oci.Descriptor, *, max_size: int = _MAX_ANSWER) -> bytes:
        """A small blob, whole. Raises VerificationError unless size and digest are the descriptor's."""
        if descriptor.size > max_size:
            raise MalformedError(f"{ref.name}: blob {descriptor.digest}", got=f"{descriptor.size} bytes",
                                 expected=f"at most {max_size} bytes")

        async def read() -> bytes:
            parts: list[bytes] = []
            try:
                await self._stream_blob(ref, descriptor, parts.append)
                return b"".join(parts)
            finally:
                parts.clear()  # an error's traceback keeps this frame, and would keep all that was read

        return await self._requests.transport.again(read)

    async def blob_to(self, ref: Reference, descriptor: oci.Descriptor, path: Path) -> None:
        """Stream a blob into a file that appears only when it is whole and verified."""
        part = path.with_name(path.name + ".part")

        async def write() -> None:
            with part.open("wb") as stream:
                await self._stream_blob(ref, descriptor, stream.write)

        try:
            await self._requests.transport.again(write)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    async def tags(self, ref: Reference) -> list[str]:
        """All tags of a repository, in the registry's order. Raises VerificationError where they are not had whole."""
        tags: list[str] = []
        async for data in self._requests.pages(ref, "tags/list"):
            page = strictjson.loads(data, f"{ref.name}: tags/list", max_depth=32)
            names = page.get("tags") if isinstance(page, dict) else page
            if not isinstance(page, dict) or not isinstance(names or [], list):
                raise MalformedError(f"{ref.name}: tags/list", got=names, expected="an object with a list of tags")
            tags += [name for name in names or [] if isinstance(name, str)]
        return tags

    async def referrers(self, ref: Reference, artifact_type: str | None = None, *, apart: bool = False
                        ) -> list[oci.Descriptor]:
        """Manifests whose subject is `ref.digest`, of one kind or all; whole, or VerificationError.

        `apart`: the repository holds what refers to images of other ones, and need not have this image.
        """
        if ref.digest is None:
            raise MalformedError("referrers", got=str(ref), expected="an image with a digest")
        descriptors = await self._referrers.all_of(ref, apart=apart)
        return [descriptor for descriptor in descriptors
                if artifact_type is None or descriptor.artifact_type == artifact_type]

    # Writing

    async def push_blob(self, ref: Reference, data: bytes | Path | Content,
                        descriptor: oci.Descriptor | None = None) -> oci.Descriptor:
        """Upload a blob unless the repository has it. One that is not in memory needs its descriptor."""
        if isinstance(data, Path):
            data = Content(data.stat().st_size, partial(_opened, data))
        if descriptor is None:
            if isinstance(data, Content):
                raise TypeError("a blob that is not in memory needs its descriptor")
            descriptor = oci.Descriptor("application/octet-stream", digests.sha256(data), len(data))
        for attempt in range(_UPLOADS):
            if await self.has_blob(ref, descriptor.digest):
                return descriptor
            if await self._upload(ref, data, descriptor.digest, _GONE if attempt < _UPLOADS - 1 else ()):
                break
        return descriptor

    async def _upload(self, ref: Reference, data: bytes | Content, digest: str, gone: tuple[int, ...]) -> bool:
        """A session and its one request; False where that ended with a status in `gone`."""
        start = self._requests.url(ref, "blobs/uploads/")
        async with await self._requests.send("POST", ref, start, actions=PUSH, expect=(202,)) as answer:
            location = answer.headers.get("location", "")
        if not location:
            raise NetworkError(f"{ref.name}: POST blobs/uploads/ answered without a Location")
        url = joined(start, location, f"{ref.name}: upload location")
        if origin_of(url) != origin_of(start):
            raise NetworkError(f"{ref.name}: the upload is to go to another origin, {origin_of(url)}",
                               hint="is the registry's own address set right behind its proxy?")
        url += ("&" if "?" in url else "?") + urlencode({"digest": digest})
        async with await self._requests.send("PUT", ref, url, actions=PUSH, body=data, expect=(*_STORED, *gone),
                                             headers={"Content-Type": "application/octet-stream"}) as answer:
            return answer.status in _STORED

    async def has_blob(self, ref: Reference, digest: str) -> bool:
        """Whether the repository has a blob; asked with GET where HEAD is refused."""
        refused = (400, 403, 405, 501)
        async with await self._requests.ask("HEAD", ref, f"blobs/{digest}", actions=PUSH,
                                            expect=(200, 404, *refused)) as answer:
            status = answer.status
        if status in refused:
            async with await self._requests.ask("GET", ref, f"blobs/{digest}", actions=PUSH,
                                                expect=(200, 404)) as answer:
                status = answer.status
        return status == 200

    async def mount(self, ref: Reference, digest: str, source: Reference) -> bool:
        """Take a blob over from another repository of the same registry; False where it must be uploaded."""
        repository = self._requests.registry(source).repository
        query = urlencode({"mount": digest, "from": repository})
        try:
            async with await self._requests.ask("POST", ref, f"blobs/uploads/?{query}", actions=PUSH,
                                                source=repository, expect=(201, 202)) as answer:
                return answer.status == 201
        except (AuthenticationError, DeniedError):
            return False  # the source may be closed to us where the target is not: uploading will show

    async def push_manifest(self, ref: Reference, data: bytes, media_type: str, *, tag: str | None = None,
                            fallback: bool = False) -> oci.Descriptor:
        """Store a manifest by digest or tag; keeps the fallback tag where the registry ignores `subject`.

        `fallback` keeps it everywhere, for clients that look for referrers nowhere else.
        """
        descriptor = oci.Descriptor(media_type, digests.sha256(data), len(data))
        async with await self._requests.ask("PUT", ref, f"manifests/{tag or descriptor.digest}", actions=PUSH,
                                            body=data, headers={"Content-Type": media_type},
                                            expect=(200, 201, 202)) as answer:
            knows_subject = "oci-subject" in answer.headers
        body = oci.parse_manifest(data, str(ref), media_type)
        if body.subject is not None and (fallback or not knows_subject):
            await self._referrers.added(ref, body, descriptor)
        return descriptor

    async def delete_manifest(self, ref: Reference) -> None:
        """Delete by digest, or a tag. Fallback tags are kept true."""
        subject: str | None = None
        if ref.digest:
            descriptor, data = await self.manifest(ref)
            try:
                body = oci.parse_manifest(data, str(ref), descriptor.media_type)
                subject = body.subject.digest if body.subject else None
            except (MalformedError, UnsupportedError):
                subject = None  # what is no manifest refers to nothing, and can still be deleted
        async with await self._requests.ask("DELETE", ref, f"manifests/{ref.identifier}", actions=DELETE,
                                            expect=(200, 202, 204)):
            pass
        if subject:
            await self._referrers.dropped(ref, subject)

    async def _stream_blob(self, ref: Reference, descriptor: oci.Descriptor, write: Any) -> None:
        state, size = digests.hasher(descriptor.digest), 0
        async with await self._requests.ask("GET", ref, f"blobs/{descriptor.digest}", actions=PULL) as answer:
            async for chunk in answer.chunks():
                size += len(chunk)
                if size > descriptor.size:
                    break
                state.update(chunk)
                write(chunk)
        if size != descriptor.size:
            raise VerificationError(f"{ref.name}: blob {descriptor.digest} has {size} bytes or more, "
                                    f"expected {descriptor.size}")
        if not digests.matches(state, descriptor.digest):
            raise VerificationError(f"{ref.name}: blob bytes are {state.name}:{state.hexdigest()}, "
                                    f"expected {descriptor.digest}",
                                    hint="it was changed at rest or in transit; push it again from a good copy")


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")
