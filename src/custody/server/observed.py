"""An application whose requests are written down and counted."""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from custody.admission.answered import Answered, Observer
from custody.policy.model import Outcome, Request, RuleResult
from custody.policy.podfields import TEMPLATES, image_texts
from custody.server.asgi import REFUSAL, Answer, App, Receive, Scope, Send, header, prompt_of
from custody.server.journal import event
from custody.server.metrics import Metrics
from custody.services.decisions import DecisionKeeper

_LOG = logging.getLogger(__name__)
_LONGEST = 300  # characters of what a client chose
_RESULTS = 20  # of one decision, that are written down
_REASON = 1_000  # characters of one
PREFIXES = (("/oidc", "oidc"), ("/ct", "ca"), ("/api/v1/timestamp", "tsa"), ("/api/v2/log", "log"),
            ("/api/v2/checkpoint", "log"), ("/api/v2/tile", "log"), ("/api", "ca"), ("/v2", "registry"),
            ("/tuf", "tuf"), ("/runtime", "runtime"))
"""What a role's paths on the main listener begin with; the first that fits counts."""
_PROBES = frozenset({"/healthz", "/readyz", "/livez", "/metrics"})


def role_of(path: str) -> str:
    """The role that a path of the main listener belongs to; `none` where it is nobody's."""
    return next((role for prefix, role in PREFIXES if path == prefix or path.startswith(prefix + "/")),
                "health" if path in _PROBES else "none")


def observer(metrics: Metrics, keeper: DecisionKeeper | None = None) -> Observer:
    """Counts each review, writes down what became of it, and keeps it where somebody does."""
    def observe(answered: Answered) -> None:
        metrics.reviewed(answered)
        decided(answered)
        if keeper is not None:
            keeper(answered)

    return observe


