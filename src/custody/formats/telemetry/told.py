"""What one line or document of an input gives: events to be judged, alerts of others, and losses that were admitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from custody.formats.telemetry.event import RuntimeEvent
from policylang.falco import Alert


class Lost(NamedTuple):
    """Events that whoever told the others could not tell."""

    kind: str
    number: int
    """0 where it did not say how many."""


class Foreign(NamedTuple):
    """An alert of another's rules: it is not judged, and goes the way of our own from suppressions on."""

    alert: Alert
    key: str
    """By which it is known when it comes again; empty where it has nothing such."""


class Unread(NamedTuple):
    """One of several events in a document, which is none of its format: those beside it are told all the same."""

    reason: str


Told = RuntimeEvent | Foreign | Lost | Unread
Decode = Callable[[bytes], Sequence[Told]]
"""Of one line or one request's body. Raises MalformedError for what is none."""
