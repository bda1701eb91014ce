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



@dataclass(frozen=True, slots=True)
class _Difference:
    """A package that only the left side has, of an image's layout or a folder of sources."""

    package: Package
    left: dict[Identity, Package]
    right: dict[Identity, Package]
    source: Path

    @property
    def name(self) -> str:
        return _name(self.package)

    @property
    def paths(self) -> set[str]:
        return {place.path for place in self.package.locations}

    def beside(self, *types: str) -> bool:
        """Whether the other side lists another package of one of the files."""
        return any(place.path in self.paths for package in self.right.values() if package.type in types
                   for place in package.locations)

    def written(self, pattern: str) -> bool:
        """Whether all its files say so; of a package that names none, any file of the folder."""
        words = {"name": re.escape(self.package.name), "version": re.escape(self.package.version)}
        expression = re.compile(pattern % words, re.MULTILINE | re.IGNORECASE)
        if (self.source / "oci-layout").is_file():
            return False
        if self.paths:
            return all(expression.search((self.source / path).read_text()) for path in self.paths)
        return any(expression.search(file.read_text(errors="replace")) for file in self.source.rglob("*")
                   if file.is_file())


def _named(pattern: str) -> Callable[[_Difference], bool]:
    expression = re.compile(pattern)
    return lambda row: bool(row.paths) and all(map(expression.search, row.paths))


def _respelled(row: _Difference) -> bool:
    """The other side has the version, with a name that ends in the same words; or the name, with a `v` before the
    version or a platform behind it."""
    def words(package: Package) -> set[str]:
        return {_name(package).rpartition(sign)[2] for sign in ("/", "::")}

    def alike(one: str, two: str) -> bool:
        return one.removeprefix("v") == two.removeprefix("v") or one.startswith(f"{two}-") or two.startswith(f"{one}-")

    return any((package.version == row.package.version and bool(words(package) & words(row.package)))
               or (_name(package) == row.name and bool(package.version) and alike(package.version, row.package.version))
               for package in row.right.values() if package.type == row.package.type)


def _same_build(row: _Difference) -> bool:
    """The other side has an archive of the same version in the same folder."""
    folders = {path.rpartition("/")[0] for path in row.paths}
    return any(place.path.rpartition("/")[0] in folders for package in row.right.values()
               if package.type == "maven" and package.version == row.package.version for place in package.locations)


_SYSTEM = re.compile(r"usr/(?!local/)")
"""Where nobody but a distribution's packages installs; a package that several of them have has no single owner."""
# What each rule of the document means. The first that fits is taken.
RULES: dict[str, Callable[[_Difference], bool]] = {
    "embedded-sbom": lambda row: all("/sboms/" in path for path in row.paths),
    "no-version": lambda row: row.package.version in ("", "UNKNOWN"),
    "distribution-owned": lambda row: bool(row.package.owner) or all(map(_SYSTEM.match, row.paths)),
    "same-archive": lambda row: row.beside("maven", "generic"),
    "respelled": _respelled,
    "jsr-as-npm": lambda row: ("jsr", row.name, row.package.version) in row.right,
    "type-unread": lambda row: all(package.type != row.package.type for package in row.right.values()),
    "project-itself": lambda row: row.written(
        r"""\A\s*{\s*"name":\s*"%(name)s"|\.name\s*=\s*'%(name)s'|^package = "%(name)s"|"""
        r"""^name = "%(name)s"\nversion = "%(version)s"\n(?!source)"""),
    "not-exact": lambda row: row.written(r"^\s*- %(name)s=%(version)s$") or (
        "pypi", row.name, row.package.version) in row.right,
    "alias": lambda row: row.written(r'"%(name)s": ?"npm:|"%(name)s@npm:|"%(name)s": \["%(version)s"'),
    "sdk": lambda row: row.written(r"^  %(name)s:\n(?:    .*\n)*?    source: sdk$"),
    "jvm-own": _named(r"/lib/jrt-fs\.jar\Z"),
    "same-manifest": _same_build,
    "git-revision": lambda row: row.written(r'\{ref,"%(version)s"\}|"state": \{"revision": "%(version)s"\}'),
    "file-unread": _named(r"conan\.lock|conanfile\.txt|renv\.lock|\.opam\.locked|perllocal\.pod|rebar\.lock|yarn\.lock|"
                          r"deno\.lock|installed\.json|\.gemspec|composer\.lock"),
}


def unexplained(name: str, place: Path, tmp_path: Path, rows: Collection[tuple[str, str, str, str]]
                ) -> tuple[list[tuple[str, Identity]], set[tuple[str, str, str]]]:
    """What one side alone has and no row (rule, peer, side, type) explains; and the (rule, side, type) of the rest."""
    mine, other = by_identity(ours(place)), by_identity(theirs(name, place, tmp_path))
    missing: list[tuple[str, Identity]] = []
    used: set[tuple[str, str, str]] = set()
    for side, left, right in (("custody", mine, other), ("peer", other, mine)):
        for identity in sorted(set(left) - set(right)):
            row = _Difference(left[identity], left, right, place)
            rule = next((rule for rule, holds in RULES.items()
                         if (rule, name, side, identity[0]) in rows and holds(row)), None)
            if rule is None:
                missing.append((side, identity))
            else:
                used.add((rule, side, identity[0]))
    return missing, used
