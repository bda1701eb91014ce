"""Events as JSON objects of Falco's field names, one a line: recordings, and what tools of one's own tell.

`evt.type` is needed; `evt.source` is syscall where it is not said, `evt.rawtime` is nanoseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from custody.errors import MalformedError
from custody.formats.telemetry import lenient
from custody.formats.telemetry.event import RuntimeEvent
from custody.formats.telemetry.told import Told
from policylang.falco.values.fields import SOURCES

_OBJECT = msgspec.json.Decoder(dict[str, Any])
_EXPECTED = "an object of Falco's field names with evt.type"


class Recording:
    """Reads lines."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self.repairs = lenient.Repairs()

    def __call__(self, data: bytes) -> Sequence[Told]:
        """Raises MalformedError."""
        fields = lenient.decode(data, _OBJECT, self.repairs, _EXPECTED)
        name, source, at = fields.get("evt.type"), fields.get("evt.source", "syscall"), fields.get("evt.rawtime")
        if not isinstance(name, str):
            raise MalformedError("evt.type", got=name, expected="the name of an event")
        if source not in SOURCES:
            raise MalformedError("evt.source", got=source, expected=f"one of {', '.join(SOURCES)}")
        # Of other sources a dict would be taken for the event's own JSON.
        known = fields if source == "syscall" else MappingProxyType(fields)
        return (RuntimeEvent(source, name, known, at if type(at) is int else None, self._origin),)