class Observed:
    """An ASGI application around another. Whoever is behind an authenticating layer is named by it in the scope."""

    def __init__(self, app: App, metrics: Metrics, role: str | None = None) -> None:
        """`role` where it is not the path that says it."""
        self._app, self._prompt = app, prompt_of(app)
        self._metrics = metrics
        self._role = role
        self.closing = False
        """Each answer ends its connection: the process will soon, and no request must meet that."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        else:
            await self._observe(_Watched(self._role_of(scope), scope), self._app, scope, receive, send)

    def prompt(self, scope: Scope, body: bytes) -> Answer | App:
        if self._prompt is None:
            return self
        watched = _Watched(self._role_of(scope), scope)
        watched.received = len(body)
        said: Answer | App | None = None
        try:
            said = self._prompt(scope, body)
        finally:
            if said is None:  # it raised
                self._metrics.begun(watched.role)
                self._ended(watched, scope)
        if not isinstance(said, Answer):
            return partial(self._observe, watched, said)
        watched.status, watched.sent, watched.complete = said.status, len(said.body), True
        self._metrics.begun(watched.role)
        self._ended(watched, scope)
        return said._replace(headers=(*said.headers, *self._headers(watched)))

    def _role_of(self, scope: Scope) -> str:
        path: str = scope["path"]
        return "health" if path in _PROBES else self._role or role_of(path)

    def _headers(self, watched: _Watched) -> list[tuple[bytes, bytes]]:
        return [(b"x-request-id", watched.identifier.encode()), *([(b"connection", b"close")] if self.closing else [])]

    async def _observe(self, watched: _Watched, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        announced = heard = 0

        async def counted_receive() -> Any:
            nonlocal heard
            message = await receive()
            heard += len(message.get("body") or b"")
            watched.received = max(watched.received, heard)  # a body that came whole is counted already
            return message

        async def counted_send(message: Any) -> None:
            nonlocal announced
            if message["type"] == "http.response.start":
                watched.status = message["status"]
                announced = next((int(value) for key, value in message["headers"] if key == b"content-length"), 0)
                message["headers"] = [*message["headers"], *self._headers(watched)]
            await send(message)
            if message["type"] == "http.response.body":
                watched.sent += len(message.get("body") or b"")
                watched.complete = watched.complete or not message.get("more_body")
                if watched.complete and scope["method"] != "HEAD":
                    watched.sent = max(watched.sent, announced)  # files go past this to the socket

        self._metrics.begun(watched.role)
        try:
            await app(scope, counted_receive, counted_send)
        finally:
            self._ended(watched, scope)

    def _ended(self, watched: _Watched, scope: Scope) -> None:
        role, status, complete = watched.role, watched.status, watched.complete
        seconds = time.perf_counter() - watched.begun
        self._metrics.ended(role, scope["method"], status if complete else 0, seconds, watched.received, watched.sent)
        level = _level(role, status, refused=REFUSAL in scope)
        if _LOG.isEnabledFor(level):
            event(_LOG, level, "request", _request(scope, role, watched.identifier) | {
                "status": status, "complete": complete, "received": watched.received, "sent": watched.sent,
                "seconds": round(seconds, 6)})


class _Watched:
    """What is told of one request. Its identifier is in its scope, for whoever answers it."""

    __slots__ = ("begun", "complete", "identifier", "received", "role", "sent", "status")

    def __init__(self, role: str, scope: Scope) -> None:
        self.role = role
        self.begun = time.perf_counter()
        self.status = self.received = self.sent = 0
        self.complete = False
        self.identifier = scope["custody.request"] = f"{random.getrandbits(64):016x}"


def _level(role: str, status: int, *, refused: bool) -> int:
    if role == "health" or (role == "admission" and status == 200):  # a review's decision has a line of its own
        return logging.DEBUG
    return logging.ERROR if status >= 500 else logging.WARNING if refused else logging.INFO


def _request(scope: Scope, role: str, identifier: str) -> dict[str, Any]:
    client = scope.get("client")
    fields = {"id": identifier, "role": role, "method": scope["method"], "path": _short(scope["path"]),
              "peer": client[0] if client else "", "host": _short(header(scope, b"host")),
              "agent": _short(header(scope, b"user-agent"))}
    if identity := scope.get("custody.identity"):
        fields |= {"identity": _short(str(identity)), "by": _short(str(scope.get("custody.identity.by", "")))}
    if refusal := scope.get(REFUSAL):
        fields["reason"] = _short(str(refusal))
    return fields


def decided(answered: Answered) -> None:
    """One line a decision: what was asked, by whom, what was answered, and by which rules, images and evidence."""
    request, decision = answered.review.request, answered.decision
    level = logging.INFO if decision is not None and decision.allowed else logging.WARNING
    if not _LOG.isEnabledFor(level):
        return
    kind = f"{request.kind.kind}/{request.subresource}" if request.subresource else request.kind.kind
    fields: dict[str, Any] = {
        "outcome": answered.outcome, "webhook": answered.endpoint.verb, "uid": _short(answered.review.uid),
        "operation": request.operation, "kind": _short(kind), "namespace": _short(request.namespace),
        "name": _short(request.name or _name(request.object)), "user": _short(request.user.username),
        "seconds": round(answered.seconds, 6), "policies": answered.policies_digest}
    if request.dry_run:
        fields["dry_run"] = True
    if decision is None:
        fields["reason"] = answered.reason[:_REASON]
    else:
        fields["inputs"] = decision.inputs_digest
        spoke = [result for result in decision.results if result.outcome not in (Outcome.PASS, Outcome.SKIP)]
        fields["passed"] = sum(result.outcome is Outcome.PASS for result in decision.results)
        fields["images"] = _images(request)
        fields["results"] = [_result(result) for result in sorted(spoke, key=lambda result: not result.denies)[
            :_RESULTS]]
        if len(spoke) > _RESULTS:
            fields["more_results"] = len(spoke) - _RESULTS
    event(_LOG, level, "decision", fields)


def _result(result: RuleResult) -> dict[str, Any]:
    fields: dict[str, Any] = {"policy": result.policy, "rule": result.rule, "outcome": str(result.outcome),
                              "denies": result.denies, "reason": result.message[:_REASON]}
    if result.image:
        fields["image"] = _short(result.image)
    if result.evidence:
        fields["evidence"] = list(result.evidence[:_RESULTS])
    return fields


def _name(document: Mapping[str, Any] | None) -> str:
    """The API server names what is created only in the object, and what it will name itself not at all."""
    metadata = (document or {}).get("metadata")
    if not isinstance(metadata, dict):
        return ""
    name, prefix = metadata.get("name"), metadata.get("generateName")
    return name if isinstance(name, str) and name else f"{prefix}*" if isinstance(prefix, str) else ""


def _images(request: Request) -> list[str]:
    """The images that a pod, or what Kubernetes makes pods of, names."""
    part: Any = request.object
    for key in TEMPLATES.get(request.kind.kind, "").split("/")[1:]:
        part = part.get(key) if isinstance(part, dict) else None
    if not isinstance(part, dict):
        return []
    texts = itertools.islice((text for _, _, text in image_texts(part)), _RESULTS)
    return list(dict.fromkeys(_short(text) for text in texts))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
