"""URLs as Go's net/url reads, prints and refuses them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from policylang.errors import InputError
from policylang.go.netip import AddressError, parse_address
from policylang.go.numbers import quote

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
_PATH = _PLAIN | frozenset(b"$&+,/:;=@")
_HOST = _PLAIN | frozenset(b"!\"$&'()*+,:;<=>[]")
_USER = _PLAIN | frozenset(b"$&+,;=")
_FRAGMENT = _PLAIN | frozenset(b"!$&()*+,/:;=?@")
_WRITTEN_PATH = _PATH | frozenset(b"!$&'()*+,;=:@[]%")
_USERINFO = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_PORT = re.compile(r"(?::[0-9]*)?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_MOST_PARAMETERS = 10_000


class UrlError(InputError):
    """A text that is no URL; the message is Go's."""

    code = "url"


@dataclass(frozen=True, slots=True)
class Url:
    """`path` is unescaped, `raw_path` as it was written where that is another text than Go would write."""

    scheme: str = ""
    opaque: str = ""
    user: str | None = None
    host: str = ""
    path: str = ""
    raw_path: str = ""
    query: str = ""
    fragment: str = ""
    force_query: bool = False
    omit_host: bool = False

    @property
    def hostname(self) -> str:
        return self._address[0]

    @property
    def port(self) -> str:
        return self._address[1]

    @property
    def _address(self) -> tuple[str, str]:
        host, port = self.host, ""
        colon = host.rfind(":")
        if colon >= 0 and _PORT.fullmatch(host[colon:]):
            host, port = host[:colon], host[colon + 1:]
        return (host[1:-1] if host.startswith("[") and host.endswith("]") else host), port

    @property
    def escaped_path(self) -> str:
        if self.raw_path and all(byte in _WRITTEN_PATH for byte in self.raw_path.encode()):
            return self.raw_path
        return "*" if self.path == "*" else _escape(self.path, _PATH)

    def members(self) -> dict[str, str | bool | dict[str, str] | None]:
        """What Go's url.URL is in JSON, which shows nothing of a Userinfo."""
        return {"Scheme": self.scheme, "Opaque": self.opaque, "User": None if self.user is None else {},
                "Host": self.host, "Path": self.path, "RawPath": self.raw_path, "OmitHost": self.omit_host,
                "ForceQuery": self.force_query, "RawQuery": self.query, "Fragment": self.fragment, "RawFragment": ""}

    def parameters(self) -> dict[str, list[str]]:
        """The query's; what is malformed is left out."""
        parameters: dict[str, list[str]] = {}
        if self.query.count("&") >= _MOST_PARAMETERS:
            return parameters
        for pair in self.query.split("&"):
            if not pair or ";" in pair:
                continue
            key, _, value = pair.partition("=")
            try:
                key, value = _unescape(key, "query"), _unescape(value, "query")
            except UrlError:
                continue
            parameters.setdefault(key, []).append(value)
        return parameters

    def __str__(self) -> str:
        text = f"{self.scheme}:" if self.scheme else ""
        if self.opaque:
            text += self.opaque
        else:
            has_host = bool(self.host) or self.user is not None
            if (self.scheme or has_host) and (has_host or not self.omit_host) and (has_host or self.path):
                text += "//"
            if self.user is not None:
                name, colon, password = self.user.partition(":")
                text += _escape(name, _USER) + colon + _escape(password, _USER) + "@"
            text += _escape(self.host, _HOST)
            path = self.escaped_path
            if path and path[0] != "/" and self.host:
                text += "/"
            if not text and ":" in path.partition("/")[0]:
                text += "./"
            text += path
        if self.force_query or self.query:
            text += f"?{self.query}"
        return f"{text}#{_escape(self.fragment, _FRAGMENT)}" if self.fragment else text


def parse(text: str) -> Url:
    """url.Parse: relative references and fragments too."""
    whole, _, fragment = text.partition("#")
    try:
        url = _parse(whole, request=False)
    except UrlError as wrong:
        raise UrlError(f"parse {quote(whole)}: {wrong.message}") from None
    if not fragment:
        return url
    try:
        fragment = _unescape(fragment, "fragment")
    except UrlError as wrong:
        raise UrlError(f"parse {quote(text)}: {wrong.message}") from None
    return replace(url, fragment=fragment)


