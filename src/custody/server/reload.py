"""Policies, custom kinds and the trust root are read again while the webhook runs, and swapped whole.

A review ends by what it began with. What cannot be read keeps what is loaded, and is said: a policy that is being
written must not stop the judge, nor be half obeyed. So files are read when two looks found them the same, and what
changes while it is read does not count; a file that takes longer to write should be renamed into its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from custody.admission.endpoint import division, registration
from custody.admission.webhook import Admission, Snapshot
from custody.errors import CustodyError, UsageError
from custody.policy.load import manifest_files

_LOG = logging.getLogger(__name__)
INTERVAL = 2.0
"""Seconds between two looks at the files."""
_Seen = tuple[tuple[str, int, int, int, int, int], ...]
"""Path, device, inode, times of modification and of change in nanoseconds, and size of each file: a copy that keeps the
time of what it replaces is another file still."""


class Reloader:
    """Keeps `admission` at what the files say. `load` reads all of them; it runs in a thread."""

    def __init__(self, admission: Admission, sources: Sequence[Path], load: Callable[[], Snapshot], *,
                 interval: float = INTERVAL) -> None:
        self.admission = admission
        self.failure: str | None = None
        """Why the files as they are now are not what is judged by; None where they are."""
        self._sources = list(sources)
        self._load = load
        self._interval = interval
        self._asked = asyncio.Event()
        self._seen = self._look()

    def ask(self) -> None:
        """Read again now, whether or not a file looks changed (SIGHUP)."""
        self._asked.set()

    async def run(self) -> None:
        """Until cancelled."""
        last = self._seen
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    await self._asked.wait()
            except TimeoutError:
                now, before = await asyncio.to_thread(self._look), last
                last = now
                if now == self._seen or now != before:  # what still changes is half written, perhaps
                    continue
            self._asked.clear()
            await self.reload()
            last = self._seen

    async def reload(self) -> None:
        self._seen = await asyncio.to_thread(self._look)  # before reading: a later change is seen the next time
        try:
            snapshot = await asyncio.to_thread(self._load)
            if await asyncio.to_thread(self._look) != self._seen:
                raise UsageError("a file changed while it was read", hint="it is read again")
        except Exception as error:  # a fault of ours in one file must not end the looking at all of them
            known = isinstance(error, (CustodyError, OSError))
            self.failure = str(error) if known else f"an internal error ({type(error).__name__})"
            _LOG.error("the policies cannot be read again; those that were loaded before still judge: %s", self.failure,
                       exc_info=not known)
            return
        self.failure = None
        before, after = self.admission.snapshot, snapshot
        self.admission.swap(after)
        _LOG.warning("read again: %d %s%s", len(after.policies.policies),
                     "policy" if len(after.policies.policies) == 1 else "policies",
                     "; apply `custody admission config` again, what the API server must ask about has changed"
                     if _told(before) != _told(after) else "")

    def _look(self) -> _Seen:
        files: list[tuple[str, int, int, int, int, int]] = []
        for source in self._sources:
            try:
                for path in manifest_files(source):
                    state = path.stat()
                    files.append((str(path), state.st_dev, state.st_ino, state.st_mtime_ns, state.st_ctime_ns,
                                  state.st_size))
            except (OSError, CustodyError):
                files.append((str(source), 0, 0, 0, 0, -1))  # absent is a state too: there again, it is read
        return tuple(files)


def _told(snapshot: Snapshot) -> tuple[str, str]:
    """What the API server must be told of it."""
    return registration(snapshot.policies.policies), division(snapshot.policies.policies)
