"""syft's and trivy's Java packages beside custody's: every difference falls under a rule of the Java section of
docs/compatibility-packages.md, and every rule explains one.

The folders are one that is made here, and those in `$CUSTODY_JAVA` (packages of Debian, wheels with jars, unpacked).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pytest

from custody.sbom.catalog import catalog_folder
from custody.sbom.folder import Folder
from tests.conftest import ROOT, peer
from tests.contents.images import Member
from tests.contents.jars import jar, library, project, properties
from tests.contents.test_folders import unpacked

pytestmark = pytest.mark.peer
_ROW = re.compile(r"\| `(?P<rule>java-[a-z-]+)` \| (?P<peer>\w+) \| (?P<side>custody|peer) \|")
_MADE: list[Member] = [
    ("app/a-1.0.jar", library("org.a", "a", "1.0")),
    ("app/spring-core-5.3.20.jar", jar({}, manifest={"Implementation-Title": "spring-core"},
                                       classes="org/springframework/core/")),
    ("app/annotations-17.0.0.jar", jar({}, manifest={}, classes="org/jetbrains/annotations/")),
    ("app/tool-3.jar", jar({}, manifest={}, classes="x/")),
    ("app/shaded-1.jar", jar({**properties("g", "shaded", "1"), **project("org.only", "project", "7")}, manifest={})),
    ("app/bare-2.jar", jar(properties("org.bare", "bare", "2"))),
    ("app/old.war", jar({"WEB-INF/lib/a-1.0.jar": library("org.a", "a", "1.0"), "WEB-INF/lib/b-2.jar": library(
        "org.b", "b", "2")}, manifest={}, classes="WEB-INF/classes/x/")),
    ("m2/repository/org/d/d/4/d-4.jar", jar({}, manifest={}, classes="d/"))]


@dataclass(slots=True)
class _Said:
    """What one program lists."""

    packages: set[tuple[str, str]] = field(default_factory=set)
    """Group and name with `/` between them, and version; of a package without a group its name."""
    archives: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """By package the archives that it is, or is in, as `outer!inner`."""
    evidence: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, name: str, version: str, archive: str, evidence: str = "") -> None:
        self.packages.add((name, version))
        self.archives.setdefault((name, version), set()).add(archive)
        self.evidence.setdefault((name, version), evidence)

    @property
    def places(self) -> set[str]:
        return set().union(*self.archives.values()) if self.archives else set()


def ours(root: Path) -> _Said:
    said = _Said()
    for package in catalog_folder(Folder(path=root, declared=False, rooted=True), "rootfs")[0].packages:
        for place in package.locations:
            if package.type in ("maven", "generic") and not place.path.endswith("release"):
                within = place.within.partition("META-INF/maven/")[0].rstrip("!")
                said.add(package.name, package.version, f"{place.path}!{within}".rstrip("!"), place.evidence)
    return said


def syfts(root: Path) -> _Said:
    run = subprocess.run([peer("syft"), "-q", f"dir:{root}", "--override-default-catalogers", "java-archive-cataloger",
                          "-o", "json"], check=True, capture_output=True,
                         env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"})
    said = _Said()
    for row in json.loads(run.stdout)["artifacts"]:
        name, _, version = unquote(row["purl"].removeprefix("pkg:maven/")).partition("@")
        place = row["metadata"].get("virtualPath", "").lstrip("/")
        place = place.removesuffix(":" + name.replace("/", ":"))
        said.add(name, version, place.replace(":", "!"))
    return said


def trivys(root: Path, tmp_path: Path) -> _Said:
    """Off line, and so with a database of archives that has none: without any it reads no image with Java."""
    place = tmp_path / "cache/java-db"
    place.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(place / "trivy-java.db")) as database:
        database.executescript("CREATE TABLE artifacts(id INTEGER PRIMARY KEY, group_id TEXT, artifact_id TEXT);"
                               "CREATE TABLE indices(artifact_id INTEGER, version TEXT, sha1 BLOB, archive_type TEXT)")
    time = "2126-01-01T00:00:00Z"
    (place / "metadata.json").write_text(json.dumps(
        {"Version": 1, "NextUpdate": time, "UpdatedAt": time, "DownloadedAt": time}))
    run = subprocess.run([peer("trivy"), "rootfs", "--quiet", "--offline-scan", "--skip-db-update",
                          "--skip-java-db-update", "--format", "cyclonedx", "--cache-dir", str(tmp_path / "cache"),
                          str(root)], check=True, capture_output=True)
    said = _Said()
    for row in json.loads(run.stdout).get("components", ()):
        if row.get("purl", "").startswith("pkg:maven/"):
            name, _, version = unquote(row["purl"].partition("?")[0].removeprefix("pkg:maven/")).partition("@")
            said.add(name, version, "")
    return said


def rule(package: tuple[str, str], left: _Said, right: _Said, peer_name: str, side: str) -> str | None:
    """Which rule explains a package that only the left has."""
    if peer_name == "trivy":
        return "java-no-database" if side == "custody" and left.evidence[package] != "pom.properties" else None
    if side == "custody" and left.evidence[package] == "pom.xml":
        return "java-project-file"
    archives = left.archives[package]
    if archives & right.places:
        if side == "custody":
            return "java-no-guess" if left.evidence[package] == "file name" else "java-coordinates"
        return "java-guessed"
    return "java-no-manifest" if side == "custody" else None


def trees() -> Iterator[str]:
    yield "made"
    folder = Path(os.environ.get("CUSTODY_JAVA", "/nowhere"))
    if folder.is_dir():
        yield from sorted(entry.name for entry in folder.iterdir() if entry.is_dir())


def rows() -> set[tuple[str, str, str]]:
    text = (ROOT / "docs/compatibility-packages.md").read_text()
    return {(match["rule"], match["peer"], match["side"]) for match in _ROW.finditer(text)}


@pytest.mark.parametrize("name", ["syft", "trivy"])
@pytest.mark.parametrize("tree", list(trees()))
def test_every_difference_is_explained(tree: str, name: str, tmp_path: Path) -> None:
    root = unpacked(tmp_path / "root", *_MADE) if tree == "made" else Path(os.environ["CUSTODY_JAVA"], tree).resolve()
    mine, other = ours(root), syfts(root) if name == "syft" else trivys(root, tmp_path)
    assert other.packages
    seen: set[tuple[str, str, str]] = set()
    for side, left, right in (("custody", mine, other), ("peer", other, mine)):
        for package in sorted(left.packages - right.packages):
            explained = rule(package, left, right, name, side)
            assert explained, (side, package, left.archives[package], left.evidence[package])
            seen.add((explained, name, side))
    known = {row for row in rows() if row[1] == name}
    assert seen <= known
    if tree == "made":
        assert seen == known
