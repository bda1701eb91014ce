"""What was seen of the images that run: how long, in how many containers, what they executed, and what was missed.

It is what a runtime attestation states, so it counts what it could not see as carefully as what it saw. All is bounded:
what there is no room for is a loss.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import msgspec

from custody.runtime.executables import Verdict

_PATHS = 50_000
_CONTAINERS = 10_000
_DIGESTS = 5_000
_LATEST = (1 << 63) - 1


class Seen(msgspec.Struct, kw_only=True):
    """Of one image."""

    first: int
    """Nanoseconds since 1970, of the first event and of the last."""
    last: int
    executions: int = 0
    verdicts: dict[str, int] = {}
    executed: set[str] = set()
    """Paths of the image, without a leading slash."""
    opened: set[str] = set()
    """Files of the image that a process opened, libraries among them; empty where nobody looked."""
    aliased: set[str] = set()
    """Files and folders that got another name, or were given to: by it they may be opened unseen."""
    alien: set[str] = set()
    """Paths of what was executed and is none of the image's files, or not with its bytes."""
    containers: set[str] = set()
    unlike: dict[str, str] = {}
    """Containers that are no longer equal to their image, and why."""
    losses: int = 0
    image: str = ""
    """As the runtime names it."""


class Witness:
    """Of all images that run here, since `since`."""

    def __init__(self, since: datetime, covers: Iterable[str] = ()) -> None:
        """`covers`: the event types that some input tells."""
        self.since = since
        self.covers = frozenset(covers)
        self.losses: Counter[str] = Counter()
        """Events that nobody saw, by kind: they may have been of any image."""
        self.images: dict[str, Seen] = {}

    def of(self, digest: str, at: int | None) -> Seen | None:
        """None, and a loss, where there is no room for another image."""
        moment = min(max(at, 0), _LATEST) if at is not None else time.time_ns()
        seen = self.images.get(digest)
        if seen is None:
            if len(self.images) >= _DIGESTS:
                self.losses["images"] += 1
                return None
            seen = self.images[digest] = Seen(first=moment, last=moment, verdicts={}, executed=set(), opened=set(),
                                              aliased=set(), alien=set(), containers=set(), unlike={})
        seen.first, seen.last = min(seen.first, moment), max(seen.last, moment)
        return seen

    def executed(self, digest: str, container: str, at: int | None, verdict: Verdict, path: str,
                 image: str = "") -> None:
        if (seen := self.of(digest, at)) is None:
            return
        seen.image = image or seen.image
        seen.executions += 1
        seen.verdicts[verdict] = seen.verdicts.get(verdict, 0) + 1
        of_image = verdict in (Verdict.KNOWN, Verdict.NOT_JUDGED)
        _add(seen, seen.executed if of_image else seen.alien, path.lstrip("/"), _PATHS)
        if container:
            _add(seen, seen.containers, container, _CONTAINERS)
        if verdict in (Verdict.UNKNOWN, Verdict.MODIFIED) and container:
            self.mark(digest, container, f"{path}: {verdict}", at)

    def opened(self, digest: str, at: int | None, path: str) -> None:
        if (seen := self.of(digest, at)) is not None:
            _add(seen, seen.opened, path.lstrip("/"), _PATHS)

    def alias(self, digest: str, at: int | None, path: str) -> None:
        """Something is known by another name from now on."""
        if (seen := self.of(digest, at)) is not None:
            _add(seen, seen.aliased, path.strip("/"), _PATHS)

    def mark(self, digest: str, container: str, reason: str, at: int | None) -> bool:
        """The container is no longer equal to its image. Whether that is new."""
        seen = self.of(digest, at)
        if seen is None or container in seen.unlike:
            return False
        if len(seen.unlike) >= _CONTAINERS:
            seen.losses += 1
            return False
        seen.unlike[container] = reason[:500]
        return True

    def lose(self, kind: str, count: int) -> None:
        """Events that were not seen."""
        if count > 0:
            self.losses[kind] += count


def _add(seen: Seen, kept: set[str], value: str, most: int) -> None:
    if value in kept:
        return
    if len(kept) >= most:
        seen.losses += 1
        return
    kept.add(value)
