"""Programs of others that are asked something on standard input and answer on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Finished(NamedTuple):
    """How a program ended: its exit status, and all that it wrote."""

    status: int
    output: bytes
    errors: bytes


class Programs(Protocol):
    def run(self, argv: Sequence[str], given: bytes, *, seconds: float, limit: int) -> Finished:
        """Start `argv[0]`, a path, give it `given`, wait for its end. With it ends whatever it started.

        Blocks. Raises UsageError where it cannot be started, NetworkError where it has not ended after `seconds`, or
        wrote more than `limit` bytes to either stream: it is ended then.
        """
