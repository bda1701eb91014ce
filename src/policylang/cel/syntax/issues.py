"""Errors of programs that do not parse or check, in the form that cel-go prints."""

from __future__ import annotations

from typing import NamedTuple

from policylang.source import Source, SourceError

_MOST = 100


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

    @classmethod
    def one(cls, source: Source, offset: int, message: str) -> CompileError:
        return cls(source, [Issue(offset, message)])

    def __reduce__(self) -> tuple[type[CompileError], tuple[Source, list[Issue]]]:
        return CompileError, (self.source, self.issues)


def shown(source: Source, issue: Issue) -> str:
    """`ERROR: <input>:1:5: message`, the line and a caret below the column."""
    offset = min(max(issue.offset, 0), len(source.text))
    line, column = source.place(offset)
    head = f"ERROR: {source.name}:{line}:{column}: {issue.message}"
    text = source.line(line).replace("\t", " ")
    if len(text) > 16_384:
        return head
    dots = "".join("." if character.isascii() else "．" for character in text[:column - 1])  # noqa: RUF001 - as wide as its text
    mark = "^" if text[column - 1:column].isascii() else "＾"  # noqa: RUF001
    return f"{head}\n | {text}\n | {dots}{mark}"
