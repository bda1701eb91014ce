"""Where a URL leads: an origin is scheme, host and port (RFC 6454), and nothing that is secret leaves it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from custody.errors import NetworkError
from custody.ports.http import place_of

_PRINTABLE = re.compile(r"[\x21-\x7e]+\Z")
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Origin:
    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return f"{self.scheme}://{host}" + ("" if self.port == usual else f":{self.port}")


def origin_of(url: str, who: str = "") -> Origin:
    """Raises NetworkError, naming `who` gave it, for anything but an absolute http or https URL without a password."""
    expected = "expected an http or https URL with a host"
    prefix = f"{who}: " if who else ""
    if not _PRINTABLE.match(url):
        raise NetworkError(f"{prefix}got the URL {escaped(place_of(url))}, {expected} and without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise NetworkError(f"{prefix}got the URL {escaped(place_of(url))} ({error}), {expected}") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise NetworkError(f"{prefix}got the URL {escaped(place_of(url))}, {expected}")
    if any(not label or len(label) > 63 for label in host.removesuffix(".").split(".")):
        raise NetworkError(f"{prefix}got the URL {escaped(place_of(url))} with a host that is no name, {expected}")
    if parts.username is not None:
        raise NetworkError(f"{prefix}got a URL with a user in it for {escaped(host)}, {expected}")
    return Origin(parts.scheme, host.removesuffix("."), port or (443 if parts.scheme == "https" else 80))


def joined(base: str, location: str, who: str) -> str:
    """A Location or link, absolute. Raises NetworkError, naming `who` gave it."""
    try:
        url = urljoin(base, location)
    except ValueError as error:
        raise NetworkError(f"{who}: got the URL {escaped(place_of(location))} ({error}), expected one that can be "
                           "read") from None
    origin_of(url, who)
    return url


def escaped(text: str) -> str:
    """Somebody else's words on one line of at most 200 characters, without what a terminal would obey."""
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text[:_SHOWN])
    return shown[:_SHOWN] + ("…" if len(text) > _SHOWN or len(shown) > _SHOWN else "")
