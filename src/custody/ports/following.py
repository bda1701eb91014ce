"""Inputs that are read from a place that can be remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Piece(NamedTuple):
    """What was there to be read. Lines are whole, and without their ends; `mark` is after the last of them."""

    lines: Sequence[bytes]
    mark: str
    first: int = 0
    """By which the first line is known in its file: with the file, lines that are read again have the same."""
    file: str = ""
    """By which the file is known, whatever it is called."""
    skipped: int = 0
    """Lines that were longer than may be, and were left out."""
    said: str = ""
    """What people should know: the file was truncated, or is another."""
    lost: int = 0
    """1 where what was between the mark and this piece is gone."""


class Followed(Protocol):
    """One input of one process. All of it is synchronous, and called by one thread at a time."""

    @property
    def name(self) -> str: ...

    def begin(self, mark: str | None) -> str:
        """Go on after a mark; None: at the beginning. What could not be found again, for people, or ''."""

    def read(self, limit: int) -> Piece | None:
        """At most about `limit` bytes; None where nothing new is there now. Raises StorageError."""

    def finished(self) -> bool:
        """Nothing more will come, ever."""

    def close(self) -> None: ...
