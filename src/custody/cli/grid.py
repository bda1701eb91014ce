"""Tables in the lines of the Kyverno CLI, so that what reads those reads these."""

from __future__ import annotations

from collections.abc import Sequence

from custody.kit.visible import visible

LONG = 10
"""Rows from which the first column's title says how many there are."""


def grid(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; a cell of several lines makes its row as high."""
    heads = [title.upper() for title in titles]
    if len(rows) > LONG:
        heads[0] = f"{heads[0]} ({len(rows)})"
    cells = [[[visible(line) for line in cell.split("\n")] for cell in row] for row in rows]
    widths = [max([len(head), *(len(line) for row in cells for line in row[at])]) for at, head in enumerate(heads)]
    rule = "│" + "│".join("─" * (width + 2) for width in widths) + "│"
    lines = [rule, _line(heads, widths), rule]
    for row in cells:
        lines += [_line([cell[at] if at < len(cell) else "" for cell in row], widths)
                  for at in range(max(len(cell) for cell in row))]
    return "\n".join([*lines, rule])


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "│" + "│".join(f" {text:<{width}} " for text, width in zip(texts, widths, strict=True)) + "│"
