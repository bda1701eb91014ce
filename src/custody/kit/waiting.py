"""What is being waited for at this moment: a deadline that passes says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_waits: dict[int, str] = {}


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """`what` is for people: a method and a URL without what is secret in it."""
    token = object()
    _waits[id(token)] = what
    try:
        yield
    finally:
        del _waits[id(token)]


def awaited() -> list[str]:
    """Each once, the longest wait first."""
    return list(dict.fromkeys(_waits.values()))
