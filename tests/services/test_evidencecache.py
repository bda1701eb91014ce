"""What is kept: for a while, within bytes, once for all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from custody.errors import NetworkError
from custody.services.evidencecache import EvidenceCache


def cache(**options: Any) -> EvidenceCache:
    return EvidenceCache(**{"keep": 60.0, "keep_errors": 60.0, "max_bytes": 1000, **options})


class Asked:
    """Work that counts how often it is begun, and waits for `go` where it is given."""

    def __init__(self, result: Any = "x", go: asyncio.Event | None = None) -> None:
        self.begun = self.cancelled = 0
        self._result, self._go = result, go

    async def __call__(self) -> Any:
        self.begun += 1
        try:
            if self._go is not None:
                await self._go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


def size(of: int) -> Callable[[Any], int]:
    return lambda _: of


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def test_evidence_is_never_let_go() -> None:
    async def main() -> None:
        kept = cache(keep=0.2)
        for key in range(5):
            await kept.get(key, Asked(), size(100))
        assert (kept.size, len(kept._kept)) == (500, 5)
        await asyncio.sleep(1.5)  # nobody asks, and yet it leaves
        assert not kept._kept
        assert kept.size == 0

    run(main)


def test_kept_within_bytes_and_the_least_used_leaves() -> None:
    async def main() -> None:
        kept = cache()
        first, second = Asked(), Asked()
        await kept.get(1, first, size(400))
        await kept.get(2, second, size(400))
        await kept.get(1, first, size(400))
        await kept.get(3, Asked(), size(400))
        assert kept.size == 800
        await kept.get(1, first, size(400))
        await kept.get(2, second, size(400))
        assert (first.begun, second.begun) == (1, 2)
        await kept.get(4, Asked(), size(1001))
        assert 4 not in kept._kept  # larger than all that may be kept: the others stay
        assert len(kept._kept) == 2

    run(main)


def test_one_flight_for_all_who_wait() -> None:
    async def main() -> None:
        kept, go = cache(), asyncio.Event()
        work = Asked(go=go)
        waiting = [asyncio.create_task(kept.get("k", work, size(1))) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        go.set()
        assert await asyncio.gather(*waiting[1:]) == ["x", "x"]
        assert (work.begun, work.cancelled) == (1, 0)

    run(main)


def test_work_that_nobody_waits_for_is_cancelled_and_begun_anew() -> None:
    async def main() -> None:
        kept, go = cache(), asyncio.Event()
        work = Asked(go=go)
        waiting = [asyncio.create_task(kept.get("k", work, size(1))) for _ in range(2)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(0)
        assert (work.cancelled, kept._flights) == (1, {})
        go.set()
        assert await kept.get("k", work, size(1)) == "x"
        assert work.begun == 2

    run(main)


def test_failures_are_kept_apart_and_for_less() -> None:
    async def main() -> None:
        kept = cache(keep_errors=1.0, max_bytes=10_000)
        fails, other = Asked(NetworkError("no answer")), Asked()
        for _ in range(2):
            with pytest.raises(NetworkError, match="no answer"):
                await kept.get("bad", fails, size(1))
        assert await kept.get("good", other, size(1)) == "x"
        assert fails.begun == 1
        await asyncio.sleep(1.2)
        with pytest.raises(NetworkError):
            await kept.get("bad", fails, size(1))
        assert fails.begun == 2
        broken = Asked(ValueError("ours"))
        for _ in range(2):
            with pytest.raises(ValueError, match="ours"):
                await kept.get("fault", broken, size(1))
        assert broken.begun == 2  # a fault of ours says nothing of the image

    run(main)


def test_nothing_is_kept_for_no_time_and_another_loop_begins_anew() -> None:
    kept, work = cache(keep=0.0), Asked()

    async def main() -> None:
        await kept.get("k", work, size(1))
        await kept.get("k", work, size(1))

    run(main)
    run(main)
    assert (work.begun, kept.size) == (4, 0)
