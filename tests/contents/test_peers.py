"""syft and trivy on the same images and folders: every difference falls under a rule of docs/compatibility-packages.md.

The images are `$CUSTODY_IMAGES/shop.oci` and `plant.oci`, Debians with applications in them, and those of `samples`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from custody.formats import cyclonedx
from custody.formats.bom import Catalog
from custody.formats.purl import build
from custody.registry.image import open_layout
from custody.sbom.catalog import catalog
from custody.sbom.catalogers import read
from custody.services.documents import SPELLINGS
from tests.conftest import ROOT, peer
from tests.contents.differences import RULES, by_identity, unexplained
from tests.contents.samples import MAKERS, UnavailableError

pytestmark = pytest.mark.peer
_ROW = re.compile(r"\| `(?P<rule>[a-z-]+)` \| (?P<peer>\w+) \| (?P<side>custody|peer) \| (?P<types>[a-z, ]+) \|")

def shop() -> Path:
    folder = Path(os.environ.get("CUSTODY_IMAGES", "")) / "shop.oci"
    if "CUSTODY_IMAGES" not in os.environ or not folder.is_dir():
        pytest.skip("no shop.oci in $CUSTODY_IMAGES")
    return folder


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The image that `custody demo` builds, from the wheels that the last demo fetched."""
    from custody.adapters.git import GitRepository
    from custody.adapters.pip import PipFetch
    from custody.build.builder import build
    from custody.demo.history import Author, History, read_files
    from custody.errors import OfflineError

    history = History(tmp_path / "shop.git")
    commit = history.commit(read_files(ROOT / "examples" / "shop"), "shop", Author("ann@example.com"))
    history.close()
    repository = GitRepository(history.folder)
    try:
        return build(repository, commit, repository_uri="https://example.com/shop", layout=tmp_path / "image",
                     cache=ROOT / ".custody" / "cache" / "inputs", fetch=PipFetch(offline=True),
                     clock=lambda: datetime(2026, 1, 1, tzinfo=UTC), isolation="none").layout
    except OfflineError:
        pytest.skip("no wheels of the demo here: make demo fetches them")
    finally:
        repository.close()


@cache
def ours(folder: Path) -> Catalog:
    return catalog(open_layout(folder))


def places(tmp_path: Path) -> Iterator[Path]:
    """Images and folders; those that cannot be made on this machine are named."""
    for name in ("shop", "plant"):
        layout = Path(os.environ.get("CUSTODY_IMAGES", "/nowhere")) / f"{name}.oci"
        if layout.is_dir():
            yield layout
    for name, make in MAKERS.items():
        try:
            yield make(tmp_path / name)
        except UnavailableError as reason:
            warnings.warn(f"{name}: {reason}", stacklevel=1)


def rows() -> set[tuple[str, str, str, str]]:
    """The document's rules: (rule, peer, side, type)."""
    text = (ROOT / "docs/compatibility-packages.md").read_text()
    return {(row["rule"], row["peer"], row["side"], kind)
            for row in _ROW.finditer(text) for kind in row["types"].split(", ")}


@pytest.mark.parametrize("name", ["syft", "trivy"])
def test_every_difference_is_explained_and_every_rule_explains_one(name: str, tmp_path: Path) -> None:
    used: set[tuple[str, str, str]] = set()
    seen: list[str] = []
    for place in places(tmp_path / "samples"):
        answers = tmp_path / f"{name}-{len(seen)}"
        answers.mkdir()
        missing, explained = unexplained(name, place, answers, rows())
        assert not missing, place
        used |= explained
        seen.append(place.name)
    assert {row[0] for row in rows()} == set(RULES)
    if len(seen) == len(MAKERS) + 2:
        assert used == {(rule, side, kind) for rule, peers, side, kind in rows() if peers == name}


