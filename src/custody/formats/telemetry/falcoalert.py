"""Falco's own alerts in JSON (`json_output`, and what `http_output` posts): alerts, not events (falco formats.cpp)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from custody.errors import MalformedError
from custody.formats.telemetry import lenient
from custody.formats.telemetry.instant import nanoseconds
from custody.formats.telemetry.told import Foreign, Lost, Told
from policylang.falco import Alert
from policylang.falco.output import PRIORITIES

_DROPS = "Falco internal: syscall event drop"
_LEVELS = {level.casefold(): level for level in (*PRIORITIES,)} | {"info": "Informational"}
_EXPECTED = "an alert of Falco in JSON: rule, priority, output, output_fields, time"
_LONGEST = 1 << 16


class _Alert(msgspec.Struct, gc=False):
    rule: str = ""
    priority: str = ""
    output: str = ""
    time: str | None = ""
    source: str = "syscall"
    hostname: str = ""
    uuid: str = ""
    tags: list[str] | None = None
    output_fields: dict[str, Any] | None = None


_ALERT = msgspec.json.Decoder(_Alert)


class FalcoAlerts:
    """Reads lines, and bodies of requests with one alert each."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self.repairs = lenient.Repairs()

    def __call__(self, data: bytes) -> Sequence[Told]:
        """Raises MalformedError."""
        alert = lenient.decode(data, _ALERT, self.repairs, _EXPECTED)
        level = _LEVELS.get(alert.priority.casefold())
        if not alert.rule or level is None:
            raise MalformedError("", got=f"rule {alert.rule[:60]!r} of priority {alert.priority[:20]!r}",
                                 expected=_EXPECTED)
        fields = dict(alert.output_fields or {})
        at = nanoseconds(alert.time)
        rawtime = fields.pop("evt.time", None)
        told = Foreign(Alert(alert.rule, level, alert.source, _message(alert.output, alert.priority)[:_LONGEST], fields,
                             tuple(alert.tags or ()), rawtime if isinstance(rawtime, int) else at, alert.hostname),
                       alert.uuid or hashlib.sha256(data).hexdigest())
        if alert.rule != _DROPS:
            return (told,)
        return (told, Lost("syscall-drop", _number(fields.get("n_drops"))))


def _message(output: str, priority: str) -> str:
    """Without the time and the priority that stand before it."""
    clock, colon, rest = output.partition(": ")
    before = f"{priority} "
    return rest.removeprefix(before) if colon and rest.startswith(before) and " " not in clock else output


def _number(value: Any) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0
