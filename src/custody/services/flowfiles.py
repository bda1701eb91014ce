"""Flow logs as people keep them, read from files and standard input into what was observed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from custody.errors import MalformedError, UsageError
from custody.formats.flows.recognition import read
from custody.network.observed import Observed

_PIECE = 1 << 20


def observe(names: Sequence[str], observed: Observed, form: str = "", fields: Sequence[str] = (),
            advance: Callable[[int], None] | None = None) -> None:
    """Read all of these, `-` being standard input, each in its own format; `advance` is told how many bytes.

    Raises MalformedError for a file of which no line is a flow or says that there was none, UnsupportedError for a
    format that is not read, UsageError for a file that cannot be opened.
    """
    for name in names:
        lines, unread, unknown = observed.lines, observed.unread_count, False
        for number, said in read(_pieces(name, advance), name, form, fields):
            observed.add(name, number, said)
            unknown = True
        if not unknown or observed.lines - lines == observed.unread_count - unread:
            reason = observed.unread[-1].reason if observed.unread else "no line"
            raise MalformedError(name, got=f"no line that can be read, the last: {reason}"[:300], expected="a flow log",
                                 hint="--format says which, where it is recognised wrongly")


def _pieces(name: str, advance: Callable[[int], None] | None) -> Iterator[bytes]:
    if name == "-":
        yield from _read(sys.stdin.buffer, advance)
        return
    path = Path(name)
    if path.is_dir():
        raise UsageError(f"{name}: got a folder, expected a flow log")
    try:
        with path.open("rb") as file:
            yield from _read(file, advance)
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror or error}") from None


def _read(file: BinaryIO, advance: Callable[[int], None] | None) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        if advance is not None:
            advance(len(piece))
        yield piece
