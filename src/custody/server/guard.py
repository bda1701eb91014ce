"""How an application is run: an exception nobody expected is logged once and answered in the path's form."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from custody.server.asgi import Answer, App, Prompt, Receive, Scope, Send
from custody.server.refusal import refuse

_LOG = logging.getLogger(__name__)
_CLOSE = (b"connection", b"close")
_INTERNAL = "internal error; the service's log has it"


async def run(app: App, cycle: RequestResponseCycle) -> None:
    """One request's whole life. Whatever happens, it is answered or its connection is closed."""
    scope: Any = cycle.scope
    send: Any = cycle.send
    receive: Any = cycle.receive
    try:
        await app(scope, receive, send)
    except Exception:
        _LOG.exception("%s %s: an error that nobody expected", scope["method"], scope["path"])
    else:
        if cycle.response_complete or cycle.disconnected:
            return
        if not cycle.response_started:
            _LOG.error("%s %s: the application did not answer", scope["method"], scope["path"])
    if not cycle.response_started:
        await refuse(send, scope["path"], 500, _INTERNAL, [_CLOSE])
    elif not cycle.response_complete:
        _LOG.error("%s %s: the answer was cut off", scope["method"], scope["path"])
        cycle.transport.abort()  # what waits for a client that reads slowly is part of nothing


def prompted(prompt: Prompt, scope: Scope, body: bytes) -> Answer | App:
    """What `prompt` says; an application that answers 500 where it raised what nobody expected."""
    try:
        return prompt(scope, body)
    except Exception:
        _LOG.exception("%s %s: an error that nobody expected", scope["method"], scope["path"])
        return _failed


async def _failed(scope: Scope, _: Receive, send: Send) -> None:
    await refuse(send, scope["path"], 500, _INTERNAL, [_CLOSE])


def expecting(app: App) -> App:
    """For a request with `Expect: 100-continue`. Answered without reading, whether its body follows is not known, so
    nothing may follow it: the connection closes.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        asked = False

        async def hear() -> MutableMapping[str, Any]:
            nonlocal asked
            asked = True
            return await receive()

        async def say(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and not asked:
                message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            await send(message)

        await app(scope, hear, say)

    return wrapped
