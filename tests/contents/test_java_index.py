"""Java archives told by their SHA-1, by an index as trivy-java-db makes it, and what is no such index."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sqlite3
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.sqlite.javaarchives import SqliteJavaArchives, TrivyJavaTables
from custody.ports.javaarchives import Archive, Project
from tests.contents.images import image
from tests.contents.jars import jar
from tests.contents.test_db_update import Run, _run  # noqa: F401 - the fixture `run`
from tests.contents.test_findings import catalogue
from tests.contents.test_scan import record
from tests.contents.test_scannerdbs import _layout

PLAIN = jar({}, classes="com/acme/")
"""Says nothing of itself."""
OTHER = jar({"x.txt": b"another"}, classes="com/acme/")
_SCHEMA = ("CREATE TABLE artifacts(id INTEGER PRIMARY KEY, group_id TEXT, artifact_id TEXT)",
           "CREATE TABLE indices(artifact_id INTEGER, version TEXT, sha1 BLOB, archive_type TEXT, "
           "foreign key (artifact_id) references artifacts(id))",
           "CREATE UNIQUE INDEX artifacts_idx ON artifacts(artifact_id, group_id)",
           "CREATE UNIQUE INDEX indices_sha1_idx ON indices(sha1)")
Row = tuple[bytes, str, str, str]


def sum_of(content: bytes) -> bytes:
    return hashlib.sha1(content, usedforsecurity=False).digest()


def index(path: Path, rows: Sequence[Row], schema: Sequence[str] = _SCHEMA) -> Path:
    with sqlite3.connect(path) as db:
        for statement in schema:
            db.execute(statement)
        for number, (digest, group, name, version) in enumerate(rows, 1):
            db.execute("INSERT OR IGNORE INTO artifacts VALUES (?, ?, ?)", (number, group, name))
            db.execute("INSERT INTO indices VALUES ((SELECT id FROM artifacts WHERE group_id = ? AND artifact_id = ?), "
                       "?, ?, 'jar')", (group, name, version, digest))
    return path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUSTODY_DATA_DIR", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listed(run: Run, place: str) -> tuple[dict[str, Any], int]:
    """Packages by their URL, and how many archives are counted as unknown."""
    done = run("sbom", place, "-o", "cyclonedx-json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    unknown = map(int, re.findall(r"Java archive without coordinates: ([0-9]+)", done.out))
    return {entry["purl"]: entry for entry in document.get("components", ()) if "purl" in entry}, sum(unknown)


def test_an_archive_is_told_by_its_sum_and_no_longer_counted(home: Path, run: Run) -> None:
    folder = home / "app"
    folder.mkdir()
    (folder / "core.jar").write_bytes(PLAIN)
    (folder / "other-2.jar").write_bytes(OTHER)
    before, unknown = listed(run, "rootfs:app")
    assert sorted(before) == ["pkg:generic/core", "pkg:generic/other@2"]
    assert unknown == 2
    index(home / "trivy-java.db", [(sum_of(PLAIN), "com.acme", "core", "1.2.3"),
                                   (sum_of(b"nobody's"), "com.acme", "other", "2")])
    done = run("db", "import", "trivy-java.db")
    assert (done.code, "2 Java archives by their SHA-1" in done.err) == (0, True), done.err
    after, still = listed(run, "rootfs:app")
    assert sorted(after) == ["pkg:generic/other@2", "pkg:maven/com.acme/core@1.2.3"]
    assert still == 1
    assert "SHA-1 in an index" in json.dumps(after["pkg:maven/com.acme/core@1.2.3"])
    (folder / "other-2.jar").unlink()
    assert listed(run, "rootfs:app")[1] == 0
    assert run("db", "remove", "java-archives").code == 0
    assert sorted(listed(run, "rootfs:app")[0]) == ["pkg:generic/core"]


def test_an_archive_within_another_and_what_needs_it(home: Path, run: Run) -> None:
    folder = home / "app"
    folder.mkdir()
    (folder / "shop.war").write_bytes(jar({"WEB-INF/lib/core.jar": PLAIN, "WEB-INF/lib/other-2.jar": OTHER}))
    index(home / "trivy-java.db", [(sum_of(PLAIN), "com.acme", "core", "1.2.3")])
    assert run("db", "import", "trivy-java.db").code == 0
    done = run("sbom", "rootfs:app", "-o", "cyclonedx-json")
    document = json.loads(done.out)
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    war = next(ref for ref in needs if "shop" in ref and ref.startswith("pkg:"))
    assert sorted(needs[war]) == ["pkg:generic/other@2", "pkg:maven/com.acme/core@1.2.3"]


def test_an_archive_that_tells_its_own_name_keeps_it(home: Path, run: Run) -> None:
    own = jar({"META-INF/maven/org.own/own/pom.properties": b"groupId=org.own\nartifactId=own\nversion=1\n"})
    (home / "own.jar").write_bytes(own)
    index(home / "trivy-java.db", [(sum_of(own), "com.acme", "else", "9")])
    assert run("db", "import", "trivy-java.db").code == 0
    assert [*listed(run, "file:own.jar")[0]] == ["pkg:maven/org.own/own@1"]


def test_what_was_read_with_another_index_is_read_again(home: Path, run: Run) -> None:
    """Of an image too, whose catalog is kept."""
    image(home / "image", [("app/core.jar", PLAIN)])
    target = "oci:image"
    assert "pkg:generic/core" in listed(run, target)[0]
    index(home / "trivy-java.db", [(sum_of(PLAIN), "com.acme", "core", "1.2.3")])
    assert run("db", "import", "trivy-java.db").code == 0
    assert "pkg:maven/com.acme/core@1.2.3" in listed(run, target)[0]


def test_where_the_index_may_be(home: Path, run: Run) -> None:
    """Trivy's folder with its metadata, and the archive of the artifact."""
    folder = home / "java-db"
    folder.mkdir()
    index(folder / "trivy-java.db", [(sum_of(PLAIN), "com.acme", "core", "1.2.3")])
    (folder / "metadata.json").write_text('{"Version": 1, "NextUpdate": "2026-01-01T00:00:00Z"}')
    assert "1 Java archive by" in run("db", "import", "java-db").err
    with tarfile.open(home / "javadb.tar.gz", "w:gz") as archive:
        for name in ("trivy-java.db", "metadata.json"):
            content = (folder / name).read_bytes()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    assert "1 Java archive by" in run("db", "import", "javadb.tar.gz").err
    assert "archives    1 Java archive by their SHA-1" in run("db", "status").out
    (folder / "metadata.json").write_text('{"Version": 2}')
    done = run("db", "import", "java-db")
    assert (done.code, "schema 2; expected 1" in done.err) == (2, True), done.err


