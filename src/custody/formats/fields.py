"""Reading a document's fields: each is taken by name with its type, and what was not taken is refused by its path."""

from __future__ import annotations

from typing import Any, TypeVar

from custody.errors import MalformedError, UnsupportedError
from custody.kit.near import near
from policylang.errors import Shape

T = TypeVar("T")
_NAMES = {str: "text", bool: "true or false", int: "a whole number", list: "a list", dict: "a map"}


class Fields:
    """One map of a document."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise MalformedError(where, got=Shape(value), expected="a map")
        self.where = where
        self._left = dict(value)
        self._known: list[str] = []

    def path(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def take(self, name: str, kind: type[T]) -> T | None:
        """The field's value, or None where it is absent or null. Raises MalformedError for another type."""
        self._known.append(name)
        value = self._left.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise MalformedError(self.path(name), got=value if isinstance(value, (str, int, float)) else
                                 Shape(value), expected=_NAMES.get(kind, kind.__name__))
        return value

    def need(self, name: str, kind: type[T]) -> T:
        value = self.take(name, kind)
        if value is None or value == "":
            raise self.absent(name, _NAMES.get(kind, kind.__name__))
        return value

    def absent(self, name: str, expected: str) -> MalformedError:
        """That a field is not there, with the one that is, under a name like it."""
        alike = [key for key in self._left if key not in self._known and near(key, [name])]
        return MalformedError(self.path(name), got="nothing", expected=expected,
                              hint=f"there is {alike[0]}: did you mean {name}?" if alike else None)

    def any(self, name: str) -> Any:
        self._known.append(name)
        return self._left.pop(name, None)

    @property
    def present(self) -> list[str]:
        """Names of the fields that are still to be taken, also of those that are null."""
        return list(self._left)

    def peek(self, name: str) -> Any:
        """The field's value, which is still to be taken."""
        return self._left.get(name)

    def has(self, name: str) -> bool:
        return self._left.get(name) is not None

    def texts(self, name: str) -> list[str]:
        """A list of texts; [] where it is absent."""
        values = self.take(name, list) or []
        for at, value in enumerate(values):
            if not isinstance(value, str):
                raise MalformedError(f"{self.path(name)}[{at}]", got=Shape(value), expected="text")
        return values

    def text_map(self, name: str) -> dict[str, str]:
        values: dict[str, Any] = self.take(name, dict) or {}
        for key, value in values.items():
            if not isinstance(value, str):
                raise MalformedError(f"{self.path(name)}.{key}", got=Shape(value), expected="text")
        return values

    def each(self, name: str) -> list[Fields]:
        """A list of maps; [] where it is absent."""
        return [Fields(value, f"{self.path(name)}[{at}]") for at, value in enumerate(self.take(name, list) or [])]

    def inner(self, name: str) -> Fields | None:
        value: dict[str, Any] | None = self.take(name, dict)
        return None if value is None else Fields(value, self.path(name))

    def only(self, name: str, *allowed: Any, hint: str | None = None) -> None:
        """A field that is accepted with these values alone. Raises UnsupportedError for others."""
        self._known.append(name)
        value = self._left.pop(name, None)
        if value is not None and not any(type(value) is type(choice) and value == choice for choice in allowed):
            raise UnsupportedError(self.path(name), f"{value!r} is not evaluated by custody yet", hint=hint)

    def done(self, hint: str | None = None) -> None:
        """Refuse what is left. Raises UnsupportedError naming the first field's path."""
        for name, value in self._left.items():
            if value is not None:
                raise UnsupportedError(self.path(name), "not evaluated by custody yet",
                                       hint=near(name, self._known, hint))
