"""Jobs in a table."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from custody.adapters.relational import engine as sql
from custody.adapters.relational.engine import Dialect, Engine
from custody.ports.queue import Buried, Job

MIGRATIONS = (
    "CREATE TABLE job (id {identity}, kind TEXT NOT NULL, key TEXT NOT NULL, body {bytes} NOT NULL, "
    "due BIGINT NOT NULL, attempts INTEGER NOT NULL, held BIGINT NOT NULL, lease TEXT NOT NULL, state TEXT NOT NULL, "
    "reason TEXT NOT NULL, UNIQUE (kind, key)); CREATE INDEX job_due ON job (state, kind, due)",)


class RelationalQueue:
    """Queue."""

    def __init__(self, engine: Engine, dialect: Dialect) -> None:
        self._engine = engine
        self._take = (
            "UPDATE job SET held = ?, lease = ?, attempts = attempts + 1 WHERE id = (SELECT id FROM job WHERE "  # noqa: S608 - constants
            f"state = 'waiting' AND kind = ? AND due <= ? AND held <= ? ORDER BY due, id LIMIT 1{dialect.skipping}) "
            "RETURNING id, key, body, attempts")

    def put(self, kind: str, key: str, body: bytes, due: datetime) -> bool:
        return bool(self._write("INSERT INTO job (kind, key, body, due, attempts, held, lease, state, reason) VALUES "
                                "(?, ?, ?, ?, 0, 0, '', 'waiting', '') ON CONFLICT DO NOTHING RETURNING id",
                                sql.text(kind), sql.text(key), body, sql.microseconds(due)))

    def take(self, kind: str, now: datetime, until: datetime) -> Job | None:
        lease = uuid.uuid4().hex
        moment = sql.microseconds(now)
        rows = self._write(self._take, sql.microseconds(until), lease, sql.text(kind), moment, moment)
        return Job(rows[0][0], rows[0][1], bytes(rows[0][2]), rows[0][3], lease) if rows else None

    def hasten(self, kind: str, key: str, due: datetime) -> bool:
        return bool(self._write("UPDATE job SET due = ?, lease = '' WHERE kind = ? AND key = ? AND state = 'waiting' "
                                "RETURNING id", sql.microseconds(due), sql.text(kind), sql.text(key)))

    def done(self, job: Job) -> bool:
        return self._mine(job, "state = 'done', body = ?", b"")

    def again(self, job: Job, due: datetime, reason: str) -> bool:
        return self._mine(job, "held = 0, due = ?, reason = ?", sql.microseconds(due), sql.text(reason))

    def bury(self, job: Job, reason: str) -> bool:
        return self._mine(job, "state = 'buried', reason = ?", sql.text(reason))

    def buried(self) -> Sequence[Buried]:
        return [Buried(*row) for row in self._engine.read(
            "SELECT id, kind, key, attempts, reason FROM job WHERE state = 'buried' ORDER BY id")]

    def revive(self, number: int, due: datetime) -> bool:
        return bool(self._write("UPDATE job SET state = 'waiting', held = 0, attempts = 0, due = ? WHERE id = ? AND "
                                "state = 'buried' RETURNING id", sql.microseconds(due), number))

    def waiting(self, kind: str) -> int:
        ((count,),) = self._engine.read("SELECT count(*) FROM job WHERE state = 'waiting' AND kind = ?",
                                        sql.text(kind))
        return int(count)

    def prune(self, before: datetime) -> int:
        return len(self._write("DELETE FROM job WHERE state = 'done' AND due < ? RETURNING id",
                               sql.microseconds(before)))

    def close(self) -> None:
        self._engine.close()

    def _mine(self, job: Job, changes: str, *values: object) -> bool:
        """Whether the lease still counted."""
        return bool(self._write(f"UPDATE job SET {changes} WHERE id = ? AND lease = ? AND state = 'waiting' "  # noqa: S608 - constants
                                "RETURNING id", *values, job.number, job.lease))

    def _write(self, statement: str, *values: object) -> list[sql.Row]:
        with self._engine.write() as session:
            return session.execute(statement, *values)
