"""What tests of sensors share: whether this machine lets them, and events of one that runs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from custody.adapters.sensors.tracing import Tracing
from custody.formats.telemetry.event import RuntimeEvent


def works(sensor: Any) -> None:
    """Skips, with the sensor's own reason, where it does not work."""
    probe = sensor.probe()
    if not probe.works:
        pytest.skip(f"{sensor.name}: {probe.reason}")


@contextlib.contextmanager
def tracing(*types: str, **options: Any) -> Iterator[Tracing]:
    sensor = Tracing(types, **options)
    works(sensor)
    sensor.start()
    try:
        yield sensor
    finally:
        sensor.close()


def events(sensor: Any, enough: Callable[[list[RuntimeEvent]], bool], seconds: float = 10.0) -> list[RuntimeEvent]:
    """What a sensor tells until that is enough; what has come by then where it never is."""
    told: list[RuntimeEvent] = []
    end = time.monotonic() + seconds
    while not enough(told) and time.monotonic() < end:
        if not sensor.drain(told.append):
            time.sleep(0.005)
    return told


def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("not root")
