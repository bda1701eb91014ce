"""Databases of Trivy and Grype: what they say is in the store as they say it, and what is broken is refused by name."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import sqlite3
import struct
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.adapters.sqlite.scannerdb import SqliteScannerTables
from custody.ecosystems import BY_OSV
from custody.errors import CustodyError, MalformedError, UnsupportedError, VerificationError
from custody.formats import sbom
from custody.formats.bolt import Bucket, Database
from custody.formats.bom import Catalog, Distribution, from_purl
from custody.formats.osv import Affected
from custody.ports.advisories import ANY
from custody.services.advisoryimport import Importer
from custody.services.documents import SPELLINGS
from custody.versions import ORDERS
from custody.vulns.databases.constraints import ranges, undecidable
from custody.vulns.match import affected_by, match_package
from custody.vulns.reach import reach
from custody.vulns.severity import rate
from tests.contents.scannerdbs import Record, Tree, bolt, grype_rows, trivy, write_grype, write_trivy

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = (Path(__file__).parent / "data" / "grype.sql").read_text()
VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
RECORDS = (
    Record("CVE-2026-0001", "Debian:12", "openssl", fixed="3.0.8-1", severity=3),
    Record("CVE-2026-0002", "Debian:12", "openssl", status=5),
    Record("CVE-2026-0003", "Alpine:v3.19", "busybox", fixed="1.36.1-r2"),
    Record("CVE-2026-0004", "AlmaLinux:9", "nodejs", fixed="1:18.1.0-1", module="nodejs:18"),
    Record("CVE-2026-0005", "npm", "lodash", vulnerable=("<=4.17.20",), patched=("4.17.21",), aliases=("GHSA-aaaa",)),
    Record("CVE-2026-0006", "PyPI", "Flask_Cors", vulnerable=(">1.0, <2.0",), patched=("2.0",)),
    Record("CVE-2026-0007", "RubyGems", "rack", patched=("~> 1.4.5", ">= 1.5.2"), unaffected=("< 1.3.0",)),
    Record("CVE-2026-0008", "Maven", "org.a:b", vulnerable=("[1.0,2.0)",)))


def taken(folder: Path, place: Path) -> SqliteAdvisories:
    store = SqliteAdvisories(folder / "advisories.db")
    Importer(store, SqliteScannerTables, folder / "downloads").take(place, NOW)
    return store


def said(store: SqliteAdvisories, ecosystem: str, name: str, source: str = "") -> dict[str, list[Affected]]:
    return {advisory.id: list(advisory.affected) for advisory in store.find(ecosystem, name)
            if advisory.source.startswith(source)}


def affects(store: SqliteAdvisories, ecosystem: str, name: str, version: str) -> dict[str, bool | None]:
    """None: undecided."""
    answers: dict[str, bool | None] = {}
    for identifier, entries in said(store, ecosystem, name).items():
        try:
            answers[identifier] = any(affected_by(entry, version) for entry in entries)
        except CustodyError:
            answers[identifier] = None
    return answers


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> SqliteAdvisories:
    return taken(tmp_path, write_trivy(trivy(RECORDS, {"CVE-2026-0005": {
        "VendorSeverity": {"ghsa": 4, "nvd": 2}, "CVSS": {"nvd": {"V3Vector": VECTOR}},
        "PublishedDate": "2026-01-02T00:00:00Z"}}), tmp_path / "trivy"))


def test_what_trivy_says_of_distributions(store: SqliteAdvisories) -> None:
    assert affects(store, "Debian:12", "openssl", "3.0.7-1") == {"CVE-2026-0001": True, "CVE-2026-0002": True}
    assert affects(store, "Debian:12", "openssl", "3.0.8-1") == {"CVE-2026-0001": False, "CVE-2026-0002": True}
    assert [entry.status for entry in said(store, "Debian:12", "openssl")["CVE-2026-0002"]] == ["will_not_fix"]
    assert affects(store, "Alpine:v3.19", "busybox", "1.36.1-r1") == {"CVE-2026-0003": True}
    [entry] = said(store, "AlmaLinux:9", "nodejs")["CVE-2026-0004"]
    assert (entry.module, entry.by) == ("nodejs:18", "binary")


def test_what_trivy_says_of_languages(store: SqliteAdvisories) -> None:
    assert affects(store, "npm", "lodash", "4.17.20") == {"CVE-2026-0005": True}
    assert affects(store, "npm", "lodash", "4.17.21") == {"CVE-2026-0005": False}
    [advisory] = [record for record in store.find("npm", "lodash") if record.affected]
    match = affected_by(advisory.affected[0], "4.17.20")
    assert match
    assert match.fixed == "4.17.21"
    assert (advisory.aliases, advisory.source, advisory.published, str(rate(advisory).severity)) == (
        ("GHSA-aaaa",), "trivy-db/ghsa", "2026-01-02T00:00:00Z", "critical")
    assert [affects(store, "PyPI", "flask-cors", version) for version in ("1.0", "1.0.1", "2.0")] == [
        {"CVE-2026-0006": False}, {"CVE-2026-0006": True}, {"CVE-2026-0006": False}]
    assert {version: affects(store, "RubyGems", "rack", version)["CVE-2026-0007"] for version in (
        "1.2.9", "1.3.0", "1.4.4", "1.4.5", "1.4.9", "1.5.0", "1.5.2", "3")} == {
            "1.2.9": False, "1.3.0": True, "1.4.4": True, "1.4.5": False, "1.4.9": False, "1.5.0": True, "1.5.2": False,
            "3": False}
    assert affects(store, "Maven", "org.a:b", "1.5") == {"CVE-2026-0008": None}


def test_maven_has_capitals_that_trivy_does_not_keep(tmp_path: Path) -> None:
    store = taken(tmp_path, write_trivy(trivy([Record("CVE-2026-0020", "Maven", "org.a:Beta", vulnerable=("<2",))]),
                                        tmp_path / "trivy"))
    package = from_purl("pkg:maven/org.a/Beta@1", None)
    assert [hit.advisory.id for hit in match_package(package, "Maven", store).hits] == ["CVE-2026-0020"]
    assert not match_package(from_purl("pkg:maven/org.a/Beta@2", None), "Maven", store).hits


def test_red_hats_repositories_are_releases_and_extended_support_is_apart(tmp_path: Path) -> None:
    entry = {"FixedVersion": "0:3.0.7-1.el9", "Affected": [0, 1], "Cves": [{"ID": "CVE-2026-0009", "Severity": 2}]}
    other = {"Affected": [2], "Status": 6, "Cves": [{"ID": "CVE-2026-0010"}]}
    tree = trivy([], more={
        b"Red Hat": {b"openssl": {b"RHSA-2026:1": json.dumps({"Entries": [entry]}).encode(),
                                  b"CVE-2026-0010": json.dumps({"Entries": [other]}).encode()}},
        b"Red Hat CPE": {b"cpe": {b"0": b'"cpe:/o:redhat:enterprise_linux:9::baseos"',
                                  b"1": b'"cpe:/o:redhat:rhel_eus:9.2::baseos"',
                                  b"2": b'"cpe:/o:redhat:enterprise_linux:8"'}}})
    store = taken(tmp_path, write_trivy(tree, tmp_path / "trivy"))
    assert list(said(store, "Red Hat:9", "openssl")) == ["CVE-2026-0009"]
    assert list(said(store, "Red Hat:rhel_eus:9.2::baseos", "openssl")) == ["CVE-2026-0009"]
    assert [entry.status for entry in said(store, "Red Hat:8", "openssl")["CVE-2026-0010"]] == ["fix_deferred"]


def test_builds_of_ksplice_stand_apart(tmp_path: Path) -> None:
    entries = [{"FixedVersion": "2:2.34-1.ksplice1.el9", "Arches": ["x86_64"]}, {"FixedVersion": "2:2.34-2.el9"}]
    store = taken(tmp_path, write_trivy(trivy([Record("CVE-2026-0011", "Oracle Linux:9", "glibc", extra={
        "Entries": entries})]), tmp_path / "trivy"))
    assert [span.events[-1][1] for entry in said(store, "Oracle Linux:9", "glibc")["CVE-2026-0011"]
            for span in entry.ranges] == ["2:2.34-2.el9"]
    assert "CVE-2026-0011" in said(store, "Oracle Linux:9:ksplice", "glibc")


def test_a_new_database_replaces_what_the_one_before_said(tmp_path: Path) -> None:
    taken(tmp_path, write_trivy(trivy(RECORDS), tmp_path / "first"))
    store = taken(tmp_path, write_trivy(trivy(RECORDS[1:]), tmp_path / "second"))
    assert list(said(store, "Debian:12", "openssl")) == ["CVE-2026-0002"]


def test_what_grype_says(tmp_path: Path) -> None:
    cvss = {"scheme": "CVSS", "value": {"vector": VECTOR, "version": "3.1"}}
    system = {"name": "redhat", "release": "rhel", "major": "9", "minor": ""}
    rhel: dict[str, Any] = {"status": "active", "provider": "rhel", "ecosystem": "rpm", "name": "bash"}
    rows: list[dict[str, Any]] = [
        *grype_rows([*RECORDS[:1], *RECORDS[2:6], Record("CVE-2026-0012", "CPE", "a:nodejs:node.js", vulnerable=(
            ">= 18.0, < 18.4.1",))]),
        {**rhel, "id": "CVE-2026-0013", "os": system,
         "severities": [{**cvss, "rank": 2}, {"scheme": "CHMLN", "value": "low", "rank": 1}],
         "blob": {"ranges": [{"version": {"constraint": ""}, "fix": {"state": "wont-fix"}}]}},
        {**rhel, "id": "CVE-2026-0013", "os": {
            **system, "minor": "2"}, "blob": {}},
        {**rhel, "id": "CVE-2026-0014", "os": {
            **system, "minor": "2", "channel": "eus"}, "blob": {"ranges": [{"version": {"constraint": "< 0:5.1-4"}}]}},
        {"id": "ALAS-2026-1", "status": "active", "provider": "amazon", "ecosystem": "rpm", "name": "bash", "os": {
            "name": "amazonlinux", "release": "amzn", "major": "2", "minor": ""},
         "aliases": ["CVE-2026-0015", "CVE-2026-0016"], "blob": {"ranges": [{"version": {"constraint": "< 5.2-1"}}],
                                                                 "qualifiers": {"architecture": "src"}}},
        {"id": "CVE-2026-0017", "status": "active", "provider": "debian", "ecosystem": "deb", "name": "bash", "os": {
            "name": "debian", "release": "debian", "major": "12", "minor": ""}, "blob": {}, "unaffected": True},
        {"id": "CVE-2026-0018", "status": "rejected", "provider": "nvd", "cpe": {
            "part": "a", "vendor": "v", "product": "p"}, "blob": {"ranges": [{"version": {"constraint": "< 2"}}]}},
        {"id": "CVE-2026-0019", "status": "active", "provider": "github", "ecosystem": "lua-rocks", "name": "x",
         "blob": {}}]
    kept = write_grype(rows, SCHEMA, tmp_path / "grype")
    store = SqliteAdvisories(tmp_path / "advisories.db")
    done = Importer(store, SqliteScannerTables, tmp_path / "downloads").take(kept.parent, NOW)
    assert affects(store, "Debian:12", "openssl", "3.0.7-1") == {"CVE-2026-0001": True}
    assert affects(store, "Alpine:v3.19", "busybox", "1.36.1-r2") == {"CVE-2026-0003": False}
    assert {(entry.module, entry.by) for entry in said(store, "AlmaLinux:9", "nodejs")["CVE-2026-0004"]} == {
        ("nodejs:18", "binary"), ("nodejs:18", "source")}
    assert affects(store, "PyPI", "flask-cors", "1.0") == {"CVE-2026-0006": False}
    assert affects(store, "CPE", "a:nodejs:node.js", "18.2.0") == {"CVE-2026-0012": True}
    assert {entry.status for entry in said(store, "Red Hat:9", "bash")["CVE-2026-0013"]} == {"will_not_fix"}
    [advisory] = [record for record in store.named(["CVE-2026-0013"]) if record.affected]
    assert str(rate(advisory).severity) == "critical"
    assert list(said(store, "Red Hat:9.2:eus", "bash")) == ["CVE-2026-0014"]
    [bulletin] = store.find("Amazon Linux:2", "bash")
    assert (bulletin.aliases, bulletin.upstream) == ((), ("CVE-2026-0015", "CVE-2026-0016"))
    assert [entry.by for entry in bulletin.affected] == ["source"]
    [entry] = said(store, "Debian:12", "bash")["CVE-2026-0017"]
    assert (entry.status, entry.ranges) == ("not_affected", ())
    assert not store.find("CPE", "a:v:p")
    assert "1 of lua-rocks, an ecosystem that custody has none for, left out" in done.catalogues


def test_exploited_vulnerabilities_and_scores_come_along(tmp_path: Path) -> None:
    kept = write_grype(grype_rows(RECORDS[:1]), SCHEMA, tmp_path / "grype")
    with sqlite3.connect(kept / "vulnerability.db") as db:
        blob = db.execute("INSERT INTO blobs (value) VALUES (?)", (json.dumps({
            "cve": "CVE-2026-0001", "date_added": "2026-02-01T00:00:00Z", "due_date": "2026-03-01T00:00:00Z",
            "known_ransomware_campaign_use": "Known"}),)).lastrowid
        db.execute("INSERT INTO known_exploited_vulnerability_handles (cve, blob_id) VALUES ('CVE-2026-0001', ?)",
                   (blob,))
        db.execute("INSERT INTO epss_handles (cve, epss, percentile) VALUES ('CVE-2026-0001', 0.25, 0.75)")
        db.execute("INSERT INTO epss_metadata VALUES ('2026-10-30 00:00:00+00:00')")
    db.close()
    store = taken(tmp_path, kept / "vulnerability.db")
    assert store.exploited(["CVE-2026-0001"])["CVE-2026-0001"].ransomware
    assert store.exploited(["CVE-2026-0001"])["CVE-2026-0001"].due == "2026-03-01"
    assert store.scores(["CVE-2026-0001"])["CVE-2026-0001"].score == 0.25
    assert store.status().scored_on == "2026-10-30"


def _tar(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _layout(folder: Path, layer: bytes, media_type: str, annotations: dict[str, str]) -> Path:
    def blob(data: bytes) -> dict[str, Any]:
        digest = sha256(data).hexdigest()
        (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (folder / "blobs" / "sha256" / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.aquasec.trivy.config.v1+json", **blob(b"{}")},
        "layers": [{"mediaType": media_type, "annotations": annotations, **blob(layer)}]}).encode()
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", **blob(manifest)}]}))
    return folder


@pytest.mark.parametrize("form", ["db", "tar.gz", "tar.zst", "layout", "layout-zst"])
def test_wherever_the_database_is(form: str, tmp_path: Path) -> None:
    kept = write_trivy(trivy(RECORDS), tmp_path / "trivy")
    packed = _tar(*((name, (kept / name).read_bytes()) for name in ("trivy.db", "metadata.json")))
    place = tmp_path / f"db.{form}"
    if form == "db":
        place = kept.parent
    elif form == "tar.gz":
        place.write_bytes(gzip.compress(packed))
    elif form == "tar.zst":
        place.write_bytes(zstandard.compress(packed))
    elif form == "layout":
        _layout(place, gzip.compress(packed), "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip", {})
    else:
        database = write_grype(grype_rows(RECORDS[:1]), SCHEMA, tmp_path / "grype") / "vulnerability.db"
        packed = zstandard.compress(_tar(("vulnerability.db", database.read_bytes())))
        _layout(place, packed, "application/octet-stream",
                {"org.opencontainers.image.title": "vulnerability-db_v6.1.10_2026-11-01.tar.zst"})
    assert "CVE-2026-0001" in said(taken(tmp_path, place), "Debian:12", "openssl")
    assert not list((tmp_path / "downloads").iterdir())


def test_a_layout_whose_blob_is_another_is_refused(tmp_path: Path) -> None:
    kept = write_trivy(trivy(RECORDS), tmp_path / "trivy")
    packed = gzip.compress(_tar(("trivy.db", (kept / "trivy.db").read_bytes())))
    layout = _layout(tmp_path / "layout", packed, "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip", {})
    other = gzip.compress(_tar(("trivy.db", bolt(trivy(RECORDS[1:])))))
    (layout / "blobs" / "sha256" / sha256(packed).hexdigest()).write_bytes(other)
    with pytest.raises(VerificationError, match="expected"):
        taken(tmp_path, layout)
    assert SqliteAdvisories(tmp_path / "advisories.db").status().advisories == 0


def _version(folder: Path, version: object) -> Path:
    return write_trivy(trivy(RECORDS), folder, version)  # type: ignore[arg-type]


def _table(folder: Path, statements: str) -> Path:
    kept = write_grype(grype_rows(RECORDS[:1]), SCHEMA, folder)
    with sqlite3.connect(kept / "vulnerability.db") as db:
        db.executescript(statements)
    db.close()
    return kept


_VIEW = ("ALTER TABLE blobs RENAME TO kept; CREATE VIEW blobs AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL "
         "SELECT id + 1 FROM n) SELECT id, printf('%.*c', 1000000, 'x') AS value FROM n")
_GENERATED = ("DROP TABLE epss_handles; CREATE TABLE epss_handles (cve text, epss real AS (length(zeroblob(9000000))), "
              "percentile real); INSERT INTO epss_handles (cve, percentile) VALUES ('CVE-2026-0001', 0.5)")
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "trivy-schema-1": (lambda folder: _version(folder, 1), "schema 1; expected 2"),
    "trivy-schema-none": (lambda folder: _version(folder, None), "schema null; expected 2"),
    "grype-schema-5": (lambda folder: _table(folder, "UPDATE db_metadata SET model = 5"), "5.1.10; expected 6.1"),
    "grype-later": (lambda folder: _table(folder, "UPDATE db_metadata SET revision = 2"), "6.2.10; expected 6.1"),
    "another-sqlite": (lambda folder: _table(folder, "DROP TABLE blobs"), "without a table blobs"),
    "view": (lambda folder: _table(folder, _VIEW), "blobs is no table that holds its rows itself"),
    "generated": (lambda folder: _table(folder, _GENERATED), "epss_handles is no table that holds"),
    "no-blob": (lambda folder: _table(folder, "DELETE FROM blobs"), "expected a row that is there"),
    "no-json": (lambda folder: _table(folder, "UPDATE blobs SET value = '{'"), "expected what Grype keeps there"),
    "lying-type": (lambda folder: _table(folder, "UPDATE blobs SET value = '{\"aliases\": 7}'"), "what Grype keeps"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_why(name: str, tmp_path: Path) -> None:
    make, reason = REFUSED[name]
    with pytest.raises((MalformedError, UnsupportedError), match=reason.replace(".", r"\.")):
        taken(tmp_path, make(tmp_path / "made"))
    assert SqliteAdvisories(tmp_path / "advisories.db").status().advisories == 0  # all of it or none


def test_trivys_index_of_java_archives_has_no_advisories(tmp_path: Path) -> None:
    """Who keeps no index of archives refuses it by name; `test_java_index` imports one."""
    (tmp_path / "trivy-java.db").write_bytes(b"SQLite format 3\0")
    with pytest.raises(UnsupportedError, match="index of Java archives, which has no advisories"):
        taken(tmp_path, tmp_path / "trivy-java.db")


def flat(tree: Tree | Bucket, path: tuple[bytes, ...] = ()) -> dict[tuple[bytes, ...], bytes]:
    rows: dict[tuple[bytes, ...], bytes] = {}
    for key, value in tree.items():
        rows |= {(*path, key): value} if isinstance(value, bytes) else flat(value, (*path, key))
    return rows


_KEYS = st.binary(min_size=1, max_size=40)


@given(st.recursive(st.dictionaries(_KEYS, st.binary(max_size=3000), max_size=60),
                    lambda inner: st.dictionaries(_KEYS, st.binary(max_size=50) | inner, max_size=8), max_leaves=20),
       st.sampled_from((512, 1024, 4096)))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read(tree: Tree, page: int) -> None:
    database = Database(bolt(tree, page), "made")
    rows = flat(tree)
    assert flat(database.root) == rows
    for path, value in rows.items():
        bucket: Any = database.root
        for key in path:
            bucket = bucket.get(key)
        assert bucket == value
    assert database.root.get(b"\xff" * 41) is None


_FILE = bolt(trivy(Record(f"CVE-2026-{number:04}", "Debian:12", f"p{number % 50}", fixed="1-1")
                   for number in range(400)))


@given(st.lists(st.tuples(st.integers(0, len(_FILE) - 1), st.integers(0, 255)), min_size=1, max_size=12),
       st.integers(0, len(_FILE)))
@settings(max_examples=300, deadline=None)
def test_bytes_that_were_changed_or_cut_off_end_in_a_named_error(changes: list[tuple[int, int]], end: int) -> None:
    data = bytearray(_FILE)
    for place, value in changes:
        data[place] = value
    for content in (bytes(data), _FILE[:end]):
        with contextlib.suppress(CustodyError):
            flat(Database(content, "made").root)


def _circle() -> bytes:
    """A branch of which each element is itself."""
    data = bytearray(bolt({b"%03d" % number: bytes(900) for number in range(60)}))
    start = next(place for place in range(3 * 4096, len(data), 4096)
                 if struct.unpack_from("<H", data, place + 8) == (1,))
    number, = struct.unpack_from("<Q", data, start)
    for place in range(struct.unpack_from("<H", data, start + 10)[0]):
        struct.pack_into("<Q", data, start + 16 + 16 * place + 8, number)
    return bytes(data)


def _fan() -> bytes:
    """Many buckets whose one root is a large tree."""
    tree: Tree = {b"b%05d" % number: {b"%04d" % row: bytes(60) for row in range(60 if number else 6000)}
                  for number in range(600)}
    data = bytearray(bolt(tree))
    values = []
    for page in range(3 * 4096, len(data), 4096):
        _, kind, count, _ = struct.unpack_from("<QHHI", data, page)
        for place in range(page + 16, page + 16 + 16 * count * (kind == 2), 16):
            flags, position, size, _ = struct.unpack_from("<IIII", data, place)
            values += [place + position + size] * flags
    assert len(values) == 600
    for value in values:
        data[value:value + 16] = data[values[0]:values[0] + 16]
    return bytes(data)


def _stretched(leaves: int) -> bytes:
    """Leaves that run to the end of the file, and so do their values: each file of n bytes would give n² of them."""
    data = bytearray(bolt({b"%05d" % number: bytes(9) for number in range(6000)}))
    for page in range(3 * 4096, len(data), 4096):
        _, kind, count, _ = struct.unpack_from("<QHHI", data, page)
        if kind == 2 and leaves:
            leaves -= 1
            struct.pack_into("<I", data, page + 12, (len(data) - page) // 4096 - 1)
            for place in range(page + 16, page + 16 + 16 * count, 16):
                _, position, size, _ = struct.unpack_from("<IIII", data, place)
                struct.pack_into("<I", data, place + 12, len(data) - place - position - size)
    return bytes(data)


@pytest.mark.parametrize(("make", "reason"), [
    (_circle, "at depth"), (_fan, "pages that are in several places"),
    (lambda: _stretched(1), "elements that are in several places"),
    (lambda: _stretched(1000), "that are in several places")])
def test_trees_that_are_none_end(make: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        flat(Database(make(), "made").root)


@pytest.mark.parametrize(("text", "inside", "outside"), [
    (">=1.0, <2.0", "1.0 1.9", "0.9 2.0"), (">= 1.0 < 2.0", "1.0 1.9", "0.9 2.0"),
    ("<1.0 || >=2.0, <=2.4", "0.1 2.4", "1.0 2.5"),
    ("=1.0", "1.0", "0.9 1.1"), ("1.0", "1.0", "1.1"), (">1.0", "1.1", "1.0"), ("!=1.5", "1.4 1.6", "1.5"),
    ("~>1.4.2", "1.4.2 1.4.9", "1.4.1 1.5"), ("~=1.4", "1.4 1.9", "1.3 2.0"), ("^1.4", "1.4 1.9", "1.3 2.0"),
    ("^0.4.1", "0.4.1 0.4.9", "0.5"), ("~1.4.1", "1.4.9", "1.5"), ("1.4.x", "1.4.0 1.4.9", "1.5 1.3"),
    ("*", "0.1 9", ""), ("1.0 - 2.0", "1.0 2.0", "0.9 2.1"), (">=1.0, <2.0, !=1.5", "1.4 1.6", "1.5 2.0"),
    (">= 1.0|| <0.5", "0.4 1.0", "0.5"), ("<=1.x", "0.9 1.0 1.9", "2.0"), (">1.x", "2.0", "1.0 1.9"),
    ("<1.x", "0.9", "1.0"), (">=1.x", "1.0 2.0", "0.9"), ("<=1.4.*", "1.4.9", "1.5"),
    ("!=2.0, !=1.0", "0.9 1.5 3.0", "1.0 2.0"), (">=1,!=5,!=3,<9", "1 2 4 8", "3 5 9"), ("!=9, <5", "4", "5 8 9"),
    (">=5,!=1", "5 6", "1 2 4"), ("!=1.x", "0.9 2.0", "1.0 1.9")])
def test_constraints(text: str, inside: str, outside: str) -> None:
    entry = Affected("PyPI", "x", ranges("PyPI", [text]))
    assert {version: bool(affected_by(entry, version)) for version in (*inside.split(), *outside.split())} == {
        **dict.fromkeys(inside.split(), True), **dict.fromkeys(outside.split(), False)}


@pytest.mark.parametrize("text", ["~> " + "9" * 5000, " " * 60_000 + "(", "=" + ".x" * 20_000 + "a(", "[1.0,2.0)",
                                  ">=1.0, >=2.0", "<> 1.0", "~> x", "(", "1.0 2.0 (a)"])
def test_what_is_no_constraint_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedError):
        ranges("PyPI", [text])


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_undecidable_is_so_in_every_order(order: str) -> None:
    ecosystem = next((name for name, row in BY_OSV.items() if row.order == order), order)
    with pytest.raises(CustodyError):
        affected_by(Affected(ecosystem, "x", undecidable("<1")), "1.0")


@pytest.mark.parametrize("order", ORDERS)
def test_no_version_is_beyond_what_is_undecidable(order: str) -> None:
    ecosystem = next((name for name, row in BY_OSV.items() if row.order == order), order)
    assert reach(Affected(ecosystem, "x", undecidable("1.0"))) == ANY


_VERSIONS = st.integers(0, 9).map(str)
_TERMS = st.lists(st.tuples(st.sampled_from((">", ">=", "<", "<=", "=")), _VERSIONS).map("".join), min_size=1,
                  max_size=3)


@given(_TERMS, _TERMS, st.integers(0, 9))
@settings(deadline=None)
def test_ranges_mean_what_their_constraints_do(vulnerable: list[str], secure: list[str], version: int) -> None:
    def meets(terms: list[str]) -> bool:
        return any({">": version > limit, ">=": version >= limit, "<": version < limit, "<=": version <= limit,
                    "=": version == limit}[term.rstrip("0123456789")] for term in terms
                   for limit in [int(term.lstrip("<>="))])

    entry = Affected("PyPI", "x", ranges("PyPI", vulnerable, secure))
    assert bool(affected_by(entry, str(version))) == (meets(vulnerable) and not meets(secure))


@pytest.mark.parametrize("form", ["cyclonedx-json", "cyclonedx-xml", "spdx-json", "spdx", "spdx-json@3.0.1"])
@pytest.mark.parametrize(("identifier", "name"), [
    ("rhel", "redhat"), ("almalinux", "alma"), ("amzn", "amazon"), ("ol", "oracle"), ("mariner", "cbl-mariner"),
    ("debian", "debian"), ("sles", "sles")])
def test_trivy_reads_whose_distribution_it_is(identifier: str, name: str, form: str) -> None:
    """It asks the operating system's name in the SBOM, and has its own for some."""
    catalog = Catalog(name="x", digest="sha256:" + "0" * 64, distribution=Distribution(
        id=identifier, version="9.3", name="What it calls itself"))
    written = SPELLINGS[form].write(catalog, NOW)
    assert name.encode() in written
    read = sbom.read(written)
    assert read is not None
    assert read.distribution == catalog.distribution
