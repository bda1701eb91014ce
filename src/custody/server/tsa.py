"""The timestamp authority's HTTP API (sigstore timestamp-authority openapi.yaml; RFC 3161 section 3.4)."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from custody.errors import CustodyError
from custody.formats.protojson import Message
from custody.kit import strictjson
from custody.server.asgi import DisconnectedError
from custody.server.ca import pem_chain
from custody.server.rpcstatus import body
from custody.trust.tsa import MAX_REQUEST, TimestampAuthority, TimestampRequest, check_request, parse_request


def routes(authority: TimestampAuthority) -> list[Route]:
    """Below /api/v1/timestamp. Errors are {"code", "message"}, as the real server writes them."""

    async def stamp(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("application/timestamp-query", "application/json"):
            return _error(415, f"unsupported media type {kind!r}, expected application/timestamp-query")
        try:
            data = await body(request, MAX_REQUEST)
            if not data:
                return _error(422, "request body is required", 602)
            read = _json_request if kind == "application/json" else parse_request
            stamped = await asyncio.to_thread(lambda: authority.stamp(read(data)))
            return Response(stamped, media_type="application/timestamp-reply")
        except CustodyError as error:
            return _error(503 if error.http_status == 503 else 400, error.message)
        except DisconnectedError:
            return Response(status_code=400)

    async def chain(_: Request) -> Response:
        return pem_chain(authority.chain)

    return [Route("/api/v1/timestamp", stamp, methods=["POST"]),
            Route("/api/v1/timestamp/certchain", chain, methods=["GET"])]


def _json_request(data: bytes) -> TimestampRequest:
    """{"artifactHash": base64, "hashAlgorithm": "sha256", "nonce": 1, "certificates": true}."""
    root = Message(strictjson.loads(data, "timestamp request", max_depth=4), "timestamp request")
    certificates = root.raw("certificates")
    request = TimestampRequest(root.text("hashAlgorithm").lower(), root.data("artifactHash"),
                               root.integer("nonce") if root.has("nonce") else None, certificates is True)
    root.done()
    return check_request(request)


def _error(status: int, message: str, code: int | None = None) -> Response:
    return JSONResponse({"code": code or status, "message": message}, status)
