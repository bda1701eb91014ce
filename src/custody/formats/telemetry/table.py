"""Fields that are read by a table: Falco's name → how it is had of an event. Each is looked for once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

Read = Callable[[Any], Any]


class TableFields(dict[str, Any]):
    """Implements `event.Fields`. `table` is the class's; a name that is not in it is a field that nobody can know.

    It is the dict of the fields that are known already, so that asking for one again is no call of Python's. What most
    rules ask for may be given at once: that costs less than to be asked for one after another.
    """

    __slots__ = ("event",)
    table: ClassVar[Mapping[str, Read]] = {}

    def __init__(self, event: Any, known: Mapping[str, Any] | None = None) -> None:
        super().__init__(known or {})
        self.event = event

    get = dict.__getitem__  # type: ignore[assignment]  # absent is None here, by __missing__

    def __missing__(self, name: str) -> Any:
        read = self.table.get(name)
        value = self[name] = None if read is None else read(self.event)
        return value


def ancestors(names: str, read: Callable[[Any, int], Any], deepest: int = 15) -> dict[str, Read]:
    """Rows `proc.aname[1]` … for a field of ancestors; 1 is the parent, 0 the process itself."""
    def row(depth: int) -> Read:
        return lambda event: read(event, depth)

    return {f"{names}[{depth}]": row(depth) for depth in range(deepest + 1)}
