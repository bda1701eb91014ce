"""Fetches documents one by one into a folder made for them: each checked before it lies there, bounded together.

What a run that failed left behind lies in another folder: only what this run checked is read.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from custody.errors import MalformedError
from custody.ports.http import place_of
from custody.services.downloads import Downloads

_LARGEST = 64 << 20
_LARGEST_TOGETHER = 16 << 30
_MOST = 500_000
"""Of one list; osv.dev's of everything, which are read from their archive, are that many."""
_AT_ONCE = 8


class Document(NamedTuple):
    """Where one is, and where its SHA-512 or SHA-256 are said, each of which must be that of its bytes."""

    address: str
    sums: tuple[str, ...] = ()


@asynccontextmanager
async def fetched(downloads: Downloads, folder: Path, documents: Iterable[Document], where: str,
                  advance: Callable[[int], None] | None) -> AsyncIterator[Path]:
    """A new folder below `folder` with each document as `NUMBER.json`; it is gone afterwards.

    Raises what the first that fails does, NetworkError or VerificationError, and fetches no more then; MalformedError
    where they are too many or too large together.
    """
    waiting = list(documents)
    if len(waiting) > _MOST:
        raise MalformedError(where, got=f"{len(waiting)} documents to be fetched", expected=f"at most {_MOST}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="documents-", dir=folder) as made:
        left, numbered = _LARGEST_TOGETHER, iter(enumerate(waiting))

        async def work() -> None:
            nonlocal left
            for number, document in numbered:
                body = await _checked(downloads, document)
                left -= len(body)
                if left < 0:
                    raise MalformedError(where, got=f"documents of more than {_LARGEST_TOGETHER} bytes",
                                         expected="fewer bytes together")
                (Path(made) / f"{number}.json").write_bytes(body)
                if advance:
                    advance(1)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(_AT_ONCE, len(waiting))):
                    group.create_task(work())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        yield Path(made)


async def _checked(downloads: Downloads, document: Document) -> bytes:
    answer = await downloads.get(document.address, {}, _LARGEST)
    if answer is None:
        raise MalformedError(place_of(document.address), got="no document", expected="one")
    for sums in document.sums:
        await downloads.check_bytes(document.address, sums, answer[0])
    return answer[0]
