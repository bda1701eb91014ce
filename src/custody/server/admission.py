"""POST of AdmissionReviews to the webhook's paths, as raw ASGI; GET /healthz and /readyz for who keeps it running."""

from __future__ import annotations

import logging
from urllib.parse import parse_qs

from custody.admission.endpoint import Endpoint
from custody.admission.review import MAX_SIZE
from custody.admission.webhook import DEFAULT_TIMEOUT, Admission
from custody.errors import CustodyError
from custody.languages.go.durations import parse as duration
from custody.server.asgi import DisconnectedError, Receive, Scope, Send, read_body, respond, respond_json

_LOG = logging.getLogger(__name__)
_LONGEST = 30.0


class AdmissionApp:
    """A deny is HTTP 200 with `allowed: false`; HTTP errors are for requests that are none, and for our own faults."""

    def __init__(self, admission: Admission | None = None) -> None:
        self.admission = admission
        """None until policies are compiled: not ready."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        endpoint = Endpoint.parse(path)
        if method == "GET" and path in ("/healthz", "/readyz"):
            ready = path == "/healthz" or self.admission is not None
            await respond(send, 200 if ready else 503, b"ok" if ready else b"policies are not compiled", b"text/plain")
        elif endpoint is None:
            await respond_json(send, 404, {"error": "no such path"})
        elif method != "POST":
            await respond_json(send, 405, {"error": "POST only"}, [(b"allow", b"POST")])
        elif self.admission is None:
            await respond_json(send, 503, {"error": "policies are not compiled"})
        else:
            await self._review(self.admission, endpoint, scope, receive, send)

    async def _review(self, admission: Admission, endpoint: Endpoint, scope: Scope, receive: Receive,
                      send: Send) -> None:
        try:
            body = await read_body(receive, MAX_SIZE)
            answer = await admission.review(body, mutate=endpoint.mutate, seconds=_timeout(scope))
        except DisconnectedError:
            return
        except CustodyError as error:
            status = getattr(error, "http_status", 500)
            await respond_json(send, status, {"error": error.message})
            return
        except Exception:
            # The API server applies failurePolicy; nothing of the request goes into the answer or the log's message.
            _LOG.exception("a review failed")
            await respond_json(send, 500, {"error": "internal error"})
            return
        await respond(send, 200, answer)


def _timeout(scope: Scope) -> float:
    """Seconds of `?timeout=10s`, which the API server adds to every call."""
    query = scope.get("query_string") or b""
    given = parse_qs(query.decode("latin-1")).get("timeout", [""])[0] if query else ""
    nanoseconds = duration(given)
    return min(nanoseconds / 1e9, _LONGEST) if nanoseconds and nanoseconds > 0 else DEFAULT_TIMEOUT
