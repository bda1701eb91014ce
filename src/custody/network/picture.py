"""Who can reach whom as a picture: a square for each pair, as SVG that needs nothing else and is the same each time."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from custody.kit.visible import visible
from custody.network.intervals import EMPTY, Intervals
from custody.network.matrix import OUTSIDE, Connection
from custody.network.ports import ALL, text

MOST = 120
"""Rows of a picture; more workloads are drawn as their namespaces, and of more namespaces the first."""
_CELL, _FONT, _WIDE = 16, 11, 7
_LONGEST = 48
_COLOURS = {"all": "#2b6cb0", "some": "#90cdf4", "depends": "#f6ad55"}
_WORDS = {"all": "all ports", "some": "some ports", "depends": "the plugin, or something not modelled, decides"}


class _Cell(NamedTuple):
    allowed: Intervals
    depends: Intervals

    @property
    def colour(self) -> str:
        return "all" if self.allowed == ALL else "some" if self.allowed else "depends"


def draw(workloads: Sequence[str], connections: Sequence[Connection], title: str = "who can reach whom") -> str:
    """An SVG document. `workloads`, as `namespace/name`, have a row and a column each: rows are sources."""
    names = sorted(set(workloads))
    by_namespace = len(names) > MOST
    if by_namespace:
        names = sorted({name.partition("/")[0] for name in names})
    left_out = max(0, len(names) - MOST)
    names = names[:MOST]
    cells: dict[tuple[str, str], _Cell] = {}
    for connection in connections:
        source = OUTSIDE if connection.source_outside else _row(connection.source, by_namespace=by_namespace)
        target = OUTSIDE if connection.target_outside else _row(connection.target, by_namespace=by_namespace)
        before = cells.get((source, target), _Cell(EMPTY, EMPTY))
        cells[source, target] = _Cell(before.allowed | connection.allowed, before.depends | connection.depends)
    return _svg([*names, OUTSIDE], cells, title + (", by namespace" if by_namespace else ""), left_out)


def _row(name: str, *, by_namespace: bool) -> str:
    return name.partition("/")[0] if by_namespace else name


def _label(name: str) -> str:
    shown = visible(name)
    return escape(shown if len(shown) <= _LONGEST else shown[:_LONGEST - 1] + "…")


def _svg(names: list[str], cells: dict[tuple[str, str], _Cell], title: str, left_out: int) -> str:
    margin = 16 + _WIDE * max(min(len(visible(name)), _LONGEST) for name in names)
    side = _CELL * len(names)
    width, height = margin + side + 24, margin + side + 60
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
             f'height="{height}" role="img" font-family="sans-serif" font-size="{_FONT}">',
             f"<title>{escape(visible(title))}</title>",
             f'<rect width="{width}" height="{height}" fill="#ffffff"/>']
    for at, name in enumerate(names):
        place = margin + at * _CELL
        middle = place + _CELL - 4
        lines.append(f'<text x="{margin - 6}" y="{middle}" text-anchor="end">{_label(name)}</text>')
        lines.append(f'<text transform="translate({middle},{margin - 6}) rotate(-90)">{_label(name)}</text>')
    for at in range(len(names) + 1):
        place = margin + at * _CELL
        edge = at in (0, len(names)) or _namespace(names[at - 1]) != _namespace(names[at])
        lines.append(f'<path d="M{margin} {place}H{margin + side}M{place} {margin}V{margin + side}" '
                     f'stroke="{"#718096" if edge else "#edf2f7"}"/>')
    for row, source in enumerate(names):
        for column, target in enumerate(names):
            cell = cells.get((source, target))
            if cell is None or (source == OUTSIDE and target == OUTSIDE):
                continue
            words = text(cell.allowed) if cell.allowed else "depends: " + text(cell.depends)
            lines.append(f'<rect x="{margin + column * _CELL + 1}" y="{margin + row * _CELL + 1}" width="{_CELL - 2}" '
                         f'height="{_CELL - 2}" fill="{_COLOURS[cell.colour]}"><title>{_label(source)} → '
                         f"{_label(target)}: {escape(words[:200])}</title></rect>")
    base = margin + side + 18
    for at, (kind, words) in enumerate(_WORDS.items()):
        lines.append(f'<rect x="{12 + at * 90}" y="{base}" width="12" height="12" fill="{_COLOURS[kind]}"/>'
                     f'<text x="{28 + at * 90}" y="{base + 10}">{escape(words)}</text>')
    if left_out:
        lines.append(f'<text x="12" y="{base + 32}">and {left_out} more that are not drawn</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _namespace(name: str) -> str:
    return name.partition("/")[0]
