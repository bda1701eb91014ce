"""What VEX documents of all formats amount to, and how their fields are read."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from custody.errors import MalformedError
from custody.kit import members
from custody.kit.members import mapping as mapping

Status = Literal["not_affected", "affected", "fixed", "under_investigation"]
STATUSES: tuple[Status, ...] = ("not_affected", "affected", "fixed", "under_investigation")
JUSTIFICATIONS = ("component_not_present", "vulnerable_code_not_present",
                  "vulnerable_code_cannot_be_controlled_by_adversary", "vulnerable_code_not_in_execute_path",
                  "inline_mitigations_already_exist")
"""CISA's, "Status Justifications" (June 2022), as OpenVEX and CSAF spell them."""
_MAX_LIST = 100_000
_MAX_TEXT = 65_536


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """What a statement is about: an image, a package, or components of one."""

    names: tuple[str, ...]
    """Of one thing: package URLs, `sha256:…` of a manifest or an archive, CPE names, bare names, BOM-Links."""
    components: tuple[tuple[str, ...], ...] = ()
    """Where not empty, it is about these in the product, and not about the product as a whole; names of each."""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One word on one vulnerability."""

    vulnerability: str
    aliases: tuple[str, ...] = ()
    status: Status
    products: tuple[Product, ...]
    justification: str = ""
    """Why it is not affected, in the document's own words."""
    impact: str = ""
    """The same in sentences."""
    action: str = ""
    time: str = ""
    """RFC 3339, as it was written: of the statement, else of its document."""
    place: str = ""
    """`statements[3]`."""
    unread: str = ""
    """What in it could not be read, so that it cannot count: a range of versions; empty where all could."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    """`OpenVEX 0.2.0`, `CycloneDX 1.6`, `CSAF 2.0`."""
    id: str
    author: str
    """Who wrote it, as it says itself: no proof."""
    version: str
    time: str
    statements: tuple[Statement, ...]


def text(entry: dict[str, Any], key: str, where: str, *, needed: bool = False) -> str:
    value = entry.get(key)
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or len(value) > _MAX_TEXT or (needed and not value):
        raise MalformedError(f"{where}.{key}", got=value, expected=f"text of at most {_MAX_TEXT} characters")
    return value


def items(entry: dict[str, Any], key: str, where: str) -> list[Any]:
    return members.items(entry, key, where, _MAX_LIST)


def hashes(entry: dict[str, Any], where: str) -> list[str]:
    """`sha256:…` of OpenVEX's object of hashes."""
    return [f"{name.lower().replace('sha-', 'sha')}:{text(entry, name, where, needed=True).lower()}" for name in entry]
