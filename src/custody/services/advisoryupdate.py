"""Keeps the advisories up to date: asks each address for what is new since it last answered, and takes it.

An address that does not answer, or says what is broken, changes nothing: what was there stays, and how old it is is
said. A download that broke off goes on where it ended. Each document is taken whole or not at all.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urljoin

import msgspec

from custody.errors import CustodyError, MalformedError, NetworkError, OfflineError, StorageError
from custody.formats import csafprovider
from custody.formats.rolie import entries
from custody.kit.clock import Clock, format_rfc3339, parse_rfc3339
from custody.ports.advisories import AdvisoryStore, Feed
from custody.ports.http import Http, place_of
from custody.services import nvdpages
from custody.services.advisoryimport import Importer
from custody.services.documentfetch import Document, fetched
from custody.services.downloads import LARGEST_LIST, Downloads, MissingError, Progress, Wait, conditional
from custody.vulns.feeds import Address, mirrored, publishers
from custody.vulns.store import Imported

_MOST_CHANGES = 2_000_000
"""Lines of a list of changes; osv.dev's of everything has some 500,000."""
_SINGLE = 200
"""Changed records that are fetched one by one where there is an archive; beyond that all are."""


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
    refused: tuple[str, ...] = ()
    """Why single records of it were left out: of the first."""
    refusals: int = 0
    """How many were."""
    catalogues: tuple[str, ...] = ()
    """What else was taken than records."""


