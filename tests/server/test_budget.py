"""Many slow clients together hold no more memory than one budget."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from custody.server import asgi
from custody.server.asgi import DisconnectedError, read_body, respond
from custody.server.budget import Budget, HeldTooLongError
from custody.server.health import Health, State


class Body:
    """A client that sends `size` bytes of a longer body, and the rest when it is told to."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.rest = asyncio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        if self._size:
            size, self._size = self._size, 0
            return {"type": "http.request", "body": b"x" * size, "more_body": True}
        await self.rest.wait()
        return {"type": "http.request", "body": b"", "more_body": False}


def test_bodies_that_stall_give_up_for_those_that_come(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(1000, "request bodies")
    monkeypatch.setattr(asgi, "BODIES", budget)

    async def main() -> None:
        stalled = [Body(400), Body(400)]
        tasks = [asyncio.create_task(read_body(body.receive, 4000)) for body in stalled]
        await asyncio.sleep(0)
        assert budget.held == 800
        late = Body(300)
        late.rest.set()
        assert len(await read_body(late.receive, 4000)) == 300
        with pytest.raises(HeldTooLongError, match=r"request bodies: .* waited for longest"):
            await tasks[0]
        assert budget.held == 400
        stalled[1].rest.set()
        assert len(await tasks[1]) == 400
        assert budget.held == 0

    asyncio.run(main())


def test_a_body_larger_than_the_budget_gives_up_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "BODIES", Budget(1000, "request bodies"))

    async def main() -> None:
        with pytest.raises(HeldTooLongError):
            await read_body(Body(1001).receive, 4000)
        assert asgi.BODIES.held == 0

    asyncio.run(main())


def test_a_client_that_goes_away_is_not_taken_for_one_that_gave_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "BODIES", budget := Budget(1000, "request bodies"))

    async def main() -> None:
        task = asyncio.create_task(read_body(Body(10).receive, 4000))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert budget.held == 0

    asyncio.run(main())


def test_answers_that_nobody_takes_are_cut_off_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "ANSWERS", budget := Budget(300_000, "answers"))

    async def main() -> None:
        sent: list[int] = []

        async def slow(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        async def quick(message: MutableMapping[str, Any]) -> None:
            sent.append(len(message.get("body", b"")))

        tasks = [asyncio.create_task(respond(slow, 200, b"x" * 140_000)) for _ in range(2)]
        await asyncio.sleep(0)
        assert budget.held == 280_000
        await respond(quick, 200, b"x" * 140_000)
        assert sum(sent) == 140_000
        assert max(sent) <= 64 * 1024  # a transport is given no more than that at once
        with pytest.raises(DisconnectedError):
            await tasks[0]
        tasks[1].cancel()
        await asyncio.wait(tasks)
        assert budget.held == 0

    asyncio.run(main())


def test_health_does_not_wait_for_threads_that_verify() -> None:
    async def main() -> None:
        loop, release = asyncio.get_running_loop(), asyncio.Event()
        asking = loop.create_future()

        def busy() -> None:
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

        tasks = [asyncio.create_task(asyncio.to_thread(busy)) for _ in range(100)]
        try:
            asking = asyncio.ensure_future(Health({"registry": State}).state("registry"))
            assert await asking == State()
        finally:
            release.set()
            await asyncio.gather(*tasks)

    asyncio.run(main())
