"""Gatekeeper's external data protocol, served: POST of a ProviderRequest to /evidence or /digest, as raw ASGI.

Who asks is known by his certificate (`[external_data]`): what is answered may come from private registries, and each
key makes the process ask one.
"""

from __future__ import annotations

import logging

from custody.errors import MalformedError
from custody.formats import externaldata
from custody.server.asgi import App, DisconnectedError, Receive, Scope, Send, read_body, respond, respond_json
from custody.services.evidenceanswers import EvidenceAnswers

_LOG = logging.getLogger(__name__)


class ProviderApp:
    def __init__(self, answers: EvidenceAnswers, health: App) -> None:
        self._health = health
        self._paths = {"/evidence": answers.evidence, "/digest": answers.digests}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path in ("/healthz", "/readyz") and method in ("GET", "HEAD"):
            await self._health(scope, receive, send)
            return
        answering = self._paths.get(path)
        if answering is None:
            await respond_json(send, 404, {"error": "no such path: /evidence and /digest are"})
            return
        if method != "POST":
            await respond_json(send, 405, {"error": "POST only"}, [(b"allow", b"POST")])
            return
        try:
            version, keys = externaldata.parse_request(await read_body(receive, externaldata.MAX_SIZE))
            answer = externaldata.response(await answering(keys), version=version)
        except DisconnectedError:
            return
        except MalformedError as error:
            await respond(send, error.http_status, externaldata.response((), system_error=error.message))
            return
        except Exception as error:  # Gatekeeper reads a system error, and no page of ours
            _LOG.exception("a provider's request could not be answered")
            await respond(send, 500, externaldata.response(
                (), system_error=f"an internal error ({type(error).__name__})"))
            return
        await respond(send, 200, answer)
