"""SBOMs inside wheels, `*.dist-info/sboms/*` (PEP 770): what the wheel's builder compiled in."""

from __future__ import annotations

from custody.formats import cyclonedx, spdx
from custody.sbom.catalogers.fact import Fact, unknown


def read(path: str, content: bytes) -> tuple[Fact, ...]:
    form = cyclonedx if b'"CycloneDX"' in content else spdx if b'"spdxVersion"' in content else None
    if form is None:
        return (unknown("embedded SBOM that is neither CycloneDX nor SPDX"),)
    return tuple(
        Fact(type=package.type, name=package.name, version=package.version, source=package.source,
             source_version=package.source_version, licenses=package.licenses,
             supplier=package.supplier, hashes=package.hashes, purl=package.purl, requires=package.requires)
        for package in form.read(content, path).packages
        if package.type != "pypi")  # the wheel itself, which has metadata of its own
