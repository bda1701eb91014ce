"""Errors as the gRPC gateways of Fulcio and Rekor write them: {"code", "message", "details"}; the message says why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from custody.errors import CustodyError
from custody.server.asgi import DisconnectedError, TooLargeError, read_body
from custody.trust.log import DuplicateError

Handler = Callable[[Request], Awaitable[Response]]
_RETRY = "2"
"""Seconds after which a log that has stopped, or a full waiting room, may have room."""
_INVALID, _NOT_FOUND, _EXISTS, _UNIMPLEMENTED, _INTERNAL, _UNAVAILABLE = 3, 5, 6, 12, 13, 14


def status_answer(code: int, http_status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"code": code, "message": message, "details": []}, http_status, headers)


def error_answer(error: CustodyError) -> Response:
    """What the caller did wrong is 400 whatever it was, as the real servers answer; the rest is 500 or 503."""
    message = f"{error.message} ({error.hint})" if error.hint else error.message
    if isinstance(error, DuplicateError):
        return status_answer(_EXISTS, 409, error.message, {"X-Log-Index": str(error.index)})
    if error.http_status in (502, 503):
        return status_answer(_UNAVAILABLE, 503, message, {"Retry-After": _RETRY})
    if error.http_status == 500:
        return status_answer(_INTERNAL, 500, message)
    return status_answer(_INVALID, 400, message)


def answering(handler: Handler) -> Handler:
    """Wraps a handler so that CustodyError becomes an answer, wherever the route is mounted."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except CustodyError as error:
            return error_answer(error)
        except DisconnectedError:
            return Response(status_code=400)

    return answer


async def body(request: Request, limit: int) -> bytes:
    """The request's body. Raises MalformedError over the limit."""
    try:
        return await read_body(request.receive, limit)
    except TooLargeError as error:
        error.message = f"http: request body too large: {error.message}"
        raise


async def _refused(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    if isinstance(error, HTTPException) and error.status_code == 405:
        return status_answer(_UNIMPLEMENTED, 501, "Method Not Allowed")
    return status_answer(_NOT_FOUND, 404, "Not Found")


async def _unexpected(request: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    """Starlette raises the error on after this, and `custody.server.guard` logs it."""
    return status_answer(_INTERNAL, 500, "internal error; the service's log has it", {"Connection": "close"})


EXCEPTION_HANDLERS: dict[Any, Any] = {404: _refused, 405: _refused, Exception: _unexpected}
