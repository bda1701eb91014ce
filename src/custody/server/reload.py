"""Policies, custom kinds and trust root are read again while the webhook runs. A review ends by what it began with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from custody.admission.endpoint import division, registration
from custody.admission.webhook import Admission
from custody.errors import CustodyError
from custody.policy.load import manifest_files
from custody.policy.snapshot import Snapshot
from custody.server.watching import INTERVAL, FileWatch


class Reloader(FileWatch[Snapshot]):
    """Keeps `admission` at what the files say. `load` reads all of them."""

    def __init__(self, admission: Admission, sources: Sequence[Path], load: Callable[[], Snapshot], *,
                 interval: float = INTERVAL) -> None:
        super().__init__("policies", lambda: _manifests(sources), load, self._swap, interval=interval)
        self._admission = admission

    def _swap(self, after: Snapshot) -> str:
        before = self._admission.snapshot
        self._admission.swap(after)
        count = len(after.policies.policies)
        again = "; apply `custody admission config` again, what the API server must ask about has changed"
        return (f"read again: {count} {'policy' if count == 1 else 'policies'}"
                f"{again if _told(before) != _told(after) else ''}")


def _manifests(sources: Sequence[Path]) -> Iterator[Path]:
    for source in sources:
        try:
            yield from manifest_files(source)
        except (OSError, CustodyError):
            yield source


def _told(snapshot: Snapshot) -> tuple[str, str]:
    """What the API server must be told of it."""
    return registration(snapshot.policies.policies), division(snapshot.policies.policies)
