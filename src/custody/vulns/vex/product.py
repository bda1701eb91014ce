"""Whether a statement's product is what was scanned: the image, a package of it, or a package inside another.

A package URL names a package where type, namespace and name are its own, and all else that the URL says: a version, a
subpath, qualifiers. Of `distro` the release counts and not how exactly it was written, so that `debian-12` and
`debian-12.13` are one. An image is named by its digest, or by the repository where a package URL says no digest; never
by its last name alone, which anybody may give an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import unquote

from custody.ecosystems import of_release, of_type
from custody.errors import CustodyError
from custody.formats import purl as purls
from custody.formats import reference
from custody.formats.bom import Catalog, Package
from custody.formats.purl import PackageUrl
from custody.formats.vex.statement import Product
from custody.versions import compare

_DEFAULTS = {"maven": {"type": "jar"}}
"""Qualifiers that say nothing."""
_BOM_LINK = "urn:cdx:"


@lru_cache(maxsize=65536)
def parsed(text: str) -> PackageUrl | None:
    """None for what is no package URL."""
    try:
        return purls.parse(text)
    except CustodyError:
        return None


def package_key(text: str) -> tuple[str, str] | None:
    """Type and name of a package URL of a package; None for an image's, and for what is none."""
    purl = parsed(text) if text.startswith("pkg:") else None
    return None if purl is None or purl.type in ("oci", "docker") else (purl.type, purl.name)


def packages_of(product: Product) -> set[tuple[str, str] | None]:
    """The keys of the packages that a product may be about; None among them: any."""
    return {package_key(name) for names in (product.components or (product.names,)) for name in names}


def matches(stated: PackageUrl, package: PackageUrl) -> bool:
    """Whether all that a statement's package URL says holds for a package's."""
    if (stated.type, stated.namespace, stated.name) != (package.type, package.namespace, package.name):
        return False
    if stated.version and not same_version(stated, package):
        return False
    if stated.subpath and stated.subpath != package.subpath:
        return False
    return all(_qualified(key, value, package.qualifiers, stated.type) for key, value in stated.qualifiers.items())


def same_version(stated: PackageUrl, package: PackageUrl) -> bool:
    """Whether two package URLs of one package say one version, however it is spelled."""
    if package.version is None or stated.version == package.version:
        return stated.version == package.version
    row = of_type(stated.type)
    try:
        return bool(row.osv) and compare(row.osv, stated.version or "", package.version) == 0
    except CustodyError:
        return False


def _qualified(key: str, value: str, qualifiers: Mapping[str, str], kind: str) -> bool:
    own = qualifiers.get(key, _DEFAULTS.get(kind, {}).get(key))
    if own == value:
        return True
    if key == "epoch":
        return value == "0" and own is None
    return key == "distro" and own is not None and _release(own) == _release(value)


def _release(distro: str) -> str:
    """`Debian:12` of `debian-12.13` and `debian-bookworm`; other text as it is."""
    identifier, dash, version = distro.rpartition("-")
    return (of_release(identifier, version) or distro) if dash else distro


class Subject:
    """What was scanned, as statements may name it."""

    def __init__(self, catalog: Catalog) -> None:
        name, _, digest = catalog.name.partition("@")
        self._digests = {text for text in (catalog.digest, digest) if text.startswith("sha256:")}
        self._names = {catalog.name, name} if catalog.kind != "container" else {catalog.name}
        self._repository = _repository(name) if catalog.kind == "container" else ""
        self._document = catalog.document.identifier.removeprefix("urn:uuid:") if catalog.document else ""
        self._purls = {package.purl: parsed(package.purl) for package in catalog.packages}
        self._packages = {package.purl: package for package in catalog.packages}
        self._hashes: dict[str, frozenset[str]] = {}
        self._dependents: dict[str, set[str]] | None = None

    def applies(self, product: Product, purl: str) -> bool:
        """Whether a product is what a finding of the package with this URL is about."""
        package = self._packages.get(purl)
        if package is None:
            return False
        if self._is(product.names):
            return not product.components or any(self._names_package(part, package) for part in product.components)
        if not product.components:
            return self._names_package(product.names, package)
        if not any(self._names_package(part, package) for part in product.components):
            return False
        around = {outer for outer, candidate in self._packages.items() if self._names_package(product.names, candidate)}
        return self._only_through(purl, around - {purl})

    def _is(self, names: Iterable[str]) -> bool:
        names = tuple(names)
        bare = not any(name.startswith("pkg:") for name in names)  # a component may be called as the whole is
        return any(name in self._digests or (bare and name in self._names) or self._is_image(name) for name in names)

    def _is_image(self, name: str) -> bool:
        stated = parsed(name) if name.startswith(("pkg:oci/", "pkg:docker/")) else None
        if stated is None:
            return False
        if stated.version and stated.version.startswith("sha256:"):
            return stated.version in self._digests
        url = stated.qualifiers.get("repository_url", "")
        # A tag, which is what a docker URL has for a version, says where it was and not what it is.
        return bool(url) and not stated.version and "tag" not in stated.qualifiers and bool(
            self._repository) and _repository(url) == self._repository

    def _names_package(self, names: Iterable[str], package: Package) -> bool:
        own = self._purls[package.purl]
        hashes = self._hashes.get(package.purl)
        if hashes is None:
            hashes = self._hashes[package.purl] = frozenset(f"{kind}:{value}" for kind, value in package.hashes)
        for name in names:
            if name in hashes or name in package.cpes:
                return True
            text = self._linked(name) if name.startswith(_BOM_LINK) else name
            stated = parsed(text) if text.startswith("pkg:") else None
            if stated is not None and own is not None and matches(stated, own):
                return True
        return False

    def _linked(self, link: str) -> str:
        """The reference of a BOM-Link into the SBOM that was scanned; empty for one into another."""
        serial, _, ref = link.removeprefix(_BOM_LINK).partition("#")
        return unquote(ref) if self._document and serial.partition("/")[0] == self._document else ""

    def _only_through(self, purl: str, around: set[str]) -> bool:
        """Whether nothing needs a package but what is in `around`, however indirectly."""
        if not around:
            return False
        if self._dependents is None:
            self._dependents = {}
            for package in self._packages.values():
                for needed in package.requires:
                    self._dependents.setdefault(needed, set()).add(package.purl)
                if package.bundled_in:
                    self._dependents.setdefault(package.purl, set()).add(package.bundled_in)
        seen, waiting, touched = {purl}, [purl], False
        while waiting:
            dependents = self._dependents.get(waiting.pop(), set())
            if not dependents:
                return False  # nothing needs it: it is there on its own
            touched = touched or bool(dependents & around)
            fresh = dependents - around - seen
            seen |= fresh
            waiting += fresh
        return touched


def _repository(text: str) -> str:
    """Registry and repository as `reference` spells them; empty for what is none."""
    try:
        return reference.parse(text.removeprefix("https://").removeprefix("http://")).name
    except CustodyError:
        return ""
