"""CEL's values: plain Python data, and small classes for what Python has no literal for.

int is an int64, `Uint` a uint64, float a double; str, bytes, bool, None, list and dict are themselves. Keys of a dict
are str, int, Uint or bool. A class of a library carries its type as `cel_type`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

from policylang.cel import types
from policylang.cel.types import Type
from policylang.cel.values.errors import CelError

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1
UINT_MAX: Final = (1 << 64) - 1


class Uint(int):
    """A uint64."""

    __slots__ = ()
    cel_type: ClassVar[Type] = types.UINT

    def __repr__(self) -> str:
        return f"{int(self)}u"

    __str__ = int.__repr__


NUMBERS: Final = frozenset({int, Uint, float})  # the classes of what compares with each other


class _Nanoseconds:
    """An exact number of nanoseconds; compares only with its own class."""

    __slots__ = ("ns",)

    def __init__(self, ns: int) -> None:
        self.ns = ns

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.ns == self.ns

    def __hash__(self) -> int:
        return hash((type(self), self.ns))

    def __lt__(self, other: Any) -> bool:
        return self.ns < other.ns if type(other) is type(self) else NotImplemented

    def __le__(self, other: Any) -> bool:
        return self.ns <= other.ns if type(other) is type(self) else NotImplemented

    def __gt__(self, other: Any) -> bool:
        return self.ns > other.ns if type(other) is type(self) else NotImplemented

    def __ge__(self, other: Any) -> bool:
        return self.ns >= other.ns if type(other) is type(self) else NotImplemented

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.ns})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.ns,)


class Timestamp(_Nanoseconds):
    """`ns` since 1970-01-01T00:00:00Z."""

    __slots__ = ()
    cel_type: ClassVar[Type] = types.TIMESTAMP


class Duration(_Nanoseconds):
    """`ns`, below zero for a span into the past."""

    __slots__ = ()
    cel_type: ClassVar[Type] = types.DURATION


class Optional:
    """A value or its absence; a field or element of an optional is an optional."""

    __slots__ = ("present", "value")
    cel_type: ClassVar[Type] = types.optional_of(types.DYN)

    def __init__(self, value: Any = None, present: bool = True) -> None:
        self.value = value
        self.present = present

    def __getitem__(self, field: str) -> Optional:
        """The optional field of what is held."""
        if not self.present:
            return NONE
        held = self.value
        if isinstance(held, dict):
            return Optional(held[field]) if field in held else NONE
        if isinstance(held, list):
            raise CelError("unsupported index type 'string' in list")
        if type(held) is not Optional and hasattr(held, "cel_has"):
            return Optional(held[field]) if held.cel_has(field) else NONE
        raise CelError(f"no such key: {field}")

    def __repr__(self) -> str:
        return f"optional.of({self.value!r})" if self.present else "optional.none()"

    def __reduce__(self) -> tuple[Any, ...]:
        return Optional, (self.value, self.present)


NONE: Final = Optional(None, False)


class _Flag:
    """A bool as a key: to a dict, True would be 1."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value = value


_FLAGS = {True: _Flag(True), False: _Flag(False)}


class Mixed(dict[Any, Any]):
    """A map that has both bools and the numbers 0 or 1 as keys."""

    cel_type: ClassVar[Type] = types.map_of(types.DYN, types.DYN)

    @staticmethod
    def _held(key: Any) -> Any:
        return _FLAGS[key] if key is True or key is False else key

    @staticmethod
    def _shown(key: Any) -> Any:
        return key.value if type(key) is _Flag else key

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, self._held(key))

    def __getitem__(self, key: Any) -> Any:
        return dict.__getitem__(self, self._held(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        dict.__setitem__(self, self._held(key), value)

    def __iter__(self) -> Iterator[Any]:
        return map(self._shown, dict.__iter__(self))

    def items(self) -> list[tuple[Any, Any]]:  # type: ignore[override]
        return [(self._shown(key), value) for key, value in dict.items(self)]

    def plain(self) -> dict[Any, Any]:
        """A dict, where no two keys would be one there."""
        made = dict(self.items())
        return made if len(made) == len(self) else self

    def __reduce__(self) -> tuple[Any, ...]:
        return _mixed, (self.items(),)


def _mixed(items: list[tuple[Any, Any]]) -> Mixed:
    made = Mixed()
    for key, value in items:
        made[key] = value
    return made


class TypeValue:
    """What `type(x)` gives; equal by name."""

    __slots__ = ("name",)
    cel_type: ClassVar[Type] = types.TYPE

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypeValue) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return TypeValue, (self.name,)


_TYPES: dict[type, Type] = {
    bool: types.BOOL, int: types.INT, float: types.DOUBLE, str: types.STRING, bytes: types.BYTES,
    type(None): types.NULL, list: types.list_of(types.DYN), dict: types.map_of(types.DYN, types.DYN),
}


def type_of(value: Any) -> Type:
    """The run-time type of a value; CelError for what is no CEL value."""
    known = _TYPES.get(type(value)) or getattr(value, "cel_type", None)
    if known is None:
        raise CelError(f"unsupported type conversion from {type(value).__name__}")
    return known


def type_name(value: Any) -> str:
    """The name that `type(value)` shows."""
    return type_of(value).name


def no_such_overload(function: str, *arguments: Any) -> CelError:
    """cel-go's error for a call whose arguments fit no overload."""
    return CelError(f"no such overload: {function}({', '.join(map(type_name, arguments))})")
