"""Events that are JSON: how their values are read, and the fields that all such sources have
(plugins/json/pkg/json/json.go)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from policylang.falco.values.events import PLUGIN_EVENT

Object = dict[str, Any]
Extract = Callable[[Object, str | None], Any]
ABSENT = object()
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)")


class JsonEvent:
    """Answers `get(field)` from the JSON of one event; each field is looked for once."""

    __slots__ = ("event", "known")
    fields: ClassVar[Mapping[str, Extract]] = {}

    def __init__(self, event: Object) -> None:
        self.event = event
        self.known: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        value = self.known.get(name, ABSENT)
        if value is ABSENT:
            value = self.known[name] = self._read(name)
        return value

    def _read(self, name: str) -> Any:
        stem, bracket, argument = name.partition("[")
        extract = self.fields.get(stem)
        if extract is None:
            return None
        value = extract(self.event, argument[:-1] if bracket else None)
        return None if value == [] else value


def nanoseconds(text: Any) -> int | None:
    """RFC 3339; None where it is none."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    try:
        seconds = int(datetime.fromisoformat(f"{match[1].upper()}{match[3].upper()}").timestamp())
    except ValueError:
        return None
    return seconds * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def at(value: Any, keys: tuple[str, ...]) -> Any:
    """ABSENT where there is nothing; null is a value."""
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, ABSENT)
        elif isinstance(value, list) and key.isdecimal() and len(key) < 10 and int(key) < len(value):
            value = value[int(key)]
        else:
            return ABSENT
        if value is ABSENT:
            return value
    return value


def one(*keys: str) -> Extract:
    """The text of what stands there."""

    def extract(event: Object, _: str | None) -> Any:
        value = at(event, keys)
        return None if value is ABSENT else text_of(value)

    return extract


def constant(value: Any) -> Extract:
    return lambda *_: value


def _pointer(event: Object, argument: str | None) -> str | None:
    """RFC 6901; the first slash may be left out."""
    if not argument:
        return None
    keys = tuple(key.replace("~1", "/").replace("~0", "~") for key in argument.removeprefix("/").split("/"))
    value = at(event, keys)
    return None if value is ABSENT else text_of(value)


def _object(event: Object, _: str | None) -> str:
    return json.dumps(event, indent=2, ensure_ascii=False)


def common(source: str, plugin: str, time: Callable[[Object], int | None]) -> dict[str, Extract]:
    """Fields of every source of JSON; `time` says when an event was, in nanoseconds since 1970."""

    def raw(event: Object, _: str | None) -> int | None:
        return time(event)

    def raw_text(event: Object, _: str | None) -> str:
        return str(time(event) or 0)

    return {"evt.num": constant(1), "evt.type": constant(PLUGIN_EVENT), "evt.source": constant(source),
            "evt.pluginname": constant(plugin), "evt.is_async": constant(False), "evt.rawtime": raw,
            "json.value": _pointer, "jevt.value": _pointer, "json.obj": _object, "jevt.obj": _object,
            "json.rawtime": raw_text, "jevt.rawtime": raw_text}
