"""How far inputs were read, where outputs end and which alerts were written: in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from custody.adapters.sqlite.database import Database
from custody.ports.alerting import Marks, Noted, Place

_MIGRATIONS = (
    "CREATE TABLE mark (input TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID; "
    "CREATE TABLE place (output TEXT PRIMARY KEY, device TEXT NOT NULL, inode TEXT NOT NULL, size INTEGER NOT NULL) "
    "WITHOUT ROWID; "
    "CREATE TABLE told (number INTEGER PRIMARY KEY, key TEXT NOT NULL); "
    "CREATE TABLE folded (state BLOB NOT NULL)",)
_KEPT = 65_536


class SqliteNotes:
    """Implements ports.alerting.Notes."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _MIGRATIONS)

    def load(self) -> Noted:
        rows = self._database.rows
        folded = rows("SELECT state FROM folded")
        return Noted(
            {str(name): str(value) for name, value in rows("SELECT input, value FROM mark")},
            {str(name): Place(int(str(device)), int(str(inode)), cast(int, size))
             for name, device, inode, size in rows("SELECT output, device, inode, size FROM place")},
            [str(key) for (key,) in rows("SELECT key FROM told ORDER BY number")],
            cast(bytes, folded[0][0]) if folded else b"")

    def note(self, marks: Marks, places: Mapping[str, Place], keys: Sequence[str], folds: bytes | None) -> None:
        with self._database.write() as db:
            db.executemany("INSERT OR REPLACE INTO mark VALUES (?, ?)", marks.items())
            db.executemany("INSERT OR REPLACE INTO place VALUES (?, ?, ?, ?)",
                           [(name, str(place.device), str(place.inode), place.size)  # beyond 63 bits in some systems
                            for name, place in places.items()])
            if keys:
                db.executemany("INSERT INTO told (key) VALUES (?)", [(key,) for key in keys])
                db.execute("DELETE FROM told WHERE number <= (SELECT MAX(number) FROM told) - ?", (_KEPT,))
            if folds is not None:
                db.execute("DELETE FROM folded")
                db.execute("INSERT INTO folded VALUES (?)", (folds,))

    def close(self) -> None:
        self._database.close()
