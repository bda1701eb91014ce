"""Advisories made up for all that a catalog has: of each package one that its version is just below, and one that it
has just reached. Whoever reads name, version, epoch or source package otherwise finds other ones.
"""

from __future__ import annotations

from collections.abc import Iterator

from custody.formats.bom import Catalog, Package
from tests.contents.scannerdbs import GRYPE_LANGUAGES, Record

_ABOVE = {"deb": "{}+0above", "rpm": "{}.above", "apk": "{}0"}
"""A version right above another."""


def records(catalog: Catalog) -> list[Record]:
    made = {}
    for package in catalog.packages:
        for record in _of(package):
            made[record.id] = record
    return list(made.values())


def _of(package: Package) -> Iterator[Record]:
    ecosystem = package.ecosystem
    if ecosystem is None or not package.version:
        return
    if package.type in _ABOVE:
        name, version = package.advised
        if ecosystem.startswith(("Red Hat", "SUSE")):  # both peers ask for the package's own name
            name, version = package.name, package.version
        called = f"{package.type}-{name}-{version}"
        yield Record(f"BELOW-{called}", ecosystem, name, fixed=_ABOVE[package.type].format(version))
        yield Record(f"REACHED-{called}", ecosystem, name, fixed=version)
    elif ecosystem in GRYPE_LANGUAGES:
        called = f"{package.type}-{package.source}-{package.version}"
        name = package.name if package.type == "pypi" else package.source  # of Python's each peer has a spelling
        yield Record(f"BELOW-{called}", ecosystem, name, vulnerable=(f"<={package.version}",))
        yield Record(f"REACHED-{called}", ecosystem, name, vulnerable=(f"<{package.version}",),
                     patched=(package.version,))
