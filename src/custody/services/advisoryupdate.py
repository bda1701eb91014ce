"""Keeps the advisories up to date: asks each address for what is new since it last answered, and takes it.

An address that does not answer, or says what is broken, changes nothing: what was there stays, and how old it is is
said. A download that broke off goes on where it ended. Each document is taken whole or not at all.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import gzip
import hashlib
import io
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from custody.errors import CustodyError, MalformedError, NetworkError, OfflineError, UnsupportedError, VerificationError
from custody.kit.clock import Clock, format_rfc3339, parse_rfc3339
from custody.ports.advisories import AdvisoryStore, Feed
from custody.ports.http import Answer, Http, place_of
from custody.services.advisoryimport import Importer
from custody.vulns.feeds import Address
from custody.vulns.store import Imported

Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None] | None]]
_LARGEST = 8 << 30
_LARGEST_LIST = 256 << 20
_SINGLE = 200
"""Changed records that are fetched one by one; beyond that all are."""
_AT_ONCE = 8
_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class Updated:
    """What became of one address."""

    name: str
    url: str
    added: int = 0
    unchanged: bool = False
    failure: str = ""
    """Why it was not read; empty where it was."""
    before: str = ""
    """When it was last read, RFC 3339; empty where it never was: then nothing of it is there."""


class Updater:
    """Downloads are kept in the importer's folder while they are not whole."""

    def __init__(self, http: Http, store: AdvisoryStore, importer: Importer, clock: Clock, progress: Progress) -> None:
        self._http = http
        self._store = store
        self._importer = importer
        self._folder = importer.folder
        self._clock = clock
        self._progress = progress

    async def update(self, name: str, address: Address) -> Updated:
        """Raises OfflineError; every other failure is in what it returns."""
        feed = self._store.feed(address.url)
        try:
            updated = await self._ask(name, address, feed)
        except OfflineError:
            raise
        except CustodyError as error:
            self._store.keep(msgspec.structs.replace(feed, failure=error.message))
            return Updated(name, address.url, failure=error.message, before=feed.checked)
        return updated

    async def _ask(self, name: str, address: Address, feed: Feed) -> Updated:
        if address.kind == "osv":
            return await self._listed(name, address.url, feed, "modified_id.csv", "all.zip")
        if address.kind == "csaf":
            return await self._listed(name, address.url, feed, "changes.csv", "")
        file = await self._download(name, address.url, feed)
        if file is None:
            self._keep(feed)
            return Updated(name, address.url, unchanged=True)
        path, validators = file
        await self._check_sidecar(address, path)
        done = await self._import(name, path, address.url)
        self._keep(feed, **validators)
        path.unlink()
        return Updated(name, address.url, added=done.added)

    async def _listed(self, name: str, url: str, feed: Feed, changes: str, archive: str) -> Updated:
        """A folder with a list of when each of its records changed; `archive` has all of them."""
        listed = await self._get(urljoin(url, changes), _conditional(feed), _LARGEST_LIST)
        if listed is None:
            self._keep(feed)
            return Updated(name, url, unchanged=True)
        body, validators = listed
        rows = _changes(body, f"{place_of(url)}{changes}")
        newest = max((moment for moment, _ in rows), default=None)
        since = parse_rfc3339(feed.cursor) if feed.cursor else None
        changed = [record for moment, record in rows if since is None or moment > since]
        added = 0
        if since is None or (archive and len(changed) > _SINGLE):
            whole = archive or await self._latest_archive(url)
            if whole:
                file = await self._download(name, urljoin(url, whole), Feed(address=urljoin(url, whole)))
                if file is not None:
                    added = (await self._import(name, file[0], url)).added
                    file[0].unlink()
                    changed = []
        if changed:
            added += await self._singles(name, url, changed)
        self._keep(feed, **validators, cursor=format_rfc3339(newest) if newest else feed.cursor)
        return Updated(name, url, added=added)

    async def _latest_archive(self, url: str) -> str:
        """Of all CSAF documents, as Red Hat names it in `archive_latest.txt`; empty where there is none."""
        try:
            answer = await self._get(urljoin(url, "archive_latest.txt"), {}, 4096)
        except NetworkError:
            return ""
        text = answer[0].decode("ascii", "replace").strip() if answer else ""
        return text if text and "/" not in text and text.endswith((".zst", ".bz2", ".gz", ".xz")) else ""

    async def _singles(self, name: str, url: str, records: list[str]) -> int:
        folder = self._folder / hashlib.sha256(url.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        gate = asyncio.Semaphore(_AT_ONCE)
        with self._progress(f"Fetching {name}", None) as advance:
            async def fetch(place: int, record: str) -> None:
                async with gate:
                    answer = await self._get(urljoin(url, quote(record)), {}, _LARGEST_LIST)
                    if answer is not None:
                        (folder / f"{place}.json").write_bytes(answer[0])
                    if advance:
                        advance(1)

            ends = await asyncio.gather(*(fetch(place, record if record.endswith(".json") else f"{record}.json")
                                          for place, record in enumerate(records)), return_exceptions=True)
        if failure := next((end for end in ends if isinstance(end, BaseException)), None):
            raise failure
        done = await self._import(name, folder, url)
        for file in folder.iterdir():
            file.unlink()
        if done.refused:  # they would never be asked for again
            raise MalformedError(place_of(url), got=done.refused[0], expected="records that can be read")
        return done.added

    async def _import(self, name: str, path: Path, url: str) -> Imported:
        with self._progress(f"Importing {name}", None) as advance:
            return await asyncio.to_thread(self._importer.take, path, self._clock(), advance, place_of(url))

    async def _download(self, name: str, url: str, feed: Feed) -> tuple[Path, Mapping[str, str]] | None:
        """The file and what the server says of it; None where that is what was read before."""
        parts = urlsplit(url)
        folder = self._folder / hashlib.sha256(url.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (parts.path.rpartition("/")[2] or "document")
        partial, mark = path.with_name(path.name + ".part"), path.with_name(path.name + ".etag")
        have = partial.stat().st_size if partial.exists() and mark.exists() else 0
        headers = _conditional(feed)
        if have:
            headers = {"Range": f"bytes={have}-", "If-Range": mark.read_text()}
        async with await self._open(url, headers, resumed=bool(have)) as answer:
            if answer.status == 304:
                return None
            if answer.status != 206 or not _header(answer, "content-range").startswith(f"bytes {have}-"):
                have = 0
            validators = _validators(answer)
            length = _header(answer, "content-length")
            total = have + int(length) if length.isdigit() else None
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

    async def _check_sidecar(self, address: Address, path: Path) -> None:
        if not address.sidecar:
            return
        url = address.url.removesuffix(".json.gz") + ".meta" if address.sidecar == ".meta" else (
            address.url + address.sidecar)
        answer = await self._get(url, {}, 4096)
        text = answer[0].decode("ascii", "replace") if answer else ""
        stated = next((line.partition(":")[2] for line in text.splitlines() if line.startswith("sha256:")),
                      text.split()[0] if text.split() else "").strip().lower()
        digest = hashlib.sha256()
        with gzip.open(path) if address.sidecar == ".meta" else path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        if digest.hexdigest() != stated:
            path.unlink()
            raise VerificationError(f"{place_of(address.url)}: got {digest.hexdigest()}, expected "
                                    f"{stated or 'a SHA-256'}, as {place_of(url)} says")

    async def _get(self, url: str, headers: Mapping[str, str], limit: int) -> tuple[bytes, dict[str, str]] | None:
        """None where it is what was read before."""
        async with await self._open(url, headers) as answer:
            return None if answer.status == 304 else (await answer.read(limit), _validators(answer))

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
            if answer.status in (200, 206, 304):
                return answer
            status = answer.status
            await answer.__aexit__(None, None, None)
            raise NetworkError(f"{place_of(url)}: answered {status}")
        raise NetworkError(f"{place_of(asked)}: more than {_REDIRECTS} redirects")

    def _keep(self, feed: Feed, **changes: str) -> None:
        self._store.keep(msgspec.structs.replace(feed, **changes, checked=format_rfc3339(self._clock()), failure=""))


def _header(answer: Answer, name: str) -> str:
    return next((value for key, value in answer.headers.items() if key.lower() == name), "")


def _validators(answer: Answer) -> dict[str, str]:
    return {"etag": _header(answer, "etag"), "last_modified": _header(answer, "last-modified")}


def _conditional(feed: Feed) -> dict[str, str]:
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


def _changes(body: bytes, where: str) -> list[tuple[datetime, str]]:
    """Rows of a time and a record, in either order: osv.dev has the time first, CSAF the file."""
    rows = []
    for fields in csv.reader(io.StringIO(body.decode("utf-8", "replace"))):
        if len(fields) < 2:
            continue
        stated, record = (fields[0], fields[1]) if fields[0][:4].isdigit() and "T" in fields[0] else (
            fields[1], fields[0])
        if ".." in record.split("/") or record.startswith("/"):
            raise MalformedError(where, got=record, expected="records of that folder")
        rows.append((parse_rfc3339(stated, where), record))
    return rows
