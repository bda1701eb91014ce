"""Errors of programs that do not parse or check, in the form that cel-go prints."""

from __future__ import annotations

from typing import NamedTuple

from policylang.source import Source, SourceError

_MOST = 100
_LONGEST = 2000  # characters of what is said in brief
_LONG = 400  # characters of one issue there
_NAMED = 4


class Issue(NamedTuple):
    offset: int
    message: str


class CompileError(SourceError):
    """One or more issues; `message` is the text that cel-go prints for all of them."""

    code = "cel-compile"

    def __init__(self, source: Source, issues: list[Issue]) -> None:
        issues = issues[:_MOST]
        super().__init__(issues[0].message, source, issues[0].offset, kind="cel")
        self.issues = issues
        self.message = "\n".join(shown(source, issue) for issue in issues)
        self.args = (self.message,)

    @property
    def brief(self) -> str:
        """`message` in some 2,000 characters: where lines are long, of the first issues and without the lines."""
        if len(self.message) <= _LONGEST:
            return self.message
        heads = [_head(self.source, issue) for issue in self.issues[:_NAMED]]
        rest = len(self.issues) - len(heads)
        return "\n".join([head if len(head) <= _LONG else f"{head[:_LONG]}…" for head in heads]
                         + ([f"and {rest} more"] if rest else []))

    @classmethod
    def one(cls, source: Source, offset: int, message: str) -> CompileError:
        return cls(source, [Issue(offset, message)])

    def __reduce__(self) -> tuple[type[CompileError], tuple[Source, list[Issue]]]:
        return CompileError, (self.source, self.issues)


def shown(source: Source, issue: Issue) -> str:
    """`ERROR: <input>:1:5: message`, the line and a caret below the column."""
    line, column = _place(source, issue)
    head = _head(source, issue)
    text = source.line(line).replace("\t", " ")
    if len(text) > 16_384:
        return head
    dots = "".join("." if character.isascii() else "．" for character in text[:column - 1])  # noqa: RUF001 - as wide as its text
    mark = "^" if text[column - 1:column].isascii() else "＾"  # noqa: RUF001
    return f"{head}\n | {text}\n | {dots}{mark}"


def _place(source: Source, issue: Issue) -> tuple[int, int]:
    return source.place(min(max(issue.offset, 0), len(source.text)))


def _head(source: Source, issue: Issue) -> str:
    line, column = _place(source, issue)
    return f"ERROR: {source.name}:{line}:{column}: {issue.message}"
