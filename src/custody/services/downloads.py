"""Fetches documents: only what is new, from where a download broke off, whole or not at all, checked by what is said of
it.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import re
import zlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from custody.errors import MalformedError, NetworkError, UnsupportedError, VerificationError
from custody.ports.advisories import Feed
from custody.ports.http import Answer, Http, place_of

Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None] | None]]
Wait = Callable[[float], Awaitable[None]]
LARGEST_LIST = 256 << 20
_LARGEST = 8 << 30
_LARGEST_UNPACKED = 4 << 30
_REDIRECTS = 5
_BUSY = (403, 429, 503)
"""NVD refuses with 403 who asks too often."""
_WAITS, _LONGEST = 5, 120
"""How often, and at most how many seconds at a time, a server is waited for that is asked too much."""


class MissingError(NetworkError):
    """Nothing is there."""


class BusyError(NetworkError):
    """A server that wants to be asked less, or later: after `seconds`, where it says so."""

    def __init__(self, message: str, seconds: float | None) -> None:
        super().__init__(message)
        self.seconds = seconds


class Downloads:
    """`folder` is where they are kept while they are not whole."""

    def __init__(self, http: Http, folder: Path, progress: Progress, wait: Wait = asyncio.sleep) -> None:
        self._http, self._folder, self._progress, self._wait = http, folder, progress, wait

    async def file(self, name: str, url: str, feed: Feed) -> tuple[Path, Mapping[str, str]] | None:
        """The file and what the server says of it; None where that is what was read before."""
        parts = urlsplit(url)
        folder = self._folder / hashlib.sha256(url.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (parts.path.rpartition("/")[2] or "document")
        partial, mark = path.with_name(path.name + ".part"), path.with_name(path.name + ".etag")
        have = partial.stat().st_size if partial.exists() and mark.exists() else 0
        headers = conditional(feed)
        if have:
            headers = {"Range": f"bytes={have}-", "If-Range": mark.read_text()}
        async with await self._patiently(url, headers, resumed=bool(have)) as answer:
            if answer.status == 304:
                return None
            if answer.status == 206:
                total: int | None = _whole(answer, have, url, mark)
            else:
                have, length = 0, _header(answer, "content-length")
                total = int(length) if length.isdigit() else None
            validators = _validators(answer)
            # Only what the server calls by a name can be gone on with: what lies there may be of another.
            etag = validators["etag"]
            if etag and not etag.startswith("W/"):
                mark.write_text(etag)
            else:
                mark.unlink(missing_ok=True)
            with self._progress(f"Fetching {name}", total) as advance, partial.open("ab" if have else "wb") as file:
                size = have
                async for chunk in answer.chunks():
                    size += len(chunk)
                    if size > _LARGEST:
                        raise NetworkError(f"{place_of(url)}: got more than {_LARGEST} bytes")
                    file.write(chunk)
                    if advance:
                        advance(len(chunk))
            if total is not None and size != total:
                raise NetworkError(f"{place_of(url)}: got {size} bytes, expected {total}")
            _check_digest(answer, partial, url)
        partial.replace(path)
        mark.unlink(missing_ok=True)
        return path, validators

    async def check(self, url: str, sidecar: str, path: Path, *, optional: bool = False) -> None:
        """Compare a file of this address with the SHA-256 at `sidecar`; `.meta` is NVD's, of what it unpacks to.
        Optional: where nothing is there, nothing is said. Raises VerificationError, NetworkError where it cannot be
        known; the file is gone then.
        """
        try:
            try:
                stated = await self._stated(sidecar)
            except MissingError:
                if optional:
                    return
                raise
            digest, size = hashlib.sha256(), 0
            with gzip.open(path) if sidecar.endswith(".meta") else path.open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
                    size += len(piece)
                    if size > _LARGEST_UNPACKED:
                        raise MalformedError(place_of(url), got=f"more than {_LARGEST_UNPACKED} bytes unpacked",
                                             expected="advisories, no decompression bomb")
            _compare(digest.hexdigest(), stated, url, sidecar)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            path.unlink()
            raise MalformedError(place_of(url), got=str(error), expected="a whole gzip file") from None
        except BaseException:  # also where it is not known: what was not checked is not kept
            path.unlink()
            raise

    async def check_bytes(self, url: str, sidecar: str, data: bytes) -> None:
        """Compare what this address answered with the SHA-256 at `sidecar`, or the SHA-512 where it ends in `.sha512`.

        Raises VerificationError, NetworkError where it cannot be known.
        """
        made = hashlib.sha512(data) if sidecar.endswith(".sha512") else hashlib.sha256(data)
        _compare(made.hexdigest(), await self._stated(sidecar), url, sidecar)

    async def _stated(self, sidecar: str) -> str:
        """The digest of a sidecar, small letters; empty where it says none."""
        answer = await self.get(sidecar, {}, 4096)
        text = answer[0].decode("utf-8-sig", "replace") if answer else ""
        return next((line.partition(":")[2] for line in text.splitlines() if line.startswith("sha256:")),
                    text.split()[0] if text.split() else "").strip().lower()

    async def get(self, url: str, headers: Mapping[str, str], limit: int, *, patience: float | None = None
                  ) -> tuple[bytes, dict[str, str]] | None:
        """None where it is what was read before. `patience` is for how many seconds a server that is asked too much is
        waited for, where it does not say; None: only where it does.
        """
        async with await self._patiently(url, headers, patience=patience) as answer:
            if answer.status == 206:
                raise NetworkError(f"{place_of(url)}: answered a part of it, expected the whole document")
            return None if answer.status == 304 else (await answer.read(limit), _validators(answer))

    async def _patiently(self, url: str, headers: Mapping[str, str], *, resumed: bool = False,
                         patience: float | None = None) -> Answer:
        for _ in range(_WAITS):
            try:
                return await self._open(url, headers, resumed=resumed)
            except BusyError as error:
                seconds = patience if error.seconds is None else error.seconds
                if seconds is None or seconds > _LONGEST:
                    raise
                await self._wait(seconds)
        return await self._open(url, headers, resumed=resumed)

    async def _open(self, url: str, headers: Mapping[str, str], *, resumed: bool = False) -> Answer:
        """An answer of 200, 206 or 304, to be closed, whatever it was redirected to. Raises NetworkError."""
        asked = url
        for _ in range(_REDIRECTS):
            if urlsplit(url).scheme not in ("https", "http") or (
                    urlsplit(asked).scheme == "https" and urlsplit(url).scheme != "https"):
                raise UnsupportedError(place_of(asked), f"leads to {place_of(url)}, which is not https")
            answer = await self._http.request("GET", url, headers=headers)
            if answer.status in (301, 302, 303, 307, 308):
                place = _header(answer, "location")
                await answer.__aexit__(None, None, None)
                url = urljoin(url, place)
                continue
            if answer.status == 416 and resumed:  # there is nothing behind what is there, or it is another
                await answer.__aexit__(None, None, None)
                headers, resumed = {}, False
                continue
            unasked = answer.status == 304 and not {"If-None-Match", "If-Modified-Since"} & {*headers}
            if answer.status in (200, 206, 304) and not unasked:
                return answer
            status, patience = answer.status, _header(answer, "retry-after")
            await answer.__aexit__(None, None, None)
            message = f"{place_of(url)}: answered {status}"
            if status in (404, 410):
                raise MissingError(message)
            if status in _BUSY:
                raise BusyError(message, int(patience) if patience.isdigit() and len(patience) < 6 else None)
            raise NetworkError(message)
        raise NetworkError(f"{place_of(asked)}: more than {_REDIRECTS} redirects")


def _compare(got: str, stated: str, url: str, sidecar: str) -> None:
    if got != stated:
        raise VerificationError(f"{place_of(url)}: got {got}, expected {stated[:128] or 'a digest'}, as "
                                f"{place_of(sidecar)} says")


def _header(answer: Answer, name: str) -> str:
    return next((value for key, value in answer.headers.items() if key.lower() == name), "")


def _whole(answer: Answer, have: int, url: str, mark: Path) -> int:
    """The size of a document of which there are `have` bytes, where the answer is all of the rest (RFC 9110, section
    14.4). Raises NetworkError for any other part, and has it fetched from its beginning the next time.
    """
    stated = _header(answer, "content-range")
    match = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", stated, re.ASCII)
    if not have or match is None or (int(match[1]), int(match[2])) != (have, int(match[3]) - 1):
        mark.unlink(missing_ok=True)
        raise NetworkError(f"{place_of(url)}: Content-Range: got {stated or 'nothing'}, expected "
                           f"{f'all from byte {have} on' if have else 'the whole document'}")
    return int(match[3])


def _validators(answer: Answer) -> dict[str, str]:
    return {"etag": _header(answer, "etag"), "last_modified": _header(answer, "last-modified")}


def conditional(feed: Feed) -> dict[str, str]:
    return {key: value for key, value in (("If-None-Match", feed.etag), ("If-Modified-Since", feed.last_modified))
            if value}


def _check_digest(answer: Answer, path: Path, url: str) -> None:
    """What Google's storage, where osv.dev keeps its files, says of a whole object: `x-goog-hash: crc32c=…,md5=…`."""
    stated = next((part.strip().removeprefix("md5=") for part in _header(answer, "x-goog-hash").split(",")
                   if part.strip().startswith("md5=")), "")
    if not stated:
        return
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    got = base64.b64encode(digest.digest()).decode()
    if got != stated:
        path.unlink()
        raise VerificationError(f"{place_of(url)}: got bytes whose MD5 is {got}, expected {stated} as the server says",
                                hint="it broke on the way: try again")
