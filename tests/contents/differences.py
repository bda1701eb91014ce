"""What syft and Trivy list beside custody, and what the rules of docs/compatibility-packages.md mean."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from custody.formats import cyclonedx
from custody.formats.bom import Catalog, Package
from custody.registry.image import open_layout
from custody.sbom.catalog import catalog, catalog_folder
from custody.sbom.folder import Folder
from tests.conftest import peer

Identity = tuple[str, str, str]
"""Type, name and version."""


def ours(place: Path) -> Catalog:
    """Of an image's layout, or of a folder of sources."""
    if (place / "oci-layout").is_file():
        return catalog(open_layout(place))
    return catalog_folder(Folder(path=place, declared=True), "directory")[0]


def theirs(name: str, place: Path, tmp_path: Path) -> Catalog:
    """Off line: Trivy gets a database of Java archives that has none, since without any it reads no image with Java."""
    out, image = tmp_path / "bom.json", (place / "oci-layout").is_file()
    command = [peer("syft"), "-q", f"{'oci-dir' if image else 'dir'}:{place}", "-o", f"cyclonedx-json={out}"]
    if name == "trivy":
        cache = tmp_path / "cache"
        archives(cache / "java-db")
        target = ("image", "--input") if image else ("fs", "--include-dev-deps")
        command = [peer("trivy"), *target, str(place), "--quiet", "--offline-scan",
                   "--skip-db-update", "--skip-java-db-update", "--format", "cyclonedx", "--cache-dir",
                   str(cache), "-o", str(out)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"})
    return cyclonedx.read(out.read_bytes(), name)


def archives(folder: Path) -> None:
    """Trivy's database of the checksums of Java archives, with none in it."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(folder / "trivy-java.db")) as database:
        database.executescript("CREATE TABLE artifacts(id INTEGER PRIMARY KEY, group_id TEXT, artifact_id TEXT);"
                               "CREATE TABLE indices(artifact_id INTEGER, version TEXT, sha1 BLOB, archive_type TEXT)")
    time = "2126-01-01T00:00:00Z"
    (folder / "metadata.json").write_text(json.dumps(
        {"Version": 1, "NextUpdate": time, "UpdatedAt": time, "DownloadedAt": time}))


def by_identity(listed: Catalog) -> dict[Identity, Package]:
    return {(package.type, _name(package), "" if package.version == "UNKNOWN" else package.version): package
            for package in listed.packages}


def _name(package: Package) -> str:
    if package.type == "pypi":
        return re.sub("[-_.]+", "-", package.source or package.name).lower()
    return package.name.lower()



def _places(packages: dict[Identity, Package], *types: str) -> set[str]:
    return {place.path for package in packages.values() if package.type in types for place in package.locations}


def _same(*types: str) -> Callable[[_Difference], bool]:
    return lambda row: bool({place.path for place in row.package.locations} & _places(row.right, *types))


def _named(pattern: str) -> Callable[[_Difference], bool]:
    expression = re.compile(pattern)
    return lambda row: bool(row.package.locations) and all(
        expression.search(place.path) for place in row.package.locations)


@dataclass(frozen=True, slots=True)
class _Difference:
    """A package that only the left side has."""

    package: Package
    left: dict[Identity, Package]
    right: dict[Identity, Package]

    @property
    def name(self) -> str:
        return _name(self.package)


def _respelled(row: _Difference) -> bool:
    """The other side has the version, with a name or a version that holds the same words."""
    return any(package.type == row.package.type and (
        (package.version == row.package.version and {row.name.rpartition("/")[2], row.name.rpartition("::")[2]} & {
            _name(package).rpartition("/")[2], _name(package).rpartition("::")[2]})
        or (_name(package) == row.name and row.package.version and package.version and (
            package.version.startswith(row.package.version) or row.package.version.startswith(package.version)
            or package.version.removeprefix("v") == row.package.version.removeprefix("v"))))
        for package in row.right.values())


# What each rule of the document means. The first that fits is taken.
RULES: dict[str, Callable[[_Difference], bool]] = {
    "embedded-sbom": lambda row: all("/sboms/" in place.path for place in row.package.locations),
    "no-version": lambda row: row.package.version in ("", "UNKNOWN"),
    "distribution-owned": lambda row: bool(row.package.owner),
    "same-archive": _same("maven", "generic"),
    "respelled": _respelled,
    "jsr-as-npm": lambda row: row.name.startswith("@std/"),
    "project-itself": lambda row: row.name in ("web", "site", "app", "example.org/app"),
    "no-checksums": lambda row: row.package.type == "maven",
    "not-exact": lambda row: row.name in ("pandas", "flask"),
    "alias": lambda row: row.name == "alias" or row.name == "a/b",
    "sdk": lambda row: row.name == "flutter",
    "jvm-own": lambda row: row.name == "jrt-fs/jrt-fs",
    "same-manifest": lambda row: row.name.startswith("commons-logging/commons-logging-"),
    "git-revision": lambda row: row.package.version == "abc",
    "type-unread": lambda row: all(package.type != row.package.type for package in row.right.values()),
    "file-unread": _named(r"conan\.lock|conanfile\.txt|environment\.yml|renv\.lock|\.opam\.locked|conda-meta/|vcpkg|"
                          r"perllocal\.pod|\.meta/|rebar\.lock|"
                          r"yarn\.lock|deno\.lock|installed\.json|opam$|\.gemspec|"
                          r"/R/library/|DESCRIPTION|composer\.lock|"
                          r"Cargo\.lock"),
}


def unexplained(name: str, place: Path, tmp_path: Path, rows: Collection[tuple[str, str, str, str]]
                ) -> tuple[list[tuple[str, Identity]], set[tuple[str, str, str]]]:
    """What one side alone has and no row (rule, peer, side, type) explains; and the (rule, side, type) of the rest."""
    mine, other = by_identity(ours(place)), by_identity(theirs(name, place, tmp_path))
    missing: list[tuple[str, Identity]] = []
    used: set[tuple[str, str, str]] = set()
    for side, left, right in (("custody", mine, other), ("peer", other, mine)):
        for identity in sorted(set(left) - set(right)):
            row = _Difference(left[identity], left, right)
            rule = next((rule for rule, holds in RULES.items()
                         if (rule, name, side, identity[0]) in rows and holds(row)), None)
            if rule is None:
                missing.append((side, identity))
            else:
                used.add((rule, side, identity[0]))
    return missing, used
