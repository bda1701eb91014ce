"""Which part of a program gave which value: what an explanation is drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from policylang.source import Source

MOST = 10_000  # steps that one trace keeps


class Step(NamedTuple):
    """The value that `source.text[start:end]` had."""

    start: int
    end: int
    value: Any


class Trace:
    """Records steps in the order in which their values were known. Filled by programs compiled with trace on."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.steps: list[Step] = []
        self.dropped = 0

    def note(self, start: int, end: int, value: Any) -> Any:
        """Record and hand on `value`, so that generated code can wrap an expression."""
        if len(self.steps) < MOST:
            self.steps.append(Step(start, end, value))
        else:
            self.dropped += 1
        return value

    def lines(self, show: Any = repr) -> Iterator[str]:
        """`line:column  text = value`, a step each; long texts and values are cut."""
        for start, end, value in self.steps:
            line, column = self.source.place(start)
            text = " ".join(self.source.text[start:end].split())
            yield f"{line}:{column}  {_cut(text, 80)} = {_cut(str(show(value)), 120)}"
        if self.dropped:
            yield f"… and {self.dropped} more steps"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most - 1] + "…"
