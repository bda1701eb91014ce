"""Which findings of an image do not count: a row for each image of which some do not."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from custody.adapters.relational import engine as sql
from custody.adapters.relational.engine import Engine, Session
from custody.ports.findings import Aside, Word

MIGRATION = "CREATE TABLE aside (image TEXT PRIMARY KEY, body {bytes} NOT NULL){clustered}"
_BODY = msgspec.msgpack.Decoder(list[tuple[str, str, Word]])


def read(reader: Engine | Session, images: Collection[str] | None) -> dict[str, Aside]:
    query = "SELECT image, body FROM aside"
    ask = reader.execute if hasattr(reader, "execute") else reader.read
    rows = ask(query) if images is None else [row for marks, part in sql.parts(images)
                                              for row in ask(f"{query} WHERE image IN ({marks})", *part)]
    return {image: {(purl, vulnerability): word for purl, vulnerability, word in _BODY.decode(body)}
            for image, body in rows}


def write(session: Session, aside: Mapping[str, Aside]) -> None:
    drop(session, aside)
    session.many("INSERT INTO aside VALUES (?, ?)", [
        (image, msgspec.msgpack.encode([(*key, word) for key, word in sorted(entries.items(), key=lambda row: row[0])]))
        for image, entries in aside.items() if entries])


def drop(session: Session, images: Collection[str]) -> None:
    session.many("DELETE FROM aside WHERE image = ?", [(image,) for image in images])
