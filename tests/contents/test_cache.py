"""The layer cache in SQLite: it may forget, and never mixes up."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

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
