"""What the package managers inside an image say of themselves, beside what custody lists: none missing, none made up.

The images are `$CUSTODY_IMAGES/shop.oci` and `plant.oci`. Their own programs are run in them (chroot).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from custody.formats.bom import Catalog, Package
from custody.registry.image import open_layout
from custody.sbom.catalog import catalog
from tests.contents.samples import layers

pytestmark = pytest.mark.peer
_Pair = tuple[str, str]
# Python's own reader of installed distributions, of its search path and of every other folder that has some.
_DISTRIBUTIONS = """
import glob, os, re, sys
from importlib import metadata
folders = {os.path.realpath(folder) for folder in sys.path if folder}
for folder, names, _ in os.walk("/"):
    if folder == "/": names[:] = [name for name in names if name not in ("proc", "sys", "dev")]
    if any(name.endswith((".dist-info", ".egg-info")) for name in names): folders.add(os.path.realpath(folder))
for entry in metadata.distributions(path=sorted(folders)):
    print(re.sub("[-_.]+", "-", entry.metadata["Name"]).lower(), entry.version)
"""


@pytest.fixture(scope="module", params=["shop", "plant"])
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The layout, and a folder with its files as a container would see them."""
    layout = Path(os.environ.get("CUSTODY_IMAGES", "/nowhere")) / f"{request.param}.oci"
    if not layout.is_dir():
        pytest.skip(f"no {layout.name} in $CUSTODY_IMAGES")
    if os.geteuid() != 0:
        pytest.skip("chroot is root's")
    root = tmp_path_factory.mktemp(request.param)
    for blob in layers(layout):
        _apply(blob, root)
    yield layout, root
    shutil.rmtree(root)


def _apply(blob: Path, root: Path) -> None:
    """One layer over those below it, with what it takes away."""
    gone = []
    with tarfile.open(blob) as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            if name.startswith(".wh."):
                gone.append(Path(root, folder, name[4:]))
    for path in gone:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    subprocess.run(["tar", "-xf", str(blob), "-C", str(root), "--exclude=.wh.*"], check=True)


@cache
def ours(layout: Path) -> Catalog:
    return catalog(open_layout(layout))


def packages(layout: Path, kind: str) -> list[Package]:
    """Those that are installed: what a wheel's own SBOM says was copied into it no package manager knows."""
    return [package for package in ours(layout).packages
            if package.type == kind and not all("/sboms/" in place.path for place in package.locations)]


def pairs(layout: Path, kind: str) -> set[_Pair]:
    return {(package.name, package.version) for package in packages(layout, kind)}


def said(root: Path, *command: str) -> str:
    run = subprocess.run(["chroot", str(root), *command], check=True, capture_output=True, text=True,
                         env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "HOME": "/nowhere"})
    return run.stdout


def has(root: Path, program: str) -> None:
    if not os.path.lexists(root / program.lstrip("/")):
        pytest.skip(f"the image has no {program}")


def words(text: str) -> set[_Pair]:
    return {(line.split()[0], line.split()[1]) for line in text.splitlines() if line.strip()}


def test_dpkg(image: tuple[Path, Path]) -> None:
    layout, root = image
    text = said(root, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version} ${Architecture}\n")
    listed = {tuple(line.split()[1:]) for line in text.splitlines() if line.startswith("installed ")}
    assert len(listed) > 100
    architecture = re.compile(r"[?&]arch=([^&]+)")
    mine = {(package.name, package.version, match[1]) for package in packages(layout, "deb")
            if (match := architecture.search(package.purl))}
    assert mine == listed


def test_python(image: tuple[Path, Path]) -> None:
    layout, root = image
    listed = words(said(root, "python3", "-c", _DISTRIBUTIONS))
    assert len(listed) > 50
    assert {(re.sub("[-_.]+", "-", name).lower(), version) for name, version in pairs(layout, "pypi")} == listed


def test_npm(image: tuple[Path, Path]) -> None:
    """What npm does not list is in a folder of its own inside a package, with a name and a version of its own."""
    layout, root = image
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    run = subprocess.run(["npm", "ls", "--all", "--parseable", "--long"], cwd=root / "srv/web", capture_output=True,
                         text=True, check=False)  # 1 for a peer dependency that is not met
    listed = set()
    for line in run.stdout.splitlines():
        path, _, rest = line.partition(":")
        if "/node_modules/" in path:
            name, _, version = rest.partition(":")[0].rpartition("@")
            listed.add((name, version))
    assert len(listed) > 200
    assert not listed - pairs(layout, "npm")
    inside = re.compile(r"srv/web/(?:.*/)?node_modules/(?:@[^/]+/)?[^/]+/package\.json")
    for package in packages(layout, "npm"):
        if any(inside.fullmatch(place.path) for place in package.locations):
            assert (package.name, package.version) in listed


def test_gem(image: tuple[Path, Path]) -> None:
    layout, root = image
    has(root, "/usr/bin/gem")
    listed = {(name, version.removeprefix("default: ").split()[0])
              for name, _, versions in (line.partition(" (") for line in said(root, "gem", "list").splitlines())
              for version in versions.rstrip(")").split(", ")}
    assert len(listed) > 50
    assert pairs(layout, "gem") == listed


def test_r(image: tuple[Path, Path]) -> None:
    """`translations` has no code, and R does not count it."""
    layout, root = image
    has(root, "/usr/bin/Rscript")
    listed = words(said(root, "Rscript", "-e", 'write.table(installed.packages()[,c("Package","Version")],'
                        "col.names=F,row.names=F,quote=F)"))
    assert len(listed) > 10
    assert {pair for pair in pairs(layout, "cran") if pair[0] != "translations"} == listed


def test_maven_repository_of_debian(image: tuple[Path, Path]) -> None:
    """Every archive that Debian put under its coordinates has those, or the ones that are written inside it."""
    layout, root = image
    has(root, "/usr/share/maven-repo")
    repository = root / "usr/share/maven-repo"
    listed: dict[str, set[_Pair]] = {}
    for archive in repository.rglob("*.jar"):
        folder = archive.parent
        group = ".".join(folder.parent.parent.relative_to(repository).parts)
        real = Path(said(root, "readlink", "-f", "/" + str(archive.relative_to(root))).strip()[1:])
        listed.setdefault(real.as_posix(), set()).add((f"{group}/{folder.parent.name}", folder.name))
    assert len(listed) > 50
    mine: dict[str, set[_Pair]] = {}
    for package in packages(layout, "maven"):
        for place in package.locations:
            mine.setdefault(place.path, set()).add((package.name, package.version))
    missing = {path: coordinates for path, coordinates in listed.items() if not mine.get(path, set()) & coordinates}
    assert not missing


def test_go(image: tuple[Path, Path]) -> None:
    layout, root = image
    has(root, "/usr/local/bin/docker")
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    run = subprocess.run(["go", "version", "-m", str(root / "usr/local/bin/docker")], capture_output=True, text=True,
                         check=True)
    rows = [line.split("\t") for line in run.stdout.splitlines()]
    listed = {(row[2], row[3]) for row in rows if len(row) > 3 and row[1] == "dep"}
    toolchain = rows[0][0].rpartition(": go")[2].split()[0]
    assert pairs(layout, "golang") >= listed | {("stdlib", toolchain)}