class Updater:
    """Downloads are kept in the importer's folder while they are not whole."""

    def __init__(self, http: Http, store: AdvisoryStore, importer: Importer, clock: Clock, progress: Progress,
                 wait: Wait = asyncio.sleep, mirror: str | None = None) -> None:
        self._mirror = mirror
        self._downloads = Downloads(http, importer.folder, progress, wait)
        self._wait = wait
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
        except (OfflineError, StorageError):
            raise
        except OSError as error:
            raise StorageError(f"{self._folder}: {error.strerror}") from None
        except CustodyError as error:
            feed = self._store.feed(address.url)  # what was read of it stays read
            self._store.keep(msgspec.structs.replace(feed, failure=error.message))
            return Updated(name, address.url, failure=error.message, before=feed.checked)
        return updated

    async def _ask(self, name: str, address: Address, feed: Feed) -> Updated:
        match address.kind:
            case "osv":
                return await self._by_changes(name, address.url, feed, "modified_id.csv", "all.zip")
            case "csaf":
                return await self._by_changes(name, address.url, feed, "changes.csv", "")
            case "rolie":
                return await self._by_rolie_feed(name, address.url, feed)
            case "provider":
                return await self._by_provider(name, address.url)
            case "nvd":
                return await self._pages(name, address.url, feed)
        file = await self._downloads.file(name, address.url, feed)
        if file is None:
            self._keep(feed)
            return Updated(name, address.url, unchanged=True)
        path, validators = file
        if address.sidecar:
            await self._downloads.check(address.url, address.url.removesuffix(".json.gz") + ".meta"
                                        if address.sidecar == ".meta" else address.url + address.sidecar, path)
        done = await self._import(name, path, address.url)
        self._keep(feed, **validators)
        path.unlink()
        return Updated(name, address.url, added=done.added, refused=tuple(done.refused), refusals=done.refusals,
                       catalogues=tuple(done.catalogues))

    async def _by_changes(self, name: str, url: str, feed: Feed, changes: str, archive: str) -> Updated:
        """A folder with a list of when each of its records changed; `archive` has all of them."""
        try:
            listed = await self._downloads.get(urljoin(url, changes), conditional(feed), LARGEST_LIST)
        except MissingError:
            if archive:
                raise
            return await self._by_index(name, url, feed)
        if listed is None:
            self._keep(feed)
            return Updated(name, url, unchanged=True)
        body, validators = listed
        rows = _changes(body, f"{place_of(url)}{changes}")
        newest = max((moment for moment, _ in rows), default=None)
        since = parse_rfc3339(feed.cursor) if feed.cursor else None
        changed = [record for moment, record in rows if since is None or moment > since]
        added, done = 0, Imported()
        if since is None or (archive and len(changed) > _SINGLE):
            whole = archive or await self._latest_archive(url)
            if whole:
                there = urljoin(url, whole)
                file = await self._downloads.file(name, there, Feed(address=there))
                if file is not None:
                    if not archive:  # osv.dev says a sum with the answer
                        await self._downloads.check(there, f"{there}.sha256", file[0], optional=True)
                    done = await self._import(name, file[0], url)
                    added = done.added
                    file[0].unlink()
                    dated = _day(whole)  # an archive of yesterday lacks what changed today
                    changed = [record for moment, record in rows if dated is not None and moment >= dated]
        if changed:
            added += await self._fetch_and_import(name, url, _below(url, changed))
        self._keep(feed, **validators, cursor=format_rfc3339(newest) if newest else feed.cursor)
        return Updated(name, url, added=added, refused=tuple(done.refused), refusals=done.refusals,
                       catalogues=tuple(done.catalogues))

    async def _by_index(self, name: str, url: str, feed: Feed) -> Updated:
        """A folder of CSAF documents whose list, `index.txt`, has no times (CSAF 2.0, 7.1.12): all of them, each time,
        since a document may have changed under its name.
        """
        where = f"{place_of(url)}index.txt"
        try:
            answer = await self._downloads.get(urljoin(url, "index.txt"), {}, LARGEST_LIST)
        except MissingError:
            raise MissingError(f"{place_of(url)}: has neither changes.csv nor index.txt") from None
        added = await self._fetch_and_import(name, url, _below(url, _index(answer[0] if answer else b"", where)))
        self._keep(feed)  # with the cursor of a changes.csv, which may be there again
        return Updated(name, url, added=added, unchanged=not added)

    async def _by_rolie_feed(self, name: str, url: str, feed: Feed) -> Updated:
        """A ROLIE feed, whose entries say when they changed and where they are."""
        listed = await self._downloads.get(url, conditional(feed), LARGEST_LIST)
        if listed is None:
            self._keep(feed)
            return Updated(name, url, unchanged=True)
        rows = entries(listed[0], place_of(url), secure=url.startswith("https:"))
        since = parse_rfc3339(feed.cursor) if feed.cursor else None
        changed = [row for row in rows if since is None or row.updated > since]
        added = await self._fetch_and_import(
            name, url, [Document(row.source, row.sums) for row in changed]) if changed else 0
        newest = max((row.updated for row in rows), default=None)
        self._keep(feed, **listed[1], cursor=format_rfc3339(newest) if newest else feed.cursor)
        return Updated(name, url, added=added)

    async def _by_provider(self, name: str, url: str) -> Updated:
        """What a publisher's own file names, each with a state of its own; one that fails does not keep the others."""
        answer = await self._downloads.get(url, {}, csafprovider.MAX_SIZE)
        if answer is None:
            raise MalformedError(place_of(url), got="nothing", expected="a provider-metadata.json")
        parts = [await self.update(name, Address(mirrored(there, self._mirror), kind))
                 for kind, there in csafprovider.distributions(answer[0], place_of(url),
                                                               secure=url.startswith("https:"))]
        if failure := next((part for part in parts if part.failure), None):
            raise NetworkError(f"{place_of(failure.url)}: {failure.failure}")
        self._keep(self._store.feed(url))
        return Updated(name, url, added=sum(part.added for part in parts), unchanged=all(
            part.unchanged for part in parts), refused=tuple(reason for part in parts for reason in part.refused),
            refusals=sum(part.refusals for part in parts))

    async def _pages(self, name: str, url: str, feed: Feed) -> Updated:
        """NVD's API: all, then what was modified since; after each page it is kept how far it came."""
        added, asked = 0, False
        with self._progress(f"Fetching {name}", None) as advance:
            async for body, cursor in nvdpages.pages(self._downloads, url, feed.cursor, self._clock(), self._wait):
                asked = True
                if body is not None:
                    added += await asyncio.to_thread(self._take_page, body, place_of(url))
                feed = msgspec.structs.replace(feed, cursor=cursor)
                self._store.keep(feed)
                if advance:
                    advance(1)
        self._keep(feed)
        return Updated(name, url, added=added, unchanged=not asked)

    def _take_page(self, body: bytes, origin: str) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="page-", dir=self._folder) as folder:
            path = Path(folder) / "page.json"
            path.write_bytes(body)
            return self._importer.take(path, self._clock(), None, origin).added

    async def _latest_archive(self, url: str) -> str:
        """Of all CSAF documents, as Red Hat names it in `archive_latest.txt`; empty where there is none."""
        try:
            answer = await self._downloads.get(urljoin(url, "archive_latest.txt"), {}, 4096)
        except MissingError:
            return ""
        text = answer[0].decode("utf-8-sig", "replace").strip() if answer else ""
        return text if text and "/" not in text and text.endswith((".zst", ".bz2", ".gz", ".xz")) else ""

    async def _fetch_and_import(self, name: str, url: str, documents: Iterable[Document]) -> int:
        """How many of them were new or newer. Raises MalformedError where one cannot be read: its list says that it was
        asked for, so that it never would be again.
        """
        with self._progress(f"Fetching {name}", None) as advance:
            async with fetched(self._downloads, self._folder, documents, place_of(url), advance) as folder:
                done = await self._import(name, folder, url)
        if done.refused:
            raise MalformedError(place_of(url), got=done.refused[0], expected="records that can be read")
        return done.added

    async def _import(self, name: str, path: Path, url: str) -> Imported:
        with self._progress(f"Importing {name}", None) as advance:
            return await asyncio.to_thread(self._importer.take, path, self._clock(), advance, place_of(url),
                                           publishers(name))

    def _keep(self, feed: Feed, **changes: str) -> None:
        self._store.keep(msgspec.structs.replace(feed, **changes, checked=format_rfc3339(self._clock()), failure=""))