def test_an_artifact_of_a_registry(home: Path, run: Run) -> None:
    database = index(home / "trivy-java.db", [(sum_of(PLAIN), "com.acme", "core", "1.2.3")])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(database, "trivy-java.db")
    _layout(home / "layout", packed.getvalue(), "application/vnd.aquasec.trivy.javadb.layer.v1.tar+gzip", {})
    done = run("db", "import", "layout")
    assert (done.code, "1 Java archive by" in done.err) == (0, True), done.err


def test_rows_that_are_no_artifact_are_said(home: Path, run: Run) -> None:
    index(home / "trivy-java.db", [(b"short", "com.acme", "a", "1"), (sum_of(b"b"), "com.acme", "../b", "1"),
                                   (sum_of(b"c"), "com.acme", "c", "1")])
    done = run("db", "import", "trivy-java.db")
    assert "1 Java archive by" in done.err
    assert "trivy-java.db: 3 refused" in done.err
    assert "indices: got 5 bytes for version 1, expected a SHA-1 of 20 bytes" in done.err
    assert "artifacts: got com.acme:../b, expected a group and an artifact" in done.err
    assert "indices: got 1 of an artifact that is not there or was refused" in done.err


def _import_good(home: Path, run: Run) -> None:
    index(home / "trivy-java.db", [(sum_of(PLAIN), "com.acme", "core", "1.2.3")])
    assert run("db", "import", "trivy-java.db").code == 0


