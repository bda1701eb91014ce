"""Several catalogs as one: each package once, with all that any of them states."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from custody.formats.bom import Catalog, Document, Package, Unknown
from custody.kit.digest import sha256


def merge(catalogs: Sequence[Catalog], name: str) -> Catalog:
    """Packages are one where their package URLs are. Where one catalog states what another leaves out, it is kept; if
    they contradict each other, the first stands. A distribution is kept where all that state one state the same:
    its packages bear it in their package URLs too.
    """
    packages: dict[str, Package] = {}
    for catalog in catalogs:
        for package in catalog.packages:
            known = packages.get(package.purl)
            packages[package.purl] = package if known is None else _both(known, package)
    unknowns: dict[tuple[str, str], Unknown] = {}
    for catalog in catalogs:
        for unknown in catalog.unknowns:
            before = unknowns.get((unknown.kind, unknown.owner))
            unknowns[unknown.kind, unknown.owner] = unknown if before is None else msgspec.structs.replace(
                before, count=before.count + unknown.count, examples=before.examples or unknown.examples)
    distributions = {catalog.distribution for catalog in catalogs if catalog.distribution}
    said = [catalog.document or Document() for catalog in catalogs]
    suppliers = {document.supplier for document in said}
    return Catalog(
        name=name, digest=sha256("\n".join(catalog.digest for catalog in catalogs).encode()), kind="sbom",
        distribution=distributions.pop() if len(distributions) == 1 else None,
        packages=tuple(packages[purl] for purl in sorted(packages)), unknowns=tuple(unknowns.values()),
        unidentified=tuple(dict.fromkeys(package for catalog in catalogs for package in catalog.unidentified)),
        document=Document(
            authors=tuple(dict.fromkeys(author for document in said for author in document.authors)),
            tools=tuple(dict.fromkeys(tool for document in said for tool in document.tools)),
            supplier=suppliers.pop() if len(suppliers) == 1 else "",
            created=max(document.created for document in said)))


def _both(first: Package, second: Package) -> Package:
    stated = {name: getattr(second, name) for name in (
        "ecosystem", "source", "source_version", "supplier", "bundled_in", "owner", "author", "description", "homepage",
        "download", "copyright", "hashes", "licenses") if not getattr(first, name)}
    return msgspec.structs.replace(
        first, **stated, locations=tuple(dict.fromkeys((*first.locations, *second.locations))),
        requires=tuple(sorted({*first.requires, *second.requires})),
        cpes=tuple(dict.fromkeys((*first.cpes, *second.cpes))), declared=first.declared and second.declared,
        scope="" if "" in (first.scope, second.scope) else min(first.scope, second.scope))
