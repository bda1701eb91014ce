"""Who is verified first, and that a document costs only itself."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from custody.evidence.model import Evidence, Rejected
from custody.services import verify, verifying
from custody.services.verify import Terms, judge
from custody.services.verifying import Share, Verifying, memory_of
from custody.sign.verify import Trust
from tests.sign.authority import IMAGE, NOW

TERMS = Terms(Trust())


def item(name: str, size: int = 10) -> Evidence:
    return Evidence(subject=IMAGE, media_type="x", data=name.encode().ljust(size), source=name)


def rejected(name: str) -> Rejected:
    return Rejected(subject=IMAGE, evidence=None, source=name, state="failed", reason="x")  # type: ignore[arg-type]


def test_who_has_had_least_goes_first_and_small_before_large(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    begun, go = threading.Event(), threading.Event()

    def judged(evidence: Evidence, *_: Any) -> Rejected:
        order.append(evidence.source)
        begun.set()
        assert go.wait(10)
        return rejected(evidence.source)

    monkeypatch.setattr(verifying, "judge", judged)

    async def main() -> None:
        lane, greedy, fresh = Verifying(1), Share(), Share()
        greedy.had = 5.0

        def ask(share: Share, document: Evidence) -> asyncio.Task[Any]:
            return asyncio.create_task(lane.verify(share, document, TERMS, lambda: NOW))

        tasks = [ask(greedy, item("first"))]
        await asyncio.to_thread(begun.wait, 10)
        tasks += [ask(greedy, item("greedy again")), ask(fresh, item("large", 2 << 20)), ask(fresh, item("small")),
                  ask(fresh, item("given up"))]
        await asyncio.sleep(0)
        tasks[-1].cancel()
        go.set()
        await asyncio.gather(*tasks[:-1])

    asyncio.run(main())
    assert order == ["first", "small", "large", "greedy again"]


def test_one_large_document_at_a_time_beside_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[str] = []
    most = {"large": 0}
    lock, small = threading.Lock(), threading.Event()

    def judged(evidence: Evidence, *_: Any) -> Rejected:
        with lock:
            running.append(evidence.source)
            most["large"] = max(most["large"], running.count("large"))
        if evidence.source == "large":
            assert small.wait(10)  # the small one is verified while a large one is under way
        else:
            small.set()
        with lock:
            running.remove(evidence.source)
        return rejected(evidence.source)

    monkeypatch.setattr(verifying, "judge", judged)

    async def main() -> None:
        lane = Verifying(2)
        await asyncio.gather(*(lane.verify(Share(), item(name, size), TERMS, lambda: NOW) for name, size in (
            ("large", 1 << 20), ("large", 1 << 20), ("small", 10))))

    asyncio.run(main())
    assert most == {"large": 1}


def test_a_fault_of_the_verifier_rejects_that_document(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise ValueError("secret of the document")

    monkeypatch.setattr(verify, "verify_evidence", fails)
    judged = judge(item("d"), TERMS, NOW)
    assert isinstance(judged, Rejected)
    assert (judged.state, judged.reason) == ("unverifiable", "verifying it failed with ValueError")


def test_memory_is_not_underestimated() -> None:
    value: Any = [[] for _ in range(1000)]
    assert memory_of(_with(value)) > 1000 * 64
    assert memory_of(_with({"a": "x" * 5000})) > 5000


def _with(predicate: Any) -> Any:
    from custody.evidence.model import KeySigner, Verified

    return Verified(subject=IMAGE, evidence="e", source="s", kind="attestation", predicate_type="t",
                    predicate=predicate, signer=KeySigner(fingerprint="f"), signed_at=None, log=None)
