"""The text of a program, places in it, and the error that points at one."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property

from policylang.errors import InputError

LONGEST = 1 << 20  # characters of one program


class Source:
    """A program's text under the name that errors give it."""

    def __init__(self, text: str, name: str = "<input>") -> None:
        self.name = name
        self.text = text

    @cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        at = self.text.find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = self.text.find("\n", at + 1)
        return starts

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column, both counted from 1 and in characters."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line, counted from 1, without its end."""
        start = self._starts[number - 1]
        end = self.text.find("\n", start)
        return (self.text[start:] if end < 0 else self.text[start:end]).removesuffix("\r")


class SourceError(InputError):
    """A program that is not one of its language. `kind` is the language's own code, such as `rego_parse_error`.

    `others`: faults that were found after this one.
    """

    code = "program"

    def __init__(self, message: str, source: Source, offset: int, *, kind: str = "", hint: str | None = None) -> None:
        self.source = source
        self.offset = min(max(offset, 0), len(source.text))
        self.line, self.column = source.place(self.offset)
        self.kind = kind
        self.reason = message
        self.others: list[SourceError] = []
        super().__init__(f"{source.name}:{self.line}:{self.column}: {message}", hint=hint)

    def pointed(self) -> str:
        """The message, the line it is about, and a caret below the column."""
        text = self.source.line(self.line)
        start = max(0, self.column - 80)
        shown = text[start:start + 120].replace("\t", " ")
        return f"{self.message}\n  {shown}\n  {' ' * (self.column - 1 - start)}^"


def read_source(data: bytes, name: str = "<input>", *, limit: int = LONGEST) -> Source:
    """`data` as a program; SourceError where it is too long, is not UTF-8 or holds a NUL."""
    if len(data) > limit:
        raise SourceError(f"program of {len(data)} bytes, expected at most {limit}", Source("", name), 0)
    try:
        text = data.decode()
    except UnicodeDecodeError as wrong:
        good = Source(data[:wrong.start].decode(), name)
        raise SourceError(f"byte 0x{data[wrong.start]:02x} is not UTF-8", good, wrong.start) from None
    return checked(Source(text, name), limit=limit)


def checked(source: Source, *, limit: int = LONGEST, nul: bool = False) -> Source:
    """`source`, unless it is longer than `limit` characters or holds what no program may: NUL (but with `nul`, where
    the language has it in texts), lone surrogates."""
    if len(source.text) > limit:
        raise SourceError(f"program of {len(source.text)} characters, expected at most {limit}", source, 0)
    if not nul and (at := source.text.find("\0")) >= 0:
        raise SourceError("illegal character NUL", source, at)
    if not source.text.isascii():
        try:
            source.text.encode()
        except UnicodeEncodeError as wrong:
            raise SourceError("half of a surrogate pair is no character", source, wrong.start) from None
    return source


class Faults:
    """Collects faults, so that one reading of a program tells them all. `minor`: those that keep no later check from
    being made, and are told with what it finds.
    """

    def __init__(self, most: int = 10) -> None:
        self.most = most
        self.found: list[SourceError] = []
        self.minor: list[SourceError] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if not isinstance(error, SourceError):
            return False
        self.found.append(error)
        if len(self.found) >= self.most:
            self.stop()
        return True

    def stop(self) -> None:
        """Raise the first fault in the text, with the others, if there was one."""
        if self.found:
            self.finish()

    def finish(self) -> None:
        """`stop`, where minor faults are enough."""
        if self.found or self.minor:
            faults = sorted([*self.found, *self.minor], key=lambda fault: (fault.source.name, fault.offset))
            first, *first.others = faults
            raise first


class Nesting:
    """Depth of a recursive parser; deeper than `limit` is refused before Python's own stack would be."""

    def __init__(self, source: Source, limit: int, message: str = "nested too deeply") -> None:
        self.source, self.limit, self.message, self.depth = source, limit, message, 0

    def enter(self, offset: int) -> None:
        """One level down; pair it with `depth -= 1`."""
        self.depth += 1
        if self.depth > self.limit:
            raise SourceError(f"{self.message}: more than {self.limit} levels", self.source, offset)
