"""What a registry's refusal means, in its own words where it speaks for itself (distribution-spec, "Error Codes")."""

from __future__ import annotations

import json
from collections.abc import Iterable

from custody.errors import (
    AuthenticationError,
    CustodyError,
    DeniedError,
    NetworkError,
    NotFoundError,
    VerificationError,
)
from custody.ports.http import Answer
from custody.registry.origin import escaped, origin_of
from custody.registry.tokens import Registry

_MAX_BODY = 1 << 16


class Refusal:
    """Codes and messages of an error answer; both empty where the body is none of distribution's."""

    def __init__(self, codes: Iterable[str] = (), messages: Iterable[str] = ()) -> None:
        self.codes = tuple(codes)
        self.messages = tuple(messages)

    @property
    def words(self) -> str:
        return escaped("; ".join(self.messages))


async def read_refusal(answer: Answer) -> Refusal:
    """The body of an answer that is no success; the answer stays open. Raises nothing but what a deadline raises."""
    try:
        document = json.loads(await answer.read(_MAX_BODY))
        errors = [error for error in document["errors"] if isinstance(error, dict)]
    except (ValueError, KeyError, TypeError, RecursionError, NetworkError, VerificationError):
        return Refusal()  # not every registry explains itself; the status says enough
    codes = [str(error.get("code") or "") for error in errors]
    return Refusal(codes, [str(error.get("message") or error.get("code") or "") for error in errors])


async def refusal(answer: Answer, method: str, named: str, url: str, registry: Registry) -> CustodyError:
    """The error for an answer that was not expected: NotFound, Authentication, Denied, else NetworkError."""
    origin = origin_of(url)
    is_home = origin == registry.origin
    words = (await read_refusal(answer)).words if is_home else ""
    if not is_home:
        place = str(origin)  # the path may hold what is nobody's business, such as a signed URL's key
    elif named.startswith(f"{registry.host}/"):
        place = url.partition("?")[0].removeprefix(str(origin))
    else:
        place = url.partition("?")[0]
    text = f"{named}: {method} {place} answered {answer.status}{f': {words}' if words else ''}"
    if answer.status == 404:
        repository, manifests, name = place.removeprefix("/v2/").partition("/manifests/")
        is_tag = is_home and manifests and ":" not in name
        return NotFoundError(text, hint=f"`crane ls {registry.host}/{repository}` lists its tags" if is_tag else None)
    if answer.status == 401:
        return AuthenticationError(text, hint=f"docker login {registry.host}" if is_home else None)
    if answer.status == 403:
        return DeniedError(text)
    return NetworkError(text)