def _other(home: Path) -> Path:
    (home / "other").mkdir()
    return home / "other/trivy-java.db"


def _good_stays(run: Run) -> None:
    assert "archives    1 Java archive by their SHA-1" in run("db", "status").out


_ROWS = [(sum_of(b"%d" % number), "com.acme", f"a{number}", "1") for number in range(300)]


@pytest.mark.parametrize(("rows", "refused"), [
    ([], 0), ([(digest.hex().encode(), *told) for digest, *told in _ROWS], 300),
    ([(digest[:3], *told) for digest, *told in _ROWS], 300),
    ([(digest, "${project.groupId}", name, version) for digest, _, name, version in _ROWS], 600)])
def test_an_index_of_which_no_row_can_be_used_leaves_the_one_before(home: Path, run: Run, rows: Sequence[Row],
                                                                    refused: int) -> None:
    """Empty; sums in hexadecimal digits; sums that are none; names that are none. All refused rows are counted."""
    _import_good(home, run)
    index(_other(home), rows, _SCHEMA[:2])
    done = run("db", "import", "other")
    assert (done.code, f"no row of a Java archive that can be used, and {refused} refused" in done.err) == (
        2, True), done.err
    _good_stays(run)


def test_all_rows_that_are_refused_are_counted(home: Path, run: Run) -> None:
    index(home / "trivy-java.db", [*((digest[:3], *told) for digest, *told in _ROWS),
                                   (sum_of(b"good"), "com.acme", "good", "1")])
    done = run("db", "import", "trivy-java.db")
    assert (done.code, "trivy-java.db: 300 refused\n" in done.err, done.err.count("warning:")) == (0, True, 5), done.err


@pytest.mark.parametrize("hundredths", [3, 25, 50, 75, 95, 99])
def test_a_file_with_fewer_pages_than_it_says_leaves_the_one_before(home: Path, run: Run, hundredths: int) -> None:
    _import_good(home, run)
    data = index(_other(home), _ROWS).read_bytes()
    cut = len(data) * hundredths // 100
    (home / "other/trivy-java.db").write_bytes(data[:cut])
    done = run("db", "import", "other")
    assert (done.code, f"got {cut} bytes, expected {len(data)}, as its header says" in done.err.replace("'", "")) == (
        2, True), done.err
    _good_stays(run)


def test_a_text_of_millions_is_refused_and_not_printed(home: Path, run: Run) -> None:
    _import_good(home, run)
    index(_other(home), [(sum_of(b"%d" % number), "com.acme", "a", "\0" * 15_000_000) for number in range(2)])
    done = run("db", "import", "other")
    assert (done.code, "got 'a longer value or row', expected at most 65536 bytes" in done.err) == (2, True)
    assert len(done.err) < 2000
    _good_stays(run)
    (home / "other/trivy-java.db").unlink()
    index(home / "other/trivy-java.db", [(sum_of(b"1"), "com.acme", "a", "1"),
                                         (sum_of(b"2"), "com.acme", "a", "\0" * 60_000)])
    done = run("db", "import", "other")
    assert (done.code, "1 refused" in done.err, len(done.err) < 4000) == (0, True, True)


def test_many_projects_of_one_number_are_not_multiplied(home: Path, run: Run) -> None:
    """Each row is read once, so that work is bounded by the file: 2,000 of 2,000 would be four million rows."""
    count = 2000
    schema = ("CREATE TABLE artifacts(id INTEGER, group_id TEXT, artifact_id TEXT)", _SCHEMA[1])
    file = index(home / "trivy-java.db", (), schema)
    with sqlite3.connect(file) as db:
        db.executemany("INSERT INTO artifacts VALUES (1, 'com.acme', ?)", [(f"a{number}",) for number in range(count)])
        db.executemany("INSERT INTO indices VALUES (1, '1', ?, 'jar')", [
            (sum_of(b"%d" % number),) for number in range(count)])
    tables = TrivyJavaTables(file)
    assert (len([*tables.projects()]), len([*tables.archives()])) == (count, count)
    tables.close()
    done = run("db", "import", "trivy-java.db")
    assert (done.code, f"{count} Java archives by their SHA-1" in done.err, f"{count - 1} refused" in done.err) == (
        0, True, True), done.err