def parse_request(text: str) -> Url:
    """url.ParseRequestURI: absolute, or a path from the root."""
    try:
        return _parse(text, request=True)
    except UrlError as wrong:
        raise UrlError(f"parse {quote(text)}: {wrong.message}") from None


def _parse(text: str, *, request: bool) -> Url:
    if any(sign < " " or sign == "\x7f" for sign in text):
        raise UrlError("net/url: invalid control character in URL")
    if not text and request:
        raise UrlError("empty url")
    if text == "*":
        return Url(path="*")
    scheme, rest = _scheme(text)
    force = rest.endswith("?") and rest.count("?") == 1
    rest, _, query = rest.partition("?")
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme, opaque=rest, query=query, force_query=force)
        if request:
            raise UrlError("invalid URI for request")
        if ":" in rest.partition("/")[0]:
            raise UrlError("first path segment in URL cannot contain colon")
    user: str | None = None
    host, omit = "", False
    if (scheme or (not request and not rest.startswith("///"))) and rest.startswith("//"):
        authority, slash, rest = rest[2:].partition("/")
        rest = slash + rest
        user, host = _authority(scheme, authority)
    elif scheme and rest.startswith("/"):
        omit = True
    path = _unescape(rest, "path")
    raw = "" if _escape(path, _PATH) == rest else rest
    return Url(scheme, "", user, host, path, raw, query, "", force, omit)


def _scheme(text: str) -> tuple[str, str]:
    if text.startswith(":"):
        raise UrlError("missing protocol scheme")
    scheme = _SCHEME.match(text)
    return (scheme[0][:-1].lower(), text[scheme.end():]) if scheme else ("", text)


def _authority(scheme: str, text: str) -> tuple[str | None, str]:
    userinfo, at, host = text.rpartition("@")
    host = _host(scheme, host)
    if not at:
        return None, host
    if not _USERINFO.fullmatch(userinfo):
        raise UrlError("net/url: invalid userinfo")
    name, colon, password = userinfo.partition(":")
    return _unescape(name, "user") + colon + _unescape(password, "user"), host


def _host(scheme: str, host: str) -> str:
    bracket = host.rfind("[")
    if bracket > 0:
        raise UrlError("invalid IP-literal")
    if bracket == 0:
        end = host.rfind("]")
        if end < 0:
            raise UrlError("missing ']' in host")
        port = host[end + 1:]
        if not _PORT.fullmatch(port):
            raise UrlError(f"invalid port {quote(port)} after host")
        name, mark, zone = host[1:end].partition("%25")
        name = _unescape(name, "host") + (_unescape(mark + zone, "zone") if mark else "")
        try:
            address = parse_address(name)
        except AddressError as wrong:
            raise UrlError(f"invalid host: {wrong.message}") from None
        if address.version == 4:
            raise UrlError("invalid IP-literal")
        return f"[{name}]{port}"
    colon = host.find(":") if scheme in ("http", "https") else host.rfind(":")
    if colon >= 0 and not _PORT.fullmatch(host[colon:]):
        raise UrlError(f"invalid port {quote(host[colon:])} after host")
    return _unescape(host, "host")


def _escape(text: str, keep: frozenset[int]) -> str:
    return "".join(chr(byte) if byte in keep else f"%{byte:02X}" for byte in text.encode())


def _unescape(text: str, mode: str) -> str:
    """`mode`: path, query, host, zone, user, fragment. Bytes that are no UTF-8 become U+FFFD."""
    out, at = bytearray(), 0
    data = text.encode()
    strict = mode in ("host", "zone")
    while at < len(data):
        byte = data[at]
        if byte == 0x25:
            digits = data[at + 1:at + 3]
            shown = quote(data[at:at + 3].decode("utf-8", "replace"))
            if not re.fullmatch(rb"[0-9A-Fa-f]{2}", digits):
                raise UrlError(f"invalid URL escape {shown}")
            value = int(digits, 16)
            if mode == "host" and value < 0x80 and value != 0x25:
                raise UrlError(f"invalid URL escape {shown}")
            if mode == "zone" and value not in (0x20, 0x25) and value not in _HOST:
                raise UrlError(f"invalid URL escape {shown}")
            out.append(value)
            at += 3
            continue
        if strict and byte < 0x80 and byte not in _HOST:
            raise UrlError(f"invalid character {quote(chr(byte))} in host name")
        out.append(0x20 if byte == 0x2B and mode == "query" else byte)
        at += 1
    return out.decode("utf-8", "replace")
