"""How a registry is asked, whatever it is asked: one policy above both HTTP adapters.

    1. An origin answers eight requests at a time; more wait, each until its deadline. Of all origins together so many
       are under way and no more (`exchanges`).
    2. What was accepted before is sent along, to the registry's own origin only.
    3. A redirect is followed for reading, never from https to http, and into no network that is not the registry's own.
       What carries a body goes nowhere else.
    4. A challenge is answered once.
    5. An answer of a moment's trouble is asked for again, with growing pauses or the one that the server names.
    6. Everything else that was not expected is an error with the registry's words, or with no words of a stranger.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar
from weakref import WeakValueDictionary

from custody.errors import ConnectionBrokenError, NetworkError
from custody.kit.address import Network, Reach, reach_from
from custody.ports.http import Answer, Content, Http, believing, collect, judges_reach, network_of_peer, place_of
from custody.registry.budget import Budget, limited
from custody.registry.exchanges import Exchange, Exchanges
from custody.registry.origin import Origin, joined, origin_of
from custody.registry.refusal import refusal
from custody.registry.tokens import Registry, Tokens

_PER_ORIGIN = 8
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 8
_TROUBLE = (408, 429, 500, 502, 503, 504)
_TRIES = 5
_TRIES_BROKEN = 3
_FIRST_PAUSE = 0.1
_GROWTH = 3.0
_LONGEST_PAUSE = 30.0
"""Seconds: pauses of 0.1, 0.3, 0.9 and 2.7, a tenth more or less; a Retry-After beyond 30 is not waited for."""

T = TypeVar("T")


class Transport:
    """Tokens, connections and turns are shared by all views that `within` makes."""

    def __init__(self, http: Http, tokens: Tokens) -> None:
        self._http = http
        self._tokens = tokens
        self._turns: WeakValueDictionary[Origin, asyncio.Semaphore] = WeakValueDictionary()
        self._exchanges = Exchanges()
        self.budget: Budget | None = None

    @property
    def http(self) -> Http:
        """What asks, for requests that are no registry's."""
        return self._http

    def within(self, budget: Budget) -> Transport:
        view = copy.copy(self)
        view.budget = budget
        return view

    def known_by(self, tokens: Tokens, ca: str = "") -> Transport:
        """With other tokens, over the same connections, or over such as believe certificates in PEM alone.

        Raises UnsupportedError, MalformedError for those.
        """
        view = copy.copy(self)
        view._tokens = tokens
        if ca:
            view._http, view._exchanges = believing(self._http, ca), Exchanges()
        return view

    async def close(self) -> None:
        await self._http.close()

    async def ping(self, url: str) -> None:
        """Raises NetworkError where no answer comes, whatever it would say."""
        for last in (False, True):
            try:
                answer = await self._http.request("GET", url)
            except ConnectionBrokenError:  # of a connection that was kept
                if last:
                    raise
                continue
            await answer.__aexit__(None, None, None)
            return

    async def send(self, method: str, url: str, registry: Registry, named: str, *, scope: str,
                   headers: Mapping[str, str] | None = None, body: bytes | Content | None = None,
                   expect: tuple[int, ...] = (200,)) -> Answer:
        """An answer of a status in `expect`, to be closed. `named` is the image's name, for messages.

        Every request of the distribution API may be sent twice: what is stored is named by its digest, and an upload
        that was begun twice is forgotten once. Raises AuthenticationError, DeniedError, NotFoundError, NetworkError.
        """
        tries = 0
        while True:
            tries += 1
            try:
                answer, url_answered = await self._follow(method, url, registry, scope, headers or {}, body)
            except ConnectionBrokenError:
                if tries >= _TRIES_BROKEN or not await self._pause(_backoff(tries)):
                    raise
                continue
            if answer.status in expect:
                return answer
            async with answer:
                pause = _pause_after(answer, tries)
                error = await refusal(answer, method, named, url_answered, registry)
            if pause is None or not await self._pause(pause):
                raise error

    async def again(self, work: Callable[[], Awaitable[T]]) -> T:
        """`work` with its answer's body: from its beginning again where the body broke off."""
        tries = 0
        while True:
            tries += 1
            try:
                return await work()
            except ConnectionBrokenError:
                if tries >= _TRIES_BROKEN or not await self._pause(_backoff(tries)):
                    raise

    async def _pause(self, seconds: float) -> bool:
        """Whether there was time to wait."""
        if not self._may_wait(seconds):
            return False
        await asyncio.sleep(seconds)
        return True

    def _may_wait(self, seconds: float) -> bool:
        return seconds <= _LONGEST_PAUSE and (self.budget is None or seconds < self.budget.remaining)

    async def _follow(self, method: str, url: str, registry: Registry, scope: str, headers: Mapping[str, str],
                      body: bytes | Content | None) -> tuple[Answer, str]:
        async with limited(self.budget, f"{registry.host}: login"):
            authorization = await self._tokens.authorization(registry, scope, self._insist)
        is_renewed = False
        network: Network | None = None
        origin = origin_of(url, registry.host)
        for _ in range(_MAX_REDIRECTS):
            is_home = origin == registry.origin
            sent = {**headers, "Authorization": authorization} if authorization and is_home else headers
            reach = None if origin.host == registry.origin.host else reach_from(network or Network.PUBLIC)
            answer = await self._exchange(method, url, sent, body, reach)
            if is_home:
                network = network_of_peer(answer)
            if answer.status in _REDIRECTS and answer.headers.get("location"):
                location = answer.headers["location"]
                await answer.__aexit__(None, None, None)
                url, origin = _redirected(method, url, location, answer.status, body is not None)
                continue
            if answer.status == 401 and is_home and not is_renewed:
                challenge = answer.headers.get("www-authenticate", "")
                await answer.__aexit__(None, None, None)
                async with limited(self.budget, f"{registry.host}: login"):
                    authorization = await self._tokens.renew(registry, scope, challenge, network, authorization,
                                                             self._insist)
                is_renewed = True
                continue
            if answer.status == 401 and is_home:
                self._tokens.forget(registry, scope)
            return answer, url
        raise NetworkError(f"{method} {place_of(url)}: redirected without end")

    async def _insist(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None,
                      reach: Reach | None) -> Answer:
        """A request to a token service, again where it is in trouble; whatever it answers last. Raises NetworkError."""
        tries = 0
        while True:
            tries += 1
            try:
                answer = await self._exchange(method, url, headers, body, reach)
            except ConnectionBrokenError as error:
                if tries >= _TRIES_BROKEN or not await self._pause(_backoff(tries)):
                    raise NetworkError(error.message) from None  # the registry itself is not asked again for that
                continue
            pause = _pause_after(answer, tries)
            if pause is None or not self._may_wait(pause):
                return answer
            await answer.__aexit__(None, None, None)
            await asyncio.sleep(pause)

    async def _exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | Content | None,
                        reach: Reach | None) -> Answer:
        """One request, when it is its turn at the origin, within the budget."""
        question = f"{method} {place_of(url)}"
        turn = self._turns.setdefault(origin_of(url), asyncio.Semaphore(_PER_ORIGIN))
        async with limited(self.budget, question):
            await turn.acquire()
            exchange = self._exchanges.begin()
            try:
                async with exchange.waiting(question):
                    if reach is None or not judges_reach(self._http):
                        answer = await self._http.request(method, url, headers=headers, body=body)
                    else:
                        answer = await self._http.request(method, url, headers=headers, body=body, reach=reach)
            except BaseException:
                exchange.end()
                turn.release()
                raise
        return _Held(answer, turn, exchange, self.budget, question)