def test_nobody_waits_while_a_file_is_read(home: Path) -> None:
    store = SqliteJavaArchives(home / "index.db")
    second = SqliteJavaArchives(home / "index.db")

    def archives() -> Iterator[Archive]:
        yield Archive(sum_of(b"1"), 1, "1")
        second.replace([Project(7, "com.acme", "second")], [Archive(sum_of(b"2"), 7, "2")])
        assert [*second.find([sum_of(b"2").hex()]).values()] == [("com.acme", "second", "2")]

    assert store.replace([Project(1, "com.acme", "first")], archives()).archives == 1
    assert [*store.find([sum_of(b"1").hex(), sum_of(b"2").hex()]).values()] == [("com.acme", "first", "1")]
    assert [path.name for path in home.iterdir() if path.is_dir()] == []


def test_what_a_catalogue_has_is_said_and_no_records(home: Path, run: Run) -> None:
    index(home / "trivy-java.db", _ROWS)
    assert run("db", "import", "trivy-java.db").err == "trivy-java.db: 300 Java archives by their SHA-1\n"
    (home / "kev.json").write_bytes(catalogue())
    assert re.fullmatch(r"kev.json: [0-9]+ known exploited vulnerabilities, version [0-9.]+\n",
                        run("db", "import", "kev.json").err)


def test_an_export_carries_the_index_to_a_machine_without_a_network(
        home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "a.json").write_text(json.dumps(record("A-1", [{"introduced": "0"}], package="flask")))
    assert run("db", "import", "a.json").code == 0
    assert "Java" not in run("db", "export", "--insecure-unsigned", "a.custody").err
    _import_good(home, run)
    before = SqliteJavaArchives(home / "home" / "java-archives.db")
    done = run("db", "export", "--insecure-unsigned", "b.custody")
    assert f"b.custody: {before.count()} Java archive" in done.err
    monkeypatch.setenv("CUSTODY_DATA_DIR", str(home / "other"))
    assert run("db", "import", "b.custody").code == 2, "nobody signed it"
    assert not (home / "other" / "java-archives.db").exists()
    done = run("db", "import", "--insecure-unsigned", "b.custody")
    assert (done.code, "by their SHA-1" in done.err) == (0, True), done.err
    after = SqliteJavaArchives(home / "other" / "java-archives.db")
    assert (list(after.projects()), list(after.archives())) == (list(before.projects()), list(before.archives()))
    assert after.edition() != before.edition()
    assert run("db", "import", "--insecure-unsigned", "a.custody", "--allow-older").code == 0
    assert after.count() == before.count(), "an export without an index takes none away"


_VIEW = (_SCHEMA[0], "CREATE TABLE hidden(artifact_id INTEGER, version TEXT, sha1 BLOB, archive_type TEXT)",
         "CREATE VIEW indices AS SELECT * FROM hidden")


@pytest.mark.parametrize(("schema", "said"), [
    (_SCHEMA[:1], "without a table indices"), (_VIEW, "indices is no table that holds its rows itself")])
def test_databases_that_are_no_index(home: Path, run: Run, schema: Sequence[str], said: str) -> None:
    index(home / "trivy-java.db", (), schema)
    done = run("db", "import", "trivy-java.db")
    assert (done.code, said in done.err) == (2, True), done.err


def test_an_index_that_breaks_off_leaves_the_one_before(home: Path, run: Run) -> None:
    index(home / "trivy-java.db", [(sum_of(PLAIN), "com.acme", "core", "1.2.3")])
    assert run("db", "import", "trivy-java.db").code == 0
    (home / "broken").mkdir()
    whole = index(home / "broken/trivy-java.db", [(sum_of(b"%d" % number), "com.acme", f"a{number}", "1")
                                                  for number in range(5000)])
    data = bytearray(whole.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    whole.write_bytes(data)
    done = run("db", "import", "broken/trivy-java.db")
    assert (done.code, "whole SQLite database" in done.err) == (2, True), done.err
    assert "archives    1 Java archive by their SHA-1" in run("db", "status").out
