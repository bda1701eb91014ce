"""Answers about revocation that were had before and lie beside a signature, for where nobody can be asked.

Whoever stores them is believed in nothing: what is stapled goes the way of what was just fetched, by the same checks of
issuer, certificate and time. It counts only where the live answer could not be had.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from types import TracebackType
from typing import NamedTuple, Self

from cryptography import x509

from custody.errors import CustodyError, NetworkError, UnsupportedError
from custody.formats.revocationanswers import Exchange
from custody.kit.address import Reach
from custody.kit.clock import Clock, format_rfc3339
from custody.ports.http import Content, Http, collect, place_of
from custody.sign.notary import crl
from custody.sign.notary.revocation import Answer, OnlineRevocations, Revocations, State


class Staples(NamedTuple):
    """What lies beside one signature."""

    documents: tuple[tuple[Exchange, ...], ...] = ()
    broken: tuple[str, ...] = ()
    """Why what else is there is not used, each with where it is."""


Fetch = Callable[[], Awaitable[Staples]]
"""Gets what is stapled, when it is needed. Raises CustodyError where it cannot be had."""


class KeptAnswer:
    """Implements ports.http.Answer over bytes."""

    headers: Mapping[str, str] = {}

    def __init__(self, status: int, body: bytes, url: str) -> None:
        self.status = status
        self._body = body
        self._url = url

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body

    async def read(self, limit: int) -> bytes:
        return await collect(self.chunks(), limit, self._url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        return None


class RecordingHttp:
    """Implements ports.http.Http: asks another one, and keeps what was answered with status 200."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self.exchanges: list[Exchange] = []

    async def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None,
                      body: bytes | Content | None = None, reach: Reach | None = None) -> KeptAnswer:
        if isinstance(body, Content):
            raise UnsupportedError(place_of(url), "a request is kept with its body, which is not held in memory here")
        where = {} if reach is None else {"reach": reach}
        async with await self._http.request(method, url, headers=headers, body=body, **where) as answer:
            data = await answer.read(crl.MAX_LIST)
            if answer.status == 200:
                self.exchanges.append(Exchange(method, url, body or b"", data))
            return KeptAnswer(answer.status, data, url)

    async def close(self) -> None:
        """The other one stays open: it is somebody else's."""


class StapledHttp:
    """Implements ports.http.Http over what was kept: opens no socket. What was not asked before is a NetworkError."""

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        self._answers = {(method, url, request): answer for method, url, request, answer in exchanges}

    async def request(self, method: str, url: str, *, headers: Mapping[str, str] | None = None,  # noqa: ARG002
                      body: bytes | Content | None = None, reach: Reach | None = None) -> KeptAnswer:  # noqa: ARG002
        answer = None if isinstance(body, Content) else self._answers.get((method, url, body or b""))
        if answer is None:
            raise NetworkError("nothing is stapled that answers this")
        return KeptAnswer(200, answer, url)

    async def close(self) -> None:
        """Nothing is open."""


class StapledRevocations:
    """Implements Revocations: `live` is always asked, and of a certificate of which it could learn nothing, what is
    stapled. Of several documents one that says revoked counts first, then the newest good answer."""

    def __init__(self, live: Revocations, fetch: Fetch, clock: Clock, max_age: timedelta | None = None) -> None:
        """`max_age`: how long ago an issuer may have said what is stapled; None: as long as it says itself."""
        self._live = live
        self._fetch = fetch
        self._clock = clock
        self._max_age = max_age
        self._staples: Staples | None = None

    async def answers(self, chain: Sequence[x509.Certificate], signed_at: datetime | None) -> list[Answer]:
        said = await self._live.answers(chain, signed_at)
        return [await self._by_staples(answer, pair, signed_at) if answer.state is State.UNAVAILABLE else answer
                for answer, pair in zip(said, pairwise(chain), strict=True)]

    async def _by_staples(self, live: Answer, pair: Sequence[x509.Certificate], signed_at: datetime | None) -> Answer:
        staples = await self._held()
        reasons, good = [live.reason], list[Answer]()
        for exchanges in staples.documents:
            (judged,) = await OnlineRevocations(StapledHttp(exchanges), self._clock).answers(pair, signed_at)
            if judged.state is State.REVOKED:
                return replace(judged, stapled=True)
            if judged.state is not State.GOOD:
                reasons.append(f"as stapled: {judged.reason}")
            elif too_old := self._too_old(judged):
                reasons.append(too_old)
            else:
                good.append(judged)
        if good:
            newest = max(good, key=lambda answer: answer.said_at)
            return replace(newest, stapled=True, reason=live.reason)
        return replace(live, reason="; ".join([*reasons, *staples.broken]))

    def _too_old(self, judged: Answer) -> str:
        if self._max_age is None or self._clock() - judged.said_at <= self._max_age:
            return ""
        return (f"as stapled: answered at {format_rfc3339(judged.said_at)}, longer ago than the "
                f"{self._max_age.total_seconds() / 3600:g} h that are allowed")

    async def _held(self) -> Staples:
        if self._staples is None:
            try:
                self._staples = await self._fetch()
            except CustodyError as error:
                # That nobody could be asked is what is wrong; this adds to it.
                self._staples = Staples(broken=(f"what is stapled could not be had: {error.message}",))
        return self._staples
