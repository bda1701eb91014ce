"""Answers of responders and lists of revoked certificates, kept beside a signature of the Notary Project.

    {"answers": [{"method": "POST", "url": "http://ocsp.example", "request": "MEI…", "answer": "MIIB…"},
                 {"method": "GET", "url": "http://crl.example/ca.crl", "answer": "MIIC…"}]}

Bytes are in base64. The document is custody's own, stored as the one layer of an artifact whose subject is the
signature's manifest. It is trusted for nothing: each answer is judged by its issuer's signature and its own times.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from custody.errors import MalformedError
from custody.formats.protojson import Message, encode_base64
from custody.kit import strictjson

ARTIFACT_TYPE = "application/vnd.custody.revocation.answers.v1+json"
MAX_DOCUMENT = 8 * 1024 * 1024
"""Bytes. Who gathers evidence holds such a document in memory while an image is judged."""
MAX_ANSWERS = 64
_MAX_URL = 4096


class Exchange(NamedTuple):
    """One request, and the body of what was answered to it with status 200."""

    method: str
    """GET or POST."""
    url: str
    request: bytes
    """b"" of a GET."""
    answer: bytes


def write(exchanges: Iterable[Exchange]) -> bytes:
    """The document, each exchange once. Raises MalformedError above what is read."""
    distinct = list(dict.fromkeys(exchanges))
    answers = [{"method": method, "url": url, **({"request": encode_base64(request)} if request else {}),
                "answer": encode_base64(answer)} for method, url, request, answer in distinct]
    data = json.dumps({"answers": answers}, separators=(",", ":")).encode()
    if len(distinct) > MAX_ANSWERS or len(data) > MAX_DOCUMENT:
        raise MalformedError("revocation answers", got=f"{len(distinct)} in {len(data)} bytes",
                             expected=f"at most {MAX_ANSWERS} in {MAX_DOCUMENT} bytes")
    return data


def parse(data: bytes, where: str) -> tuple[Exchange, ...]:
    """Raises MalformedError; UnsupportedError for a field that is not known."""
    document = Message(strictjson.loads(data, where, max_size=MAX_DOCUMENT, max_depth=4), where)
    read = tuple(map(_exchange, document.messages("answers", MAX_ANSWERS)))
    document.done()
    return read


def _exchange(entry: Message) -> Exchange:
    method, url = entry.text("method"), entry.text("url", limit=_MAX_URL)
    if method not in ("GET", "POST"):
        raise MalformedError(f"{entry.where}.method", got=method, expected="GET or POST")
    read = Exchange(method, url, entry.data("request", b""), entry.data("answer"))
    entry.done()
    return read
