"""Which names a listener answers to.

A web page may be served under a name that its owner then points at 127.0.0.1: to the browser, what listens there is
the page's own site (DNS rebinding). Such requests carry the page's name in Host, and what browsers always send. Pages
of other sites can still send writes without reading the answer; those carry their site in Origin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from custody.errors import MalformedError
from custody.server.asgi import App, Receive, Scope, Send, header
from custody.server.refusal import refuse

_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?)*\Z")
_PORT = re.compile(r"(?::[0-9]{0,5})?")
_BROWSERS = frozenset((b"user-agent", b"accept-encoding", b"accept-language", b"origin", b"referer", b"cookie"))
"""The first two are in every request of a browser, and no page can leave them out."""
_SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
_REMEMBERED = 256


class Hosts:
    """The names of a listener: loopback's and its own address, and those that are given. Ports do not count."""

    def __init__(self, bound: str, names: Iterable[str] = ()) -> None:
        """Raises MalformedError for a name that is none."""
        self._names = {"localhost", canonical(bound), *(_checked(name) for name in names)}
        self._known: set[str] = set()

    def __contains__(self, host: str) -> bool:
        """Whether a Host header's value, with or without a port, names this listener."""
        if host in self._known:
            return True
        name = without_port(host)
        if name is None or not (canonical(name) in self._names or is_loopback(name)):
            return False
        if len(self._known) < _REMEMBERED:
            self._known.add(host)
        return True


class HostCheck:
    """An application that its own names only are answered by: 421 for others, 403 for writes of foreign pages."""

    def __init__(self, app: App, hosts: Hosts) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = header(scope, b"host")
        if host not in self._hosts and not _by_hand(scope, host):
            await refuse(send, scope["path"], 421, f"Host: got {host[:100]!r}, which is no name of this service; "
                                                   "`hosts` in custody.toml lists those it has beside its address")
            return
        if scope["method"] not in _SAFE:
            origin = header(scope, b"origin")
            if origin and urlsplit_host(origin) not in self._hosts:
                await refuse(send, scope["path"], 403, f"Origin: got {origin[:100]!r}: pages of other sites may not "
                                                       "write here")
                return
        await self._app(scope, receive, send)


def _by_hand(scope: Scope, host: str) -> bool:
    """Whether a script wrote the request, and put any word where the name belongs: HTTP/1.0 may be without one."""
    if not host:
        return bool(scope["http_version"] == "1.0")
    return "." not in host and "[" not in host and not any(
        name in _BROWSERS or name.startswith(b"sec-") for name, _ in scope["headers"])


def without_port(host: str) -> str | None:
    """`name:80` and `[::1]:80` without the port and the brackets; None for what is neither."""
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        return name if _PORT.fullmatch(port) else None
    name, colon, port = host.partition(":")
    return name if name and _PORT.fullmatch(colon + port) else None


def urlsplit_host(origin: str) -> str:
    """The host of an Origin; '' for `null` and what is no URL."""
    try:
        return urlsplit(origin).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def canonical(name: str) -> str:
    """Addresses in their one spelling, names in small letters without the root's dot."""
    try:
        return str(ip_address(name.strip("[]")))
    except ValueError:
        return name.lower().removesuffix(".")


def is_loopback(name: str) -> bool:
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return name.lower() == "localhost"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def _checked(name: str) -> str:
    plain = without_port(name.strip()) or ""
    spelled = canonical(plain)
    if not _NAME.match(spelled) and ":" not in spelled:
        raise MalformedError("hosts", got=name, expected="host names or addresses, such as registry.example")
    return spelled
