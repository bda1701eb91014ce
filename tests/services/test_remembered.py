"""With the registry gone, what was gathered before counts: as long as the settings say, and never in place of a no."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.sqlite.evidence import SqliteEvidence
from custody.errors import AuthenticationError, CustodyError, NetworkError, NotFoundError, StorageFullError
from custody.evidence.model import EvidenceSet
from custody.policy.decide import decide
from custody.policy.model import Context, Request, Verdict
from custody.ports.evidence import KeptEvidence
from custody.services import remembered
from custody.services.gather import Gatherer
from custody.services.remembered import Remembered
from tests.policy.test_images import DIGEST, IMAGE, NOW, keyless, pod, policies, statement
from tests.services.test_gather import gatherer, signed
from tests.serving import served
from tests.sign.authority import IMAGE as SIGNED

KNOWN = EvidenceSet(subject=DIGEST, verified=(statement(),))
HOUR = timedelta(hours=1)


class Registry:
    """What a gatherer would get of it."""

    def __init__(self) -> None:
        self.answer: EvidenceSet | CustodyError | None = KNOWN
        self.asked = 0

    def __call__(self) -> Coroutine[Any, Any, EvidenceSet]:
        return self._collect()

    async def _collect(self) -> EvidenceSet:
        self.asked += 1
        if self.answer is None:  # a host that says nothing
            await asyncio.sleep(60)
        if isinstance(self.answer, CustodyError):
            raise self.answer
        assert self.answer is not None
        return self.answer


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def remembering(folder: Path, clock: Clock) -> Remembered:
    return Remembered(SqliteEvidence(folder / "evidence.db"), clock, HOUR)


async def ask(memory: Remembered, registry: Registry, key: str = "k") -> EvidenceSet:
    return await memory.gather(key, "ghcr.io", registry)


def test_what_was_gathered_counts_within_the_budget(tmp_path: Path) -> None:
    clock, registry = Clock(), Registry()

    async def main() -> None:
        assert await ask(remembering(tmp_path, clock), registry) == KNOWN
        registry.answer = NetworkError("ghcr.io: connection refused")
        memory = remembering(tmp_path, clock)  # another process over the same folder
        clock.now += HOUR
        stale = await ask(memory, registry)
        assert (stale.verified, stale.stale_since) == (KNOWN.verified, clock.now - HOUR)
        assert stale.stale_reason == "ghcr.io: connection refused"
        clock.now += timedelta(microseconds=1)
        with pytest.raises(NetworkError, match="connection refused"):
            await ask(memory, registry)
        with pytest.raises(NetworkError, match="connection refused"):  # another digest was never seen
            await ask(memory, registry, "other")

    asyncio.run(main())


@pytest.mark.parametrize("answer", [NotFoundError("ghcr.io/app: not found"), AuthenticationError("ghcr.io: 401"),
                                    CustodyError("too large")], ids=lambda answer: type(answer).__name__)
def test_what_the_registry_says_counts_as_it_is_said(tmp_path: Path, answer: CustodyError) -> None:
    clock, registry = Clock(), Registry()

    async def main() -> None:
        memory = remembering(tmp_path, clock)
        await ask(memory, registry)
        registry.answer = answer
        with pytest.raises(type(answer)):
            await ask(memory, registry)
        registry.answer = EvidenceSet(subject=DIGEST)  # somebody deleted the signature
        assert (await ask(memory, registry)).verified == ()
        registry.answer = NetworkError("down")
        assert (await ask(memory, registry)).verified == ()

    asyncio.run(main())


def test_a_host_that_is_down_is_asked_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_PATIENCE", 0.2)
    monkeypatch.setattr(remembered, "_DOWN", 0.3)
    clock, registry = Clock(), Registry()

    async def main() -> None:
        memory = remembering(tmp_path, clock)
        await ask(memory, registry)
        registry.answer = None
        assert (await ask(memory, registry)).stale_reason == "ghcr.io did not answer within 0.2 s"
        before = registry.asked
        for _ in range(50):
            assert (await ask(memory, registry)).stale_reason == "ghcr.io did not answer a moment ago"
        assert registry.asked == before  # no socket
        registry.answer = EvidenceSet(subject=DIGEST)
        await asyncio.sleep(0.4)
        for task in list(memory._asking.values()):  # what waits for the silent host ends some time
            task.cancel()
        await asyncio.sleep(0)
        assert (await ask(memory, registry)).stale_since is not None  # and finds out
        await asyncio.sleep(0.05)
        assert (await ask(memory, registry)).stale_since is None

    asyncio.run(main())


def test_a_decision_on_stale_evidence_says_so() -> None:
    stale = EvidenceSet(subject=DIGEST, verified=(statement(),), stale_since=NOW, stale_reason="ghcr.io: refused")
    request = Request.create(pod(IMAGE), "default")
    fresh = decide(request, {IMAGE: KNOWN}, policies(**keyless()), Context(now=NOW))
    decision = decide(request, {IMAGE: stale}, policies(**keyless()), Context(now=NOW))
    assert decision.verdict is fresh.verdict is Verdict.ALLOWED
    assert decision.inputs_digest != fresh.inputs_digest
    assert any("is of 2026-11-24" in warning and "ghcr.io: refused" in warning for warning in decision.warnings)
    assert not fresh.warnings


def test_a_store_that_takes_or_gives_nothing_changes_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteEvidence(tmp_path / "evidence.db")
    memory, registry = Remembered(store, Clock(), HOUR), Registry()

    def full(*_: object) -> None:
        raise StorageFullError("index: full")

    store.put("k", KeptEvidence(Clock()(), b"no JSON"))
    assert asyncio.run(ask(memory, registry)) == KNOWN
    monkeypatch.setattr(store, "put", full)
    assert asyncio.run(ask(memory, registry)) == KNOWN


def test_the_oldest_go_first(tmp_path: Path) -> None:
    store = SqliteEvidence(tmp_path / "evidence.db")
    for hour in range(4):
        store.put(f"k{hour}", KeptEvidence(NOW + hour * HOUR, bytes([hour]) * 10))
    assert store.prune(NOW + HOUR, 1 << 20) == 1
    assert store.get("k0") is None
    assert store.prune(NOW, 50) >= 1
    assert store.get("k3") == KeptEvidence(NOW + 3 * HOUR, bytes([3]) * 10)
    assert store.get("k1") is None


def test_a_gatherer_admits_with_its_registry_gone(tmp_path: Path) -> None:
    store = SqliteEvidence(tmp_path / "evidence.db")

    async def once(name: str, keys: tuple[bytes, ...] = ()) -> EvidenceSet:
        async with gatherer(remembered=Remembered(store, lambda: NOW, HOUR)) as source:
            assert isinstance(source, Gatherer)
            return (await source.gather([name], keys))[name]

    with served(signed()) as url:
        name = f"{url.removeprefix('http://')}/app@{SIGNED}"
        before = asyncio.run(once(name))
        assert len(before.verified) == 1
    begun = time.monotonic()
    after = asyncio.run(once(name))
    assert (after.verified, after.stale_since) == (before.verified, NOW)
    assert time.monotonic() - begun < 5
    other_keys = asyncio.run(once(name, (b"-----BEGIN PUBLIC KEY-----",)))
    assert not other_keys.verified  # what was verified with these keys says nothing about those
