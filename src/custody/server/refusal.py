"""What a listener answers by itself, in the form of the protocol that the path belongs to."""

from __future__ import annotations

import json
from http import HTTPStatus

from custody.server.asgi import Headers, Send, respond

_OCI = {401: "UNAUTHORIZED", 403: "DENIED", 408: "UNKNOWN", 421: "DENIED", 429: "TOOMANYREQUESTS", 500: "UNKNOWN",
        503: "UNAVAILABLE"}
"""Codes of the distribution-spec, and of the distribution project where that has none; else UNSUPPORTED."""
_RPC = {401: 16, 403: 7, 404: 5, 408: 4, 413: 8, 414: 8, 421: 9, 429: 8, 431: 8, 500: 13, 501: 12, 503: 14}
"""google.rpc.Code; else INVALID_ARGUMENT."""


def form(path: str, status: int, message: str) -> tuple[bytes, bytes]:
    """Content type and body: OCI's errors below /v2, google.rpc.Status below /api and /ct, else {"error"}."""
    if path == "/v2" or path.startswith("/v2/"):
        value: object = {"errors": [{"code": _OCI.get(status, "UNSUPPORTED"), "message": message, "detail": None}]}
    elif path.startswith(("/api/", "/ct/")):
        value = {"code": _RPC.get(status, 3), "message": message, "details": []}
    elif path in ("/healthz", "/readyz", ""):
        return b"text/plain; charset=utf-8", message.encode() + b"\n"
    else:
        value = {"error": message}
    return b"application/json", json.dumps(value, separators=(",", ":")).encode()


async def refuse(send: Send, path: str, status: int, message: str, headers: Headers = ()) -> None:
    kind, body = form(path, status, message)
    await respond(send, status, body, kind, headers)


def last_answer(target: bytes, status: int, message: str) -> bytes:
    """A whole answer on the wire, after which the connection closes: for what never becomes a request."""
    kind, body = form(target.partition(b"?")[0].decode("latin-1"), status, message)
    return b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (
        status, HTTPStatus(status).phrase.encode(), kind, len(body), body)
