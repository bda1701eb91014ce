"""A detector that alerts of nothing: which files processes open, libraries among them, to be attested of a run."""

from __future__ import annotations

from collections.abc import Iterable

from custody.runtime.containers import Containers
from custody.runtime.event import RuntimeEvent
from custody.runtime.executed import inside
from custody.runtime.witness import Witness
from policylang.falco import Alert

OPENS = frozenset(("open", "openat", "openat2"))
READS = "open-read"
"""Among what an input covers: it tells of every open, also of those that only read. `openat` alone does not promise
that: sensors leave out in the kernel what no rule looks at."""


class OpenedFiles:
    """`custody.runtime.detecting.Detector`. It makes sensors tell of every opened file, which costs much."""

    types = OPENS

    def __init__(self, containers: Containers, witness: Witness) -> None:
        self._containers, self._witness = containers, witness

    def __call__(self, event: RuntimeEvent) -> Iterable[Alert]:
        raw, path = event.fields.get("evt.rawres"), event.fields.get("fd.name")
        if isinstance(raw, int) and raw < 0:
            return ()  # nothing was opened
        place, _ = self._containers.place(event.fields)
        if place.digest:
            if isinstance(path, str) and path.startswith("/"):
                self._witness.opened(place.digest, event.at, inside(path))
            elif (seen := self._witness.of(place.digest, event.at)) is not None:
                seen.losses += 1  # of which nobody says what it was
        return ()