def _changes(body: bytes, where: str) -> list[tuple[datetime, str]]:
    """Rows of a time and a record, in either order: osv.dev has the time first, CSAF the file."""
    rows: list[tuple[datetime, str]] = []
    for fields in _fields(body, where):
        if len(fields) < 2:
            continue
        if len(rows) == _MOST_CHANGES:
            raise MalformedError(where, got=f"more than {_MOST_CHANGES} records", expected="fewer")
        stated, record = (fields[0], fields[1]) if fields[0][:4].isdigit() and "T" in fields[0] else (
            fields[1], fields[0])
        _within(record, where)
        rows.append((parse_rfc3339(stated, where), record))
    return rows


def _below(url: str, records: Iterable[str]) -> list[Document]:
    """The documents of a folder; osv.dev's list names them without the ending of their files."""
    return [Document(urljoin(url, quote(record if record.endswith(".json") else f"{record}.json")))
            for record in records]


def _index(body: bytes, where: str) -> list[str]:
    """One document of the folder in each line."""
    lines = body.decode("utf-8-sig", "replace").splitlines()
    records = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(records) > _MOST_CHANGES:
        raise MalformedError(where, got=f"more than {_MOST_CHANGES} records", expected="fewer")
    for record in records:
        _within(record, where)
        if "://" in record or not record.endswith(".json"):
            raise MalformedError(where, got=record, expected="names of JSON documents in that folder")
    if not records:
        raise MalformedError(where, got="no line", expected="names of JSON documents in that folder")
    return records


def _within(record: str, where: str) -> None:
    if ".." in record.split("/") or record.startswith("/"):
        raise MalformedError(where, got=record, expected="records of that folder")


def _fields(body: bytes, where: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(body.decode("utf-8-sig", "replace")))
    except csv.Error as error:
        raise MalformedError(where, got=str(error), expected="lines of CSV") from None


def _day(archive: str) -> datetime | None:
    """The day that an archive names itself by, `csaf_vex_2024-05-02.tar.zst`; None where it names none."""
    match = re.search(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", archive)
    try:
        return datetime.fromisoformat(match[0]).replace(tzinfo=UTC) if match else None
    except ValueError:
        return None
