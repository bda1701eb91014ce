"""What tells whether that which runs is what was admitted: its store, and the detectors and enrichers beside rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from custody.settings import Settings

if TYPE_CHECKING:
    from custody.adapters.sqlite.drift import SqliteDrift


def drift_store(settings: Settings) -> SqliteDrift:
    """Indexes of images, baselines and what was seen of running images, in the data directory."""
    from custody.adapters.sqlite.drift import SqliteDrift

    return SqliteDrift(settings.state() / "drift.db")
