"""What is being waited for at this moment: a deadline that passes says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_waits: dict[int, str] = {}


@contextlib.contextmanager
def waiting(request: str) -> Iterator[None]:
    """`request` is for people: a method and a URL without what is secret in it."""
    token = object()
    _waits[id(token)] = request
    try:
        yield
    finally:
        del _waits[id(token)]


def awaited() -> list[str]:
    """Each once, the longest wait first."""
    return list(dict.fromkeys(_waits.values()))
