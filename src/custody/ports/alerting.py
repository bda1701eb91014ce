"""Where alerts go. `write` returns when they are there to stay: whoever told the events is answered after that.

An output is written by one at a time. It need not know what it was given before: who writes leaves out what it took.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Line(NamedTuple):
    """One alert, as it is written."""

    key: str
    """A UUID that the same alert has when its event comes again."""
    priority: int
    """0 is Emergency, 7 Debug, as syslog's severities."""
    time: int
    """Nanoseconds since 1970 that the event, or else the alert, was at."""
    json: bytes
    """Falco's JSON object, in one line without its end."""
    text: str
    """What a person reads, in one line without its end."""


class Place(NamedTuple):
    """What of an output's file is there to stay."""

    device: int
    inode: int
    size: int


class AlertOutput(Protocol):
    @property
    def name(self) -> str:
        """For messages: `file:/var/log/alerts.json`, `https://…`, `syslog`."""

    def write(self, lines: Sequence[Line]) -> None:
        """All of them, or as far as nobody will see none: after a StorageError the next call writes them again.

        Raises StorageError, NetworkError.
        """

    def place(self) -> Place | None:
        """Where it ends now; None where what it wrote cannot be taken back."""

    def recover(self, place: Place | None) -> str:
        """Take back what was written after that place, by a process that ended before it was noted; what of that could
        not be, for people, or ''. Raises StorageError."""

    def close(self) -> None: ...


Marks = Mapping[str, str]
"""How far each input was read, in its own words, by the input's name."""


class Noted(NamedTuple):
    """What was noted together, of one moment."""

    marks: dict[str, str]
    places: dict[str, Place]
    """Of outputs, by their names."""
    keys: list[str]
    """Of the alerts that were written last, oldest first."""
    folds: bytes
    """The alerts that are folded still, in the words of `runtime.folding`."""


class Notes(Protocol):
    """What must be known of the moment of a crash. Raises StorageError."""

    def load(self) -> Noted: ...

    def note(self, marks: Marks, places: Mapping[str, Place], keys: Sequence[str], folds: bytes | None) -> None:
        """All of it at once, durable when it returns; what is not named stays. Of keys the newest are kept."""

    def close(self) -> None: ...
