"""What all tests share: where the peers' programs and the oracles are, and profiles for property tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.apiserver import AbsentError, program

settings.register_profile("custody", max_examples=60, deadline=None,
                          suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
settings.load_profile("custody")

ROOT = Path(__file__).parent.parent
ORACLES = Path(os.environ.get("CUSTODY_ORACLES", ROOT.parent / "shared" / "oracles"))


def peer(name: str) -> str:
    """The path of a real peer program; skips the test, by name, where it is not installed."""
    try:
        return program(name)
    except AbsentError as absent:
        pytest.skip(str(absent))


def oracle(name: str) -> Path:
    """The folder of a set of the peers' own cases; skips the test, by name, where it is not there."""
    folder = ORACLES / name
    if not folder.is_dir():
        pytest.skip(f"oracle {name} is not here")
    return folder
