"""Makes RPM headers, and databases of them as rpm, SQLite and Berkeley DB write them."""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Mapping, Sequence

from custody.formats import rpmheader

Value = str | Sequence[str] | int | Sequence[int]


def header(name: str = "openssl-libs", version: str = "3.0.7", release: str = "24.el9", **more: Value) -> bytes:
    """`more` by the names of `custody.formats.rpmheader`; `files` are paths."""
    tags: dict[int, Value] = {rpmheader.NAME: name, rpmheader.VERSION: version, rpmheader.RELEASE: release}
    paths = more.pop("files", ())
    assert not isinstance(paths, (str, int))
    if paths:
        split = [str(path).rpartition("/") for path in paths]
        folders = list(dict.fromkeys(f"{folder}/" for folder, _, _ in split))
        tags |= {rpmheader.DIRNAMES: folders, rpmheader.BASENAMES: [base for _, _, base in split],
                 rpmheader.DIRINDEXES: [folders.index(f"{folder}/") for folder, _, _ in split]}
    return blob(tags | {getattr(rpmheader, key): value for key, value in more.items()})


def blob(tags: Mapping[int, Value]) -> bytes:
    index, data = b"", b""
    for tag, value in sorted(tags.items()):
        if isinstance(value, str):
            kind, count, packed = 6, 1, value.encode() + b"\0"
        elif isinstance(value, int) or (value and isinstance(value[0], int)):
            numbers = [value] if isinstance(value, int) else list(value)
            data += bytes(-len(data) % 4)
            kind, count, packed = 4, len(numbers), struct.pack(f">{len(numbers)}I", *numbers)
        else:
            kind, count, packed = 8, len(value), b"".join(str(text).encode() + b"\0" for text in value)
        index += struct.pack(">IIII", tag, kind, len(data), count)
        data += packed
    return struct.pack(">II", len(index) // 16, len(data)) + index + data


def sqlite(headers: Sequence[bytes], page: int = 4096) -> bytes:
    """`rpmdb.sqlite`."""
    with sqlite3.connect(":memory:") as database:
        database.execute(f"PRAGMA page_size = {page}")
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
        database.execute("CREATE TABLE Name (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
        database.executemany("INSERT INTO Packages (blob) VALUES (?)", [(data,) for data in headers])
        database.commit()
        return database.serialize()


def ndb(headers: Sequence[bytes]) -> bytes:
    """`Packages.db`; every third slot is free."""
    slots, blobs, place = b"", b"", 4096
    for number, data in enumerate(headers, 1):
        whole = struct.pack("<4s3I", b"BlbS", number, 1, len(data)) + data
        whole += bytes(-(len(whole) + 12) % 16) + struct.pack("<II4s", zlib.adler32(data), len(data), b"BlbE")
        slots += struct.pack("<4s3I", b"Slot", number, place // 16, len(whole) // 16)
        slots += struct.pack("<4s3I", b"Slot", 0, 0, 0) if number % 3 == 0 else b""
        blobs += whole
        place += len(whole)
    slots += struct.pack("<4s3I", b"Slot", 0, 0, 0) * (254 - len(slots) // 16)
    return struct.pack("<4s7I", b"RpmP", 0, 1, 1, len(headers) + 1, 0, 0, 0) + slots + blobs
