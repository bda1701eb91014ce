"""VEX: what somebody says of a vulnerability in a product; OpenVEX, CycloneDX and CSAF, by what a document says it is.

(CISA, "Minimum Requirements for Vulnerability Exploitability eXchange", April 2023.)
"""

from __future__ import annotations

from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.formats.vex import csaf, cyclonedx, openvex
from custody.formats.vex.statement import Document, Product, Statement
from custody.kit import strictjson

MAX_SIZE = 64 * 1024 * 1024
_HINT = "OpenVEX, CycloneDX VEX (JSON) and CSAF VEX are read"

__all__ = ["Document", "Product", "Statement", "of_json", "read"]


def read(data: bytes, where: str) -> Document:
    """Raises MalformedError, UnsupportedError, naming the field."""
    return of_json(strictjson.loads(data, where, max_size=MAX_SIZE, max_depth=64), where)


def of_json(document: Any, where: str) -> Document:
    """The same of plain data, such as an attestation's predicate."""
    if not isinstance(document, dict):
        raise MalformedError(where, got=document, expected="a JSON object", hint=_HINT)
    if "statements" in document:
        return openvex.of_json(document, where)
    if document.get("bomFormat") == "CycloneDX":
        return cyclonedx.of_json(document, where)
    if isinstance(document.get("document"), dict) and "csaf_version" in document["document"]:
        return csaf.of_json(document, where)
    raise UnsupportedError(where, "is no VEX document", hint=_HINT)
