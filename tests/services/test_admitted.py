"""Which images were let in: of allowed reviews that change something, and never in a review's way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from custody.adapters.sqlite.inventory import SqliteInventory
from custody.errors import StorageError
from custody.evidence.model import Evidence, EvidenceSet, KeylessSigner, Rejected, State, Verified, seal
from custody.policy.model import Request, Verdict
from custody.policy.phases import Course
from custody.services import admitted as module
from custody.services.admitted import Admitted

NOW = datetime(2026, 11, 29, tzinfo=UTC)
A = "sha256:" + "a" * 64
POD = Request.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}})


def answered(verdict: Verdict = Verdict.ALLOWED, course: Course = Course.VALIDATING, request: Request = POD) -> Any:
    """As much of an Answered as is looked at."""
    return SimpleNamespace(judged=SimpleNamespace(
        request=request, at=course, decision=SimpleNamespace(verdict=verdict),
        evidence={"r/shop:1": EvidenceSet(subject=A), "r/shop": EvidenceSet(subject=A),
                  "r/gone": EvidenceSet(subject="")}))


def test_an_image_that_is_let_in_is_noted_with_its_object(tmp_path: Path) -> None:
    store = SqliteInventory(tmp_path / "i.db")
    notes = Admitted(store, lambda: NOW)
    notes(answered())
    generated = msgspec.structs.replace(POD, name="")
    notes(answered(request=generated))
    notes.flush()
    assert [(row.kind, row.where) for row in store.seen([A])[A] if row.kind == "admission"] == [
        ("admission", "shop/Pod/(generated)"), ("admission", "shop/Pod/web")]


@pytest.mark.parametrize("review", [
    answered(Verdict.DENIED), answered(course=Course.MUTATING), answered(course=Course.BACKGROUND),
    answered(request=msgspec.structs.replace(POD, dry_run=True)),
    answered(request=msgspec.structs.replace(POD, operation="DELETE")), SimpleNamespace(judged=None)])
def test_what_lets_nothing_in_is_not_noted(tmp_path: Path, review: Any) -> None:
    store = SqliteInventory(tmp_path / "i.db")
    notes = Admitted(store, lambda: NOW)
    notes(review)
    notes.flush()
    assert store.seen([A]) == {}


def _signed(kind: str, name: str) -> Verified:
    return seal(Evidence(subject=A, media_type="", data=b"", source=""), kind=kind, predicate_type="", predicate={},
                signer=KeylessSigner(subject=name, issuer="https://i.example"), signed_at=None, log=None)


@pytest.mark.parametrize(("verified", "rejected", "noted"), [
    ([_signed("signature", "ann"), _signed("attestation", "scanner")], None, ["ann (https://i.example)"]),
    ([_signed("attestation", "scanner")], State.UNVERIFIABLE, ["scanner (https://i.example)"]),
    ([], None, [""]), ([], State.FAILED, [""]), ([], State.UNVERIFIABLE, [])])
def test_who_signed_it_is_noted(tmp_path: Path, verified: list[Verified], rejected: State | None, noted: list[str]
                                ) -> None:
    """'' where somebody looked; nothing where nobody could."""
    store = SqliteInventory(tmp_path / "i.db")
    notes = Admitted(store, lambda: NOW)
    review = answered()
    review.judged.evidence["r/shop:1"] = EvidenceSet(subject=A, verified=tuple(verified), rejected=tuple(
        Rejected(subject=A, evidence=None, source="", state=state, reason="") for state in [rejected] if state))
    del review.judged.evidence["r/shop"]
    notes(review)
    notes.flush()
    assert [row.where for row in store.seen([A])[A] if row.kind == "signer"] == noted


def test_it_is_bounded_and_a_full_disk_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAITING", 4)  # two of each review: let in, and signed by nobody
    store = SqliteInventory(tmp_path / "i.db")

    def full(_: object) -> None:
        raise StorageError("no space")

    monkeypatch.setattr(store, "see", full)
    notes = Admitted(store, lambda: NOW)
    for _ in range(3):
        notes(answered())
    assert notes.dropped == 1
    notes.flush()
    assert notes.dropped == 5


def test_what_waits_is_written_when_it_ends(tmp_path: Path) -> None:
    store = SqliteInventory(tmp_path / "i.db")

    async def main() -> None:
        notes = Admitted(store, lambda: NOW)
        task = asyncio.create_task(notes.run())
        await asyncio.sleep(0)
        notes(answered())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert {row.kind for row in store.seen([A])[A]} == {"admission", "signer"}
