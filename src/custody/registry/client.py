"""A client of OCI registries (distribution-spec v1.1): every byte that comes back is checked against its digest.

Images keep the names that people wrote; `mirrors` only changes where they are fetched from. Where a registry has no
referrers API, the fallback tag `sha256-<hex>` is read and kept up (distribution-spec, "Unavailable Referrers API").
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode, urljoin, urlsplit

from custody.errors import (
    AuthenticationError,
    CustodyError,
    DeniedError,
    MalformedError,
    NetworkError,
    NotFoundError,
    VerificationError,
)
from custody.formats import oci
from custody.formats.reference import Reference
from custody.kit import digest as digests
from custody.kit import strictjson
from custody.ports.http import Answer, Http
from custody.registry.budget import Budget, BudgetedHttp
from custody.registry.credentials import find_credential

_ACCEPT = ", ".join((*oci.MANIFEST_TYPES, *oci.INDEX_TYPES))
_MAX_ANSWER = 4 * 1024 * 1024
_MAX_REFERRERS = 2_000
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class RegistryClient:
    """One client for any number of registries; use it with `async with`, or close `http` yourself."""

    def __init__(self, http: Http, *, mirrors: Mapping[str, str] | None = None,
                 plain_http: Sequence[str] = ()) -> None:
        self._http = http
        self._mirrors = sorted((mirrors or {}).items(), key=lambda pair: -len(pair[0]))
        self._plain = frozenset(plain_http)
        self._tokens: dict[tuple[str, str], str] = {}
        self._no_referrers: set[str] = set()
        self._fallback = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self._http.close()

    def within(self, budget: Budget) -> Self:
        """This client for one piece of work, whose requests end at the budget's deadline and whose bytes are charged.

        It shares what this client has learned, tokens for one; it is not closed.
        """
        view = copy.copy(self)
        view._http = BudgetedHttp(self._http, budget)
        return view

    # Reading

    async def resolve(self, ref: Reference) -> oci.Descriptor:
        """Digest, size and media type of a manifest. Raises NotFoundError."""
        answer = await self._ask("HEAD", ref, f"manifests/{ref.identifier}", headers={"Accept": _ACCEPT})
        async with answer:
            digest = answer.headers.get("docker-content-digest", ref.digest or "")
            if not digests.is_digest(digest) or "content-length" not in answer.headers:
                return (await self.manifest(ref))[0]
            if ref.digest and digest != ref.digest:
                raise VerificationError(f"{ref}: the registry answered with {digest}, asked for {ref.digest}")
            return oci.Descriptor(_media_type(answer), digest, int(answer.headers["content-length"]))

    async def manifest(self, ref: Reference) -> tuple[oci.Descriptor, bytes]:
        """A manifest's descriptor and exact bytes. Raises NotFoundError, VerificationError."""
        answer = await self._ask("GET", ref, f"manifests/{ref.identifier}", headers={"Accept": _ACCEPT})
        async with answer:
            data = await answer.read(oci.MAX_MANIFEST)
        digest = digests.sha256(data)
        if ref.digest and ref.digest.startswith("sha512:"):
            state = digests.hasher(ref.digest)
            state.update(data)
            digest = f"sha512:{state.hexdigest()}"
        for name, claimed in (("asked for", ref.digest), ("the registry says", answer.headers.get(
                "docker-content-digest"))):
            if claimed and claimed.startswith(digest[:7]) and claimed != digest:
                raise VerificationError(f"{ref}: manifest bytes are {digest}, {name} {claimed}")
        return oci.Descriptor(_media_type(answer), digest, len(data)), data

    async def image(self, ref: Reference, platform: str = "linux/amd64") -> tuple[oci.Descriptor, oci.Manifest]:
        """The manifest of one platform, through an index where there is one."""
        from custody.registry.image import choose_platform

        descriptor, data = await self.manifest(ref)
        body = oci.parse_manifest(data, str(ref), descriptor.media_type)
        if isinstance(body, oci.Manifest):
            return descriptor, body
        child = choose_platform(body, platform, str(ref))
        descriptor, data = await self.manifest(ref.at(child.digest))
        body = oci.parse_manifest(data, str(ref.at(child.digest)), descriptor.media_type)
        if not isinstance(body, oci.Manifest):
            raise MalformedError(str(ref), got="an index inside an index", expected="an image manifest")
        return descriptor, body

    async def blob(self, ref: Reference, descriptor: oci.Descriptor, *, max_size: int = _MAX_ANSWER) -> bytes:
        """A small blob, whole. Raises VerificationError unless size and digest are the descriptor's."""
        if descriptor.size > max_size:
            raise MalformedError(f"{ref.name}: blob {descriptor.digest}", got=f"{descriptor.size} bytes",
                                 expected=f"at most {max_size} bytes")
        parts: list[bytes] = []
        await self._stream_blob(ref, descriptor, parts.append)
        return b"".join(parts)

    async def blob_to(self, ref: Reference, descriptor: oci.Descriptor, path: Path) -> None:
        """Stream a blob into a file that appears only when it is whole and verified."""
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as stream:
                await self._stream_blob(ref, descriptor, stream.write)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    async def tags(self, ref: Reference) -> list[str]:
        """All tags of a repository, in the registry's order."""
        found: list[str] = []
        async for page in self._pages(ref, "tags/list"):
            found += [tag for tag in page.get("tags") or [] if isinstance(tag, str)]
        return found

    async def referrers(self, ref: Reference, artifact_type: str | None = None) -> list[oci.Descriptor]:
        """Manifests whose subject is `ref.digest`, from the API or the fallback tag; filtered here as well."""
        if ref.digest is None:
            raise MalformedError("referrers", got=str(ref), expected="an image with a digest")
        place = self._place(ref)[0]
        found: list[oci.Descriptor] | None = None
        if place not in self._no_referrers:
            found = await self._referrers_api(ref)
        if found is None:
            self._no_referrers.add(place)
            found = list((await self._fallback_index(ref))[1])
        found = [await self._complete(ref, entry) for entry in found[:_MAX_REFERRERS]]
        return [entry for entry in found if artifact_type is None or entry.artifact_type == artifact_type]

    # Writing

    async def push_blob(self, ref: Reference, data: bytes | Path,
                        descriptor: oci.Descriptor | None = None) -> oci.Descriptor:
        """Upload a blob unless the repository has it. A path needs its descriptor."""
        if descriptor is None:
            if isinstance(data, Path):
                raise TypeError("a blob in a file needs its descriptor")
            descriptor = oci.Descriptor("application/octet-stream", digests.sha256(data), len(data))
        if await self.has_blob(ref, descriptor.digest):
            return descriptor
        async with await self._ask("POST", ref, "blobs/uploads/", scope="pull,push", expect=(202,)) as answer:
            location = answer.headers.get("location", "")
        url = urljoin(self._url(ref, "blobs/uploads/"), location)
        url += ("&" if "?" in url else "?") + urlencode({"digest": descriptor.digest})
        async with await self._send("PUT", ref, url, scope="pull,push", body=data, expect=(201,),
                                    headers={"Content-Type": "application/octet-stream"}):
            return descriptor

    async def has_blob(self, ref: Reference, digest: str) -> bool:
        async with await self._ask("HEAD", ref, f"blobs/{digest}", scope="pull,push", expect=(200, 404)) as answer:
            return answer.status == 200

    async def mount(self, ref: Reference, digest: str, source: Reference) -> bool:
        """Take a blob over from another repository of the same registry; False where it must be uploaded."""
        query = urlencode({"mount": digest, "from": source.repository})
        async with await self._ask("POST", ref, f"blobs/uploads/?{query}", scope="pull,push",
                                   expect=(201, 202)) as answer:
            return answer.status == 201

    async def push_manifest(self, ref: Reference, data: bytes, media_type: str, *,
                            tag: str | None = None) -> oci.Descriptor:
        """Store a manifest by digest or tag; keeps the fallback tag where the registry ignores `subject`."""
        descriptor = oci.Descriptor(media_type, digests.sha256(data), len(data))
        async with await self._ask("PUT", ref, f"manifests/{tag or descriptor.digest}", scope="pull,push", body=data,
                                   headers={"Content-Type": media_type}, expect=(201,)) as answer:
            knows_subject = "oci-subject" in answer.headers
        body = oci.parse_manifest(data, str(ref), media_type)
        if body.subject is not None and not knows_subject:
            await self._add_fallback(ref, body, descriptor)
        return descriptor

    async def delete_manifest(self, ref: Reference) -> None:
        """Delete by digest, or a tag. Fallback tags are kept true."""
        subject: str | None = None
        if ref.digest:
            try:
                descriptor, data = await self.manifest(ref)
                body = oci.parse_manifest(data, str(ref), descriptor.media_type)
                subject = body.subject.digest if body.subject else None
            except (MalformedError, CustodyError):
                subject = None  # what cannot be read can still be deleted
        async with await self._ask("DELETE", ref, f"manifests/{ref.identifier}", scope="pull,push,delete",
                                   expect=(202,)):
            if subject and self._place(ref)[0] in self._no_referrers:
                await self._drop_fallback(ref.at(subject), ref.identifier)

    # Fallback tags (distribution-spec, "Pushing Manifests with Subject")

    async def _fallback_index(self, ref: Reference) -> tuple[str | None, tuple[oci.Descriptor, ...]]:
        try:
            descriptor, data = await self.manifest(ref.tagged(fallback_tag(ref.digest or "")))
        except NotFoundError:
            return None, ()
        body = oci.parse_manifest(data, f"{ref.name}: fallback tag", descriptor.media_type)
        return descriptor.digest, body.manifests if isinstance(body, oci.Index) else ()

    async def _add_fallback(self, ref: Reference, body: oci.Manifest | oci.Index, pushed: oci.Descriptor) -> None:
        if body.subject is None:
            return
        kind = body.artifact_type or (body.config.media_type if isinstance(body, oci.Manifest) else None)
        entry = replace(pushed, artifact_type=kind, annotations=body.annotations)
        await self._write_fallback(ref.at(body.subject.digest), add=entry)

    async def _drop_fallback(self, ref: Reference, digest: str) -> None:
        await self._write_fallback(ref, drop=digest)

    async def _write_fallback(self, ref: Reference, add: oci.Descriptor | None = None, drop: str | None = None) -> None:
        # Another writer may replace the index between our read and our write. Registries that know conditional
        # requests refuse then (412); for others the writers of this process take turns, and the index is read again.
        async with self._fallback:
            await self._write_in_turn(ref, add, drop)

    async def _write_in_turn(self, ref: Reference, add: oci.Descriptor | None, drop: str | None) -> None:
        for attempt in range(8):
            found, entries = await self._fallback_index(ref)
            have = {entry.digest for entry in entries}
            if (add is None or add.digest in have) and (drop is None or drop not in have):
                return
            kept = [entry for entry in entries if entry.digest not in (drop, add.digest if add else None)]
            index = oci.Index(oci.INDEX, (*kept, *([add] if add else [])))
            data = json.dumps(index.to_json(), separators=(",", ":")).encode()
            async with await self._ask("PUT", ref, f"manifests/{fallback_tag(ref.digest or '')}", body=data,
                                       scope="pull,push", expect=(201, 412), headers={
                                           "Content-Type": oci.INDEX,
                                           **({"If-Match": f'"{found}"'} if found else {"If-None-Match": "*"})}):
                await asyncio.sleep(0.01 * attempt)
        raise NetworkError(f"{ref.name}: other writers keep replacing the tag {fallback_tag(ref.digest or '')}")

    async def _referrers_api(self, ref: Reference) -> list[oci.Descriptor] | None:
        found: list[oci.Descriptor] = []
        try:
            async for page in self._pages(ref, f"referrers/{ref.digest}"):
                body = oci.parse_manifest(json.dumps(page).encode(), f"{ref.name}: referrers", oci.INDEX)
                found += body.manifests if isinstance(body, oci.Index) else ()
                if len(found) > _MAX_REFERRERS:
                    break
        except (NotFoundError, MalformedError):
            return None
        return found

    async def _complete(self, ref: Reference, entry: oci.Descriptor) -> oci.Descriptor:
        """Old writers left artifactType and annotations out of fallback indexes: ask the manifest itself."""
        if entry.artifact_type not in (None, oci.EMPTY) or entry.media_type not in (*oci.MANIFEST_TYPES, oci.INDEX):
            return entry
        try:
            _, data = await self.manifest(ref.at(entry.digest))
        except NotFoundError:
            return entry
        body = oci.parse_manifest(data, str(ref.at(entry.digest)), entry.media_type)
        kind = body.artifact_type
        if isinstance(body, oci.Manifest) and kind in (None, oci.EMPTY):
            kind = body.config.media_type if body.config.media_type != oci.EMPTY else (
                body.layers[0].media_type if body.layers else None)
        return replace(entry, artifact_type=kind, annotations=entry.annotations or body.annotations)

    # Requests

    def _place(self, ref: Reference) -> tuple[str, str]:
        """Host and repository to ask, after mirrors."""
        host, repository = ref.registry, ref.repository
        for prefix, target in self._mirrors:
            if ref.name == prefix or ref.name.startswith(prefix.rstrip("/") + "/"):
                host, _, path = (target.rstrip("/") + ref.name[len(prefix.rstrip("/")):]).partition("/")
                repository = path
                break
        return ("registry-1.docker.io" if host == "docker.io" else host), repository

    def _url(self, ref: Reference, path: str) -> str:
        host, repository = self._place(ref)
        name = urlsplit(f"//{host}").hostname or ""
        plain = name == "localhost" or name == "::1" or name.startswith("127.") or host in self._plain
        return f"{'http' if plain else 'https'}://{host}/v2/{quote(repository)}/{path}"

    async def _ask(self, method: str, ref: Reference, path: str, *, scope: str = "pull", body: bytes | None = None,
                   headers: Mapping[str, str] | None = None, expect: tuple[int, ...] = (200,)) -> Answer:
        return await self._send(method, ref, self._url(ref, path), scope=scope, body=body, headers=headers,
                                expect=expect)

    async def _send(self, method: str, ref: Reference, url: str, *, scope: str, body: bytes | Path | None = None,
                    headers: Mapping[str, str] | None = None, expect: tuple[int, ...] = (200,)) -> Answer:
        host, repository = self._place(ref)
        wanted = f"repository:{repository}:{scope}"
        origin = urlsplit(self._url(ref, "")).netloc
        for _ in range(8):
            sent = dict(headers or {})
            token = self._tokens.get((host, wanted))
            if token and urlsplit(url).netloc == origin:
                sent["Authorization"] = token
            answer = await self._http.request(method, url, headers=sent, body=body)
            if answer.status in (301, 302, 303, 307, 308) and answer.headers.get("location"):
                url = urljoin(url, answer.headers["location"])
                await answer.__aexit__(None, None, None)
                continue
            if answer.status == 401 and token is None and urlsplit(url).netloc == origin:
                challenge = answer.headers.get("www-authenticate", "")
                await answer.__aexit__(None, None, None)
                self._tokens[host, wanted] = await self._authenticate(ref.registry, challenge, wanted)
                continue
            if answer.status in expect:
                return answer
            async with answer:
                raise await _refusal(answer, method, ref, url)
        raise NetworkError(f"{method} {url}: redirected without end")

    async def _authenticate(self, registry: str, challenge: str, scope: str) -> str:
        """Docker's token flow (distribution spec/auth/token.md), or Basic. Returns an Authorization header."""
        kind = challenge.partition(" ")[0].lower()
        credential = find_credential(registry)
        if kind == "basic" and credential:
            return credential.basic()
        fields = dict(_CHALLENGE.findall(challenge))
        if kind != "bearer" or "realm" not in fields:
            raise AuthenticationError(f"{registry}: wants credentials ({challenge or 'no challenge'})",
                                      hint=f"docker login {registry}")
        query = {"service": fields.get("service", ""), "scope": fields.get("scope") or scope}
        headers: dict[str, str] = {}
        if credential and credential.username:
            headers["Authorization"] = credential.basic()
        if credential and not credential.username:
            form = {"grant_type": "refresh_token", "client_id": "custody", "refresh_token": credential.secret, **query}
            request = self._http.request("POST", fields["realm"], body=urlencode(form).encode(),
                                         headers={"Content-Type": "application/x-www-form-urlencoded"})
        else:
            request = self._http.request("GET", f"{fields['realm']}?{urlencode(query)}", headers=headers)
        async with await request as answer:
            if answer.status != 200:
                raise AuthenticationError(f"{registry}: the token service answered {answer.status}",
                                          hint=f"docker login {registry}")
            document = strictjson.loads(await answer.read(1 << 20), f"{registry}: token")
        token = document.get("token") or document.get("access_token") if isinstance(document, dict) else None
        if not isinstance(token, str):
            raise AuthenticationError(f"{registry}: the token service answered without a token")
        return f"Bearer {token}"

    async def _stream_blob(self, ref: Reference, descriptor: oci.Descriptor, write: Any) -> None:
        state, size = digests.hasher(descriptor.digest), 0
        async with await self._ask("GET", ref, f"blobs/{descriptor.digest}") as answer:
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

    async def _pages(self, ref: Reference, path: str) -> Any:
        url: str | None = self._url(ref, path)
        for _ in range(1_000):
            async with await self._send("GET", ref, url or "", scope="pull") as answer:
                page = strictjson.loads(await answer.read(_MAX_ANSWER), f"{ref.name}: {path}", max_depth=32)
                link = answer.headers.get("link", "")
            if not isinstance(page, dict):
                raise MalformedError(f"{ref.name}: {path}", got=page, expected="an object")
            yield page
            match = re.match(r'\s*<([^>]+)>\s*;.*rel="?next"?', link)
            if not match:
                return
            url = urljoin(url or "", match[1])


def fallback_tag(digest: str) -> str:
    """`sha256-<hex>`, cut as the specification says (32 and 64 characters)."""
    algorithm, _, value = digest.partition(":")
    return f"{algorithm[:32]}-{value[:64]}"


def _media_type(answer: Answer) -> str:
    return answer.headers.get("content-type", oci.MANIFEST).partition(";")[0].strip()


async def _refusal(answer: Answer, method: str, ref: Reference, url: str) -> CustodyError:
    words = ""
    try:
        document = json.loads(await answer.read(1 << 16))
        words = "; ".join(str(entry.get("message") or entry.get("code")) for entry in document["errors"])
    except (ValueError, KeyError, TypeError, AttributeError, NetworkError):
        words = ""  # not every registry explains itself
    text = f"{ref}: {method} {urlsplit(url).path} answered {answer.status}{': ' + words if words else ''}"
    if answer.status == 404:
        return NotFoundError(text)
    if answer.status == 401:
        return AuthenticationError(text, hint=f"docker login {ref.registry}")
    if answer.status == 403:
        return DeniedError(text)
    return NetworkError(text)
