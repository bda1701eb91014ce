"""Sensors by name: each is made for the event types that are asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from custody.errors import UsageError
from custody.kit.near import near
from custody.ports.sensing import Sensor

SENSORS: dict[str, Callable[[frozenset[str]], Sensor]] = {}
"""Of this machine, by the name that `--sensor` takes."""


def sensors(names: Sequence[str], types: frozenset[str]) -> list[Sensor]:
    """Those of these names, for events of these types; whoever runs them closes them. Raises UsageError."""
    for name in names:
        if name not in SENSORS:
            raise UsageError(f"--sensor: got {name!r}, expected one of {', '.join(SENSORS) or 'none: there are none'}",
                             hint=near(name, SENSORS))
    return [SENSORS[name](types) for name in dict.fromkeys(names)]
