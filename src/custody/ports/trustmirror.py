"""The port to a TUF repository, which tells of new trust files.

Contract: `refresh` fetches what the repository says now and verifies it by the TUF specification 1.0 section 5.3 to 5.6
against what is kept in a folder, which it brings up to date as far as it verified. It raises VerificationError for
metadata that is signed by too few, older than what is known, expired, or not as it was said to be; NetworkError where
the repository does not answer, OfflineError where sockets are not allowed. `target` then fetches one file, whose length
and hash are as signed, or says None where the repository has none of that name; it raises likewise.
"""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Protocol, Self


class State(NamedTuple):
    """What a repository says of itself."""

    root: int
    """Version of the root metadata."""
    timestamp: int
    expires: datetime
    """When the first of the metadata of all roles runs out."""
    role: str
    """Whose that is."""


class TrustMirror(Protocol):
    """One repository; not for use inside a running event loop."""

    def refresh(self) -> State: ...

    def target(self, name: str) -> bytes | None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None: ...
