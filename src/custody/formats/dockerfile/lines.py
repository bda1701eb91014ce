"""A Dockerfile's lines: directives, comments, continuations and here-documents; an instruction a logical line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from custody.errors import MalformedError
from custody.formats.dockerfile import arguments
from custody.formats.dockerfile.words import heredocs
from policylang.go.spaces import SPACE

LONGEST = 64 * 1024
"""Bytes of a line: the buffer of BuildKit's scanner."""
_SPACES = re.compile(r"[\t\v\f\r ]+")
_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*\Z")
_DIRECTIVES = ("syntax", "escape", "check")
_DEEPEST = 50
"""Instructions one within the other; the builder refuses a second ONBUILD later."""
_HEREDOCS = ("add", "copy", "run")


@dataclass(slots=True)
class Instruction:
    """`FROM --platform=linux/amd64 nginx AS web`: what stands in one logical line."""

    name: str
    """As it is written."""
    flags: list[str] | None
    """Without quotes; None where nothing stands behind the name."""
    values: list[str]
    inner: Instruction | None = None
    """ONBUILD's."""
    json: bool = False
    """Whether the values were written as a JSON array."""
    line: int = 0
    comments: list[str] = field(default_factory=list)
    """Those before it, without `#`."""

    @property
    def arguments(self) -> list[str]:
        return [*self.values, *([self.inner.name, *self.inner.arguments] if self.inner else [])]


def instructions(data: bytes, where: str) -> list[Instruction]:
    """Raises MalformedError, for what `docker build` does not take either."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(where, got=str(error)[:100], expected="a Dockerfile in UTF-8") from None
    read = [*_Reader(text.removeprefix("\ufeff"), where)]
    if not read:
        raise MalformedError(where, got="no instruction", expected="at least one")
    return read


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        lines = text.split("\n")
        self._lines = [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
        self._at = 0
        self._where = where
        self._escape = "\\"
        self._directives: set[str] | None = set()
        """Those that were read; None since something else was."""

    def __iter__(self) -> Iterator[Instruction]:
        comments: list[str] = []
        while (raw := self._next()) is not None:
            if _is_comment(raw):
                comment = raw[1:].strip(SPACE)
                if comment:
                    comments.append(comment)
                else:
                    comments = []
            line, directive = self._processed(raw.rstrip("\r\n").lstrip(SPACE))
            if directive:
                comments.pop()
            start = self._at
            line, whole = self._continued(line)
            if whole and not line:
                continue
            parts = [line]
            while not whole and (raw := self._next()) is not None:
                line, _ = self._processed(raw.rstrip("\r\n"))
                if _is_comment(raw) or not line.strip(SPACE):
                    continue
                line, whole = self._continued(line)
                parts.append(line)
            instruction = self._instruction("".join(parts), start)
            self._skip_heredocs(instruction, "".join(parts))
            instruction.comments = comments
            yield instruction
            comments = []

    def _next(self) -> str | None:
        if self._at == len(self._lines):
            return None
        line = self._lines[self._at]
        self._at += 1
        if len(line) > LONGEST // 4 and len(line.encode()) >= LONGEST:
            raise self._wrong(self._at, f"a line of {len(line.encode())} bytes", f"less than {LONGEST}")
        return line

    def _processed(self, line: str) -> tuple[str, bool]:
        """(without a comment, whether it is a directive: those stand before everything else, each once)."""
        if self._directives is not None:
            match = _DIRECTIVE.match(line[1:].lstrip(SPACE)) if line.startswith("#") else None
            name = match[1].lower() if match else ""
            if match is None or name not in _DIRECTIVES:
                self._directives = None
            elif name in self._directives:
                raise self._wrong(self._at, f"the directive {name} twice", "each directive once")
            else:
                self._directives.add(name)
                if name == "escape":
                    if match[2] not in ("\\", "`"):
                        raise self._wrong(self._at, f"escape={match[2]}", "` or \\")
                    self._escape = match[2]
                return "", True
        return ("" if _is_comment(line) else line), False

    def _continued(self, line: str) -> tuple[str, bool]:
        """(without the sign of continuation, whether the line ends with it). Two signs are an escaped one."""
        bare = line.rstrip(" \t")
        if not bare.endswith(self._escape) or bare.endswith(self._escape * 2):
            return line, True
        return bare[:-1], False

    def _instruction(self, line: str, at: int, depth: int = 0) -> Instruction:
        if depth > _DEEPEST:
            raise self._wrong(at, "ONBUILD in ONBUILD", "an instruction behind it")
        name, *rest = _SPACES.split(line.strip(SPACE), maxsplit=1)
        flags, written = None, ""
        if rest:
            flags, written = arguments.flags(rest[0], self._escape)
        try:
            values, is_json = arguments.values(name, written.strip(SPACE), self._escape)
        except ValueError as wrong:
            raise self._wrong(at, str(wrong), "an instruction of a Dockerfile") from None
        instruction = Instruction(name, flags, values, json=is_json, line=at)
        if name.lower() == "onbuild" and (inner := written.strip(SPACE)):
            instruction.inner = self._instruction(inner, at, depth + 1)
        return instruction

    def _skip_heredocs(self, instruction: Instruction, line: str) -> None:
        inner = instruction.inner or instruction
        if inner.name.lower() not in _HEREDOCS or inner.json or "<<" not in line:
            return
        start = self._at
        try:
            opened = heredocs(line)
        except ValueError as wrong:
            raise self._wrong(start, str(wrong), "words of a shell") from None
        for heredoc in opened:
            while (raw := self._next()) is not None:
                ending = raw.rstrip("\r\n")
                if (ending.lstrip("\t") if heredoc.tabs else ending) == heredoc.name:
                    break
            else:
                raise self._wrong(start, f"a here-document without {heredoc.name}", "a line that ends it")

    def _wrong(self, line: int, got: str, expected: str) -> MalformedError:
        return MalformedError(f"{self._where}: line {line}", got=got, expected=expected)


def _is_comment(line: str) -> bool:
    return line.lstrip(SPACE).startswith("#")

