"""What the handlers of the OCI distribution API share: a request taken apart, refusals, and errors as the specification
writes them (distribution-spec v1.1, "Error Codes")."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar
from urllib.parse import urlencode

from custody.errors import (
    ConflictError,
    CustodyError,
    MalformedError,
    NotFoundError,
    StorageError,
    UnsupportedError,
    VerificationError,
)
from custody.kit import digest as digests
from custody.registry.parts import MissingPartError
from custody.registry.store import BlobUnknownError, ChangedAtRestError, ChangedError, ManifestUnknownError
from custody.registry.uploads import UploadBusyError, UploadUnknownError
from custody.server.asgi import Headers, Receive, Scope, Send, TooLargeError, respond_json

_T = TypeVar("_T")
_ENTITY_TAG = re.compile(r'(?P<any>\*)|(?P<weak>W/)?"(?P<tag>[!#-~\x80-\xff]*)"')
_disk = ThreadPoolExecutor(8, thread_name_prefix="registry-disk")
"""Apart from the threads in which others verify: pushes and pulls do not take their turns."""


class Refusal(Exception):  # noqa: N818 - an answer, not an error of ours
    def __init__(self, status: int, code: str, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers


class Call(NamedTuple):
    """One request to a repository; `part` is the digest, tag or upload that the path names."""

    scope: Scope
    receive: Receive
    send: Send
    name: str
    part: str
    query: dict[str, list[str]]

    def parameter(self, key: str) -> str | None:
        values = self.query.get(key)
        return values[0] if values else None


def on_disk(function: Callable[..., _T], *arguments: object) -> asyncio.Future[_T]:
    """The function's result, from a thread that may wait for the disk."""
    return asyncio.get_running_loop().run_in_executor(_disk, function, *arguments)


def digest_of(text: str) -> str:
    if not digests.is_digest(text):
        raise Refusal(400, "DIGEST_INVALID", f"got {text[:200]!r}, expected {digests.ALGORITHMS}")
    return text


def condition(scope: Scope) -> Callable[[str | None], bool]:
    """Whether If-Match and If-None-Match hold (RFC 9110 section 13.1) for what is there: a digest, or None for nothing.

    Raises Refusal for what cannot be read, since who sends a condition does not want it passed over.
    """
    matching, excluded = _entity_tags(scope, b"if-match"), _entity_tags(scope, b"if-none-match")

    def holds(digest: str | None) -> bool:
        present = {"*", digest} if digest else set()
        return (matching is None or not present.isdisjoint(matching)) and (
            excluded is None or present.isdisjoint(excluded))

    return holds


def _entity_tags(scope: Scope, name: bytes) -> set[str | None] | None:
    """What is between the quotation marks, or `*`; None without the header. Weak ones count by If-None-Match only."""
    lines = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    if not lines:
        return None
    tags: set[str | None] = set()
    for text in ",".join(lines).split(","):
        match = _ENTITY_TAG.fullmatch(text.strip())
        if match is None:
            raise Refusal(400, "UNSUPPORTED", f"{name.decode()}: got {text.strip()[:100]!r}, expected entity tags in "
                                              "quotation marks, or *")
        if not match["weak"] or name == b"if-none-match":
            tags.add("*" if match["any"] else match["tag"])
    return tags


def next_page(path: str, **query: object) -> tuple[bytes, bytes]:
    return b"link", f'<{path}?{urlencode(query)}>; rel="next"'.encode()


def status_of(error: CustodyError) -> tuple[int, str]:
    """The status and the specification's code."""
    match error:
        case BlobUnknownError():
            return 404, "BLOB_UNKNOWN"
        case ManifestUnknownError():
            return 404, "MANIFEST_UNKNOWN"
        case UploadUnknownError():
            return 404, "BLOB_UPLOAD_UNKNOWN"
        case UploadBusyError():
            return 409, "BLOB_UPLOAD_INVALID"
        case MissingPartError():
            return 400, "MANIFEST_BLOB_UNKNOWN"
        case TooLargeError():
            return 413, "SIZE_INVALID"
        case ChangedAtRestError():
            return 500, "MANIFEST_UNVERIFIED"
        case VerificationError():
            return 400, "DIGEST_INVALID"
        case ChangedError():
            return 412, "DENIED"
        case StorageError():
            return error.http_status, "UNKNOWN"
        case MalformedError() | ConflictError() | UnsupportedError():
            return 400, "MANIFEST_INVALID"
        case NotFoundError():
            return 404, "NAME_UNKNOWN"
    return error.http_status, "UNKNOWN"


async def respond_error(send: Send, status: int, code: str, message: str, headers: Headers = ()) -> None:
    await respond_json(send, status, {"errors": [{"code": code, "message": message, "detail": None}]}, headers)
