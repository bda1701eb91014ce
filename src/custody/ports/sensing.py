"""Whoever sees by itself what a machine does: a fanotify group, tracepoints, the audit netlink.

A sensor is made, asked by `probe` whether it would work, and run. What it emits may be kept by whoever takes it: fields
hold copies, nothing that ends with the next event. `emit` judges in the same call, on the event loop's thread, and does
not wait; what the kernel could not keep meanwhile is the sensor's loss, and counted by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from custody.formats.telemetry.event import RuntimeEvent

Emit = Callable[[RuntimeEvent], None]


class Probe(NamedTuple):
    """Whether a sensor works on this machine, for this user."""

    works: bool
    reason: str
    """Why it does not, or what it cannot see though it does; empty where nothing is to be said."""
    covers: frozenset[str]
    """Event types (Falco's evt.type) that it can tell."""
    blocks: bool = False
    """It can refuse what it sees."""


class Sensor(Protocol):
    @property
    def name(self) -> str:
        """The `origin` of its events: `fanotify`, `ebpf`, `proc-connector`, `audit`."""

    @property
    def fields(self) -> frozenset[str]:
        """Falco's fields that it can know of some event; all else is always None."""

    def probe(self) -> Probe:
        """Changes nothing, and raises nothing: what fails is the reason."""

    async def run(self, emit: Emit) -> None:
        """Until it is cancelled. Raises UnsupportedError or StorageError where it cannot go on."""

    def losses(self) -> Mapping[str, int]:
        """Events that were not emitted, by kind (`ring-buffer`, `queue-overflow`, …), since it was made."""

    def close(self) -> None:
        """Let go of what the kernel holds for it. Nothing happens the second time."""
