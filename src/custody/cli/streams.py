"""Standard streams as commands use them: occupied, forgiving, and safe to print text of others to."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import BinaryIO, TextIO, cast

from custody.kit.visible import visible

_LOUD = ("error:", "warning:", "hint:")


class _Forgiving(io.TextIOWrapper):
    """That nobody can be told (a full disk, a reader who went away) stops no build and no service."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


class Words(io.TextIOBase):
    """A stream to people: whatever is written, no character moves a cursor and no line is a command of a CI service.

    The last place where that is seen to; who prints text of others escapes the ends of its lines too. What custody
    draws itself goes to `own`.
    """

    def __init__(self, own: TextIO, after: TextIO | None = None) -> None:
        self.own = own
        self._after = after
        """What was printed there before comes before: both may be one log."""
        self.quiet = False
        """Only lines that are warnings and errors are said, with those that are indented below them."""
        self._begun = ""
        self._loud = False

    def write(self, text: str) -> int:
        if self._after is not None:
            with contextlib.suppress(OSError, ValueError):  # is told of where that stream is used
                self._after.flush()
        shown = visible(text, "\n\t", starts_line=not self._begun.strip())
        for line in shown.splitlines(keepends=True):
            if not self.quiet:
                self.own.write(line)
            self._begun += line
            if line.endswith("\n"):
                self._loud = self._begun.startswith(_LOUD) or (self._loud and self._begun[0] in " \t\n")
                if self.quiet and self._loud:
                    self.own.write(self._begun)
                self._begun = ""
        return len(text)

    def flush(self) -> None:
        self.own.flush()

    def isatty(self) -> bool:
        return self.own.isatty()

    def fileno(self) -> int:
        return self.own.fileno()

    @property
    def buffer(self) -> BinaryIO:
        return self.own.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.own.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.own.errors

    def writable(self) -> bool:
        return True


def occupy() -> None:
    """What a caller has closed (`custody … >&-`) leads nowhere: else the next file or pipe has its number, and what is
    printed is written there. Then, streams that are the process's own are made safe."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - for good
    if sys.__stderr__ is not None and sys.stderr is sys.__stderr__:
        # Without a buffer: what could not be written is not tried once more at the end.
        sys.stderr = Words(_Forgiving(cast(BinaryIO, io.FileIO(2, "w", closefd=False)), encoding=sys.stderr.encoding,
                                      errors="backslashreplace", write_through=True), sys.stdout)
    if sys.__stdout__ is not None and sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that is no UTF-8 is no traceback
        if sys.stdout.isatty():
            sys.stdout = Words(sys.stdout)
