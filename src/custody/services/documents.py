"""In which formats a catalog is written, by the names that users of syft and Trivy know them by."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from custody import __version__
from custody.formats import (
    cyclonedxwriter,
    cyclonedxxml,
    githubsnapshot,
    spdx3,
    spdxtagvalue,
    spdxwriter,
    syft,
)
from custody.formats.bom import Catalog

_Said = TypeVar("_Said")
_ALL = frozenset(("licenses", "supplier", "hashes", "locations", "requires", "bundled_in", "owner", "cpes", "scope",
                  "declared", "author", "description", "homepage", "download", "copyright", "within", "evidence",
                  "source", "unknowns", "unidentified", "created", "authors", "tools", "phase", "repository", "form",
                  "file"))
"""What a list of package URLs does not say."""


@dataclass(frozen=True, slots=True)
class Format(Generic[_Said]):
    """One way to write a catalog or a scan."""

    write: Callable[[_Said, datetime], bytes]
    """UTF-8; the time is the one that the document bears."""
    loses: frozenset[str] = field(default_factory=frozenset)
    """Fields of packages, places, catalogs and documents that it has no words for."""


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """A document of two spaces a level, as people read it."""
    try:
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    except UnicodeEncodeError:  # a name that is no text
        return encode(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def encode(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


def _cyclonedx(version: str, *, xml: bool = False) -> Format[Catalog]:
    loses = cyclonedxwriter.LOSES.get(version, frozenset())

    def write(catalog: Catalog, now: datetime) -> bytes:
        document = cyclonedxwriter.write(catalog, now, __version__, version)
        return cyclonedxxml.write(document) if xml else json_bytes(document)

    return Format(write, loses)


_SPDX_JSON: Format[Catalog] = Format(
    lambda catalog, now: json_bytes(spdxwriter.write(catalog, now, __version__)), spdxwriter.LOSES)
_TAG_VALUE: Format[Catalog] = Format(
    lambda catalog, now: spdxtagvalue.write(spdxwriter.write(catalog, now, __version__)), spdxwriter.LOSES)
_SPDX_3: Format[Catalog] = Format(lambda catalog, now: json_bytes(spdx3.write(catalog, now, __version__)), spdx3.LOSES)
_SYFT: Format[Catalog] = Format(lambda catalog, _: json_bytes(syft.write(catalog, __version__)), syft.LOSES)
_GITHUB: Format[Catalog] = Format(
    lambda catalog, now: json_bytes(githubsnapshot.write(catalog, now, __version__)), githubsnapshot.LOSES)
_PURLS: Format[Catalog] = Format(
    lambda catalog, _: encode("".join(f"{package.purl}\n" for package in catalog.packages)), _ALL)

SBOMS: Mapping[str, Format[Catalog]] = {
    "cyclonedx-json": _cyclonedx(cyclonedxwriter.DEFAULT),
    "cyclonedx-xml": _cyclonedx(cyclonedxwriter.DEFAULT, xml=True),
    "spdx-json": _SPDX_JSON, "spdx-tag-value": _TAG_VALUE, "spdx-json@3.0.1": _SPDX_3, "syft-json": _SYFT,
    "github": _GITHUB, "purls": _PURLS}
"""What a catalog is written as, for programs."""
SPELLINGS: Mapping[str, Format[Catalog]] = {
    **SBOMS,
    **{f"cyclonedx-json@{version}": _cyclonedx(version) for version in cyclonedxwriter.VERSIONS},
    **{f"cyclonedx-xml@{version}": _cyclonedx(version, xml=True) for version in cyclonedxwriter.VERSIONS},
    "spdx-json@2.3": _SPDX_JSON, "spdx-tag-value@2.3": _TAG_VALUE, "spdx-json@3.0": _SPDX_3,
    "cyclonedx": SBOMS["cyclonedx-json"], "spdx": _TAG_VALUE, "spdx-tv": _TAG_VALUE, "github-json": _GITHUB,
    "syft": _SYFT, "json": _SYFT, "purl": _PURLS}
"""The same by all names that are accepted: Trivy's `cyclonedx` and `spdx`, syft's versions behind an `@`."""
