"""What an SBOM states of single files: path and SHA-256 (SPDX 2.3 `files`; CycloneDX components of type file; syft JSON
`files` with digests).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.kit.members import list_of, object_of, objects_of, text_of

MOST = 2_000_000
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_ALGORITHMS = frozenset(("sha256", "sha-256"))


def files(document: Any, where: str = "SBOM") -> list[tuple[str, str]]:
    """(path, SHA-256 in hexadecimal) of each file of which both are stated; a path begins as the document has it.

    Raises UnsupportedError for what is none of the formats, MalformedError for more than `MOST` files.
    """
    if not isinstance(document, dict):
        raise MalformedError(where, got=type(document).__name__, expected="a JSON object")
    if "spdxVersion" in document:
        stated = _spdx(document)
    elif document.get("bomFormat") == "CycloneDX":
        stated = _cyclonedx(document)
    elif "artifactRelationships" in document or "artifacts" in document:
        stated = _syft(document)
    else:
        raise UnsupportedError(where, "files are read of SPDX 2, CycloneDX and syft (JSON), and this is none")
    rows: list[tuple[str, str]] = []
    for path, digest in stated:
        if path and _SHA256.match(digest):
            rows.append((path, digest))
        if len(rows) > MOST:
            raise MalformedError(where, got=f"more than {MOST} files", expected="fewer")
    return rows


def _spdx(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for entry in objects_of(document, "files"):
        for checksum in objects_of(entry, "checksums"):
            if text_of(checksum, "algorithm").lower() in _ALGORITHMS:
                yield text_of(entry, "fileName"), text_of(checksum, "checksumValue").lower()


def _cyclonedx(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Components within components too; those of a package have their path below it, so it is not read."""
    waiting = list_of(document, "components")[::-1]
    while waiting:
        component = waiting.pop()
        if not isinstance(component, dict):
            continue
        if component.get("type") == "file":
            for stated in objects_of(component, "hashes"):
                if text_of(stated, "alg").lower() in _ALGORITHMS:
                    yield text_of(component, "name"), text_of(stated, "content").lower()
        waiting.extend(list_of(component, "components")[::-1])


def _syft(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for entry in objects_of(document, "files"):
        path = text_of(object_of(entry, "location"), "path")
        for stated in objects_of(entry, "digests"):
            if text_of(stated, "algorithm").lower() in _ALGORITHMS:
                yield path, text_of(stated, "value").lower()
