"""Files are read again while a service runs, and what was read is swapped in whole.

What cannot be read keeps what is in use, and is said: a file that is being written must not stop a service, nor be half
obeyed. So files are read when two looks found them the same, and what changes while it is read does not count; a file
that takes longer to write should be renamed into its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

from custody.errors import CustodyError, UsageError

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
INTERVAL = 2.0
"""Seconds between two looks at the files."""
_ATTEMPTS = 3
_Look = tuple[tuple[str, int, int, int, int, int], ...]
"""Path, device, inode, times of modification and of change in nanoseconds, and size of each file: a copy that keeps the
time of what it replaces is another file still."""


class FileWatch(Generic[_T]):
    """Keeps something at what its files say."""

    def __init__(self, subject: str, files: Callable[[], Iterable[Path]], read: Callable[[], _T],
                 use: Callable[[_T], str], *, interval: float = INTERVAL, always: float | None = None) -> None:
        """`subject` for people: policies, certificate. `files` names them at each look; `read` reads all of them, in a
        thread; `use` swaps what was read in and says what changed, '' where nothing is to be said. `always`: seconds
        after which they are read again though they look the same."""
        self.subject = subject
        self.failure: str | None = None
        """Why the files as they are now are not what is in use; None where they are."""
        self.told: Callable[[bool], None] | None = None
        """Told of each time, whether it succeeded."""
        self._files = files
        self._read = read
        self._use = use
        self._interval = interval
        self._always = always
        self._asked = asyncio.Event()
        self._seen = self._look()

    def ask(self) -> None:
        """Read again now, whether or not a file looks changed (SIGHUP)."""
        self._asked.set()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        last, since = self._seen, loop.time()
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    await self._asked.wait()
            except TimeoutError:
                now, before = await asyncio.to_thread(self._look), last
                last = now
                due = self._always is not None and loop.time() - since >= self._always
                if (now == self._seen and not due) or now != before:  # what still changes is half written, perhaps
                    continue
            self._asked.clear()
            await self.reload()
            last, since = self._seen, loop.time()

    async def reload(self) -> None:
        try:
            value = await asyncio.to_thread(self._read_whole)
        except Exception as error:  # a fault of ours in one file must not end the looking at all of them
            known = isinstance(error, (CustodyError, OSError))
            self.failure = str(error) if known else f"an internal error ({type(error).__name__})"
            _LOG.error("the %s cannot be read again; what was loaded before is in use still: %s", self.subject,
                       self.failure, exc_info=not known)
        else:
            self.failure = None
            if said := self._use(value):
                _LOG.warning("%s", said)
        if self.told is not None:
            self.told(self.failure is None)

    def _read_whole(self) -> _T:
        """What the files say, all of one moment. Raises UsageError where they change as often as they are read."""
        for _ in range(_ATTEMPTS):
            self._seen = self._look()  # before reading: a later change is seen the next time
            value = self._read()
            if self._look() == self._seen:
                return value
        raise UsageError("a file changed while it was read", hint="it is read again")

    def _look(self) -> _Look:
        looks: list[tuple[str, int, int, int, int, int]] = []
        for path in self._files():
            try:
                state = path.stat()
                looks.append((str(path), state.st_dev, state.st_ino, state.st_mtime_ns, state.st_ctime_ns,
                              state.st_size))
            except OSError:
                looks.append((str(path), 0, 0, 0, 0, -1))  # absent is a state too: there again, it is read
        return tuple(looks)
