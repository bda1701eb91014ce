"""What programs pay that have loops or bindings, in which one long value may stand in many places."""

from __future__ import annotations

from typing import Any

from policylang.budget import Meter
from policylang.cel.values.arithmetic import add


def add_within(left: Any, right: Any, meter: Meter) -> Any:
    return paid(meter, add(left, right, meter.size))


def paid(meter: Meter, value: Any) -> Any:
    """Pay for a value that a loop made, so that many large ones are as impossible as one that is too large."""
    kind = type(value)
    if kind is str or kind is bytes:
        if len(value) > 64:
            meter.spend(len(value) >> 6)
    elif kind is list and len(value) > 4:
        meter.spend(len(value) >> 2)
    return value


def looked_through(meter: Meter, value: Any) -> Any:
    """Pay in a loop for a long text or list that a function is called with."""
    kind = type(value)
    if kind is str or kind is bytes:
        if len(value) > 256:
            meter.spend(len(value) >> 8)
    elif kind is list and len(value) > 8:
        meter.spend(len(value) >> 3)
    return value


def scanned(meter: Meter, text: str) -> str:
    """Pay for looking through a long text."""
    meter.spend(len(text) >> 8)
    return text
