"""Nix's database beside its store: edges of paths that are there, and databases that lie."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.sbom.catalog import catalog
from custody.sbom.catalogers import read
from tests.contents.images import image

SCHEMA = (
    "CREATE TABLE ValidPaths (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, path TEXT UNIQUE NOT NULL, "
    "hash TEXT NOT NULL, registrationTime INTEGER NOT NULL, deriver TEXT, narSize INTEGER, ultimate INTEGER, "
    "sigs TEXT, ca TEXT); CREATE TABLE Refs (referrer INTEGER NOT NULL, reference INTEGER NOT NULL, "
    "PRIMARY KEY (referrer, reference)); CREATE INDEX IndexReferrer ON Refs (referrer)")
"""The columns of Nix 2.24."""
H = "0c3bw1jwp1f1yd2gf4x5yxr4y5vfzq8h"
CURL, OPENSSL, DEV, SOURCE = (f"{H}-curl-8.9.1-bin", f"{H}-openssl-3.0.14", f"{H}-openssl-3.0.14-dev", f"{H}-source")


def database(folder: Path, paths: Sequence[str], refs: Sequence[tuple[int, int]]) -> bytes:
    file = folder / "db.sqlite"
    file.unlink(missing_ok=True)
    with sqlite3.connect(file) as connection:
        connection.executescript(SCHEMA)
        connection.executemany("INSERT INTO ValidPaths (path, hash, registrationTime, deriver) VALUES (?, ?, 1, ?)", [
            (f"/nix/store/{path}", "sha256:" + "a" * 64, f"/nix/store/{path}.drv") for path in paths])
        connection.executemany("INSERT INTO Refs VALUES (?, ?)", refs)
    connection.close()
    return file.read_bytes()


def test_edges_of_the_paths_that_are_there(tmp_path: Path) -> None:
    data = database(tmp_path, [CURL, OPENSSL, DEV, SOURCE, f"{H}-x-1.0.drv"], [(1, 1), (1, 2), (3, 2), (3, 4)])
    members = [("nix/var/nix/db/db.sqlite", data), *((f"nix/store/{path}/a", b"x") for path in (
        CURL, OPENSSL, DEV, SOURCE))]
    result = catalog(image(tmp_path / "i", members))
    curl, dev, openssl = result.packages
    assert (curl.purl, openssl.name, dev.version) == (
        f"pkg:nix/curl@8.9.1?output=bin&outputhash={H}", "openssl", "3.0.14")
    assert (curl.requires, openssl.requires, dev.requires) == ((openssl.purl,), (), (openssl.purl,))
    assert [place.path for place in curl.locations] == ["nix/store/" + CURL + "/a", "nix/var/nix/db/db.sqlite"]
    assert [(row.kind, row.count) for row in result.unknowns] == [("Nix store path", 1)]


def test_a_journal_is_a_gap(tmp_path: Path) -> None:
    data = database(tmp_path, [CURL], [])
    result = catalog(image(tmp_path / "i", [("nix/var/nix/db/db.sqlite", data),
                                            ("nix/var/nix/db/db.sqlite-wal", b"\x37\x7f\x06\x82")]))
    assert [row.kind for row in result.unknowns] == ["Nix database whose last changes are in a journal"]
    result = catalog(image(tmp_path / "j", [("nix/var/nix/db/db.sqlite", data), ("nix/var/nix/db/db.sqlite-wal", b"")]))
    assert (len(result.packages), result.unknowns) == (1, ())


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"x" * 5000])
def test_what_is_no_database(content: bytes) -> None:
    (fact,) = read("Nix database", "nix/var/nix/db/db.sqlite", io.BytesIO(content))
    assert fact.name == "unreadable Nix database file"


@given(st.integers(0, 20_000), st.binary(min_size=1, max_size=30))
def test_any_bytes_in_one(tmp_path_factory: pytest.TempPathFactory, place: int, more: bytes) -> None:
    content = bytearray(database(tmp_path_factory.mktemp("nix"), [CURL, OPENSSL], [(1, 2)]))
    content[place:place + len(more)] = more
    read("Nix database", "nix/var/nix/db/db.sqlite", io.BytesIO(bytes(content)))


def test_paths_that_lie(tmp_path: Path) -> None:
    """One that climbs, one without a version, and references to nobody."""
    data = database(tmp_path, ["../../etc/passwd-1.0", "a/b-1.0", SOURCE, CURL], [(4, 3), (4, 1), (99, 98)])
    (fact,) = read("Nix database", "nix/var/nix/db/db.sqlite", io.BytesIO(data))
    assert (fact.name, fact.requires) == ("curl", ("../../etc/passwd-1.0", SOURCE))  # names that resolve to nothing
