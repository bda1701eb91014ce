"""Floods of alerts: of those that are alike the first are told, the others counted, and the number told at the end.

Alike are alerts of one rule with the same fields, times and process ids aside. Where one rule gives very many that are
not alike, those are folded too, as alerts of that rule. Nothing is left out of the numbers.
"""

from __future__ import annotations

import dataclasses
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
"""Windows that are open at once; a rule beyond that has one for all its alerts."""


class _Window(msgspec.Struct):
    """Alerts that are alike, since the first of them."""

    begun: float
    told: int = 0
    folded: int = 0
    last: dict[str, Any] | None = None


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
        rule = self._window(f"rule {record.alert.rule}", now)
        if len(self._windows) < _KEYS:
            window = self._window(_likeness(record.alert), now)
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
                records.append(_summary(window.last, window.folded, self._seconds))
                self.changed = True
        return records

    def state(self) -> bytes:
        """What is folded and not told yet, for `restore`."""
        self.changed = False
        windows = [{"key": key, "folded": window.folded, "last": window.last}
                   for key, window in self._windows.items() if window.folded]
        try:
            return msgspec.json.encode(windows)
        except UnicodeEncodeError:  # names of files are bytes, and need not be texts
            return json.dumps(windows, separators=(",", ":")).encode()

    def restore(self, state: bytes, now: float) -> None:
        """Windows that were open when a process ended are over after this one's first."""
        for kept in json.loads(state) if state else ():
            self._windows[kept["key"]] = _Window(now, self._alike, kept["folded"], kept["last"])

    def _window(self, key: str, now: float) -> _Window:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(now)
        return window


def _likeness(alert: Alert) -> str:
    fields = "\x1f".join([f"{name}={value}" for name, value in alert.output_fields.items()
                          if name not in _PASSING and (not name.startswith("evt.") or name.startswith("evt.arg"))])
    return f"{alert.rule}\x1f{alert.priority}\x1f{fields or alert.output}"[:4096]


def _kept(record: Record) -> dict[str, Any]:
    alert = record.alert
    return {"key": record.key, "rule": alert.rule, "priority": alert.priority, "source": alert.source,
            "output": alert.output, "fields": _plain(alert.output_fields), "tags": list(alert.tags),
            "time": alert.time, "hostname": alert.hostname, "place": list(record.place)}


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, (str, int, float, bool, list, dict, type(None))) else str(value)
            for name, value in fields.items()}


def _summary(last: dict[str, Any], number: int, seconds: float) -> Record:
    alert = Alert(last["rule"], last["priority"], last["source"],
                  f"{last['output']} ({number} more like this within {seconds:g} s)",
                  {**last["fields"], "custody.folded": number}, tuple(last["tags"]), last["time"], last["hostname"])
    return Record(identifier(f"{last['key']}/folded/{number}"), dataclasses.replace(alert), Place(*last["place"]))
