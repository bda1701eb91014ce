"""Whether certificates of a chain were revoked: OCSP first, then revocation lists.

(notaryproject/specifications trust-store-trust-policy, certificate revocation evaluation.) For each certificate below
the root one of five things is known, and that nobody could be asked is not that there is nothing against it.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple, Protocol

from cryptography import x509

from custody.errors import Check, CustodyError, MalformedError, NetworkError, UnsupportedError, VerificationError
from custody.kit.address import Reach
from custody.kit.clock import Clock
from custody.kit.concurrency import together
from custody.ports.http import Http, place_of
from custody.sign.notary import crl, ocsp

OCSP_SECONDS = 2.0
LIST_SECONDS = 5.0
_MAX_PLACES = 8
_SILENT = (NetworkError, VerificationError, MalformedError, UnsupportedError)


class State(enum.StrEnum):
    """What is known of a certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    """Its responder does not know it."""
    UNAVAILABLE = "unavailable"
    """Nobody who could say gave an answer that counts."""
    NOT_REVOKABLE = "not revokable"
    """It names neither responders nor lists."""


class Span(NamedTuple):
    """From when to when an answer is good; of several, the oldest, and the first to end."""

    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one certificate."""

    subject: str
    state: State
    method: str = ""
    """`OCSP` or `CRL`; "" where there is none."""
    reason: str = ""
    span: Span | None = None
    """Of what says that it is good or revoked, by its own signed word."""
    stapled: bool = False
    """Whether that was had before, and nobody could be asked now; `reason` says why not."""

    @property
    def said_at(self) -> datetime:
        """When what says it was made; the beginning of time where nothing does."""
        return self.span.since if self.span else datetime.min.replace(tzinfo=UTC)


class Revocations(Protocol):
    """Whoever knows of revoked certificates."""

    async def answers(self, chain: Sequence[x509.Certificate], signed_at: datetime | None) -> list[Answer]:
        """One for each certificate but the root, in the chain's order; never raises for what the world did.

        `signed_at` is when a signing authority says that the chain was used.
        """


def check_answers(answers: Sequence[Answer], where: str) -> None:
    """Raises VerificationError for a certificate that was revoked, or of which that is not known."""
    for state in (State.REVOKED, State.UNKNOWN, State.UNAVAILABLE):
        for answer in answers:
            if answer.state is state:
                said = {State.REVOKED: "is revoked", State.UNKNOWN: "is unknown to its responder",
                        State.UNAVAILABLE: "could not be looked up (revocation unavailable)"}[state]
                raise VerificationError(f"{where}: {answer.subject} {said}: {answer.reason}", check=Check.CERTIFICATE)


class _Found(NamedTuple):
    state: State
    reason: str
    span: Span | None = None


class OnlineRevocations:
    """Asks responders and fetches lists, over plain HTTP as they are served; lists are kept until they are too old."""

    def __init__(self, http: Http, clock: Clock, cache: crl.ListCache | None = None, *, reach: Reach | None = None,
                 tell: Callable[[str], None] = lambda _: None) -> None:
        """`reach`: networks that certificates may send us into; None: any. `tell` gets what went on, for people."""
        self._http = http
        self._clock = clock
        self._cache = cache
        self._reach = reach
        self._tell = tell

    async def answers(self, chain: Sequence[x509.Certificate], signed_at: datetime | None) -> list[Answer]:
        return await together(self._of(*pair, signed_at) for pair in pairwise(chain))

    async def _of(self, certificate: x509.Certificate, issuer: x509.Certificate, signed_at: datetime | None) -> Answer:
        subject, reasons = certificate.subject.rfc4514_string(), []
        responders, lists = ocsp.places(certificate), crl.places(certificate)
        if len(responders) > _MAX_PLACES or len(lists) > _MAX_PLACES:
            return Answer(subject, State.UNAVAILABLE, "", f"it names more than {_MAX_PLACES} places to ask")
        asked = State.UNAVAILABLE
        if responders:
            asked, reason, span = await self._by_responders(certificate, issuer, responders, signed_at)
            if asked in (State.GOOD, State.REVOKED) or not lists:
                return Answer(subject, asked, "OCSP", reason, span)
            self._tell(f"{subject}: OCSP: {reason}; its revocation list is asked")
            reasons.append(f"OCSP: {reason}")
        if not lists:
            return Answer(subject, State.NOT_REVOKABLE)
        by_list, reason, span = await self._by_lists(certificate, issuer, lists, signed_at)
        if by_list in (State.GOOD, State.REVOKED):
            return Answer(subject, by_list, "CRL", reason, span)
        # A responder that does not know it said something, which what was had before must not stand in for.
        return Answer(subject, asked, "CRL", "; ".join([*reasons, reason]))

    async def _by_responders(self, certificate: x509.Certificate, issuer: x509.Certificate, places: Sequence[str],
                             signed_at: datetime | None) -> _Found:
        """The first answer that counts, whatever it says."""
        reason = ""
        for url in places:
            try:
                body = await self._within(OCSP_SECONDS, self._fetch(
                    "POST", url, ocsp.MAX_ANSWER, ocsp.request(certificate, issuer)))
                against = ocsp.revoked(body, certificate, issuer, signed_at, self._clock())
                return _Found(State.REVOKED if against else State.GOOD, against, Span(*ocsp.span(body, certificate)))
            except ocsp.UnknownError as error:
                return _Found(State.UNKNOWN, f"{place_of(url)}: {error.message}")
            except _SILENT as error:
                reason = f"{place_of(url)}: {error.message}"
        return _Found(State.UNAVAILABLE, reason)

    async def _by_lists(self, certificate: x509.Certificate, issuer: x509.Certificate, places: Sequence[str],
                        signed_at: datetime | None) -> _Found:
        """All of them must be had, and between them be of all reasons: each may be of others. Where one cannot be had,
        those behind it may still say that the certificate is revoked."""
        read: list[tuple[str, crl.Lists]] = []
        silent = ""
        for url in places:
            try:
                against, lists = await self._judged(certificate, issuer, url, signed_at)
            except _SILENT as error:
                silent = silent or f"{place_of(url)}: {error.message}"
                continue
            if against:
                return _Found(State.REVOKED, against, Span(lists.made, None))
            read.append((url, lists))
        if silent:
            return _Found(State.UNAVAILABLE, silent)
        if unread := crl.unread_reasons(certificate, read):
            return _Found(State.UNAVAILABLE, f"the lists are of some reasons alone, and not of {', '.join(unread)}")
        ends = [made.read.next_update_utc for _, lists in read for made in (lists.base, lists.delta) if made]
        return _Found(State.GOOD, "", Span(min(lists.made for _, lists in read), min(filter(None, ends), default=None)))

    async def _judged(self, certificate: x509.Certificate, issuer: x509.Certificate, url: str,
                      signed_at: datetime | None) -> tuple[str, crl.Lists]:
        """What the lists of a URL have against a certificate. Lists can be long, so that nothing of them is read in
        the event loop. Only what the issuer made is kept: anybody on the way could keep us from it otherwise."""
        def judge(lists: crl.Lists) -> str:
            return crl.revoked(certificate, issuer, lists, signed_at, self._clock(), place=url)

        known = await asyncio.to_thread(self._cache.known, url, self._clock()) if self._cache else None
        if known is not None:
            try:
                against = await asyncio.to_thread(judge, known)
            except _SILENT as error:
                self._tell(f"revocation list of {place_of(url)}: fetched anew, since of the kept one {error.message}")
            else:
                self._tell(f"revocation list of {place_of(url)}: as it was fetched before")
                return against, known
        der, delta, lists = await self._fetched(url)
        against = await asyncio.to_thread(judge, lists)
        if self._cache is not None:
            try:
                await asyncio.to_thread(self._cache.keep, url, der, delta)
            except CustodyError as error:
                self._tell(f"revocation list of {place_of(url)}: not kept: {error.message}")
        return against, lists

    async def _fetched(self, url: str) -> tuple[bytes, bytes | None, crl.Lists]:
        der = await self._within(LIST_SECONDS, self._fetch("GET", url, crl.MAX_LIST))
        base, delta = await asyncio.to_thread(crl.load, der, "revocation list"), None
        failure: CustodyError | None = None
        for newer in crl.newer_places(base)[:_MAX_PLACES]:
            try:
                delta = await self._within(LIST_SECONDS, self._fetch("GET", newer, crl.MAX_LIST))
                break
            except _SILENT as error:
                failure = error
        if delta is None and failure is not None:
            raise failure
        changes = None if delta is None else await asyncio.to_thread(crl.load, delta, "list of changes")
        return der, delta, crl.Lists(base, changes)

    async def _within(self, seconds: float, asked: Awaitable[bytes]) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await asked
        except TimeoutError:
            raise NetworkError(f"no answer within {seconds:g} s") from None

    async def _fetch(self, method: str, url: str, limit: int, body: bytes | None = None) -> bytes:
        if not url.lower().startswith("http://"):
            raise UnsupportedError(place_of(url), "revocation is asked for over http:// alone")
        headers = {"Content-Type": ocsp.MEDIA_TYPE} if body is not None else {}
        where = {} if self._reach is None else {"reach": self._reach}
        async with await self._http.request(method, url, headers=headers, body=body, **where) as answer:
            if answer.status != 200:
                raise NetworkError(f"the answer has the status {answer.status}")
            return await answer.read(limit)
