"""When versions were released, as their registries say: npm's packuments, PyPI's simple API (PEP 691, 700), Go's proxy.

What a registry says of a version counts for the bytes that the lock file names: to a release of PyPI files may be added
later, so that the digest chooses the file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from custody.ecosystems import python
from custody.errors import CustodyError, NetworkError, OfflineError
from custody.kit import strictjson
from custody.kit.clock import parse_rfc3339
from custody.ports.http import Http, place_of
from custody.source.addresses import ASKED
from custody.source.locked import Locked

_LARGEST = 64 << 20
_AT_ONCE = 8
_SIMPLE = "application/vnd.pypi.simple.v1+json"


async def released(http: Http, entries: Sequence[Locked], registries: Mapping[str, str],
                   progress: Callable[[int], None] | None = None) -> tuple[dict[Locked, datetime | None], list[str]]:
    """The dates of those that could be asked for, None where a registry has no such version; and why the others could
    not. `registries` are asked in place of the public ones, by type. Raises OfflineError.
    """
    by_name: dict[tuple[str, str], list[Locked]] = {}
    for entry in entries:
        by_name.setdefault((entry.type, entry.name if entry.type != "golang" else f"{entry.name}@{entry.version}"),
                           []).append(entry)
    dates: dict[Locked, datetime | None] = {}
    failures: list[str] = []
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(some: list[Locked]) -> None:
        async with gate:
            try:
                dates.update(await _ask(http, registries.get(some[0].type, ASKED[some[0].type]).rstrip("/"), some))
            except OfflineError:
                raise
            except CustodyError as error:
                failures.append(error.message)
            if progress:
                progress(1)

    await asyncio.gather(*(ask(some) for some in by_name.values()))
    return dates, failures


async def _ask(http: Http, base: str, entries: list[Locked]) -> dict[Locked, datetime | None]:
    """Of one package, whatever its version; Go's proxy is asked for one version."""
    first = entries[0]
    name = quote(_escaped(first.name) if first.type == "golang" else first.name, safe="@/!")
    match first.type:
        case "npm":
            document = await _json(http, f"{base}/{name.replace('/', '%2F')}", {})
            if document is None:
                return dict.fromkeys(entries)
            times = document.get("time")
            if not isinstance(times, dict):
                raise NetworkError(f"{place_of(base)}: {first.name}: says no dates")
            return {entry: _moment(times, entry, entry.version, base) if entry.version in times else None
                    for entry in entries}
        case "pypi":
            document = await _json(http, f"{base}/{quote(python(first.name))}/", {"Accept": _SIMPLE})
            return {entry: _of_files(document or {}, entry, base) for entry in entries}
        case _:
            document = await _json(http, f"{base}/{name}/@v/{quote(_escaped(first.version), safe='!+')}.info", {})
            return dict.fromkeys(entries, None if document is None else _moment(document, first, "Time", base))


async def _json(http: Http, url: str, headers: Mapping[str, str]) -> dict[str, Any] | None:
    """None where there is no such package or version."""
    async with await http.request("GET", url, headers=headers) as answer:
        if answer.status in (404, 410):
            return None
        if answer.status != 200:
            raise NetworkError(f"{place_of(url)}: answered {answer.status}")
        document = strictjson.loads(await answer.read(_LARGEST), place_of(url), max_size=_LARGEST, max_depth=64)
    if not isinstance(document, dict):
        raise NetworkError(f"{place_of(url)}: answered no object")
    return document


def _moment(document: Mapping[str, Any], entry: Locked, key: str, where: str) -> datetime:
    """Raises NetworkError: what a registry has but does not date is no answer, and nothing that it lacks."""
    stated = document.get(key)
    if not isinstance(stated, str):
        raise NetworkError(f"{place_of(where)}: {entry.name} {entry.version}: says no date")
    return parse_rfc3339(stated, where)


def _of_files(document: dict[str, Any], entry: Locked, where: str) -> datetime | None:
    """The latest of the files that the lock file names by their digests; None where there are none."""
    digests = {text.removeprefix("sha256:") for text in entry.digests}
    chosen = [row for row in document.get("files") or () if isinstance(row, dict)
              and isinstance(row.get("hashes"), dict) and row["hashes"].get("sha256") in digests]
    return max((_moment(row, entry, "upload-time", where) for row in chosen), default=None)


def _escaped(text: str) -> str:
    """As Go's proxy has capitals (Go Modules Reference, "Module proxies")."""
    return "".join(f"!{letter.lower()}" if letter.isupper() else letter for letter in text)
