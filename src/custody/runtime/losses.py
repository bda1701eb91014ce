"""What was not seen is said: an alert `Events lost` for losses, `Events unreadable`, `Input stalled`.

The first of a kind is told at once, what comes after it within a minute as one number.
"""

from __future__ import annotations

from custody.runtime.counted import Counted
from custody.runtime.engine import own
from policylang.falco import Alert

LOST, UNREADABLE, STALLED, RESUMED = (
    "Events lost", "Events unreadable", "Input stalled", "Input resumed")
_TAGS = ("custody", "coverage")


class Losses:
    """Gives alerts; `seconds` between two of one input and kind."""

    def __init__(self, counted: Counted, hostname: str = "", seconds: float = 60.0) -> None:
        self._counted, self._hostname, self._seconds = counted, hostname, seconds
        self._told: dict[tuple[str, str, str], float] = {}
        self._waiting: dict[tuple[str, str, str], int] = {}

    def lost(self, origin: str, kind: str, number: int) -> None:
        """`number` 0 where nobody knows it: it counts 1."""
        self._counted.lost[origin, kind] += max(number, 1)
        self._note(LOST, origin, kind, max(number, 1))

    def unreadable(self, origin: str, kind: str, number: int = 1) -> None:
        """Lines that are no events, and events with values of which nothing can be made."""
        self._note(UNREADABLE, origin, kind, number)

    def _note(self, rule: str, origin: str, kind: str, number: int) -> None:
        key = rule, origin, kind
        self._waiting[key] = self._waiting.get(key, 0) + number

    def due(self, now: float, *, all_of_them: bool = False) -> list[Alert]:
        alerts = []
        for key, number in [*self._waiting.items()]:
            last = self._told.get(key)
            if all_of_them or last is None or now - last >= self._seconds or now < last:
                del self._waiting[key]
                self._told[key] = now
                rule, origin, kind = key
                alerts.append(own(rule, "Critical" if rule == LOST else "Warning",
                                  f"{rule}: {number} (input={origin} kind={kind})",
                                  {"custody.input": origin, "custody.kind": kind, "custody.number": number},
                                  int(now * 1e9), self._hostname, _TAGS))
        return alerts

    def stalled(self, origin: str, seconds: float, now: float) -> Alert:
        return own(STALLED, "Warning", f"{STALLED}: nothing for {seconds:.0f} s (input={origin})",
                   {"custody.input": origin, "custody.seconds": round(seconds)}, int(now * 1e9), self._hostname, _TAGS)

    def resumed(self, origin: str, seconds: float, now: float) -> Alert:
        return own(RESUMED, "Notice", f"{RESUMED}: after {seconds:.0f} s (input={origin})",
                   {"custody.input": origin, "custody.seconds": round(seconds)}, int(now * 1e9), self._hostname, _TAGS)

    def kept(self, reason: str, now: float, subject: str = "Rules") -> Alert:
        """Files that cannot be used: what was read before is."""
        said = f"{subject} not loaded"
        return own(said, "Error", f"{said}: {reason}", {"custody.reason": reason}, int(now * 1e9), self._hostname,
                   _TAGS)
