"""Alerts as they are written: Falco's JSON with a `uuid`, as falcosidekick has it, or its line of text."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from custody.kit.visible import visible
from custody.ports.alerting import Line
from custody.runtime.engine import LEVELS, Record


def line(record: Record) -> Line:
    """Both forms. Values that JSON has no form for are their texts."""
    alert = record.alert
    document = {**alert.json(), "uuid": record.key}
    if record.suppressed is not None:
        document["output_fields"] = {**document["output_fields"], "custody.suppressed": record.suppressed}
    return Line(record.key, LEVELS.get(alert.priority, 7), alert.time or 0, _encoded(document), visible(alert.line()))


def _encoded(document: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(document, enc_hook=_text)
    except (msgspec.MsgspecError, UnicodeError, TypeError, ValueError):  # lone surrogates, keys that are no texts
        return json.dumps(document, default=_text, separators=(",", ":")).encode()


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
