"""SBOMs inside wheels, `*.dist-info/sboms/*` (PEP 770): what the wheel's builder compiled in."""

from __future__ import annotations

from custody.formats import cyclonedx, spdx
from custody.kit import strictjson
from custody.sbom.catalogers.fact import Fact, unknown

_MAX_WEIGHT = 64 << 20
"""Bytes that it takes once it is parsed."""


def read(path: str, content: bytes) -> tuple[Fact, ...]:
    if strictjson.weight(content) > _MAX_WEIGHT:
        raise ValueError("an SBOM with too many values")
    form = cyclonedx if b'"CycloneDX"' in content else spdx if b'"spdxVersion"' in content else None
    if form is None:
        return (unknown("embedded SBOM that is neither CycloneDX nor SPDX"),)
    return tuple(
        Fact(type=package.type, name=package.name, version=package.version, source=package.source,
             source_version=package.source_version, licenses=package.licenses,
             supplier=package.supplier, hashes=package.hashes, purl=package.purl, requires=package.requires)
        for package in form.read(content, path).packages
        if package.type != "pypi")  # the wheel itself, which has metadata of its own
