"""Fields that are read by a table: Falco's name → how it is had of an event. Each is looked for once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

Read = Callable[[Any], Any]
_ABSENT = object()


class TableFields:
    """Implements `event.Fields`. `table` is the class's; a name that is not in it is a field that nobody can know."""

    __slots__ = ("event", "known")
    table: ClassVar[Mapping[str, Read]] = {}

    def __init__(self, event: Any) -> None:
        self.event = event
        self.known: dict[str, Any] = {}

    def get(self, name: str, /) -> Any:
        value = self.known.get(name, _ABSENT)
        if value is _ABSENT:
            read = self.table.get(name)
            value = self.known[name] = None if read is None else read(self.event)
        return value


def ancestors(names: str, read: Callable[[Any, int], Any], deepest: int = 15) -> dict[str, Read]:
    """Rows `proc.aname[1]` … for a field of ancestors; 1 is the parent, 0 the process itself."""
    def row(depth: int) -> Read:
        return lambda event: read(event, depth)

    return {f"{names}[{depth}]": row(depth) for depth in range(deepest + 1)}