@pytest.mark.parametrize("name", ["syft", "trivy"])
def test_every_difference_on_the_demo_image_is_explained(name: str, demo: Path, tmp_path: Path) -> None:
    missing, used = unexplained(name, demo, tmp_path, rows())
    assert not missing
    assert {(rule, side) for rule, side, _ in used} == {("embedded-sbom", "custody")}
    kinds = {package.type for package in ours(demo).packages}
    assert len(ours(demo).packages) >= 30
    assert kinds == {"pypi", "cargo"}


def test_what_dpkg_itself_says() -> None:
    folder = shop()
    found = {(package.name, package.version) for package in ours(folder).packages if package.type == "deb"}
    assert len(found) > 100
    assert {package.ecosystem for package in ours(folder).packages if package.type == "deb"} == {"Debian:12"}


@pytest.mark.parametrize("form", [form for form in SPELLINGS if "@" in form or form in ("syft-json", "spdx")])
def test_syft_reads_every_format_that_custody_writes(form: str, tmp_path: Path) -> None:
    found = ours(shop())
    document, out = tmp_path / "sbom", tmp_path / "out.json"
    document.write_bytes(SPELLINGS[form].write(found, datetime(2026, 1, 1, tzinfo=UTC)))
    subprocess.run([peer("syft"), "-q", "convert", str(document), "-o", f"cyclonedx-json={out}"], check=True)
    assert set(by_identity(cyclonedx.read(out.read_bytes()))) >= set(by_identity(found))


@pytest.mark.parametrize("form", ["cyclonedx-json@1.4", "cyclonedx-json", "cyclonedx-json@1.7", "spdx-json", "spdx"])
def test_trivy_reads_them_and_sees_the_source_packages_that_it_sees_in_the_image(form: str, tmp_path: Path) -> None:
    found = ours(shop())
    document = tmp_path / "sbom"
    document.write_bytes(SPELLINGS[form].write(found, datetime(2026, 1, 1, tzinfo=UTC)))

    def listed(*words: str) -> list[dict[str, Any]]:
        said = subprocess.run(
            [peer("trivy"), *words, "--quiet", "--offline-scan", "--skip-db-update", "--list-all-pkgs", "--scanners",
             "license", "--format", "json", "--cache-dir", str(tmp_path / "cache")], check=True, capture_output=True)
        return [package for result in json.loads(said.stdout).get("Results", ())
                for package in result.get("Packages", ())]

    from_sbom = listed("sbom", str(document))
    known = {identity for identity, package in by_identity(found).items()  # `generic` is no type that Trivy reads
             if not package.copied and package.type != "generic"}
    assert len(from_sbom) >= len(known)
    from_image = listed("image", "--input", str(shop()))
    sources = {_built_from(package) for package in from_image if package.get("SrcName")}
    assert sources
    assert sources <= {_built_from(package) for package in from_sbom}


def _built_from(package: dict[str, Any]) -> tuple[str, str, str]:
    """The version as Trivy compares it: its parts put together."""
    epoch, release = package.get("SrcEpoch"), package.get("SrcRelease")
    version = (f"{epoch}:" if epoch else "") + package.get("SrcVersion", "") + (f"-{release}" if release else "")
    return package["Name"], package.get("SrcName", ""), version


@pytest.mark.parametrize("program", ["syft", "trivy", "crane"])
def test_modules_of_real_go_programs(program: str) -> None:
    path = Path(peer(program))
    with path.open("rb") as file:
        found = {(fact.name, fact.version) for fact in read("program", program, file) if fact.type == "golang"}
    said = subprocess.run(
        [peer("syft"), "-q", f"file:{path}", "-o", "purls"], check=True, capture_output=True, text=True
    )
    expected = {
        line.partition("?")[0].partition("#")[0] for line in said.stdout.split() if line.startswith("pkg:golang/")
    }
    mine = {str(build("golang", name.rpartition("/")[2], namespace=name.rpartition("/")[0], version=version))
            for name, version in found}
    assert len(mine) == len({line.lower() for line in expected})
