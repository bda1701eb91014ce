"""What every store of decisions must do."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard

from custody.adapters.sqlite.database import Database
from custody.adapters.sqlite.decisions import _MIGRATIONS, SqliteDecisions
from custody.errors import CustodyError
from custody.ports.decisions import DecisionSearch, DecisionStore, KeptDecision

MORNING = datetime(2026, 11, 24, 8, tzinfo=UTC)
Make = Callable[[Path], DecisionStore]


@pytest.fixture(params=[SqliteDecisions], ids=["sqlite"])
def make(request: pytest.FixtureRequest) -> Make:
    chosen: Make = request.param
    return chosen


def kept(number: int, **fields: Any) -> KeptDecision:
    return KeptDecision(**{  # type: ignore[arg-type]
        "uid": f"u-{number}", "at": MORNING + timedelta(hours=number), "course": "validating", "operation": "CREATE",
        "kind": "Pod", "namespace": "default", "name": f"web-{number}", "username": "ann", "verdict": "allowed",
        "inputs_digest": f"sha256:{number:064}", "policies_digest": "sha256:p", "body": b"{}" * 10 + bytes([number]),
        "parts": ("p", "q")} | fields)


def test_what_was_kept_is_there_after_a_restart(make: Make, tmp_path: Path) -> None:
    store = make(tmp_path / "decisions.db")
    decisions = [kept(number) for number in range(3)]
    store.keep(decisions, {"p": b"policies", "q": b"evidence"})
    store.keep([kept(3, parts=("p",), reason="why")], {"p": b"policies"})
    again = make(tmp_path / "decisions.db")
    search = list(again.search(DecisionSearch(), newest_first=False))
    assert [(found.uid, found.body, set(found.parts)) for found in search] == [
        (decision.uid, decision.body, {"p", "q"}) for decision in decisions] + [("u-3", kept(3).body, {"p"})]
    assert (search[3].at, search[3].reason) == (MORNING + timedelta(hours=3), "why")
    assert (again.part("p"), again.part("q"), again.part("r")) == (b"policies", b"evidence", None)


@pytest.mark.parametrize(("search", "expected"), [
    (DecisionSearch(), [4, 3, 2, 1, 0]),
    (DecisionSearch(since=MORNING + timedelta(hours=2)), [4, 3, 2]),
    (DecisionSearch(until=MORNING + timedelta(hours=2)), [1, 0]),
    (DecisionSearch(verdict="denied"), [1]),
    (DecisionSearch(kind="Job"), [2]),
    (DecisionSearch(namespace="team"), [3]),
    (DecisionSearch(name="web-0"), [0]),
    (DecisionSearch(username="bob"), [4]),
    (DecisionSearch(course="mutating"), [4]),
    (DecisionSearch(course="mutating", username="ann"), []),
], ids=str)
def test_each_field_selects(make: Make, tmp_path: Path, search: DecisionSearch, expected: list[int]) -> None:
    store = make(tmp_path / "decisions.db")
    store.keep([kept(0), kept(1, verdict="denied"), kept(2, kind="Job"), kept(3, namespace="team"),
                kept(4, username="bob", course="mutating")], {})
    assert [int(decision.uid[2:]) for decision in store.search(search)] == expected
    assert [decision.uid for decision in store.search(search, limit=1)] == [f"u-{number}" for number in expected[:1]]


def test_a_name_is_a_uid_or_the_beginning_of_a_digest(make: Make, tmp_path: Path) -> None:
    store = make(tmp_path / "decisions.db")
    store.keep([kept(1), kept(2), kept(2, course="mutating")], {})
    assert [decision.course for decision in store.named("u-2")] == ["mutating", "validating"]
    assert [decision.uid for decision in store.named(f"sha256:{1:064}")] == ["u-1"]
    assert len(store.named("sha256:0000")) == 3
    assert list(store.named("u-")) == list(store.named("%")) == []


def test_the_old_go_first_and_take_what_only_they_name(make: Make, tmp_path: Path) -> None:
    store = make(tmp_path / "decisions.db")
    store.keep([kept(0, parts=("p",)), kept(1), kept(2, parts=("q",))], {"p": b"P", "q": b"Q"})
    assert store.prune(MORNING + timedelta(hours=1), 1 << 30) == 1
    assert (store.part("p"), store.part("q")) == (b"P", b"Q")
    assert store.prune(MORNING + timedelta(hours=2), 1 << 30) == 1
    assert (store.part("p"), store.part("q")) == (None, b"Q")
    assert store.prune(MORNING, 0) == 1
    assert (list(store.search(DecisionSearch())), store.part("q")) == ([], None)


def test_all_or_none(make: Make, tmp_path: Path) -> None:
    store = make(tmp_path / "decisions.db")
    with pytest.raises((CustodyError, AttributeError, TypeError)):
        store.keep([kept(0), None], {"p": b"P"})  # type: ignore[list-item]
    assert list(store.search(DecisionSearch())) == []
    assert store.part("p") is None


def test_bodies_of_any_size_come_back(make: Make, tmp_path: Path) -> None:
    store = make(tmp_path / "decisions.db")
    sizes = [0, 1, 300_000, 200_000, 60_000, 0, 7, *[9_000] * 99]
    bodies = [bytes([number]) * size for number, size in enumerate(sizes)]
    store.keep([kept(number, body=body) for number, body in enumerate(bodies)], {})
    store.keep([], {})
    store.keep([kept(200, body=b"last")], {})
    again = [(decision.uid, decision.body) for decision in store.search(DecisionSearch())]
    assert again == [("u-200", b"last"), *[(f"u-{number}", body) for number, body in enumerate(bodies)][::-1]]
    assert [decision.body for decision in store.named("u-3")] == [bodies[3]]
    assert store.prune(MORNING + timedelta(hours=4), 1 << 40) == 4
    assert [decision.body for decision in store.search(DecisionSearch(), newest_first=False)] == [*bodies[4:], b"last"]


def test_decisions_that_were_let_go_of_take_no_room(make: Make, tmp_path: Path) -> None:
    store = make(tmp_path / "decisions.db")
    for hour in range(4):
        store.keep([kept(hour, uid=f"u-{hour}-{number}", body=random.Random(number).randbytes(9_000))
                    for number in range(100)], {})
    assert store.prune(MORNING, 2_200_000) == 400
    store.keep([kept(5)], {})
    assert store.prune(MORNING, 2_200_000) == 0


def test_decisions_of_the_first_schema_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "decisions.db"
    database = Database(folder, _MIGRATIONS[:1])
    with database.write() as db:
        db.execute(f"INSERT INTO decision VALUES ({', '.join('?' * 14)})", (
            1, 0, "u-old", "validating", "CREATE", "Pod", "default", "web", "ann", "allowed", "sha256:0", "sha256:p",
            "", zstandard.ZstdCompressor().compress(b"old")))
    database.close()
    store = SqliteDecisions(folder)
    store.keep([kept(number) for number in range(2)], {})
    assert [decision.body for decision in store.search(DecisionSearch(), newest_first=False)] == [
        b"old", kept(0).body, kept(1).body]
    assert store.prune(MORNING, 1 << 40) == 1
    assert [decision.uid for decision in store.search(DecisionSearch())] == ["u-1", "u-0"]
