"""Nix's database beside its store: edges of paths that are there, and databases that lie."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.sbom.catalog import catalog
from custody.sbom.catalogers import read
from tests.contents.images import image
from tests.contents.nixdb import CURL, DEV, OPENSSL, SOURCE, H, serialized


def test_edges_of_the_paths_that_are_there(tmp_path: Path) -> None:
    data = serialized([CURL, OPENSSL, DEV, SOURCE, f"{H}-x-1.0.drv"], [(1, 1), (1, 2), (3, 2), (3, 4)])
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
    data = serialized([CURL], [])
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
def test_any_bytes_in_one(place: int, more: bytes) -> None:
    content = bytearray(serialized([CURL, OPENSSL], [(1, 2)]))
    content[place:place + len(more)] = more
    read("Nix database", "nix/var/nix/db/db.sqlite", io.BytesIO(bytes(content)))


def test_paths_that_lie(tmp_path: Path) -> None:
    """One that climbs, one without a version, and references to nobody."""
    data = serialized(["../../etc/passwd-1.0", "a/b-1.0", SOURCE, CURL], [(4, 3), (4, 1), (99, 98)])
    (fact,) = read("Nix database", "nix/var/nix/db/db.sqlite", io.BytesIO(data))
    assert (fact.name, fact.requires) == ("curl", ("../../etc/passwd-1.0", SOURCE))  # names that resolve to nothing
