"""GitHub's dependency submission (docs.github.com/rest/dependency-graph/dependency-submission): written only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from custody.formats.bom import Catalog, Document, Package
from custody.kit.clock import format_rfc3339

LOSES = frozenset(("licenses", "supplier", "hashes", "cpes", "author", "description", "homepage", "download",
                   "copyright", "owner", "bundled_in", "source", "within", "evidence", "declared", "unknowns",
                   "unidentified", "authors", "tools", "phase", "repository", "form", "file"))


def write(catalog: Catalog, now: datetime, tool_version: str) -> dict[str, Any]:
    """The snapshot as plain data. `job`, `sha` and `ref` are the workflow's: whoever submits it puts them in."""
    said = catalog.document or Document()
    needed = {purl for package in catalog.packages for purl in package.requires}
    manifests: dict[str, dict[str, Any]] = {}
    for package in sorted(catalog.packages, key=lambda package: package.purl):
        for place in package.locations or ():
            _manifest(manifests, f"{catalog.name}:/{place.path}", place.layer)["resolved"][package.purl] = _resolved(
                package, needed)
        if not package.locations:
            _manifest(manifests, catalog.name, "")["resolved"][package.purl] = _resolved(package, needed)
    metadata = {}
    if system := catalog.distribution:
        metadata["custody:distribution"] = f"{system.id}@{system.version}"
    return {"version": 0, "job": {}, "detector": {"name": "custody", "version": tool_version,
                                                  "url": "https://pypi.org/project/custody-chain/"},
            "scanned": said.created or format_rfc3339(now.replace(microsecond=0)), "metadata": metadata,
            "manifests": manifests}


def _manifest(manifests: dict[str, dict[str, Any]], name: str, layer: str) -> dict[str, Any]:
    if name not in manifests:
        manifests[name] = {"name": name, "file": {"source_location": name}, "resolved": {}}
        if layer:
            manifests[name]["metadata"] = {"custody:layer": layer}
    return manifests[name]


def _resolved(package: Package, needed: set[str]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "package_url": package.purl, "relationship": "indirect" if package.purl in needed else "direct",
        "scope": "development" if package.scope in ("dev", "test", "build") else "runtime"}
    if package.requires:
        result["dependencies"] = sorted(package.requires)
    return result
