"""ROLIE feeds of CSAF documents: which there are, when each changed, and where (RFC 8322; CSAF 2.0, section 7.1.15)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from custody.errors import MalformedError
from custody.kit import strictjson
from custody.kit.clock import parse_rfc3339

MAX_SIZE = 256 << 20
_SUMS = (".sha512", ".sha256")


class Entry(NamedTuple):
    updated: datetime
    source: str
    """The document's address."""
    sums: tuple[str, ...]
    """The addresses of its SHA-512 and SHA-256, by their endings; none where the feed says none."""


def entries(data: bytes, where: str, *, secure: bool = True) -> list[Entry]:
    """Those of CSAF documents. Raises MalformedError; for an address that is not https too, or http where the feed
    itself did not come securely.
    """
    document = strictjson.loads(data, where, max_size=MAX_SIZE, max_depth=16)
    feed = document.get("feed") if isinstance(document, dict) else None
    rows = feed.get("entry") if isinstance(feed, dict) else None
    if not isinstance(rows, list):
        raise MalformedError(where, got="no list feed.entry", expected="a ROLIE feed")
    schemes = ("https",) if secure else ("https", "http")
    return [_entry(row, schemes, f"{where}: feed.entry[{place}]") for place, row in enumerate(rows)]


def _entry(row: Any, schemes: tuple[str, ...], where: str) -> Entry:
    if not isinstance(row, dict):
        raise MalformedError(where, got=type(row).__name__, expected="an object")
    content = row.get("content")
    links = [link for link in row.get("link") or () if isinstance(link, dict)] if isinstance(
        row.get("link"), list) else []
    own = next((link.get("href") for link in links if link.get("rel") == "self"), None)
    source = (content.get("src") if isinstance(content, dict) else None) or own
    hashes = [str(link.get("href", "")) for link in links if link.get("rel") == "hash"]
    sums = tuple(address for ending in _SUMS for address in hashes if address.endswith(ending))
    if hashes and not sums:
        raise MalformedError(f"{where}.link", got=hashes[0], expected="a hash whose address ends in .sha256 or .sha512")
    updated = row.get("updated")
    if not isinstance(updated, str):
        raise MalformedError(f"{where}.updated", got=updated, expected="a time")
    for address in (source, *sums):
        if not isinstance(address, str) or _scheme(address) not in schemes:
            raise MalformedError(where, got=address, expected="an address that begins with https://")
    return Entry(parse_rfc3339(updated, f"{where}.updated"), str(source), sums)


def _scheme(address: str) -> str:
    try:
        return urlsplit(address).scheme
    except ValueError:  # brackets that hold no address
        return ""
