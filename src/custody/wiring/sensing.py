"""Sensors by name: each is made for the event types that are asked of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from custody.errors import UsageError
from custody.kit.near import near
from custody.ports.sensing import Sensor
from custody.runtime.containers import Containers
from custody.runtime.enforcing import Enforcing
from custody.runtime.executables import Verdict
from custody.runtime.executing import Indexes
from custody.runtime.sight import Sight
from custody.settings.tables import Sensing

Known = Callable[[str], Mapping[str, Any] | None]


class Maker(Protocol):
    def __call__(self, types: frozenset[str], stated: Sensing = ..., known: Known | None = ...,
                 enforcing: Enforcing | None = ..., /) -> Sensor:
        """Of no types: for all that it can tell. `known` is asked for what it cannot tell of a container, `enforcing`
        whether a program may start.
        """


def _ebpf(types: frozenset[str], stated: Sensing = Sensing(), known: Known | None = None,
          _: Enforcing | None = None, /) -> Sensor:
    from custody.adapters.sensors import programs, tracing

    return tracing.Tracing(types, quiet=() if stated.all_reads else programs.QUIET, known=known)


def _fanotify(types: frozenset[str], stated: Sensing = Sensing(), known: Known | None = None,
              enforcing: Enforcing | None = None, /) -> Sensor:
    from custody.adapters.sensors.fanotify import Execution, Fanotify
    from custody.adapters.sensors.roots import Roots

    judge = enforcing or _denying(stated)

    def allowed(execution: Execution) -> bool:
        return judge is None or judge.allows(execution.event.fields)

    return Fanotify(types, mounts=stated.mounts, judge=allowed if judge is not None else None, deadline=stated.deadline,
                    deny_late=stated.late == "deny", known=known, roots=Roots() if stated.containers else None,
                    watching=judge.prepare if judge is not None else None)


def _denying(stated: Sensing, containers: Containers | None = None) -> Enforcing | None:
    return Enforcing(containers or Containers(), deny=_denied(stated), deny_late=stated.late == "deny"
                     ) if stated.deny else None


def _denied(stated: Sensing) -> frozenset[str]:
    return frozenset(digest.removeprefix("sha256:") for digest in stated.deny)


def enforcing(stated: Sensing, names: Collection[str], containers: Containers, indexes: Indexes | None,
              runtimes: Collection[str] = ()) -> Enforcing | None:
    """What the sensors of these names refuse; None where the settings refuse nothing.

    `indexes` are the files of images, where drift is watched for. Raises UsageError where nobody would obey `enforce`.
    """
    if not stated.enforce:
        return _denying(stated, containers) if "fanotify" in names else None
    if "fanotify" not in names:
        raise UsageError("sensing.enforce: only the sensor fanotify refuses", hint="--sensor fanotify")
    if not (stated.containers or stated.mounts):
        raise UsageError("sensing.enforce: fanotify watches nothing", hint="containers = true in [sensing]")
    if indexes is None:
        raise UsageError("sensing.enforce: the files of images are known by runtime.drift, which is off",
                         hint="--drift")
    return Enforcing(containers, indexes=indexes, verdicts=[Verdict(said) for said in stated.enforce],
                     deny=_denied(stated), deny_late=stated.late == "deny", runtimes=runtimes)


def _proc_connector(types: frozenset[str], _: Sensing = Sensing(), known: Known | None = None,
                    __: Enforcing | None = None, /) -> Sensor:
    from custody.adapters.sensors.procconnector import ProcConnector

    return ProcConnector(types, known=known)


def _audit(types: frozenset[str], stated: Sensing = Sensing(), known: Known | None = None,
           _: Enforcing | None = None, /) -> Sensor:
    from custody.adapters.sensors.audit import Audit

    return Audit(types, rules=stated.audit_rules, known=known)


SENSORS: dict[str, Maker] = {"ebpf": _ebpf, "fanotify": _fanotify, "proc-connector": _proc_connector, "audit": _audit}
"""Of this machine, by the name that `--sensor` takes; those that tell most come first."""


def sensors(names: Sequence[str], types: frozenset[str], stated: Sensing | None = None,
            known: Known | None = None, enforced: Enforcing | None = None) -> list[Sensor]:
    """Those of these names, for events of these types; whoever runs them closes them. Raises UsageError.

    `known` tells the fields of a container that a sensor has only the identifier of; `enforced` is asked before a
    program starts, by those that can refuse it.
    """
    for name in names:
        if name not in SENSORS:
            raise UsageError(f"--sensor: got {name!r}, expected one of {', '.join(SENSORS)}", hint=near(name, SENSORS))
    return [SENSORS[name](types, stated or Sensing(), known, enforced) for name in dict.fromkeys(names)]


def quiet_reads(stated: Sensing | None) -> tuple[str, ...]:
    """Prefixes of paths of which reads are not told."""
    from custody.adapters.sensors.programs import QUIET

    return () if stated is not None and stated.all_reads else QUIET


def sights(made: Iterable[Sensor], more: frozenset[str] = frozenset()) -> list[Sight]:
    """What each of those that work can tell. `more`: fields that somebody else tells of its events."""
    return [Sight(sensor.name, "syscall", probe.covers, sensor.fields | more)
            for sensor in made if (probe := sensor.probe()).works]
