"""Sensors by name: each is made for the event types that are asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from custody.errors import UsageError
from custody.kit.near import near
from custody.ports.sensing import Sensor
from custody.runtime.sight import Sight
from custody.settings.tables import Sensing

Known = Callable[[str], Mapping[str, Any] | None]


class Maker(Protocol):
    def __call__(self, types: frozenset[str], stated: Sensing = ..., known: Known | None = ..., /) -> Sensor:
        """Of no types: for all that it can tell. `known` is asked for what it cannot tell of a container."""


def _ebpf(types: frozenset[str], stated: Sensing = Sensing(), known: Known | None = None, /) -> Sensor:
    from custody.adapters.sensors import programs, tracing

    return tracing.Tracing(types, quiet=() if stated.all_reads else programs.QUIET, known=known)


def _fanotify(types: frozenset[str], stated: Sensing = Sensing(), known: Known | None = None, /) -> Sensor:
    from custody.adapters.sensors.fanotify import Execution, Fanotify

    denied = frozenset(digest.removeprefix("sha256:") for digest in stated.deny)

    def allowed(execution: Execution) -> bool:
        # Too large to be read, or changed meanwhile: nobody knows what it is.
        return execution.sha256 not in denied if execution.sha256 is not None else stated.late == "allow"

    return Fanotify(types, mounts=stated.mounts, judge=allowed if denied else None, deadline=stated.deadline,
                    deny_late=stated.late == "deny", known=known)


def _proc_connector(types: frozenset[str], _: Sensing = Sensing(), known: Known | None = None, /) -> Sensor:
    from custody.adapters.sensors.procconnector import ProcConnector

    return ProcConnector(types, known=known)


def _audit(types: frozenset[str], stated: Sensing = Sensing(), known: Known | None = None, /) -> Sensor:
    from custody.adapters.sensors.audit import Audit

    return Audit(types, rules=stated.audit_rules, known=known)


SENSORS: dict[str, Maker] = {"ebpf": _ebpf, "fanotify": _fanotify, "proc-connector": _proc_connector, "audit": _audit}
"""Of this machine, by the name that `--sensor` takes; those that tell most come first."""


def sensors(names: Sequence[str], types: frozenset[str], stated: Sensing | None = None,
            known: Known | None = None) -> list[Sensor]:
    """Those of these names, for events of these types; whoever runs them closes them. Raises UsageError.

    `known` tells the fields of a container that a sensor has only the identifier of.
    """
    for name in names:
        if name not in SENSORS:
            raise UsageError(f"--sensor: got {name!r}, expected one of {', '.join(SENSORS)}", hint=near(name, SENSORS))
    return [SENSORS[name](types, stated or Sensing(), known) for name in dict.fromkeys(names)]


def quiet_reads(stated: Sensing | None) -> tuple[str, ...]:
    """Prefixes of paths of which reads are not told."""
    from custody.adapters.sensors.programs import QUIET

    return () if stated is not None and stated.all_reads else QUIET


def sights(made: Iterable[Sensor], more: frozenset[str] = frozenset()) -> list[Sight]:
    """What each of those that work can tell. `more`: fields that somebody else tells of its events."""
    return [Sight(sensor.name, "syscall", probe.covers, sensor.fields | more)
            for sensor in made if (probe := sensor.probe()).works]
