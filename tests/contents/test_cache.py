"""The layer cache in SQLite: it may forget, and never mixes up."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from custody.adapters.sqlite.layercache import SqliteLayerCache


def test_keeps_and_replaces(tmp_path: Path) -> None:
    cache = SqliteLayerCache(tmp_path / "l.db")
    assert cache.get("a") is None
    cache.put("a", b"1")
    cache.put("b", b"2")
    cache.put("a", b"3")
    assert (cache.get("a"), SqliteLayerCache(tmp_path / "l.db").get("b")) == (b"3", b"2")


def test_forgets_the_least_recently_used(tmp_path: Path) -> None:
    cache = SqliteLayerCache(tmp_path / "l.db", capacity=3 * 1100)
    blobs = {name: os.urandom(1000) for name in "abcd"}
    for name in "abc":
        cache.put(name, blobs[name])
    assert cache.get("a") == blobs["a"]
    cache.put("d", blobs["d"])
    assert [name for name in "abcd" if cache.get(name) is not None] == ["a", "c", "d"]


def test_a_damaged_value_is_no_value(tmp_path: Path) -> None:
    cache = SqliteLayerCache(tmp_path / "l.db")
    cache.put("a", b"1")
    with sqlite3.connect(tmp_path / "l.db") as db:
        db.execute("UPDATE layer SET value = x'0011'")
    db.close()
    assert cache.get("a") is None


def _spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(4096, len(data), 4096):
        data[place:place + 200] = b"\xff" * 200
    path.write_bytes(data)


@pytest.mark.parametrize(("harm", "why"), [
    (lambda path: path.write_bytes(b"garbage" * 1000), "file is not a database"), (_spoil, "malformed"),
    (lambda path: path.parent.chmod(0o777), "may be written to by everybody"),
    (lambda path: path.chmod(0o666), "may be written to by everybody"),
    (lambda path: (path.unlink(), path.mkdir()), "unable to open")])
def test_a_cache_that_cannot_be_trusted_or_used_is_none_and_that_is_said(
        harm: Callable[[Path], object], why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "c" / "l.db"
    first = SqliteLayerCache(path)
    first.put("a", os.urandom(20_000))
    first._database.close()  # type: ignore[union-attr]
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)
    harm(path)
    cache = SqliteLayerCache(path)
    assert cache.get("a") is None
    cache.put("b", b"1")
    assert cache.get("b") is None
    assert [why in record.getMessage() for record in caplog.records] == [True]


def test_another_users_cache_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         caplog: pytest.LogCaptureFixture) -> None:
    """Who prepares a folder for somebody else's scan would say what is in the image."""
    path = tmp_path / "c" / "l.db"
    SqliteLayerCache(path).put("a", b"1")
    if os.geteuid() == 0:
        os.chown(path, 65534, -1)
    else:
        own = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    assert SqliteLayerCache(path).get("a") is None
    assert "who may have written it" in caplog.text
