"""Floods of alerts: of those that are alike the first are told, the others counted, and the number told at the end.

Alike are alerts of one rule with the same fields, times and process ids aside. Where one rule gives very many of one
container that are not alike, those are folded too, as alerts of that rule there: what one container does hides nothing
of another. Nothing is left out of the numbers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from custody.runtime.counted import Counted
from custody.runtime.engine import Record, identifier
from custody.runtime.event import Place
from policylang.falco import Alert

_PASSING = frozenset({"proc.pid", "proc.vpid", "proc.ppid", "proc.pvpid", "thread.tid", "thread.vtid", "evt.num",
                      "proc.duration", "ka.auditid"})
_KEYS = 20_000
"""Windows that are open at once; a rule beyond that has one for all its alerts in a place."""
_LONGEST = 1024
"""Characters of a text that are kept of a folded alert: there may be very many of them."""


class _Window(msgspec.Struct):
    """Alerts that are alike, since the first of them."""

    begun: float
    told: int = 0
    folded: int = 0
    last: dict[str, Any] | None = None
    unlike: bool = False
    """They are of one rule in one place, and not alike."""


class Folding:
    """`alike` of the alike are told in `seconds`, and `each_rule` of one rule; 0: all are."""

    def __init__(self, counted: Counted, *, alike: int = 10, each_rule: int = 1000, seconds: float = 60.0) -> None:
        self._counted, self._alike, self._each_rule, self._seconds = counted, alike, each_rule, seconds
        self._windows: dict[str, _Window] = {}
        self.changed = False
        """What is folded is another than when `state` was last asked."""

    def tell(self, record: Record, now: float) -> bool:
        """Whether it is told by itself. `now` is seconds of any clock that goes forwards."""
        if not self._alike:
            return True
        place = record.place
        rule = self._window(_hashed("rule", record.alert.rule, place.node, place.namespace, place.container_id), now)
        likeness = _likeness(record)
        # A rule that has had enough opens no more: they would be the windows of others.
        if likeness in self._windows or (len(self._windows) < _KEYS and rule.told < self._each_rule):
            window = self._window(likeness, now)
            if window.told < self._alike and rule.told < self._each_rule:
                window.told += 1
                rule.told += 1
                return True
        else:
            window = rule
            if rule.told < self._alike:
                rule.told += 1
                return True
        if window.told < self._alike:  # the rule alone has had enough
            window = rule
        window.folded += 1
        window.unlike = window.unlike or window is rule
        window.last = _kept(record)
        self._counted.add(self._counted.folded, record.alert.rule)
        self.changed = True
        return False

    def due(self, now: float, *, all_of_them: bool = False) -> list[Record]:
        """What was folded in windows that are over: the last alert of each, with the number."""
        over = [key for key, window in self._windows.items()
                if all_of_them or now - window.begun >= self._seconds or now < window.begun]
        records = []
        for key in over:
            window = self._windows.pop(key)
            if window.folded and window.last is not None:
                records.append(_summary(window, window.last, self._seconds))
                self.changed = True
        return records

    def state(self) -> bytes:
        """What is folded and not told yet, for `restore`."""
        self.changed = False
        windows = [{"key": key, "folded": window.folded, "last": window.last, "unlike": window.unlike}
                   for key, window in self._windows.items() if window.folded]
        try:
            return msgspec.json.encode(windows)
        except UnicodeEncodeError:  # names of files are bytes, and need not be texts
            return json.dumps(windows, separators=(",", ":")).encode()

    def restore(self, state: bytes, now: float) -> None:
        """Windows that were open when a process ended are over after this one's first."""
        for kept in json.loads(state) if state else ():
            self._windows[kept["key"]] = _Window(now, self._alike, kept["folded"], kept["last"],
                                                 kept.get("unlike", False))

    def _window(self, key: str, now: float) -> _Window:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(now)
        return window


def _likeness(record: Record) -> str:
    alert, place = record.alert, record.place
    fields = [f"{name}={type(value).__name__}={value}" for name, value in alert.output_fields.items()
              if name not in _PASSING and (not name.startswith("evt.") or name.startswith("evt.arg"))]
    return _hashed("alike", alert.rule, alert.priority, place.node, place.namespace, place.container_id,
                   *(fields or [alert.output]))


def _hashed(*parts: str) -> str:
    """Of all of it: who can make a text long, or put into it whatever parts texts, must not make two alerts alike."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _kept(record: Record) -> dict[str, Any]:
    alert = record.alert
    return {"key": record.key, "rule": alert.rule, "priority": alert.priority, "source": alert.source,
            "output": _short(alert.output), "fields": _plain(alert.output_fields), "tags": list(alert.tags),
            "time": alert.time, "hostname": alert.hostname, "place": list(record.place)}


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, (int, float, type(None))) else _short(value) if isinstance(value, str)
            else value if isinstance(value, (list, dict)) and len(str(value)) <= _LONGEST else _short(str(value))
            for name, value in fields.items()}


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _summary(window: _Window, last: dict[str, Any], seconds: float) -> Record:
    number = window.folded
    words = "more of this rule there, not alike," if window.unlike else "more like this"
    alert = Alert(last["rule"], last["priority"], last["source"],
                  f"{last['output']} ({number} {words} within {seconds:g} s)",
                  {**last["fields"], "custody.folded": number}, tuple(last["tags"]), last["time"], last["hostname"])
    return Record(identifier(f"{last['key']}/folded/{number}"), dataclasses.replace(alert), Place(*last["place"]))
