"""What policies ask of other servers (`apiCall.service`, `http` of CEL, `http.send`), at hosts that the settings name.

Whoever writes a policy may write any URL, and what a webhook reaches others often do not: a host that is not named is
not asked. Redirects are not followed: they lead wherever the server says.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from custody.errors import CustodyError
from custody.ports.http import Http, place_of
from custody.ports.lookup import Answer, Answered, Failed, HttpCall, Lookup, NoLookup, Question

MAX_SIZE = 2 * 1024 * 1024
"""Bytes of an answer's body."""
_PORTS = {"http": 80, "https": 443}
_SETTING = "policy_hosts"
_OURS = frozenset({"connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
                   "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"})
"""Headers that say where a request goes and ends: a policy's are left out, as Go's client leaves out most of them."""


class HttpLookup:
    """Implements ports.lookup.Lookup. `beyond` answers other questions; without one they have failed."""

    def __init__(self, http: Http, hosts: Iterable[str], beyond: Lookup | None = None) -> None:
        """`hosts` are `HOST` (any port) or `HOST:PORT`."""
        self._http = http
        self._hosts = frozenset(host.lower() for host in hosts)
        self._beyond = beyond or NoLookup()

    async def answer(self, question: Question) -> Answer:
        return await (self._call(question) if isinstance(question, HttpCall) else self._beyond.answer(question))

    def known(self, question: Question) -> Answer | None:
        return None if isinstance(question, HttpCall) else self._beyond.known(question)

    async def _call(self, call: HttpCall) -> Answer:
        place = place_of(call.url)
        if not self._allowed(call.url):
            return Failed(f"{place}: policies may not ask this host; {_SETTING} of custody.toml names those that "
                          "they may")
        if call.ca_bundle:
            return Failed(f"{place}: authorities of its own (caBundle) are not evaluated by custody yet")
        headers = {"accept": "application/json"} | ({"content-type": "application/json"} if call.body else {})
        headers |= {name.lower(): value for name, value in call.headers if name.strip().lower() not in _OURS}
        try:
            async with await self._http.request(call.method, call.url, headers=headers,
                                                body=call.body.encode() if call.body else None) as answer:
                body = await answer.read(MAX_SIZE)
                return Answered({"status": answer.status, "headers": dict(answer.headers),
                                 "body": body.decode("utf-8", "replace")})
        except CustodyError as error:
            return Failed(error.message)

    def _allowed(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme)
        except ValueError:
            return False
        host = (parts.hostname or "").lower()
        if parts.scheme not in _PORTS or not host or "@" in parts.netloc:
            return False
        return host in self._hosts or f"{host}:{port}" in self._hosts
