"""The little that raw ASGI handlers share: reading bodies under a limit, and answering once."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

from custody.errors import MalformedError
from custody.server.budget import ANSWERS, BODIES, HeldTooLongError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]
REFUSAL = "custody.refusal"
"""In a scope, why the request was refused, for the log."""
_AT_ONCE = 64 * 1024  # bytes of an answer


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Beside content-length and content-type."""
    content_type: bytes = b"application/json"


Prompt = Callable[[Scope, bytes], Answer | App]
"""An application's method `prompt`, where it has one: what it says to a request whose body has come whole.

That is the answer, where it need not wait for anything, or else the application that will give it. It spares the task,
and the messages from layer to layer, which took as long as half of a decision.
"""


def prompt_of(app: App) -> Prompt | None:
    prompt: Prompt | None = getattr(app, "prompt", None)
    return prompt


class DisconnectedError(Exception):
    """The client went away in the middle of its request."""


class TooLargeError(MalformedError):
    """A request body over the limit."""

    http_status = 413


async def chunks(receive: Receive) -> Any:
    """The request body as it arrives. Raises DisconnectedError."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        if body := message.get("body"):
            yield body
        if not message.get("more_body"):
            return


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises TooLargeError, DisconnectedError, HeldTooLongError."""
    parts: list[bytes] = []
    size = 0
    with BODIES.share() as share:
        async for chunk in chunks(receive):
            size += len(chunk)
            if size > limit:
                raise TooLargeError("request body", got=f"more than {limit} bytes", expected=f"at most {limit} bytes")
            parts.append(chunk)
            share.add(len(chunk))
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def respond(send: Send, status: int, body: bytes = b"", content_type: bytes = b"application/json",
                  headers: Headers = (), *, length: int | None = None) -> None:
    """One answer; `length` is for HEAD, where the body is not sent. Raises DisconnectedError where it was cut off."""
    size = len(body) if length is None else length
    await send({"type": "http.response.start", "status": status, "headers": [
        (b"content-length", b"%d" % size), *([(b"content-type", content_type)] if content_type else []), *headers]})
    if len(body) > _AT_ONCE:
        await _send_pieces(send, body)
    else:
        await send({"type": "http.response.body", "body": body})


async def _send_pieces(send: Send, body: bytes) -> None:
    """A large body, as the client takes it: what a transport was given whole, it would keep, counted by nobody."""
    try:
        with ANSWERS.share() as share:
            share.add(len(body))
            for start in range(0, len(body), _AT_ONCE):
                await send({"type": "http.response.body", "body": body[start:start + _AT_ONCE],
                            "more_body": start + _AT_ONCE < len(body)})
    except HeldTooLongError:  # the answer has begun, so there is nobody to tell
        raise DisconnectedError from None


async def respond_json(send: Send, status: int, value: Any, headers: Headers = ()) -> None:
    await respond(send, status, in_json(value), headers=headers)


def in_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def header(scope: Scope, name: bytes) -> str:
    """The first value of a header, or ''."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return ""
