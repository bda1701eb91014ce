"""What requests may hold in memory together, so that many slow clients cannot hold it all.

Bodies that are read whole and answers that are written whole are bounded each, and a process has thousands of
connections. Above the budget nobody waits for room: whoever has held some for longest gives up, since a client that
means it is done in no time, and one who stalls would be waited for by all others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from custody.errors import CustodyError


class HeldTooLongError(CustodyError):
    """A request gave up its memory for others."""

    code = "busy"
    http_status = 503


class Share:
    """One request's part of a budget."""

    def __init__(self, budget: Budget) -> None:
        self.size = 0
        self.taken = False
        self._budget = budget
        self._task = asyncio.current_task()

    def add(self, size: int) -> None:
        """Hold `size` bytes more. Raises HeldTooLongError where this request is the one that gives up."""
        self.size += size
        self._budget.held += size
        self._budget.enforce()
        if self.taken:
            raise HeldTooLongError(self._budget.message)

    def give_up(self, asking: asyncio.Task[object] | None) -> None:
        """End the request that holds it: by its own error where it is asking itself, else by cancelling it."""
        self.taken = True
        if self._task is not None and self._task is not asking:
            self._task.cancel()

    def cancelled(self) -> bool:
        """Whether a cancellation came from `give_up`; then it is over."""
        if self.taken and self._task is not None:
            self._task.uncancel()
        return self.taken


class Budget:
    """Bytes that all shares together may hold. For one event loop."""

    def __init__(self, limit: int, subject: str) -> None:
        self.limit = limit
        self.held = 0
        self.message = f"{subject}: too many wait in memory, and this one has waited for longest"
        self._shares: dict[Share, None] = {}
        """The one that came first is first."""

    @contextlib.contextmanager
    def share(self) -> Iterator[Share]:
        """For the current task. Raises HeldTooLongError where it gave up."""
        share = Share(self)
        self._shares[share] = None
        try:
            yield share
        except asyncio.CancelledError:
            if not share.cancelled():
                raise
            raise HeldTooLongError(self.message, hint="send it again, without pauses") from None
        finally:
            self._release(share)

    def enforce(self) -> None:
        asking = asyncio.current_task()
        while self.held > self.limit and self._shares:
            oldest = next(iter(self._shares))
            self._release(oldest)
            oldest.give_up(asking)

    def _release(self, share: Share) -> None:
        if share in self._shares:
            del self._shares[share]
            self.held -= share.size


BODIES = Budget(128 << 20, "request bodies")
ANSWERS = Budget(128 << 20, "answers")
