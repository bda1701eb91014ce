"""What counted as wrong with an image before it was read otherwise, until somebody was told of the difference."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from custody.adapters.relational import aside
from custody.adapters.relational.engine import Engine, Session
from custody.ports.findings import KeptFinding
from custody.ports.inventory import Component

MIGRATION = "CREATE TABLE former (image TEXT PRIMARY KEY, body {bytes} NOT NULL){clustered}"
_COMPONENT, _FINDING = msgspec.msgpack.Decoder(Component), msgspec.msgpack.Decoder(KeptFinding)
_FORMER = msgspec.msgpack.Decoder(list[tuple[str, KeptFinding]])


def write(session: Session, image: str, number: int) -> None:
    """Before the image of this number is dropped. Of one that nobody was told of yet there is nothing to compare; of
    one that was replaced twice in between, the first counts.
    """
    told = session.execute("SELECT value FROM progress WHERE name = 'image'")
    if not told or int(told[0][0]) < number:
        return
    rows = session.execute(
        "SELECT component.body, finding.body FROM finding JOIN component ON component.id = finding.component WHERE "
        "component.id IN (SELECT member.component FROM member JOIN holds ON holds.bundle = member.bundle WHERE "
        "holds.image = ?)", number)
    decoded = [(_COMPONENT.decode(component).package.purl, _FINDING.decode(finding)) for component, finding in rows]
    silent = aside.read(session, [image]).get(image, {})
    body = msgspec.msgpack.encode([(purl, finding) for purl, finding in decoded
                                   if (purl, finding.vulnerability) not in silent])
    session.execute("INSERT INTO former VALUES (?, ?) ON CONFLICT DO NOTHING", image, body)


def read(engine: Engine, image: str) -> Sequence[tuple[str, KeptFinding]] | None:
    rows = engine.read("SELECT body FROM former WHERE image = ?", image)
    return _FORMER.decode(rows[0][0]) if rows else None
