"""In which formats a catalog is written, by the names that users of syft and Trivy know them by.

A command pays for the format that it writes: each is imported when it is first asked for, CycloneDX aside.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any, Generic, TypeVar

import msgspec

from custody import __version__
from custody.formats import cyclonedxwriter
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
    lost: Callable[[], frozenset[str]] = frozenset

    @property
    def loses(self) -> frozenset[str]:
        """Fields of packages, places, catalogs and documents that it has no words for."""
        return self.lost()


_READ = 32 << 20
"""Bytes of a document, beyond which a copy of it would be dear."""


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """A document of two spaces a level, as people read it; one that nobody reads, for its size, without any."""
    try:
        encoded = msgspec.json.encode(document)
        return encoded if len(encoded) > _READ else msgspec.json.format(encoded, indent=2) + b"\n"
    except UnicodeEncodeError:  # a name that is no text
        return encode(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def encode(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


def _cyclonedx(version: str, *, xml: bool = False) -> Format[Catalog]:
    def write(catalog: Catalog, now: datetime) -> bytes:
        document = cyclonedxwriter.write(catalog, now, __version__, version)
        if not xml:
            return json_bytes(document)
        from custody.formats import cyclonedxxml

        return cyclonedxxml.write(document)

    return Format(write, lambda: cyclonedxwriter.LOSES.get(version, frozenset()))


def _of(module: str, *, timed: bool = True) -> Format[Catalog]:
    """The JSON that a module of `custody.formats` writes, and its `LOSES`."""
    def place() -> Any:
        return import_module(f"custody.formats.{module}")

    def write(catalog: Catalog, now: datetime) -> bytes:
        return json_bytes(place().write(catalog, now, __version__) if timed else place().write(catalog, __version__))

    return Format(write, lambda: place().LOSES)


def _tag_value(catalog: Catalog, now: datetime) -> bytes:
    from custody.formats import spdxtagvalue, spdxwriter

    return spdxtagvalue.write(spdxwriter.write(catalog, now, __version__))


_SPDX_JSON, _SPDX_3 = _of("spdxwriter"), _of("spdx3writer")
_SYFT, _GITHUB = _of("syft", timed=False), _of("githubsnapshot")
_TAG_VALUE: Format[Catalog] = Format(_tag_value, _SPDX_JSON.lost)
_PURLS: Format[Catalog] = Format(
    lambda catalog, _: encode("".join(f"{package.purl}\n" for package in catalog.packages)), lambda: _ALL)

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
