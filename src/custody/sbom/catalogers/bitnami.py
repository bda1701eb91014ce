"""Bitnami's components: SPDX documents `opt/bitnami/**/.spdx-NAME.spdx`, beside what they speak of."""

from __future__ import annotations

from custody.kit import strictjson
from custody.sbom.catalogers.cataloger import Cataloger, ending
from custody.sbom.catalogers.fact import Fact, unknown

_MAX_WEIGHT = 16 << 20


def read(path: str, content: bytes) -> tuple[Fact, ...]:
    """Bitnami's own packages: of what else is listed other files tell, as far as it is there."""
    if content.lstrip()[:1] != b"{":  # of tag-value and XML `parsed` does not say what they take
        raise ValueError("an SBOM that is no JSON")
    if strictjson.weight(content) > _MAX_WEIGHT:
        raise ValueError("an SBOM with too many values")
    from custody.formats import sbom  # all formats of SBOMs; most images have none

    document = sbom.read(content, path)
    if document is None:
        return (unknown("Bitnami component whose SBOM is not SPDX"),)
    own = [package for package in document.packages if package.type == "bitnami"]
    names = {package.purl for package in own}
    facts = tuple(Fact(
        type="bitnami", name=package.name, version=package.version, source=package.source,
        source_version=package.source_version, licenses=package.licenses, supplier=package.supplier,
        hashes=package.hashes, purl=package.purl, cpes=package.cpes,
        requires=tuple(needed for needed in package.requires if needed in names)) for package in own)
    return facts or (unknown("Bitnami component without a package of Bitnami's"),)


CATALOGER = Cataloger(name="Bitnami", version=2, types=None, read=read, parsed=4.0, paths=(
    ending("spdx", pattern=r"opt/bitnami/(?:.*/)?\.spdx-[^/]+"),))
