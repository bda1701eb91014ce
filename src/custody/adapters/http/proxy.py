"""Which proxy a URL is asked through, from the environment, by the rules of Go's programs (x/net/http/httpproxy).

`HTTPS_PROXY` for https, `HTTP_PROXY` for http, `ALL_PROXY` for what has none of its own, each also in lower case; upper
case wins. `NO_PROXY` is a list of `*`, addresses, CIDR blocks, `host`, `.suffix` and `*.suffix`, each perhaps with a
port. Loopback is never asked through a proxy.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from custody.errors import NetworkError, UsageError

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """`authorization` is the value of Proxy-Authorization, from `user:password@` in the URL."""

    host: str
    port: int
    authorization: str | None = None

    @property
    def url(self) -> str:
        """Without the password: for messages too."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def proxy_for(url: str, environ: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy for `url`, or None. Raises UsageError for settings that cannot be obeyed, naming the variable."""
    scheme = url.partition(":")[0].lower()
    variable, value = _setting(scheme, environ)
    if not value:
        return None
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(scheme, 0)
    except ValueError as error:
        raise NetworkError(f"{url}: {error}") from None
    if _is_direct(host, port, _either("NO_PROXY", environ)[1]):
        return None
    if scheme == "http" and variable.upper() == "HTTP_PROXY" and environ.get("REQUEST_METHOD"):
        # A CGI program finds the request's `Proxy:` header in HTTP_PROXY, so anybody may have set it.
        raise UsageError(f"{variable} is not believed where REQUEST_METHOD is set, as in a CGI program")
    return _parse(variable, value)


def _setting(scheme: str, environ: Mapping[str, str]) -> tuple[str, str]:
    variable, value = _either(f"{scheme.upper()}_PROXY", environ)
    return (variable, value) if value else _either("ALL_PROXY", environ)


def _either(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    for variable in (name, name.lower()):
        if value := environ.get(variable, "").strip():
            return variable, value
    return name, ""


def _parse(variable: str, value: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not host:
        raise UsageError(f"{variable}: got a URL without a host that can be read, expected http://[user:password@]host"
                         "[:port]")
    if parts.scheme != "http":
        raise UsageError(f"{variable}: got a proxy of scheme {parts.scheme!r}, expected http",
                         hint="https URLs go through an http proxy too, with CONNECT")
    secret = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        secret = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(host, port or 80, secret)


def _is_direct(host: str, port: int, exceptions: str) -> bool:
    import ipaddress

    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        ip = None
    if host == "localhost" or (ip is not None and ip.is_loopback):
        return True
    for exception in exceptions.lower().split(","):
        pattern = exception.strip()
        if not pattern:
            continue
        if pattern == "*":
            return True
        if "/" in pattern:
            try:
                if ip is not None and ip in ipaddress.ip_network(pattern, strict=False):
                    return True
                continue
            except ValueError:
                pass  # as in Go, what is no block is taken for a name
        name, only_port = _split_port(pattern)
        if not name or (only_port and only_port != str(port)):
            continue
        try:
            is_match = ip == ipaddress.ip_address(name)
        except ValueError:
            is_match = _matches_name(host, name)
        if is_match:
            return True
    return False


def _split_port(pattern: str) -> tuple[str, str]:
    """`host:port`, `[ipv6]:port`, or what has no port."""
    if pattern.startswith("["):
        name, _, rest = pattern[1:].partition("]")
        return name, rest.removeprefix(":")
    if pattern.count(":") == 1:
        name, _, port = pattern.partition(":")
        return name, port
    return pattern, ""


def _matches_name(host: str, name: str) -> bool:
    if name.startswith("*."):
        name = name[1:]
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")
