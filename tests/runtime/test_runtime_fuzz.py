"""A little of `python -m tests.fuzz.runtime_events`."""

from __future__ import annotations

from tests.fuzz import runtime_events


def test_hostile_events() -> None:
    runtime_events.main(1500, seed=3)
