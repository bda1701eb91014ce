"""One request to a service that answers JSON, and what its answer amounts to."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from custody.errors import AuthenticationError, MalformedError, NetworkError, UsageError
from custody.kit import strictjson
from custody.ports.http import Http, place_of
from policylang.errors import Shape

_MAX_SIZE = 256 * 1024


class Reply(NamedTuple):
    """A status and a JSON object, empty where the body is none."""

    status: int
    document: dict[str, Any]
    where: str
    """For messages: on whose behalf, and who was asked."""


async def ask(name: str, http: Http, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
              ) -> Reply:
    """`name`: of the key that it is about. Raises UsageError for a URL that is none, and what `Http.request` raises."""
    where = f"{name}: {place_of(url)}"
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"{where}: got no http:// or https:// URL")
    try:
        async with await http.request(method, url, headers={"accept": "application/json", **headers},
                                      body=body) as answer:
            data = await answer.read(_MAX_SIZE)
    except NetworkError as error:
        raise type(error)(f"{name}: {error.message}", hint=error.hint) from None
    try:
        document = strictjson.loads(data, where) if data else {}
    except MalformedError:
        document = {}
    return Reply(answer.status, document if isinstance(document, dict) else {}, where)


async def ask_machine(name: str, http: Http, direct: Callable[[], Http] | None, url: str, headers: Mapping[str, str]
                      ) -> Reply:
    """A metadata server is the machine's own: where `direct` is given, what it opens asks, past any proxy."""
    if direct is None:
        return await ask(name, http, "GET", url, headers)
    opened = direct()
    try:
        return await ask(name, opened, "GET", url, headers)
    finally:
        await opened.close()


def check(reply: Reply, reason: object, *, denied: bool = False) -> None:
    """Raises AuthenticationError (401, 403, or `denied`) or NetworkError for a status that is no success."""
    if reply.status in (200, 201, 204):
        return
    words = "; ".join(map(str, reason)) if isinstance(reason, list) else str(reason or "")
    message = f"{reply.where}: answered {reply.status}{f': {words[:300]}' if words else ''}"
    raise (AuthenticationError if denied or reply.status in (401, 403) else NetworkError)(message)


def mapping(value: Any, where: str) -> dict[str, Any]:
    """As `kit.members.mapping`, but that an error shows nothing of a value, which may be a token."""
    if not isinstance(value, dict):
        raise MalformedError(where, got=Shape(value), expected="an object")
    return value


def decoded(value: Any, where: str) -> bytes:
    """Base64. Raises MalformedError, which shows nothing of the value either."""
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else _refuse(value, where)
    except (binascii.Error, ValueError):
        return _refuse(value, where)


def _refuse(value: Any, where: str) -> bytes:
    raise MalformedError(where, got=Shape(value), expected="bytes in base64")
