"""Databases of Nix, as its store has them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

SCHEMA = (
    "CREATE TABLE ValidPaths (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, path TEXT UNIQUE NOT NULL, "
    "hash TEXT NOT NULL, registrationTime INTEGER NOT NULL, deriver TEXT, narSize INTEGER, ultimate INTEGER, "
    "sigs TEXT, ca TEXT); CREATE TABLE Refs (referrer INTEGER NOT NULL, reference INTEGER NOT NULL, "
    "PRIMARY KEY (referrer, reference)); CREATE INDEX IndexReferrer ON Refs (referrer)")
"""The columns of Nix 2.24."""
H = "0c3bw1jwp1f1yd2gf4x5yxr4y5vfzq8h"
CURL, OPENSSL, DEV, SOURCE = (f"{H}-curl-8.9.1-bin", f"{H}-openssl-3.0.14", f"{H}-openssl-3.0.14-dev", f"{H}-source")


def serialized(paths: Sequence[str], refs: Sequence[tuple[int, int]]) -> bytes:
    with sqlite3.connect(":memory:") as connection:
        connection.executescript(SCHEMA)
        connection.executemany("INSERT INTO ValidPaths (path, hash, registrationTime, deriver) VALUES (?, ?, 1, ?)", [
            (f"/nix/store/{path}", "sha256:" + "a" * 64, f"/nix/store/{path}.drv") for path in paths])
        connection.executemany("INSERT INTO Refs VALUES (?, ?)", refs)
        connection.commit()
        return connection.serialize()
