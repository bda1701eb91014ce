"""A sensor's descriptor in the event loop: what is there is told as soon as it is, without a task in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from custody.ports.sensing import Emit


async def read(descriptor: int, drain: Callable[[Emit], int], emit: Emit, *, period: float | None = None) -> None:
    """Until it is cancelled, or `drain` raises: that error comes out.

    `period`: seconds after which it is drained without the descriptor being ready. A batch at a time: others have
    their turn before the rest.
    """
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if failed.done():
            return
        try:
            drain(emit)
        except Exception as error:
            failed.set_exception(error)

    loop.add_reader(descriptor, ready)
    try:
        while True:
            done, _ = await asyncio.wait((failed,), timeout=period)
            if done:
                return failed.result()
            ready()
    finally:
        loop.remove_reader(descriptor)
        if not failed.done():
            failed.cancel()
