"""Versions that are too young to be trusted, by dates that lock files do not say and somebody was asked for.

An attack on a package is mostly known within days (Shai-Hulud, 2025; ua-parser-js, 2021): who waits has not taken it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from custody.source import addresses
from custody.source.inputs import Concern, Inputs
from custody.source.locked import Locked

Dates = Mapping[Locked, datetime | None]
"""None: its registry has no such version."""


def undated(inputs: Inputs, private: Sequence[str]) -> list[Locked]:
    """Whom a public registry can be asked about: what is from there, and whose name is not the team's own secret."""
    return list(dict.fromkeys(
        entry for entries in inputs.packages.values() for entry in entries
        if entry.released is None and not entry.own and entry.version and entry.type in addresses.ASKED
        and (entry.digests or entry.type != "pypi") and addresses.foreign(entry, ()) is None
        and not any(fnmatchcase(entry.name.lower(), pattern.lower()) for pattern in private)))


def judge(inputs: Inputs, dates: Dates, cooldown: timedelta, now: datetime) -> None:
    """Add what is wrong with the ages, and take those that are known now from `undated`."""
    for path, entries in inputs.packages.items():
        for entry in entries:
            if entry not in dates:
                continue
            inputs.undated -= 1
            label, released = f"{entry.name} {entry.version}", dates[entry]
            if released is None:
                inputs.concerns.append(Concern("withdrawn", path, f"{label}: its registry does not have it", "warning",
                                               label))
            elif now - released < cooldown:
                inputs.concerns.append(Concern(
                    "cooldown", path, f"{label}: released {released:%Y-%m-%d}, expected {cooldown.days} days ago",
                    "error", label))
