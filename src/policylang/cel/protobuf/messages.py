"""Messages and values of enums as CEL values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from policylang.cel import types
from policylang.cel.protobuf.pool import Field
from policylang.cel.types import Type
from policylang.cel.values import equality
from policylang.cel.values.errors import CelError

if TYPE_CHECKING:
    from policylang.cel.protobuf.descriptors import Descriptors


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


class Message:
    """A message. `values` holds the fields that are set."""

    __slots__ = ("types", "name", "values")  # noqa: RUF023

    def __init__(self, of: Descriptors, name: str, values: dict[str, Any]) -> None:
        self.types, self.name, self.values = of, name, values

    @property
    def cel_type(self) -> Type:
        return types.message(self.name)

    def __getitem__(self, field: str) -> Any:
        if field in self.values:
            return self.values[field]
        return self.types.default(self._field(field))

    def _field(self, name: str) -> Field:
        found = self.types.pool.field(self.name, name)
        if found is None:
            raise CelError(f"no such field '{name}'")
        return found

    def cel_has(self, field: str) -> bool:
        return field in self.values or self._field(field) is None

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
