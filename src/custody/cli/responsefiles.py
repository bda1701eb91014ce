"""Files of responses, as commands are given them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from custody.errors import unread
from custody.formats import talon
from custody.runtime.responses import Annotations, Cordon, Deed, Labels, Quarantine, Responses

MOST = 4 << 20  # bytes


def loaded(paths: Sequence[Path]) -> Responses:
    """Rules of all files, one after the other. Raises UsageError, StorageError."""
    rules = []
    for path in paths:
        try:
            rules += talon.read(path.read_bytes(), str(path))
        except OSError as error:
            raise unread(path, error) from None
    return Responses(rules)


def told(deed: Deed) -> str:
    """What is done, in a few words."""
    if isinstance(deed, (Labels, Annotations)):
        kind = "annotations" if isinstance(deed, Annotations) else f"labels of the {deed.level}"
        return f"{kind}: " + ", ".join(f"{name}={value}" if value is not None else f"{name} removed"
                                       for name, value in deed.values.items())
    if isinstance(deed, Quarantine):
        return f"cut the pod off the network, by {deed.method}"
    if isinstance(deed, Cordon):
        return "no more pods on its node"
    grace = "its own" if deed.grace is None else f"{deed.grace} s"
    spared = [words for spare, words in ((not deed.allow_bare, "bare pods"), (deed.spare_daemon_sets, "DaemonSets"),
                                         (deed.spare_stateful_sets, "StatefulSets")) if spare]
    return f"delete the pod, grace {grace}" + (f"; spares {', '.join(spared)}" if spared else "")
