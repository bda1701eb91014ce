"""What a line that says that two policies are the same also says: of what nothing is known, and of what little."""

from __future__ import annotations

from collections.abc import Sequence

from custody.kit.amount import amount
from custody.kit.visible import visible

_NAMED = 10
"""Kinds and subresources that a line names."""
_LEAST = 10
"""Requests, of those that a policy is against and of those that it is for, below which little is known."""


def agreement(asked: int, judged: int, against: int, counted: str, untried: Sequence[str] = ()) -> str:
    """Of what both say the same, and of what it is not known. `counted`: what is said of those in `against`."""
    said = f"both say the same of {amount(asked, 'request')}, {against} of them {counted}"
    passed = judged - against
    if against < _LEAST or 0 < passed < _LEAST:
        said += f"; little was tried: {against} {counted} and {passed} not (more --samples, or --resource FILE)"
    return said + not_tried(untried)


def not_tried(names: Sequence[str]) -> str:
    """Which kinds and subresources were not asked about; empty where there are none."""
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return visible(f"; not tried: {', '.join(names[:_NAMED])}{more} (--resource FILE with such an object)")
