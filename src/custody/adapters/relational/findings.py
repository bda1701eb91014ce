"""Findings of components, and their events, in the database of the inventory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

import msgspec

from custody.adapters.relational import aside as set_aside
from custody.adapters.relational import engine as sql
from custody.adapters.relational import former
from custody.adapters.relational.engine import Engine
from custody.ports.findings import Aside, Event, KeptFinding, NumberedEvent

MIGRATION = (
    "CREATE TABLE finding (component BIGINT NOT NULL REFERENCES component ON DELETE CASCADE, "
    "vulnerability TEXT NOT NULL, record TEXT NOT NULL, body {bytes} NOT NULL, "
    "PRIMARY KEY (component, vulnerability, record)){clustered}; "
    "CREATE INDEX finding_vulnerability ON finding (vulnerability); "
    "CREATE TABLE event (id {identity}, at BIGINT NOT NULL, body {bytes} NOT NULL); "
    "CREATE INDEX event_at ON event (at); "
    "CREATE TABLE progress (name TEXT PRIMARY KEY, value TEXT NOT NULL){clustered}")
_TURN = "SELECT value FROM progress WHERE name = 'turn'"
_ENCODER = msgspec.msgpack.Encoder()
_FINDING, _EVENT = msgspec.msgpack.Decoder(KeptFinding), msgspec.msgpack.Decoder(Event)


class RelationalFindings:
    """Findings."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def findings(self, components: Collection[int]) -> Mapping[int, Sequence[KeptFinding]]:
        kept: dict[int, list[KeptFinding]] = defaultdict(list)
        for marks, part in sql.parts(components):
            for component, body in self._engine.read(
                    f"SELECT component, body FROM finding WHERE component IN ({marks})", *part):  # noqa: S608 - question marks
                kept[component].append(_FINDING.decode(body))
        return {component: sorted(rows, key=lambda row: (row.vulnerability, row.record))
                for component, rows in kept.items()}

    def having(self, vulnerability: str) -> Sequence[int]:
        return sorted({row[0] for row in self._engine.read("SELECT component FROM finding WHERE vulnerability = ?",
                                                           sql.text(vulnerability))})

    def replace(self, findings: Mapping[int, Sequence[KeptFinding]], events: Sequence[Event],
                cursors: Mapping[str, str], *, turn: int | None = None, told: Collection[str] = (),
                aside: Mapping[str, Aside] = MappingProxyType({})) -> bool:
        with self._engine.write() as session:
            if turn is not None:
                if _turn(session.execute(_TURN)) != turn:
                    return False
                cursors = {**cursors, "turn": str(turn + 1)}
            there: set[int] = set()
            for marks, part in sql.parts(findings):
                session.execute(f"DELETE FROM finding WHERE component IN ({marks})", *part)  # noqa: S608 - question marks
                there |= {row[0] for row in session.execute(
                    f"SELECT id FROM component WHERE id IN ({marks})", *part)}  # noqa: S608 - question marks
            session.many("INSERT INTO finding VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", [
                (component, sql.text(row.vulnerability), sql.text(row.record), _ENCODER.encode(row))
                for component, rows in findings.items() if component in there for row in rows])
            session.many("INSERT INTO event (at, body) VALUES (?, ?)", [
                (sql.microseconds(event.at), _ENCODER.encode(event)) for event in events])
            session.many("INSERT INTO progress VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                         list(cursors.items()))
            session.many("DELETE FROM former WHERE image = ?", [(image,) for image in told])
            set_aside.write(session, aside)
        return True

    def turn(self) -> int:
        return _turn(self._engine.read(_TURN))

    def former(self, image: str) -> Sequence[tuple[str, KeptFinding]] | None:
        return former.read(self._engine, image)

    def aside(self, images: Collection[str] | None = None) -> Mapping[str, Aside]:
        return set_aside.read(self._engine, images)

    def cursor(self, name: str) -> str:
        rows = self._engine.read("SELECT value FROM progress WHERE name = ?", name)
        return str(rows[0][0]) if rows else ""

    def events(self, after: int, most: int) -> Sequence[NumberedEvent]:
        return [NumberedEvent(number, _EVENT.decode(body)) for number, body in self._engine.read(
            "SELECT id, body FROM event WHERE id > ? ORDER BY id LIMIT ?", after, most)]

    def prune(self, before: datetime) -> int:
        with self._engine.write() as session:
            gone = len(session.execute("DELETE FROM event WHERE at < ? RETURNING id", sql.microseconds(before)))
            today = str(before.date())
            if session.execute("SELECT value FROM progress WHERE name = 'tidied'") != [(today,)]:
                session.execute("DELETE FROM path WHERE id NOT IN (SELECT path FROM member)")
                session.execute("INSERT INTO progress VALUES ('tidied', ?) ON CONFLICT (name) DO UPDATE SET value = "
                                "excluded.value", today)
        return gone


def _turn(rows: Sequence[sql.Row]) -> int:
    return int(rows[0][0]) if rows else 0
