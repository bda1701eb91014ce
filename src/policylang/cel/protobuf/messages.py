"""Messages and values of enums as CEL values."""

from __future__ import annotations

from typing import Any, Protocol

from policylang.cel import types
from policylang.cel.types import Type
from policylang.cel.values import equality


class EnumValue(int):
    """A value of an enum, where enums are types of their own."""

    enum: str

    def __new__(cls, enum: str, value: int) -> EnumValue:
        made = super().__new__(cls, value)
        made.enum = enum
        return made

    @property
    def cel_type(self) -> Type:
        return types.enum(self.enum)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EnumValue) and other.enum == self.enum and int(other) == int(self)

    def __hash__(self) -> int:
        return hash((self.enum, int(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return EnumValue, (self.enum, int(self))


class MessageTypes(Protocol):
    """What a message asks of the types that it is one of."""

    def unset(self, message: str, field: str) -> Any:
        """The value of a field that is not set; CelError where there is no such field."""
        ...


class Message:
    """A message. `values` holds the fields that are set."""

    __slots__ = ("types", "name", "values")  # noqa: RUF023

    def __init__(self, of: MessageTypes, name: str, values: dict[str, Any]) -> None:
        self.types, self.name, self.values = of, name, values

    @property
    def cel_type(self) -> Type:
        return types.message(self.name)

    def __getitem__(self, field: str) -> Any:
        if field in self.values:
            return self.values[field]
        return self.types.unset(self.name, field)

    def cel_has(self, field: str) -> bool:
        if field in self.values:
            return True
        self.types.unset(self.name, field)
        return False

    def cel_is_zero(self) -> bool:
        return not self.values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self.name == other.name \
            and self.values.keys() == other.values.keys() \
            and all(equality.equal(value, other.values[name]) for name, value in self.values.items())

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"{self.name}{{{', '.join(f'{name}: {value!r}' for name, value in self.values.items())}}}"
