"""What a conversion from one SBOM format to another does not carry over: counted, and named as the formats name it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from custody.formats.bom import Catalog, Document, Package

_PLACES = 10
_OF_PLACES = frozenset(("within", "evidence"))
_WORDS = {"hashes": "hashes", "cpes": "CPE names", "requires": "dependencies", "locations": "places",
          "licenses": "licences", "supplier": "suppliers", "author": "authors of packages", "owner": "owning packages",
          "bundled_in": "packages that others are bundled in", "scope": "scopes", "declared": "marks of lock files",
          "description": "descriptions", "homepage": "home pages", "download": "download locations",
          "copyright": "copyright texts", "repository": "addresses of source code",
          "form": "forms of packages", "file": "file names",
          "within": "places inside archives", "evidence": "kinds of evidence"}


def lost(catalog: Catalog, loses: frozenset[str]) -> Iterator[str]:
    """A line for each fact that the SBOM said and that a format which `loses` these fields does not say; first what
    was left in the SBOM because a catalog has no place for it.
    """
    said = catalog.document or Document()
    for field, count in said.unread:
        yield f"{field}: {count}"
    packages = (*catalog.packages, *catalog.unidentified)
    for field, words in _WORDS.items():
        if field in loses and (count := sum(_states(package, field) for package in packages)):
            yield f"{words}: {count}"
    if "locations" not in loses and loses & _OF_PLACES and (
            count := sum(len(package.locations) > _PLACES for package in packages)):
        yield f"places beyond ten of a package: {count}"
    if "unidentified" in loses and catalog.unidentified:
        yield f"components without a package URL: {len(catalog.unidentified)}"
    if "unknowns" in loses and catalog.unknowns:
        yield f"what was not catalogued: {len(catalog.unknowns)}"
    for field, value in _DOCUMENT.items():
        if field in loses and (stated := value(said)):
            yield f"{field} of the document: {stated}"


def _states(package: Package, field: str) -> bool:
    if field in _OF_PLACES:
        return any(getattr(place, field) for place in package.locations)
    return bool(getattr(package, field))


_DOCUMENT: dict[str, Callable[[Document], str]] = {
    "created": lambda said: said.created, "authors": lambda said: ", ".join(said.authors),
    "tools": lambda said: ", ".join(said.tools), "phase": lambda said: said.phase}
