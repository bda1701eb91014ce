"""SBOMs of all formats that are read, recognised by content; in-toto statements and DSSE envelopes around them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

import msgspec

from custody.errors import MalformedError, UnsupportedError
from custody.formats import cyclonedx, cyclonedxxml, spdx, spdx3, spdxtagvalue, syft
from custody.formats.bom import Catalog
from custody.kit import strictjson
from custody.kit.digest import sha256

READABLE = "CycloneDX (JSON, XML), SPDX 2 (JSON, tag-value), SPDX 3, syft JSON"
_READERS: tuple[tuple[bytes, Callable[[bytes, str, bool], Catalog]], ...] = (
    (b'"CycloneDX"', lambda data, where, excluded: cyclonedx.read(data, where, excluded=excluded)),
    (b'"spdxVersion"', lambda data, where, _: spdx.read(data, where)),
    (spdx3.MARK, lambda data, where, _: spdx3.read(data, where)),
    (syft.MARK, lambda data, where, _: syft.read(data, where)))
"""What is in each of a format that is JSON, and its reader."""
_DOCUMENTS: dict[str, Callable[[Any, str, str], Catalog]] = {
    "bomFormat": cyclonedx.read_document, "spdxVersion": spdx.read_document, "@graph": spdx3.read_document,
    "artifactRelationships": syft.read_document}
"""By a field that a format alone has, the reader of what was parsed."""
_LISTS = ("components", "packages", "artifacts")
_TEXT = 200  # bytes of a package in a format that is no JSON
PREDICATES = ("https://cyclonedx.org/bom", "https://spdx.dev/Document", "https://spdx.dev/Document/v2.3",
              "https://spdx.dev/Document/v3", "https://syft.dev/bom")
"""Types of the statements that have one for a predicate."""
UNVERIFIED = "unverified "
"""In front of the `Document.format` of what was in an envelope."""
_WRAPPED = 2 * 64 * 1024 * 1024


def read(data: bytes, where: str = "SBOM", *, excluded: bool = True) -> Catalog | None:
    """None where it is of no format that is read. `excluded`: as for `cyclonedx.read`.

    The predicate of a statement is read, whoever signed it: its `document.format` begins with `unverified`.
    Raises MalformedError, UnsupportedError.
    """
    if _head(data).startswith(b"{") and (b'"payload"' in data or b'"predicate"' in data):
        inner = _predicate(strictjson.loads(data, where, max_size=_WRAPPED), where)
        if inner is not None:
            catalog = _read(inner, where, excluded)
            if catalog is None or catalog.document is None:
                return None
            document = msgspec.structs.replace(catalog.document, format=UNVERIFIED + catalog.document.format)
            return msgspec.structs.replace(catalog, digest=sha256(data), document=document)
    return _read(data, where, excluded)


def _head(data: bytes) -> bytes:
    return data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")


def _read(data: bytes, where: str, excluded: bool) -> Catalog | None:
    """The document itself. A statement in a statement is none: each would be read as often as it is deep."""
    head = _head(data)
    if head.startswith(b"<"):
        return cyclonedxxml.read(data, where, excluded=excluded) if cyclonedxxml.MARK.search(data[:65536]) else None
    if not head.startswith(b"{"):
        return spdxtagvalue.read(data, where) if spdxtagvalue.MARK.search(data[:65536]) else None
    reader = next((reader for mark, reader in _READERS if mark in data), None)
    return None if reader is None else reader(data, where, excluded)


def of_predicate(kind: str, predicate: Any, where: str, *, most: int | None = None) -> Catalog:
    """The SBOM of a statement that was verified; its `digest` is "", for it is of no bytes.

    `most`: packages that are read, each of which takes about 0.1 ms. Raises MalformedError, UnsupportedError.
    """
    if isinstance(predicate, dict) and isinstance(predicate.get("Data"), str):  # cosign 1
        predicate = predicate["Data"]
    catalog = None
    if kind in PREDICATES and isinstance(predicate, str):
        data = predicate.encode(errors="replace")
        if _head(data).startswith(b"{"):
            predicate = strictjson.loads(data, where)
        elif most is not None and len(data) > most * _TEXT:
            raise MalformedError(where, got=f"{len(data)} bytes", expected=f"at most {most * _TEXT}")
        else:
            catalog = _read(data, where, excluded=True)
    if kind in PREDICATES and isinstance(predicate, dict):
        reader = next((reader for mark, reader in _DOCUMENTS.items() if mark in predicate), None)
        if reader is not None:
            if most is not None and (count := _packages(predicate, most)) > most:
                raise MalformedError(where, got=f"{count} packages or more", expected=f"at most {most}")
            catalog = reader(predicate, "", where)
    if catalog is None:
        raise UnsupportedError(where, f"is no SBOM that custody reads: {READABLE}")
    return catalog


def _packages(document: dict[str, Any], most: int) -> int:
    """How many packages a document lists, counted until there are more than `most`."""
    count, waiting = 0, [document.get(name) for name in _LISTS]
    while waiting and count <= most:
        entries = waiting.pop()
        if isinstance(entries, list):
            count += len(entries)
            waiting += [entry["components"] for entry in entries if isinstance(entry, dict) and "components" in entry]
    graph = document.get("@graph")
    return count + sum(1 for element in (graph if isinstance(graph, list) else ())
                       if isinstance(element, dict) and element.get("type") == "software_Package")


def recognised(data: bytes) -> bool:
    """Whether the beginning of a file looks like a format that is read; a program has texts of all of them in it."""
    head = _head(data)
    if head.startswith(b"{"):
        return any(mark in data for mark in (*(mark for mark, _ in _READERS), b'"payload"', b'"predicate"'))
    mark = cyclonedxxml.MARK if head.startswith(b"<") else spdxtagvalue.MARK
    return b"\0" not in head and mark.search(data[:65536]) is not None


def _predicate(document: Any, where: str) -> bytes | None:
    """The SBOM in a statement, an envelope or a Sigstore bundle; None where it is none of these."""
    if not isinstance(document, dict):
        return None
    if isinstance(document.get("dsseEnvelope"), dict):
        document = document["dsseEnvelope"]
    if isinstance(document.get("payload"), str) and "payloadType" in document:
        try:
            payload = base64.b64decode(document["payload"], validate=True)
        except (binascii.Error, ValueError):
            raise MalformedError(f"{where}: payload", got=document["payload"][:40], expected="base64") from None
        document = strictjson.loads(payload, f"{where}: payload")
    if not isinstance(document, dict) or "predicateType" not in document:
        return None
    if document["predicateType"] not in PREDICATES:
        raise UnsupportedError(f"{where}: predicateType", f"{document['predicateType']!r} is no SBOM",
                               hint=f"one of {', '.join(PREDICATES)}")
    return _bytes_of(document.get("predicate"))


def _bytes_of(predicate: Any) -> bytes:
    if isinstance(predicate, dict) and isinstance(predicate.get("Data"), str):  # cosign 1
        predicate = predicate["Data"]
    return predicate.encode() if isinstance(predicate, str) else json.dumps(predicate).encode()
