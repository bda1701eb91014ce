"""Events of clouds: CloudTrail's files ({"Records": […]}), and GitHub's, Okta's and Google Cloud's as JSON lines."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from custody.errors import MalformedError
from custody.formats.telemetry import lenient
from custody.formats.telemetry.event import RuntimeEvent
from custody.formats.telemetry.told import Told, Unread
from policylang.falco.values.events import PLUGIN_EVENT
from policylang.falco.values.jsonsources import reader, source_of

_ANY = msgspec.json.Decoder()


class CloudEvents:
    """Reads documents of one source, each an event, a list of them, or CloudTrail's `Records`."""

    def __init__(self, origin: str, source: str) -> None:
        self._origin, self._source = origin, source
        made = reader(source)
        assert made is not None  # the table names sources of JSON
        self._reader = made
        self._expected = f"events of {source}"
        self.repairs = lenient.Repairs()

    def __call__(self, data: bytes) -> Sequence[Told]:
        """Raises MalformedError where it is no document of events; of several, one that is none is `Unread`."""
        document = lenient.decode(data, _ANY, self.repairs, self._expected)
        records = document.get("Records") if isinstance(document, dict) else None
        several = records if isinstance(records, list) else document if isinstance(document, list) else None
        events = [document] if several is None else several
        told: list[Told] = []
        for event in events:
            if source_of(event) != self._source:
                if several is None:
                    raise MalformedError("", got="another object", expected=self._expected)
                told.append(Unread("another object"))
                continue
            fields = self._reader(event)
            at = fields.get("evt.rawtime")
            told.append(RuntimeEvent(self._source, PLUGIN_EVENT, fields, at if isinstance(at, int) else None,
                                     self._origin))
        return told
