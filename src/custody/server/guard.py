"""What stands around every application: an exception nobody expected is logged once and answered in the path's form."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from custody.server.asgi import App, Receive, Scope, Send, header
from custody.server.refusal import refuse

_LOG = logging.getLogger(__name__)
_CLOSE = (b"connection", b"close")


class Guard:
    """Also closes where `Expect: 100-continue` was answered without reading: whether a body follows is not known."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = complete = gone = asked = False
        expects = bool(header(scope, b"expect"))

        async def hear() -> MutableMapping[str, Any]:
            nonlocal gone, asked
            asked = True
            message = await receive()
            gone = gone or message["type"] == "http.disconnect"
            return message

        async def say(message: MutableMapping[str, Any]) -> None:
            nonlocal started, complete
            if not started:
                started = True
                if expects and not asked:
                    message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            elif message["type"] != "http.response.body" or not message.get("more_body"):
                complete = True
            await send(message)

        try:
            await self._app(scope, hear, say)
        except Exception:
            _LOG.exception("%s %s: an error that nobody expected", scope["method"], scope["path"])
        else:
            if started or gone:
                return
            _LOG.error("%s %s: the application did not answer", scope["method"], scope["path"])
        if not started:
            await refuse(send, scope["path"], 500, "internal error; the service's log has it", [_CLOSE])
        elif not complete:
            _LOG.error("%s %s: the answer was cut off", scope["method"], scope["path"])
