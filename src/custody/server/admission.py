"""POST of AdmissionReviews to the webhook's paths, as raw ASGI; GET /healthz and /readyz for who keeps it running."""

from __future__ import annotations

import time
from functools import lru_cache, partial
from typing import Protocol
from urllib.parse import parse_qs

from custody.admission.endpoint import Endpoint
from custody.admission.exemption import NONE, PATH
from custody.admission.review import MAX_SIZE, OversizedError, answer, oversized, read
from custody.admission.webhook import DEFAULT_TIMEOUT, Admission, Hearing
from custody.errors import MalformedError
from custody.server.asgi import (
    Answer,
    App,
    DisconnectedError,
    Receive,
    Scope,
    Send,
    TooLargeError,
    chunks,
    in_json,
    respond,
    respond_json,
)
from custody.server.health import Health, State
from custody.server.reload import Reloader
from policylang.go.durations import parse as duration

_LABELS = f"/{PATH}"
_LONGEST = 30.0
_NEVER = 16 * MAX_SIZE
"""Bytes that no API server sends."""


class PolicyReview(Protocol):
    async def __call__(self, body: bytes, *, seconds: float) -> bytes:
        """The answer to an AdmissionReview about a policy. Raises MalformedError for what is none."""
        ...


class AdmissionApp:
    """A deny is HTTP 200 with `allowed: false`, whatever its reason; HTTP errors are for what is no review."""

    def __init__(self, admission: Admission | None = None) -> None:
        self.admission = admission
        """None until policies are compiled: not ready."""
        self.guard: PolicyReview | None = None
        """What answers about policies themselves, at /policies."""
        self.exemption = NONE
        """Which namespaces may carry the label that Gatekeeper's policies leave alone."""
        self.managed = False
        """Whether the webhook configurations are kept by this process or a replica, and nobody need apply them."""
        self.reloader: Reloader | None = None
        self.health = Health({"admission": self.check})
        """What answers /healthz and /readyz."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        endpoint = Endpoint.parse(path)
        if path.startswith(("/healthz", "/readyz")) and method in ("GET", "HEAD"):
            await self.health(scope, receive, send)
        elif path == "/policies" and method == "POST" and self.guard is not None:
            await self._policy(self.guard, scope, receive, send)
        elif path == _LABELS and method == "POST":
            await self._policy(self._namespace, scope, receive, send)
        elif endpoint is None:
            await respond_json(send, 404, {"error": "no such path"})
        elif method != "POST":
            await respond_json(send, 405, {"error": "POST only"}, [(b"allow", b"POST")])
        elif self.admission is None:
            await respond_json(send, 503, {"error": "policies are not compiled"})
        else:
            await self._review(self.admission, endpoint, scope, receive, send)

    def prompt(self, scope: Scope, body: bytes) -> Answer | App:
        """The answer to a review that needs nobody to be waited for."""
        endpoint, admission = Endpoint.parse(scope["path"]), self.admission
        if endpoint is None or admission is None or scope["method"] != "POST" or len(body) > MAX_SIZE:
            return self
        try:
            hearing = admission.hear(body, endpoint=endpoint, seconds=_timeout(scope))
        except MalformedError as error:
            return Answer(error.http_status, in_json({"error": error.message}))
        if hearing.response:
            return Answer(200, hearing.response)
        return partial(_concluded, admission, hearing)

    def check(self) -> State:
        """Policies are compiled. Older ones than the files' judge as well, which is said."""
        if self.admission is None:
            return State(ready=False, note="policies are not compiled")
        if self.reloader is not None and self.reloader.failure is not None:
            return State(note=f"judges by the policies that were loaded before: {self.reloader.failure}")
        if not self.managed and not all(self.admission.registered.values()):
            return State(note="the API server's webhook configuration was made for other policies than are loaded: "
                              "apply `custody admission config` again")
        return State()

    async def _policy(self, guard: PolicyReview, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await respond(send, 200, await guard(await _body(receive), seconds=_timeout(scope)))
        except DisconnectedError:
            return
        except MalformedError as error:
            await respond_json(send, error.http_status, {"error": error.message})

    async def _namespace(self, body: bytes, *, seconds: float) -> bytes:  # noqa: ARG002 - nobody is waited for
        """The answer to an AdmissionReview about a Namespace, as Gatekeeper's webhook for the label gives it."""
        review = read(body)
        refusal = self.exemption.refusal(review.request)
        return answer(review, allowed=not refusal, message=refusal)

    async def _review(self, admission: Admission, endpoint: Endpoint, scope: Scope, receive: Receive,
                      send: Send) -> None:
        begun = time.monotonic()
        try:
            body = await _body(receive)
            seconds = _timeout(scope) - (time.monotonic() - begun)
            said = await admission.review(body, endpoint=endpoint, seconds=max(seconds, 0.1))
        except DisconnectedError:
            return
        except OversizedError as error:
            said = admission.refuse(error.review, endpoint, error.message)
        except MalformedError as error:
            await respond_json(send, error.http_status, {"error": error.message})
            return
        await respond(send, 200, said)


async def _concluded(admission: Admission, hearing: Hearing, _: Scope, __: Receive, send: Send) -> None:
    try:
        said = await admission.conclude(hearing)
    except MalformedError as error:
        await respond_json(send, error.http_status, {"error": error.message})
        return
    await respond(send, 200, said)


async def _body(receive: Receive) -> bytes:
    """The whole body. What is too large is read to its end and thrown away, so that the API server hears the answer.

    Raises MalformedError, DisconnectedError.
    """
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks(receive):
        size += len(chunk)
        if size <= MAX_SIZE or not parts:
            parts.append(chunk)
        if size > _NEVER:
            raise TooLargeError("request body", got=f"more than {_NEVER} bytes", expected=f"at most {MAX_SIZE} bytes")
    if size > MAX_SIZE:
        error = oversized(parts[0], got=f"{size} bytes", expected=f"at most {MAX_SIZE} bytes")
        raise error if isinstance(error, OversizedError) else TooLargeError(
            "request body", got=f"{size} bytes", expected=f"at most {MAX_SIZE} bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _timeout(scope: Scope) -> float:
    """Seconds of `?timeout=10s`, which the API server adds to every call."""
    return _asked(scope.get("query_string") or b"")


@lru_cache(64)
def _asked(query: bytes) -> float:
    nanoseconds = duration(parse_qs(query.decode("latin-1")).get("timeout", [""])[0])
    return min(nanoseconds / 1e9, _LONGEST) if nanoseconds and nanoseconds > 0 else DEFAULT_TIMEOUT
