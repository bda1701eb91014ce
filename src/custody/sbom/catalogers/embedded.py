"""SBOMs inside wheels, `*.dist-info/sboms/*` (PEP 770): what the wheel's builder compiled in."""

from __future__ import annotations

from custody.formats import purl
from custody.kit import strictjson
from custody.sbom.catalogers.cataloger import Cataloger, ending
from custody.sbom.catalogers.fact import Fact, unknown

_MAX_WEIGHT = 16 << 20
"""Bytes that it takes once it is parsed."""


def read(path: str, content: bytes) -> tuple[Fact, ...]:
    if content.lstrip()[:1] != b"{":  # of tag-value and XML `parsed` does not say what they take
        raise ValueError("an SBOM that is no JSON")
    if strictjson.weight(content) > _MAX_WEIGHT:
        raise ValueError("an SBOM with too many values")
    from custody.formats import sbom  # all formats of SBOMs; most images have none

    document = sbom.read(content, path, excluded=False)
    if document is None:
        return (unknown("embedded SBOM that is neither CycloneDX nor SPDX"),)
    spelled = {package.purl: _published(package.purl) for package in document.packages}
    facts = {
        spelled[package.purl]: Fact(
            type=package.type, name=package.name, version=package.version, source=package.source,
            source_version=package.source_version, licenses=package.licenses, supplier=package.supplier,
            hashes=package.hashes, purl=spelled[package.purl],
            requires=tuple(dict.fromkeys(spelled.get(needed, needed) for needed in package.requires)))
        for package in document.packages
        if package.type != "pypi"}  # the wheel itself, which has metadata of its own
    return tuple(facts.values())


def _published(text: str) -> str:
    """Without the folder and the target of the machine that built it: the crate is the same one."""
    parts = purl.parse(text)
    if not parts.qualifiers.get("download_url", "").startswith("file:"):
        return text
    qualifiers = {key: value for key, value in parts.qualifiers.items() if key != "download_url"}
    return str(purl.build(parts.type, parts.name, namespace=parts.namespace, version=parts.version,
                          qualifiers=qualifiers))


CATALOGER = Cataloger(
    name="embedded SBOM", version=2, types=None, read=read, parsed=4.0,
    # A component is read, and its package URL, in some 50 µs.
    paths=(ending("json", pattern=r".*\.dist-info/sboms/.+", examples=("sboms/a.json",)),),
    listed=r"\.dist-info/sboms/")
