"""SBOMs inside wheels, `*.dist-info/sboms/*` (PEP 770): what the wheel's builder compiled in."""

from __future__ import annotations

from custody.formats import cyclonedx
from custody.sbom.catalogers.fact import Fact, unknown


def read(path: str, content: bytes) -> tuple[Fact, ...]:
    if b'"CycloneDX"' not in content:
        return (unknown("embedded SBOM that is not CycloneDX"),)
    return tuple(
        Fact(type=package.type, name=package.name, version=package.version, licenses=package.licenses,
             supplier=package.supplier, hashes=package.hashes, purl=package.purl, requires=package.requires)
        for package in cyclonedx.read(content, path).packages
        if package.type != "pypi")  # the wheel itself, which has metadata of its own