class _Held:
    """An answer that holds its turn until it is closed, and whose body counts."""

    def __init__(self, answer: Answer, turn: asyncio.Semaphore, exchange: Exchange, budget: Budget | None,
                 question: str) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.network = network_of_peer(answer)
        self._answer, self._turn, self._exchange = answer, turn, exchange
        self._budget, self._question = budget, question
        self._is_open = True

    async def chunks(self) -> AsyncIterator[bytes]:
        chunks = self._answer.chunks()
        while True:
            async with limited(self._budget, self._question), self._exchange.waiting(self._question):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            if self._budget is not None:
                self._budget.charge(len(chunk))
            yield chunk

    async def read(self, limit: int) -> bytes:
        if self._budget is None:
            async with self._exchange.waiting(self._question):
                return await self._answer.read(limit)
        return await collect(self.chunks(), limit, self._question)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        if self._is_open:
            self._is_open = False
            self._turn.release()
            self._exchange.end()
            await self._answer.__aexit__(kind, error, trace)


def _redirected(method: str, url: str, location: str, status: int, has_body: bool) -> tuple[str, Origin]:
    """Where a redirect leads. Raises NetworkError for one that is not followed."""
    before, target = origin_of(url), joined(url, location, f"{method} {place_of(url)}: redirect")
    after = origin_of(target)
    step = f"{method} {place_of(url)}: redirected to {after}"
    if before.scheme == "https" and after.scheme == "http":
        raise NetworkError(f"{step}: from https to plain http, which is not followed")
    is_reading = method in ("GET", "HEAD")
    if not is_reading and (after != before or (has_body and status in (301, 302, 303))):
        raise NetworkError(f"{step} ({status}): only what is read may be redirected to another origin")
    return target, after


def _pause_after(answer: Answer, tries: int) -> float | None:
    """Seconds until the request may be sent again; None where that would not help."""
    if answer.status not in _TROUBLE or tries >= _TRIES:
        return None
    named = _retry_after(answer.headers.get("retry-after", ""))
    return _backoff(tries) if named is None else named


def _backoff(tries: int) -> float:
    return _FIRST_PAUSE * _GROWTH ** (tries - 1) * random.uniform(0.9, 1.1)  # noqa: S311 - only spreads the load


def _retry_after(value: str) -> float | None:
    """Seconds (RFC 9110 section 10.2.3: a number, or a date); None where the header says nothing that can be read."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    import time
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


