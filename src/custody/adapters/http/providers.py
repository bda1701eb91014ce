"""Gatekeeper's external data providers: asked over TLS 1.3, known by their own authorities, shown our certificate.

A provider that does not answer in time, or answers something else than was asked, has failed, by name. What it said of
a key counts for a while; what it failed with is asked anew.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from custody.errors import CustodyError, NetworkError, UsageError
from custody.formats import externaldata
from custody.ports.http import Http
from custody.ports.lookup import Answer, Answered, ExternalData, Failed, Lookup, NoLookup, Question

KEEP = 180.0
"""Seconds for which what was said of a key counts, as in Gatekeeper."""
_MAX_KEPT = 8192
_MAX_KEPT_BYTES = 16 * 1024 * 1024
_AT_ONCE = 16
"""Requests to one provider: the others wait, within their own time."""
_CLIENTS = 64
_WORDS = 500


class ClientFiles(NamedTuple):
    """What a provider is shown that asks who calls: PEM."""

    certificate: Path
    key: Path


@dataclass(slots=True)
class _Said:
    item: dict[str, Any]
    idempotent: bool
    until: float
    size: int


@dataclass(slots=True)
class _Client:
    http: Http
    turns: asyncio.Semaphore
    asking: int = 0
    """How many use it now: it is closed after the last of them."""


Place = tuple[str, str, str]
"""Of a provider: name, URL, authorities."""


class ProviderClient:
    """For one event loop. `secured` makes an HTTP adapter of a TLS context (`ports.http.secured`); who made the first
    one closes them all."""

    def __init__(self, secured: Callable[[ssl.SSLContext], Http], files: ClientFiles | None = None, *,
                 keep: float = KEEP, clock: Callable[[], float] = time.monotonic) -> None:
        self._secured, self._files, self._keep, self._clock = secured, files, keep, clock
        self._clients: OrderedDict[tuple[Place, tuple[int, ...]], _Client] = OrderedDict()
        self._dropped: list[_Client] = []
        self._kept: OrderedDict[tuple[Place, str], _Said] = OrderedDict()
        self._bytes = 0

    def known(self, question: ExternalData) -> Answer | None:
        """What counts by now of all keys; None where the provider has to be asked about one."""
        said = self._said(question)
        return None if len(said) < len(question.keys) else _answer(said)

    async def ask(self, question: ExternalData) -> Answer:
        if not question.url or question.timeout <= 0:
            return Failed(f"provider {question.provider}: nobody said where it is")
        try:
            async with asyncio.timeout(question.timeout):
                return await self._ask(question)
        except TimeoutError:
            return Failed(f"{question.url}: no answer within {question.timeout} s")
        except CustodyError as error:
            return Failed(error.message[:_WORDS])

    async def _ask(self, question: ExternalData) -> Answer:
        client = self._client(question)
        client.asking += 1
        try:
            async with client.turns:
                said = self._said(question)  # perhaps by now: others asked for the same
                if missing := [key for key in question.keys if key not in said]:
                    response = await self._posted(client.http, question, missing)
                    if response["systemError"].strip():
                        return Answered({"response": response})
                    for item in response["items"]:
                        size = len(json.dumps(item))
                        said[item["key"]] = fresh = _Said(item, response["idempotent"], self._clock() + self._keep,
                                                          size)
                        if "error" not in item and self._keep > 0:
                            self._note((_place(question), item["key"]), fresh)
        finally:
            client.asking -= 1
            await self._close_dropped()
        return _answer(said)

    async def _close_dropped(self) -> None:
        unused = [client for client in self._dropped if not client.asking]
        self._dropped = [client for client in self._dropped if client.asking]
        for client in unused:
            await client.http.close()

    async def _posted(self, http: Http, question: ExternalData, keys: list[str]) -> dict[str, Any]:
        """Raises CustodyError."""
        url = question.url
        async with await http.request("POST", url, headers={"content-type": "application/json",
                                                            "accept": "application/json"},
                                      body=externaldata.request(keys)) as answer:
            if answer.status != 200:
                detail = "; redirects are not followed" if 300 <= answer.status < 400 else ""
                raise NetworkError(f"{url}: answered {answer.status}{detail}")
            return externaldata.parse_response(await answer.read(externaldata.MAX_SIZE), keys, url)

    def _said(self, question: ExternalData) -> dict[str, _Said]:
        now, place = self._clock(), _place(question)
        said: dict[str, _Said] = {}
        for key in question.keys:
            kept = self._kept.get((place, key))
            if kept is None:
                continue
            if kept.until > now:
                said[key] = kept
            else:
                self._forget((place, key))
        return said

    def _note(self, at: tuple[Place, str], said: _Said) -> None:
        self._forget(at)
        self._kept[at] = said
        self._bytes += said.size
        while len(self._kept) > _MAX_KEPT or self._bytes > _MAX_KEPT_BYTES:
            self._forget(next(iter(self._kept)))

    def _forget(self, at: tuple[Place, str]) -> None:
        gone = self._kept.pop(at, None)
        if gone is not None:
            self._bytes -= gone.size

    def _client(self, question: ExternalData) -> _Client:
        """Made anew where the files of our own certificate have changed. Raises UsageError, MalformedError."""
        at = (_place(question), _changed(self._files))
        client = self._clients.get(at)
        if client is None:
            client = self._clients[at] = _Client(self._secured(_context(question.authorities, self._files)),
                                                 asyncio.Semaphore(_AT_ONCE))
            if len(self._clients) > _CLIENTS:
                self._dropped.append(self._clients.popitem(last=False)[1])
        self._clients.move_to_end(at)
        return client


class ProviderLookup:
    """Implements ports.lookup.Lookup. `beyond` answers other questions; without one they have failed."""

    def __init__(self, client: ProviderClient, beyond: Lookup | None = None) -> None:
        self._client, self._beyond = client, beyond or NoLookup()

    async def answer(self, question: Question) -> Answer:
        return await (self._client.ask(question) if isinstance(question, ExternalData)
                      else self._beyond.answer(question))

    def known(self, question: Question) -> Answer | None:
        return self._client.known(question) if isinstance(question, ExternalData) else self._beyond.known(question)


def _place(question: ExternalData) -> Place:
    return question.provider, question.url, question.authorities


def _answer(said: dict[str, _Said]) -> Answer:
    """What was kept first, then the provider's own order, as in Gatekeeper."""
    parts = [*said.values()]
    return Answered({"response": {"idempotent": all(part.idempotent for part in parts),
                                  "items": [part.item for part in parts], "systemError": ""}})


def _changed(files: ClientFiles | None) -> tuple[int, ...]:
    """When the files were written. Raises UsageError."""
    times = []
    for path in files or ():
        try:
            times.append(path.stat().st_mtime_ns)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
    return tuple(times)


def _context(authorities: str, files: ClientFiles | None) -> ssl.SSLContext:
    """Raises UsageError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=authorities)
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(f"caBundle: got what OpenSSL does not read ({error}), expected certificates in PEM") from None
    if files is not None:
        try:
            context.load_cert_chain(files.certificate, files.key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"{files.certificate}, {files.key}: got {error.strerror or error}, expected a "
                             "certificate in PEM and its key, without a password") from None
    return context
