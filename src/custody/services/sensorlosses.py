"""What sensors could not tell becomes alerts: their counters are looked at once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from custody.ports.sensing import Sensor
from custody.runtime.losses import Losses

_TICK = 1.0


class SensorLosses:
    """Of `sensors` to `losses`, which tells `Events lost`."""

    def __init__(self, sensors: Sequence[Sensor], losses: Losses) -> None:
        self._sensors, self._losses = sensors, losses
        self._counted: dict[tuple[str, str], int] = {}

    async def run(self) -> None:
        """Until it is cancelled; `look` once more after that."""
        while True:
            self.look()
            await asyncio.sleep(_TICK)

    def look(self) -> None:
        for sensor in self._sensors:
            for kind, number in sensor.losses().items():
                more = number - self._counted.get((sensor.name, kind), 0)
                if more > 0:
                    self._losses.lost(sensor.name, kind, more)
                    self._counted[sensor.name, kind] = number
