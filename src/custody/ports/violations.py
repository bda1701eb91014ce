"""Where the violations that an audit finds are exported to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


class Violations(Protocol):
    """One place. Nothing of an audit is seen by whoever reads before its `end`. All raise StorageError."""

    def begin(self, audit: str) -> None:
        """`audit` is its time (RFC 3339), by which it is known. One that was begun before is dropped."""

    def write(self, lines: Sequence[str]) -> None:
        """Messages of the audit that was begun, each one JSON document in one line."""

    def end(self) -> None:
        """It is whole: show it, and keep as many as were asked for."""

    def drop(self) -> None:
        """Nobody is to see what was begun; where nothing was, nothing happens."""

    def clear(self) -> None:
        """Take away all that was exported to it, and nothing that somebody else is writing."""

    def same(self, place: Violations) -> bool:
        """Whether what is exported to that place lies here too, however the two are written."""


Opened = Callable[[str, str, int], Violations]
"""By path, channel, and how many audits are kept."""
