"""The text of a condition as Falco assembles it: pieces appended, exceptions added, lists put in place of their names.

Lists are substituted in the text, before it is parsed, as rule_loader_compiler.cpp does; `locate` finds the way back
from a place in the resulting text to the file, so that errors point there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from policylang.falco.syntax.definitions import Exemption
from policylang.falco.syntax.document import Node
from policylang.falco.syntax.lexer import LISTED, MODIFIERS
from policylang.source import Source, SourceError

_BLANKS = " \t\n\r"
_DELIMITERS = _BLANKS + "(),="
LONGEST = 1 << 18  # characters of one condition with its lists
_WORK = 1 << 25  # characters copied while lists are substituted


class Piece(NamedTuple):
    """`linear`: the text is the node's own; otherwise it was made for it."""

    text: str
    node: Node
    linear: bool


class Edit(NamedTuple):
    start: int
    removed: int
    added: int


class Text:
    """A condition before and after lists are substituted."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self.pieces = list(pieces)
        self.edits: list[Edit] = []
        self.source = Source("".join(piece.text for piece in self.pieces), self.pieces[0].node.source.name)

    def substitute(self, lists: Iterable[tuple[str, list[str]]], used: Callable[[str], Any]) -> None:
        text, work = self.source.text, 0
        self._bounded(text)
        for name, items in lists:
            start = text.find(name)
            while start >= 0:
                end = start + len(name)
                if (start == 0 or text[start - 1] in _DELIMITERS) and (end >= len(text) or text[end] in _DELIMITERS):
                    text, start = self._replaced(text, start, end, items)
                    used(name)
                    work += len(text)
                    self._bounded(text, work)
                start = text.find(name, start + 1)
        if self.edits:
            self.source = Source(text, self.source.name)

    def _bounded(self, text: str, work: int = 0) -> None:
        if len(text) > LONGEST or work > _WORK:
            raise self.error(f"condition with its lists is longer than {LONGEST} characters", 0)

    def _replaced(self, text: str, start: int, end: int, items: list[str]) -> tuple[str, int]:
        while start > 0 and text[start - 1] in _BLANKS:
            start -= 1
        while end < len(text) and text[end] in _BLANKS:
            end += 1
        put = ", ".join(quoted(item) for item in items)
        if not put:
            if start > 0 and text[start - 1] == ",":
                start -= 1
            elif end < len(text) and text[end] == ",":
                end += 1
        put = f"{' ' if start > 0 else ''}{put} "
        self.edits.append(Edit(start, end - start, len(put)))
        return text[:start] + put + text[end:], start + len(put)

    def locate(self, offset: int) -> tuple[Source, int]:
        """The file, and the offset in it, of a place in the substituted text."""
        for start, removed, added in reversed(self.edits):
            if offset >= start + added:
                offset += removed - added
            elif offset >= start:
                offset = start + 1 if removed > 1 else start  # the list's name, after the blank before it
        for piece in self.pieces:
            if offset <= len(piece.text):
                break
            offset -= len(piece.text)
        node = piece.node
        return node.source, node.place(offset) if piece.linear else node.start

    def error(self, message: str, offset: int, kind: str = "LOAD_ERR_COMPILE_CONDITION") -> SourceError:
        return SourceError(message, *self.locate(offset), kind=kind)


def quoted(item: str) -> str:
    """Items with a blank are quoted, unless they bring their own quotes."""
    return f'"{item}"' if " " in item and item[0] not in "\"'" else item


def listed(comparison: str) -> bool:
    """Does a list follow this operator? `comparison` may carry a modifier."""
    words = comparison.split()
    return bool(words) and (words[0] in LISTED or words[-1] in MODIFIERS)


def with_exceptions(pieces: list[Piece], exceptions: list[Exemption]) -> list[Piece]:
    """`(condition) and not (field = value and …)`, for each exception that has values."""
    if not exceptions:
        return pieces
    node = pieces[0].node
    joined = [Piece("(", node, False), *pieces, Piece(")", node, False)]
    for exemption in exceptions:
        text = _scalar(exemption) if isinstance(exemption.fields, str) else _tuples(exemption)
        if text:
            joined.append(Piece(f" and not {text}", exemption.node, False))
    return joined


def _scalar(exception: Exemption) -> str:
    values = []
    for value, node in exception.values:
        if not isinstance(value, str):
            raise node.error("Expected values array to contain a list of strings", "LOAD_ERR_VALIDATE")
        values.append(quoted(value))
    return f"({exception.fields} {exception.comps} ({', '.join(values)}))" if values else ""


def _tuples(exception: Exemption) -> str:
    cases = []
    for values, node in exception.values:
        if not isinstance(values, list) or len(values) != len(exception.fields):
            raise node.error("Fields and values lists must have equal length", "LOAD_ERR_VALIDATE")
        tests = []
        for name, comparison, value in zip(exception.fields, exception.comps, values, strict=True):
            if isinstance(value, list):
                text = f"({', '.join(quoted(item) for item in value if isinstance(item, str))})"
            elif listed(comparison):
                text = value if value[0] == "(" else f"({value})"
            else:
                text = quoted(value)
            tests.append(f"{name} {comparison} {text}")
        cases.append(f"({' and '.join(tests)})")
    return f"({' or '.join(cases)})" if cases else ""
