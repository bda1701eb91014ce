"""kubernetes.urls: `url("https://example.com:80/")`."""

from __future__ import annotations

from typing import ClassVar

from policylang.cel.cost.units import CONSTANT
from policylang.cel.libraries.kubernetes.prices import KEEP_ARGUMENT
from policylang.cel.library import Library, Overload, function
from policylang.cel.types import BOOL, STRING, Type, list_of, map_of, message
from policylang.cel.values.errors import CelError
from policylang.go.urls import Url, UrlError, parse, parse_request

URL = message("kubernetes.URL")


class UrlValue:
    """Equal where it is written alike."""

    __slots__ = ("url",)
    cel_type: ClassVar[Type] = URL

    def __init__(self, url: Url) -> None:
        self.url = url

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UrlValue):
            raise CelError("no such overload")
        return str(self.url) == str(other.url)

    def __hash__(self) -> int:
        return hash(str(self.url))

    def __repr__(self) -> str:
        return f"url({str(self.url)!r})"


def _url(text: str) -> UrlValue:
    try:
        parse_request(text)
        return UrlValue(parse(text))
    except UrlError as wrong:
        raise CelError(f"URL parse error during conversion from string: {wrong.message}") from None


def _is_url(text: str) -> bool:
    try:
        parse_request(text)
    except UrlError:
        return False
    return True


def _part(key: str, name: str) -> Overload:
    return Overload(key, (URL,), STRING, lambda of: getattr(of.url, name), CONSTANT, member=True)


LIBRARY = Library("kubernetes.urls", types=(URL,), functions=(
    function("url", Overload("string_to_url", (STRING,), URL, _url, KEEP_ARGUMENT)),
    function("isURL", Overload("is_url_string", (STRING,), BOOL, _is_url, CONSTANT)),
    function("getScheme", _part("url_get_scheme", "scheme")),
    function("getHost", _part("url_get_host", "host")),
    function("getHostname", _part("url_get_hostname", "hostname")),
    function("getPort", _part("url_get_port", "port")),
    function("getEscapedPath", _part("url_get_escaped_path", "escaped_path")),
    function("getQuery", Overload("url_get_query", (URL,), map_of(STRING, list_of(STRING)),
                                  lambda of: of.url.parameters(), CONSTANT, member=True)),
))
