"""grype and Trivy find in custody's SBOMs what they find in the image itself, by advisories for each of its packages.

Of each package there are two advisories (`records`): fixed right above its version, and fixed by it. A finding that the
peer has on one side only must be of a package that only that side lists: `test_peers` explains those.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.adapters.sqlite.scannerdb import SqliteScannerTables
from custody.formats import purl as purls
from custody.formats.bom import Catalog
from custody.services.advisoryimport import Importer
from custody.services.documents import SPELLINGS
from custody.vulns.match import match_package, place_of
from tests.conftest import peer
from tests.contents.differences import archives, ours
from tests.contents.records import records
from tests.contents.samples import MAKERS, UnavailableError
from tests.contents.scannerdbs import TRIVY_SYSTEMS, grype_rows, trivy, write_grype, write_trivy
from tests.contents.test_scannerdbs import SCHEMA

pytestmark = pytest.mark.peer
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FORMS = {"grype": ("cyclonedx-json", "cyclonedx-json@1.4", "cyclonedx-xml", "spdx-json", "spdx", "syft-json"),
         "trivy": ("cyclonedx-json", "cyclonedx-json@1.4", "spdx-json", "spdx")}
_IMAGES = {name: make for name, make in MAKERS.items() if name not in ("locks", "checkout")}
_WITH_OWNERS = {"grype": ("spdx-json", "spdx", "syft-json"), "trivy": ()}
"""Where a peer reads that a distribution's package installed a package of a language: it leaves that to its advisories,
as custody does; in the image it knows of fewer of them."""
Finding = tuple[str, str, str, str]
"""Type, name, version, advisory."""


def places(folder: Path) -> Iterator[Path]:
    for name in ("shop", "plant"):
        layout = Path(os.environ.get("CUSTODY_IMAGES", "/nowhere")) / f"{name}.oci"
        if layout.is_dir():
            yield layout
    for name, make in _IMAGES.items():
        try:
            yield make(folder / name)
        except UnavailableError as reason:
            warnings.warn(f"{name}: {reason}", stacklevel=1)


def identity(text: str) -> tuple[str, str, str]:
    """Of a package URL, whatever its spelling."""
    purl = purls.parse(text, "package URL")
    name = "/".join(filter(None, (purl.namespace if purl.type not in ("deb", "rpm", "apk") else "", purl.name))).lower()
    if purl.type == "pypi":
        name = re.sub("[-_.]+", "-", name)
    epoch = purl.qualifiers.get("epoch")
    version = purl.version or ""
    return purl.type, name, f"{epoch}:{version}" if epoch and ":" not in version else version


class Judge:
    """A peer with its database."""

    def __init__(self, name: str, catalog: Catalog, folder: Path) -> None:
        self.name, self._folder = name, folder
        made = records(catalog)
        if name == "grype":
            self.database = write_grype(grype_rows(made), SCHEMA, folder / "grype").parent
        else:
            known = [record for record in made if record.ecosystem.partition(":")[0] in TRIVY_SYSTEMS]
            self.database = write_trivy(trivy(known), folder / "trivy").parent
            archives(self.database / "java-db")

    def _run(self, *words: str) -> Any:
        settings = {"GRYPE_DB_CACHE_DIR": str(self.database), "GRYPE_DB_AUTO_UPDATE": "false",
                    "GRYPE_DB_VALIDATE_AGE": "false", "GRYPE_CHECK_FOR_APP_UPDATE": "false",
                    "SYFT_CHECK_FOR_APP_UPDATE": "false"}
        done = subprocess.run([peer(words[0]), *words[1:]], check=False, capture_output=True,
                              env={**os.environ, **settings})
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        return json.loads(done.stdout)

    def _told(self, *words: str) -> tuple[set[Finding], set[tuple[str, str, str]]]:
        """Findings, and packages, which only Trivy lists."""
        if self.name == "grype":
            said = self._run("grype", *words, "-o", "json", "-q")
            return {(*identity(match["artifact"]["purl"]), match["vulnerability"]["id"]) for match in said["matches"]
                    if match["artifact"]["purl"]}, set()
        said = self._run("trivy", *words, "--quiet", "--offline-scan", "--skip-db-update", "--skip-java-db-update",
                         "--cache-dir", str(self.database), "--scanners", "vuln", "--list-all-pkgs", "--format", "json")
        results = said.get("Results") or []
        return ({(*identity(row["PkgIdentifier"]["PURL"]), row["VulnerabilityID"]) for result in results
                 for row in result.get("Vulnerabilities") or () if row["PkgIdentifier"].get("PURL")},
                {identity(row["Identifier"]["PURL"]) for result in results for row in result.get("Packages") or ()
                 if row["Identifier"].get("PURL")})

    def image(self, place: Path) -> tuple[set[Finding], set[tuple[str, str, str]]]:
        if self.name == "trivy":
            return self._told("image", "--input", str(place))
        said = self._run("syft", "-q", f"oci-dir:{place}", "-o", "syft-json")
        listed = {identity(row["purl"]) for row in said["artifacts"] if row["purl"]}
        return self._told(f"oci-dir:{place}")[0], listed

    def sbom(self, catalog: Catalog, form: str) -> set[Finding]:
        document = self._folder / "sbom"
        document.write_bytes(SPELLINGS[form].write(catalog, NOW))
        return self._told(*(("sbom", str(document)) if self.name == "trivy" else (f"sbom:{document}",)))[0]


@pytest.mark.parametrize("name", ["grype", "trivy"])
def test_what_is_in_the_image_is_in_every_sbom_of_it(name: str, tmp_path: Path) -> None:
    peer(name)
    seen: dict[str, int] = {}
    for place in places(tmp_path / "samples"):
        catalog = ours(place)
        folder = tmp_path / f"{len(seen)}-{name}"
        folder.mkdir()
        judge = Judge(name, catalog, folder)
        from_image, theirs = judge.image(place)
        listed = {identity(package.purl) for package in catalog.packages}
        copied = {identity(package.purl) for package in catalog.packages if package.copied}
        owned = {identity(package.purl) for package in catalog.packages if package.owner}
        # Trivy takes an RPM without a vendor for somebody else's, which an SBOM does not tell it.
        foreign = {identity(package.purl) for package in catalog.packages if package.type == "rpm"
                   and not package.supplier} if name == "trivy" else set()
        for form in FORMS[name]:
            apart = copied if form in _WITH_OWNERS[name] else copied | owned
            from_sbom = judge.sbom(catalog, form)
            missing = {row for row in from_image - from_sbom if row[:3] in listed - (owned - apart)}
            more = {row for row in from_sbom - from_image if row[:3] in theirs - apart - foreign}
            assert (sorted(missing), sorted(more)) == ([], []), (place, form)
        seen[str(place)] = len(from_image)
    assert len(seen) < len(_IMAGES) + 2 or all(seen.values()), seen


def test_custody_finds_with_their_databases_what_they_do(tmp_path: Path) -> None:
    for name in ("grype", "trivy"):
        peer(name)
        for number, place in enumerate(places(tmp_path / f"samples-{name}")):
            catalog = ours(place)
            folder = tmp_path / f"{number}-{name}"
            folder.mkdir()
            judge = Judge(name, catalog, folder)
            store = SqliteAdvisories(folder / "advisories.db")
            Importer(store, SqliteScannerTables, folder / "downloads").take(judge.database, NOW)
            found: set[Finding] = set()
            for package in catalog.packages:
                if ecosystem := place_of(package):
                    matched = match_package(package, ecosystem, store)
                    assert not matched.undecided
                    found |= {(*identity(package.purl), hit.advisory.id) for hit in matched.hits}
            copied = {identity(package.purl) for package in catalog.packages if package.copied}
            from_sbom = {row for row in judge.sbom(catalog, "cyclonedx-json") if row[:3] not in copied}
            assert (sorted(from_sbom - found), sorted(found - from_sbom)) == ([], []), (place, name)


def _saved(layout: Path, target: Path) -> Path:
    """A layout as `docker save` writes it, which osv-scanner reads."""
    def blob(descriptor: dict[str, Any]) -> bytes:
        return (layout / "blobs" / "sha256" / descriptor["digest"].partition(":")[2]).read_bytes()

    manifest = json.loads(blob(json.loads((layout / "index.json").read_bytes())["manifests"][0]))
    config, layers = manifest["config"], manifest["layers"]
    members = {f"{part['digest'].partition(':')[2]}{ending}": blob(part) for ending, parts in (
        (".json", [config]), (".tar.gz", layers)) for part in parts}
    members["manifest.json"] = json.dumps([{
        "Config": next(iter(members)), "RepoTags": ["made:latest"], "Layers": list(members)[1:]}]).encode()
    with tarfile.open(target, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target


def _feeds(catalog: Catalog, folder: Path) -> None:
    """OSV records as osv-scanner keeps them; without one of the ecosystems that it asks for it matches nothing."""
    by_ecosystem: dict[str, list[dict[str, Any]]] = {name: [] for name in (
        "Debian", "npm", "PyPI", "crates.io", "Go", "Maven", "RubyGems", "CRAN", "NuGet", "Packagist")}
    for made in records(catalog):
        end = {"fixed": made.fixed} if made.fixed else {
            "last_affected" if made.vulnerable[0].startswith("<=") else "fixed": made.vulnerable[0].lstrip("<=")}
        by_ecosystem.setdefault(made.ecosystem.partition(":")[0], []).append({
            "schema_version": "1.6.0", "id": re.sub("[/:]", "_", made.id), "modified": "2026-01-01T00:00:00Z",
            "affected": [{"package": {"ecosystem": made.ecosystem, "name": made.name}, "ranges": [
                {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, end]}]}]})
    for name, listed in by_ecosystem.items():
        place = folder / "osv-scalibr" / name
        place.mkdir(parents=True)
        with zipfile.ZipFile(place / "all.zip", "w") as archive:
            for stated in listed:
                archive.writestr(f"{stated['id']}.json", json.dumps(stated))


def test_osv_scanner_finds_in_our_cyclonedx_what_it_finds_in_the_image(tmp_path: Path) -> None:
    """But for Debian's: of an SBOM it reads no source package, whose name Debian's advisories have."""
    place = Path(os.environ.get("CUSTODY_IMAGES", "/nowhere")) / "shop.oci"
    if not place.is_dir():
        pytest.skip("no shop.oci in $CUSTODY_IMAGES")
    catalog = ours(place)
    _feeds(catalog, tmp_path / "data")
    document = tmp_path / "bom.cdx.json"
    document.write_bytes(SPELLINGS["cyclonedx-json"].write(catalog, NOW))

    def told(*words: str) -> set[Finding]:
        done = subprocess.run([peer("osv-scanner"), "scan", *words, "--offline", "--offline-vulnerabilities",
                               "--format", "json"], check=False, capture_output=True,
                              env={**os.environ, "OSV_SCANNER_LOCAL_DB_CACHE_DIRECTORY": str(tmp_path / "data")})
        return {(row["package"]["ecosystem"].partition(":")[0], row["package"]["name"].lower(),
                 row["package"]["version"], entry["id"]) for result in json.loads(done.stdout)["results"]
                for row in result["packages"] for entry in row["vulnerabilities"]}

    from_image, from_sbom = told("image", "--archive", str(_saved(place, tmp_path / "image.tar"))), told(
        "source", "-L", str(document))
    renamed = {package.source for package in catalog.packages
               if package.type == "deb" and package.source != package.name}
    assert len(from_image) > 400
    assert {row for row in from_image - from_sbom if row[0] != "Debian" or row[1] not in renamed} == set()
