"""The distribution API's requests: names and mirrors become URLs, lists become pages, manifests checked bytes."""

from __future__ import annotations

import copy
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from urllib.parse import quote, urlsplit

from custody.errors import CustodyError, MalformedError, VerificationError
from custody.formats import oci
from custody.formats.reference import DOCKER_HUB, Reference, parse_host
from custody.kit import digest as digests
from custody.ports.http import Answer, Content, place_of
from custody.registry.budget import Budget
from custody.registry.links import next_link
from custody.registry.origin import escaped, joined, origin_of
from custody.registry.tokens import Registry, Tokens
from custody.registry.transport import Transport

PULL, PUSH, DELETE = "pull", "pull,push", "pull,push,delete"
MAX_PAGE = 4 * 1024 * 1024
MAX_LIST = 16 * 1024 * 1024
_MAX_PAGES = 1_000
_NAMESPACE = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
"""One part of a repository's name (distribution-spec, "Pulling manifests")."""
_HUB_SERVER = "registry-1.docker.io"
_ACCEPT = ", ".join((*oci.MANIFEST_TYPES, *oci.INDEX_TYPES))


class Requests:
    def __init__(self, transport: Transport, mirrors: Mapping[str, str], plain_http: Sequence[str]) -> None:
        self.transport = transport
        names = ((_canonical(prefix), target) for prefix, target in mirrors.items())
        self._mirrors = sorted(names, key=lambda pair: -len(pair[0]))
        self._plain = frozenset(parse_host(host, "plain_http") for host in plain_http)
        self._secure = False
        """Whether all are asked by TLS, this machine too: who names a registry's certificate wants it shown."""

    def known_by(self, tokens: Tokens, plain_http: Sequence[str] = (), ca: str = "") -> Requests:
        """The same with other tokens, and with more hosts that are asked by plain HTTP; `ca` as Transport has it."""
        view = copy.copy(self)
        view.transport = self.transport.known_by(tokens, ca)
        view._plain = self._plain | {parse_host(host, "plain_http") for host in plain_http}
        view._secure = self._secure or bool(ca)
        return view

    def within(self, budget: Budget) -> Requests:
        view = copy.copy(self)
        view.transport = self.transport.within(budget)
        return view

    def registry(self, ref: Reference) -> Registry:
        """Who is asked for an image, after mirrors."""
        host, repository = ref.registry, ref.repository
        for prefix, target in self._mirrors:
            if ref.name == prefix or ref.name.startswith(f"{prefix}/"):
                host, _, repository = (_target(prefix, target) + ref.name[len(prefix):]).partition("/")
                break
        login = parse_host(host, "mirror")
        server = _HUB_SERVER if login == DOCKER_HUB else host
        scheme = "http" if self._is_plain(host) else "https"
        return Registry(login, origin_of(f"{scheme}://{server}", login), repository)

    async def ping(self, ref: Reference) -> None:
        """Raises NetworkError where the registry gives no answer at all."""
        await self.transport.ping(f"{self.registry(ref).origin}/v2/")

    async def check_login(self, ref: Reference) -> None:
        """Raises AuthenticationError where the registry does not take the login; NetworkError."""
        registry = self.registry(ref)
        async with await self.transport.send("GET", f"{registry.origin}/v2/", registry, registry.host, scope=""):
            pass

    def url(self, ref: Reference, path: str) -> str:
        registry = self.registry(ref)
        return f"{registry.origin}/v2/{quote(registry.repository)}/{path}"

    async def ask(self, method: str, ref: Reference, path: str, *, actions: str = PULL, source: str = "",
                  headers: Mapping[str, str] | None = None, body: bytes | None = None,
                  expect: tuple[int, ...] = (200,)) -> Answer:
        """One request below the image's repository. `source` is another repository that is read from."""
        return await self.send(method, ref, self.url(ref, path), actions=actions, source=source, headers=headers,
                               body=body, expect=expect)

    async def send(self, method: str, ref: Reference, url: str, *, actions: str, source: str = "",
                   headers: Mapping[str, str] | None = None, body: bytes | Content | None = None,
                   expect: tuple[int, ...] = (200,)) -> Answer:
        registry = self.registry(ref)
        scope = f"repository:{registry.repository}:{actions}"
        if source and source != registry.repository:
            scope += f" repository:{source}:{PULL}"
        return await self.transport.send(method, url, registry, str(ref), scope=scope, headers=headers, body=body,
                                         expect=expect)

    async def resolve(self, ref: Reference) -> oci.Descriptor | None:
        """What a HEAD says of a manifest; None where the registry answers HEAD with less than that.

        Raises NotFoundError, VerificationError.
        """
        refused = (400, 403, 405, 501)
        answer = await self.ask("HEAD", ref, f"manifests/{ref.identifier}", headers={"Accept": _ACCEPT},
                                expect=(200, *refused))
        async with answer:
            digest, size = answer.headers.get("docker-content-digest", ref.digest or ""), answer.headers.get(
                "content-length", "")
            if answer.status in refused or not digests.is_digest(digest) or not re.fullmatch(r"[0-9]{1,18}", size):
                return None
            if ref.digest and digest != ref.digest:
                raise VerificationError(f"{ref}: the registry answered with {digest}, asked for {ref.digest}")
            return oci.Descriptor(_media_type(answer), digest, int(size))

    async def manifest(self, ref: Reference) -> tuple[oci.Descriptor, bytes]:
        """A manifest's descriptor and exact bytes. Raises NotFoundError, VerificationError."""
        return await self.transport.again(lambda: self._manifest(ref))

    async def _manifest(self, ref: Reference) -> tuple[oci.Descriptor, bytes]:
        answer = await self.ask("GET", ref, f"manifests/{ref.identifier}", headers={"Accept": _ACCEPT})
        async with answer:
            data = await answer.read(oci.MAX_MANIFEST)
        claims = (("asked for", ref.digest), ("the registry says", answer.headers.get("docker-content-digest")))
        for name, claimed in claims:
            if claimed and digests.is_digest(claimed):
                digest = digests.compute(data, claimed.partition(":")[0])
                if digest != claimed:
                    raise VerificationError(f"{ref}: manifest bytes are {digest}, {name} {claimed}")
        return oci.Descriptor(_media_type(answer), ref.digest or digests.sha256(data), len(data)), data

    async def pages(self, ref: Reference, path: str, first: Answer | None = None) -> AsyncIterator[bytes]:
        """The pages of a list, all of them; `first` is the answer to the first request where it was made already.

        Raises VerificationError where the list cannot be had whole: a page beyond 4 MiB, 16 MiB or 1,000 pages in all,
        a link in a circle or to another origin, a page that fails.
        """
        listing, url = f"{ref.name}: {path}", self.url(ref, path)
        seen: set[str] = set()
        total = 0
        while True:
            seen.add(url)
            try:
                data, link = await self._page(ref, url, f"{listing}: page {len(seen)}", first)
            except VerificationError:
                raise
            except CustodyError as error:
                if len(seen) == 1:
                    raise
                # That a later page is "not found" does not mean that the image is.
                raise VerificationError(f"{listing}: page {len(seen)}: {error.message}", hint=_WHOLE) from None
            first = None
            total += len(data)
            if total > MAX_LIST:
                raise VerificationError(f"{listing}: more than {MAX_LIST} bytes of pages", hint=_WHOLE)
            yield data
            try:
                target = next_link(link, listing)
            except MalformedError as error:
                raise VerificationError(error.message, hint=_WHOLE) from None
            if target is None:
                return
            before, url = url, joined(url, target, f"{listing}: link to the next page")
            if origin_of(url) != origin_of(before):
                raise VerificationError(f"{listing}: the next page is at another origin, {origin_of(url)}", hint=_WHOLE)
            if url in seen:
                raise VerificationError(f"{listing}: the pages link in a circle, to {escaped(place_of(url))}",
                                        hint=_WHOLE)
            if len(seen) >= _MAX_PAGES:
                raise VerificationError(f"{listing}: more than {_MAX_PAGES} pages", hint=_WHOLE)

    async def _page(self, ref: Reference, url: str, place: str, answer: Answer | None) -> tuple[bytes, str]:
        """One page and its Link header. Where `answer` breaks off, the page is asked for again."""
        unread = [answer] if answer else []

        async def read() -> tuple[bytes, str]:
            async with unread.pop() if unread else await self.send("GET", ref, url, actions=PULL) as page:
                if filtered := page.headers.get("oci-filters-applied"):
                    raise VerificationError(f"{place}: filtered by {escaped(filtered)}, which nobody asked for",
                                            hint=_WHOLE)
                parts, size = [], 0
                async for chunk in page.chunks():
                    size += len(chunk)
                    if size > MAX_PAGE:
                        raise VerificationError(f"{place}: more than {MAX_PAGE} bytes", hint=_WHOLE)
                    parts.append(chunk)
                return b"".join(parts), page.headers.get("link", "")

        return await self.transport.again(read)

    def _is_plain(self, host: str) -> bool:
        if self._secure:
            return False
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name == "::1" or name.startswith("127.") or parse_host(host) in self._plain


_WHOLE = "a list that cannot be read whole is not believed"


def _canonical(prefix: str) -> str:
    """A mirrored prefix, `registry[/namespace]`, with the registry's one name. Raises MalformedError."""
    host, slash, path = prefix.rstrip("/").partition("/")
    if path and not all(_NAMESPACE.fullmatch(part) for part in path.split("/")):
        raise MalformedError("mirrors", got=prefix, expected="registry[/namespace]")
    return parse_host(host, f"mirrors: {prefix}") + slash + path


def _target(prefix: str, target: str) -> str:
    """`registry[/namespace]` in its place. Raises MalformedError."""
    host, *path = target.rstrip("/").split("/")
    parse_host(host, f"mirrors: {prefix}")
    if not all(_NAMESPACE.fullmatch(part) for part in path):
        raise MalformedError(f"mirrors: {prefix}", got=target, expected="registry[/namespace]")
    return "/".join((host, *path))


def _media_type(answer: Answer) -> str:
    return answer.headers.get("content-type", oci.MANIFEST).partition(";")[0].strip()
