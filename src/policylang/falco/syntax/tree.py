"""A condition as it was written: what the parser makes, with where each part stands in its text."""

from __future__ import annotations

from dataclasses import dataclass, field


def _place() -> int:
    return field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Literal:
    """A text, quoted or bare, or a number; which of them it is depends on what it is compared with."""

    value: str
    start: int = _place()
    end: int = _place()


@dataclass(frozen=True, slots=True)
class Field:
    """`name` or `name[argument]`."""

    name: str
    argument: str | None = None
    start: int = _place()
    end: int = _place()

    def __str__(self) -> str:
        return self.name if self.argument is None else f"{self.name}[{self.argument}]"


@dataclass(frozen=True, slots=True)
class Transform:
    """`name(arguments)`, or `name(arguments)[index]`. `val(field)` on a right-hand side is the field itself."""

    name: str
    arguments: tuple[Argument, ...]
    index: str | None = None
    start: int = _place()
    end: int = _place()


@dataclass(frozen=True, slots=True)
class Values:
    """`(a, b)` as a transformer's argument."""

    items: tuple[Argument, ...]


Operand = Field | Transform
Argument = Field | Transform | Literal | Values


@dataclass(frozen=True, slots=True)
class Exists:
    left: Operand
    start: int = _place()
    end: int = _place()


@dataclass(frozen=True, slots=True)
class Compare:
    """`modifier` is oneof, anyof, allof or empty. A tuple on the right is a list."""

    left: Operand
    operator: str
    modifier: str
    right: Literal | tuple[Literal, ...] | Operand
    start: int = _place()
    end: int = _place()


@dataclass(frozen=True, slots=True)
class Macro:
    name: str
    start: int = _place()
    end: int = _place()


@dataclass(frozen=True, slots=True)
class Not:
    part: Condition


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Condition, ...]


Condition = Exists | Compare | Macro | Not | And | Or
