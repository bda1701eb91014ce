"""Requests to an API server, and the kinds that it serves."""

from __future__ import annotations

from typing import Any, NamedTuple

from custody.adapters.kubernetes.access import Access
from custody.errors import AuthenticationError, NetworkError
from custody.kit import strictjson
from custody.policy.kinds import Kinds
from custody.policy.resources import of_discovery
from custody.ports.http import Answer, Http

_MAX_DISCOVERY = 16 * 1024 * 1024
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Reply(NamedTuple):
    status: int
    body: bytes


class Cluster:
    """`http` speaks TLS as `access.tls` says."""

    def __init__(self, access: Access, http: Http) -> None:
        self.url = access.url
        self._access = access
        self._http = http

    async def close(self) -> None:
        await self._http.close()

    async def ask(self, method: str, path: str, *, limit: int, accept: str = "application/json",
                  body: bytes | None = None, content: str = "application/json") -> Reply:
        """Whatever it answers, of `limit` bytes at most. Raises NetworkError, AuthenticationError, OfflineError."""
        async with await self.open(method, path, accept=accept, body=body, content=content) as answer:
            return Reply(answer.status, await answer.read(limit))

    async def open(self, method: str, path: str, *, accept: str = "application/json", body: bytes | None = None,
                   content: str = "application/json") -> Answer:
        """An answer that is read as it comes, and to be closed. `content` is the body's type. Raises as `ask` does."""
        headers = {"Accept": accept}
        if token := self._access.token():
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = content
        return await self._http.request(method, f"{self.url}{path}", headers=headers, body=body)

    async def kinds(self) -> Kinds:
        """What it serves now. Raises NetworkError, AuthenticationError, MalformedError."""
        resources, unknown = of_discovery([await self._discovery(path) for path in ("/api", "/apis")], self.url)
        whole = {resource.group for resource in resources} - {group for group, _ in unknown}
        return Kinds(resources, whole=whole, source=self.url, unknown=unknown)

    async def _discovery(self, path: str) -> Any:
        reply = await self.ask("GET", path, limit=_MAX_DISCOVERY, accept=_DISCOVERY)
        url = f"{self.url}{path}"
        if reply.status in (401, 403):
            raise AuthenticationError(f"GET {url}: answered {reply.status}",
                                      hint=f"credentials in {self._access.where}")
        if reply.status != 200:
            raise NetworkError(f"GET {url}: answered {reply.status}, expected 200")
        return strictjson.loads(reply.body, url, max_size=_MAX_DISCOVERY)
