"""A detector that alerts of nothing: which files processes open, libraries among them, to be attested of a run.

What is told of an open is a name. Names can be made in a container: a link, a renamed folder, another root. Whatever
gets another name is noted too, and what makes names mean something else, or opens files without a call, is a loss.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from custody.runtime.containers import Containers
from custody.runtime.event import Place, RuntimeEvent
from custody.runtime.executed import TYPES, executed, inside
from custody.runtime.witness import Witness
from policylang.falco import Alert

OPENS = frozenset(("open", "openat", "openat2"))
READS = "open-read"
"""Among what an input covers: it tells of every open, also of those that only read. `openat` alone does not promise
that: sensors leave out in the kernel what no rule looks at."""
NAMES = frozenset(("symlinkat", "linkat", "renameat2", "chroot", "mount", "unshare", "io_uring_setup"))
"""What has to be told besides, for names to be believed; other machines have no older forms of these calls."""
_RENAMES = frozenset(("link", "linkat", "rename", "renameat", "renameat2"))
_LINKS = frozenset(("symlink", "symlinkat"))
_ROOTS = frozenset(("chroot", "mount", "unshare"))
_BLIND = frozenset(("io_uring_setup", "open_by_handle_at"))
_APART = re.compile(r"CLONE_NEW(?:NS|USER)")
_ROOT = re.compile(r"/proc/(?:self|thread-self|[0-9]+)(?:/task/[0-9]+)?/root(?=/|\Z)")
_AWAY = re.compile(r"/proc/(?:self|thread-self|[0-9]+)(?:/task/[0-9]+)?/(?:cwd|map_files)(?:/|\Z)")
_RUNTIMES = ("runc", "crun", "youki")
_STARTED = 100_000


class OpenedFiles:
    """`custody.runtime.detecting.Detector`. It makes sensors tell of every opened file, which costs much."""

    types = OPENS | _RENAMES | _LINKS | _ROOTS | _BLIND | TYPES

    def __init__(self, containers: Containers, witness: Witness, runtimes: Collection[str] = ()) -> None:
        """`runtimes`: SHA-256 of programs of the container runtime, which make the roots of containers."""
        self._containers, self._witness, self._runtimes = containers, witness, frozenset(runtimes)
        self._started: set[str] = set()

    def __call__(self, event: RuntimeEvent) -> Iterable[Alert]:
        raw, kind = event.fields.get("evt.rawres"), event.type
        if isinstance(raw, int) and raw < 0:
            return ()  # nothing was opened, or named anew
        place, _ = self._containers.place(event.fields)
        if not place.digest:
            return ()
        if kind in TYPES:
            self._start(event, place)
        elif kind in OPENS:
            path = _real(event.fields.get("fd.name"))
            if path is not None:
                self._witness.opened(place.digest, event.at, path)
            else:
                self._lose(event, place)
        elif kind in _RENAMES:
            self._alias(event, place, [_argument(event, "oldpath"), _argument(event, "newpath")])
        elif kind in _LINKS:
            target, link = _argument(event, "target"), _argument(event, "linkpath")
            if target and not target.startswith("/") and link and link.startswith("/"):
                target = posixpath.join(posixpath.dirname(link), target)
            self._alias(event, place, [target])
        elif kind in _BLIND or (place.container_id in self._started and (
                kind != "unshare" or _APART.search(_argument(event, "flags") or "CLONE_NEWNS"))):
            self._lose(event, place)
        return ()

    def _start(self, event: RuntimeEvent, place: Place) -> None:
        """From its first program on a container has its root: before that, its runtime makes it."""
        if place.container_id in self._started or len(self._started) >= _STARTED:
            return
        if any(program.path.startswith("/") and not program.path.startswith(("/memfd:", "/proc/")) and
               program.sha256 not in self._runtimes and (
                   program.sha256 is not None or program.path.rpartition("/")[2] not in _RUNTIMES)
               for program in executed(event.fields)):
            self._started.add(place.container_id)

    def _alias(self, event: RuntimeEvent, place: Place, named: Sequence[str | None]) -> None:
        for name in named:
            if (path := _real(name)) is not None:
                self._witness.alias(place.digest, event.at, path)
            else:
                self._lose(event, place)

    def _lose(self, event: RuntimeEvent, place: Place) -> None:
        if (seen := self._witness.of(place.digest, event.at)) is not None:
            seen.losses += 1  # of which nobody says what it was


def _real(path: Any) -> str | None:
    """A path from the root of the container on; None where nobody says what it means."""
    if not isinstance(path, str) or not path.startswith("/"):
        return None
    path = posixpath.normpath(inside(path))
    while (match := _ROOT.match(path)) is not None:
        path = path[match.end():] or "/"
    return None if _AWAY.match(path) else path


def _argument(event: RuntimeEvent, name: str) -> str | None:
    value = event.fields.get(f"evt.arg.{name}")
    return value if isinstance(value, str) and value not in ("", "<NA>") else None
