"""Events over HTTP, as raw ASGI: the API server's audit webhook, Falco's alerts, lines of Tetragon and Tracee.

    POST /runtime/audit                   an EventList of audit.k8s.io/v1 (--audit-webhook-config-file)
    POST /runtime/falco                   one alert, as Falco's http_output posts it
    POST /runtime/events/FORMAT           lines, or CloudTrail's document

The answer is 200 when all events were judged and their alerts are there to stay. Where that is not possible now it is
429 or 503 with Retry-After, at which an API server sends the batch again. What is no event is counted and said, and
those beside it are judged; a request with nothing but that is 400.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import time
import zlib
from pathlib import Path

from custody.errors import CustodyError, MalformedError, UsageError
from custody.formats.telemetry.inputs import FORMATS, Decoder
from custody.kit.saidonce import SaidOnce
from custody.server.access.mtls import caller_of
from custody.server.asgi import (
    REFUSAL,
    DisconnectedError,
    Receive,
    Scope,
    Send,
    TooLargeError,
    header,
    read_body,
    respond_json,
)
from custody.server.health import State
from custody.server.watchrun import WatchRun
from custody.services.eventwatch import EventWatch, Taken
from custody.services.watchspec import Watched
from custody.settings import Settings

_LOG = logging.getLogger(__name__)
_AGAIN = [(b"retry-after", b"2")]
_SLICE = 200
"""Lines that are judged before other requests have their turn."""
PATHS = {"/runtime/audit": "audit", "/runtime/falco": "falco",
         **{f"/runtime/events/{name}": name for name in FORMATS if name not in ("audit", "falco")}}


def watched(settings: Settings) -> Watched:
    """What the role reads, judges by and tells. Raises UsageError."""
    stated = settings.runtime
    if stated is None or not stated.rules:
        raise UsageError("--roles: runtime needs to know by which rules events are judged",
                         hint="[runtime] with `rules` in custody.toml")
    return Watched.of(stated)


def events_app(settings: Settings) -> RuntimeApp:
    """Raises UsageError."""
    stated = watched(settings).stated
    return RuntimeApp(token=Path(stated.token) if stated.token else None,
                      certificates=settings.tls_client_ca is not None, max_request=stated.max_request << 20,
                      waiting=stated.waiting)


class RuntimeApp:
    """`run` is set once it runs; until then everything is asked to come again."""

    def __init__(self, *, token: Path | None, certificates: bool, max_request: int, waiting: int) -> None:
        """`token` is a file; `certificates`: a verified client certificate does as well. With neither everybody may.
        `max_request` is bytes, `waiting` how many requests may be unanswered."""
        self.run: WatchRun | None = None
        self._token = _Token(token) if token is not None else None
        self._certificates = certificates
        self._max_request, self._waiting = max_request, waiting
        self._open = 0
        self._decoders: dict[str, Decoder] = {}

    @property
    def open(self) -> int:
        """Requests whose alerts are not written yet."""
        return self._open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = PATHS.get(scope["path"])
        if name is None:
            await respond_json(send, 404, {"error": f"no such path; there are {', '.join(PATHS)}"})
        elif scope["method"] != "POST":
            await respond_json(send, 405, {"error": "POST only"}, [(b"allow", b"POST")])
        elif not self._admits(scope):
            scope[REFUSAL] = "no token of the settings, and no client certificate"
            await respond_json(send, 401, {"error": "a bearer token or a client certificate is needed"},
                               [(b"www-authenticate", b'Bearer realm="custody runtime"')])
        elif self.run is None or self._open >= self._waiting:
            if self.run is not None:
                self.run.runtime.counted.refused[_origin(name)] += 1
            await respond_json(send, 429, {"error": f"{self._open} requests wait to be written"}, _AGAIN)
        else:
            self._open += 1
            try:
                await self._take(name, self.run.runtime.watch, scope, receive, send)
            except DisconnectedError:
                return
            finally:
                self._open -= 1

    def check(self) -> State:
        """It is ready while its outputs take alerts. Inputs that stall are a note."""
        if self.run is None:
            return State(True, False, "it has not begun yet")
        runtime = self.run.runtime
        failures = runtime.delivery.failures
        if failures:
            return State(True, False, "; ".join(f"{name}: {reason}" for name, reason in failures.items()))
        notes = [f"input {origin} is stalled" for origin in runtime.watch.stalled]
        notes += [f"{posts.name}: {posts.failure}; {posts.waiting()} alerts wait" for posts in runtime.posts
                  if posts.failure]
        if self.run.rules is not None and self.run.rules.failure:
            notes.append(f"rules are those before: {self.run.rules.failure}")
        notes += [f"{files.subject} are those before: {files.failure}" for files in self.run.answers if files.failure]
        for task in self.run.reading:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                notes.append(f"an input ended: {error}")
        return State(note="; ".join(notes))

    async def _take(self, name: str, watch: EventWatch, scope: Scope, receive: Receive, send: Send) -> None:
        origin = _origin(name)
        try:
            body = _expanded(await read_body(receive, self._max_request), header(scope, b"content-encoding"),
                             self._max_request)
        except TooLargeError as error:  # nobody sends a smaller one instead
            watch.losses.lost(origin, "too-large", 0)
            await respond_json(send, 413, {"error": error.message})
            return
        except CustodyError as error:
            status = error.http_status
            await respond_json(send, status, {"error": error.message}, _AGAIN if status in (429, 503) else ())
            return
        decoder = self._decoders.get(name)
        if decoder is None:
            decoder = self._decoders[name] = FORMATS[name].made(origin, watch.engine.types)
        lines = [body] if FORMATS[name].whole or name in ("audit", "falco") else body.split(b"\n")
        key = f"{hashlib.sha256(body).hexdigest()}{'' if _tells_when(name) else time.time_ns()}"
        records, keys, events, malformed = [], [], 0, 0
        for start in range(0, len(lines), _SLICE):
            part = watch.take(decoder, lines[start:start + _SLICE], origin, f"{key}+{start}")
            records += part.records
            keys += part.keys
            events, malformed = events + part.events, malformed + part.malformed
            await asyncio.sleep(0)
        try:
            await watch.tell(Taken(records, events, malformed, keys))
        except CustodyError as error:
            watch.counted.refused[origin] += 1
            _LOG.warning("%s: events are asked for again: %s", origin, error.message)
            await respond_json(send, 503, {"error": "alerts cannot be written now"}, _AGAIN)
            return
        if malformed and not events:
            await respond_json(send, 400, {"error": f"expected events of {name}", "unreadable": malformed})
            return
        await respond_json(send, 200, {"events": events, "alerts": len(records), "unreadable": malformed})

    def _admits(self, scope: Scope) -> bool:
        if self._token is None and not self._certificates:
            return True
        if self._certificates and caller_of(scope) is not None:
            return True
        return self._token is not None and self._token.admits(header(scope, b"authorization"))


class _Token:
    """A secret in a file, which may change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._secret = b""
        self._failures = SaidOnce()

    def admits(self, authorization: str) -> bool:
        scheme, _, secret = authorization.partition(" ")
        kept = self._read()
        return scheme.lower() == "bearer" and bool(kept) and hmac.compare_digest(
            secret.strip().encode("utf-8", "replace"), kept)

    def _read(self) -> bytes:
        """Empty where the file is not there: then nobody is admitted by it."""
        try:
            state = os.stat(self._path)
            seen = state.st_ino, state.st_mtime_ns, state.st_size
            if seen != self._seen:
                self._secret, self._seen = self._path.read_bytes()[:4096].strip(), seen
                self._failures.over()
                if not self._secret:
                    _LOG.warning("runtime.token %s: it is empty; nobody is admitted by it", self._path)
        except OSError as error:
            if self._failures.changes(str(error)):  # however often strangers ask
                _LOG.warning("runtime.token %s: %s; nobody is admitted by it", self._path, error.strerror)
            self._secret, self._seen = b"", None
        return self._secret


def _tells_when(name: str) -> bool:
    """Whether each event says when it was, so that the same bytes are the same events. Where it need not, the same
    may happen again, and is told again: rather twice than not at all."""
    return name != "fields"


def _origin(name: str) -> str:
    return f"{name}-webhook" if name == "audit" else f"{name}-http"


def _expanded(body: bytes, encoding: str, limit: int) -> bytes:
    """Raises TooLargeError, MalformedError."""
    if encoding in ("", "identity"):
        return body
    if encoding.lower() not in ("gzip", "x-gzip"):
        raise MalformedError("content-encoding", got=encoding[:40], expected="gzip, or none")
    out: list[bytes] = []
    room = limit + 1
    while body:  # gzip is one member after another (RFC 1952)
        reader = zlib.decompressobj(wbits=31)
        try:
            data = reader.decompress(body, room)
        except zlib.error as error:
            raise MalformedError("request body", got=str(error), expected="gzip") from None
        room -= len(data)
        out.append(data)
        if room <= 0:
            raise TooLargeError("request body", got=f"more than {limit} bytes", expected=f"at most {limit} bytes")
        if not reader.eof:
            raise MalformedError("request body", got="gzip that is cut off", expected="gzip")
        body = reader.unused_data
    return b"".join(out)
