"""What `ports.queue` promises, of SQLite's adapter and of PostgreSQL's; two workers, one of which is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from custody.adapters.relational.queue import RelationalQueue
from custody.adapters.sqlite.queue import SqliteQueue
from tests import postgres

NOW = datetime(2026, 11, 29, tzinfo=UTC)
SOON = NOW + timedelta(minutes=1)
Make = Callable[[], RelationalQueue]
WORKER = """
import sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
kind, place, out, pause = sys.argv[1:]
if kind == "postgres":
    from custody.adapters.postgres.queue import PostgresQueue as Queue
else:
    from custody.adapters.sqlite.queue import SqliteQueue as Queue
    place = Path(place)
queue, out = Queue(place), Path(out)
print("ready", flush=True)
while queue.waiting("work"):
    now = datetime.now(UTC)
    job = queue.take("work", now, now + timedelta(seconds=1.5))
    if job is None:
        time.sleep(0.05)
        continue
    time.sleep(float(pause))
    (out / job.key).write_bytes(job.body)
    if queue.done(job):
        with (out.parent / "done").open("a") as lines:
            lines.write(job.key + chr(10))
"""


@pytest.fixture(name="place", params=["sqlite", "postgres"])
def _place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    if request.param == "postgres":
        return "postgres", postgres.database(request.getfixturevalue("server"))
    return "sqlite", str(tmp_path / "queue.db")


@pytest.fixture(name="make")
def _make(place: tuple[str, str]) -> Iterator[Make]:
    opened: list[RelationalQueue] = []

    def made() -> RelationalQueue:
        if place[0] == "postgres":
            from custody.adapters.postgres.queue import PostgresQueue

            opened.append(PostgresQueue(place[1]))
        else:
            opened.append(SqliteQueue(Path(place[1])))
        return opened[-1]

    yield made
    for queue in opened:
        queue.close()


def test_a_job_is_put_once_and_taken_by_one(make: Make) -> None:
    queue = make()
    assert queue.put("k", "one", b"x", NOW)
    assert not queue.put("k", "one", b"y", NOW)
    job = make().take("k", NOW, SOON)
    assert job is not None
    assert (job.key, job.body, job.attempts) == ("one", b"x", 1)
    assert queue.take("k", NOW, SOON) is None
    assert queue.done(job)
    assert not queue.done(job)
    assert not queue.put("k", "one", b"y", NOW)
    assert (queue.waiting("k"), queue.take("k", SOON, SOON)) == (0, None)


def test_what_is_due_longest_comes_first_and_nothing_before_its_time(make: Make) -> None:
    queue = make()
    queue.put("k", "later", b"", SOON)
    queue.put("k", "now", b"", NOW)
    queue.put("other", "else", b"", NOW)
    keys = [job.key for job in iter(lambda: queue.take("k", NOW, SOON), None)]
    assert keys == ["now"]
    assert queue.waiting("k") == 2


def test_a_lease_that_is_over_is_lost(make: Make) -> None:
    queue = make()
    queue.put("k", "one", b"", NOW)
    first = queue.take("k", NOW, SOON)
    second = queue.take("k", SOON, SOON + timedelta(minutes=1))
    assert first is not None
    assert second is not None
    assert second.attempts == 2
    assert not queue.done(first)
    assert not queue.again(first, NOW, "")
    assert not queue.bury(first, "")
    assert queue.done(second)


def test_one_that_is_hastened_is_taken_again_after_who_has_it(make: Make) -> None:
    """What it was begun with may be old by then; two never work on it at a time."""
    queue = make()
    queue.put("k", "one", b"", NOW + timedelta(days=1))
    assert queue.hasten("k", "one", NOW)
    assert not queue.hasten("k", "another", NOW)
    job = queue.take("k", NOW, SOON)
    assert job is not None
    assert queue.hasten("k", "one", NOW)
    assert queue.take("k", NOW, SOON) is None
    assert not queue.again(job, NOW + timedelta(days=1), "")
    job = queue.take("k", SOON, SOON + timedelta(minutes=1))
    assert job is not None
    assert queue.done(job)
    assert not queue.hasten("k", "one", NOW)


def test_again_buried_and_revived(make: Make) -> None:
    queue = make()
    queue.put("k", "one", b"", NOW)
    job = queue.take("k", NOW, SOON)
    assert job is not None
    assert queue.again(job, SOON, "refused")
    assert queue.take("k", NOW, SOON) is None
    job = queue.take("k", SOON, SOON)
    assert job is not None
    assert queue.bury(job, "refused twice")
    assert [row[2:] for row in queue.buried()] == [("one", 2, "refused twice")]
    assert not queue.revive(job.number + 1, NOW)
    assert queue.revive(job.number, NOW)
    job = queue.take("k", NOW, SOON)
    assert job is not None
    assert (job.attempts, queue.buried()) == (1, [])


def test_those_that_are_done_are_forgotten(make: Make) -> None:
    queue = make()
    for key in ("one", "two"):
        queue.put("k", key, b"", NOW)
    job = queue.take("k", NOW, SOON)
    assert job is not None
    queue.done(job)
    assert queue.prune(NOW) == 0
    assert queue.prune(SOON) == 1
    assert queue.waiting("k") == 1
    assert queue.put("k", "one", b"", NOW)


def test_two_workers_one_killed_in_the_middle_every_job_done_once(make: Make, place: tuple[str, str],
                                                                  tmp_path: Path) -> None:
    queue, out = make(), tmp_path / "out"
    out.mkdir()
    for number in range(30):
        queue.put("work", f"j{number}", str(number).encode(), NOW)

    def begin(pause: str) -> subprocess.Popen[str]:
        worker = subprocess.Popen([sys.executable, "-c", WORKER, *place, str(out), pause], stdout=subprocess.PIPE,
                                  text=True, env=dict(os.environ))
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        return worker

    slow = begin("0.3")
    while not (tmp_path / "done").exists():
        time.sleep(0.02)
    slow.send_signal(signal.SIGKILL)  # it holds a job, is about to take one, or has not yet told of the one it did
    slow.wait()
    assert slow.stdout is not None
    slow.stdout.close()
    second = begin("0")
    assert second.wait(60) == 0
    assert second.stdout is not None
    second.stdout.close()
    told = (tmp_path / "done").read_text().split()
    assert len(told) == len(set(told))
    assert len(told) >= 29  # the killed worker may have died before it told of one
    assert set(told) <= {f"j{number}" for number in range(30)}
    assert not queue.waiting("work")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        f"j{number}": str(number).encode() for number in range(30)}
