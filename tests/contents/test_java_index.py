"""Java archives told by their SHA-1, by an index as trivy-java-db makes it, and what is no such index."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sqlite3
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.contents.images import image
from tests.contents.jars import jar
from tests.contents.test_db_update import Run, _run  # noqa: F401 - the fixture `run`
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
    assert "1 Java archives" in run("db", "import", "java-db").err
    with tarfile.open(home / "javadb.tar.gz", "w:gz") as archive:
        for name in ("trivy-java.db", "metadata.json"):
            content = (folder / name).read_bytes()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    assert "1 Java archives" in run("db", "import", "javadb.tar.gz").err
    assert "archives    1 Java archives by their SHA-1" in run("db", "status").out
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
    assert (done.code, "1 Java archives" in done.err) == (0, True), done.err


def test_rows_that_are_no_artifact_are_said(home: Path, run: Run) -> None:
    index(home / "trivy-java.db", [(b"short", "com.acme", "a", "1"), (sum_of(b"b"), "com.acme", "../b", "1"),
                                   (sum_of(b"c"), "com.acme", "c", "1")])
    done = run("db", "import", "trivy-java.db")
    assert "1 Java archives" in done.err
    assert "got 5 bytes for com.acme:a:1, expected a SHA-1" in done.err
    assert "com.acme:../b:1" in done.err


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
    assert "archives    1 Java archives by their SHA-1" in run("db", "status").out
