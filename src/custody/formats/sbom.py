"""SBOMs of all formats that are read, recognised by content."""

from __future__ import annotations

from collections.abc import Callable

from custody.formats import cyclonedx, spdx
from custody.formats.bom import Catalog

_READERS: tuple[tuple[bytes, Callable[[bytes, str, bool], Catalog]], ...] = (
    (b'"CycloneDX"', lambda data, where, excluded: cyclonedx.read(data, where, excluded=excluded)),
    (b'"spdxVersion"', lambda data, where, _: spdx.read(data, where)))
"""What is in each of a format, and its reader."""


def read(data: bytes, where: str = "SBOM", *, excluded: bool = True) -> Catalog | None:
    """None where it is of no format that is read. `excluded`: as for `cyclonedx.read`.

    Raises MalformedError, UnsupportedError.
    """
    reader = next((reader for mark, reader in _READERS if mark in data), None)
    return None if reader is None else reader(data, where, excluded)
