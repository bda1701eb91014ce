"""Rego's values as Python data: how they compare, order, print and become keys.

null, boolean, string and array are None, bool, str and list, as JSON is decoded; a number is an int, a float or a
`Numeral` (see `numbers`). An object is a
dict and a set is a `Set`; what is a key in them is a value's `key`: the value itself for a string, a number and null,
and a `Boxed` one for the rest, since Python has `True == 1` and unhashable lists. All values are never changed once
they are made. Order and text are those of OPA (v1/ast: Compare, String).
"""

from __future__ import annotations

import abc
import json.encoder
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from policylang.budget import GENEROUS, Meter, too_long
from policylang.go.numbers import quote
from policylang.rego.values.numbers import Numeral, integral, number_text

Value = Any  # None | bool | int | float | Numeral | str | list[Value] | dict[Key, Value] | Set
Key = Any  # None | int | float | Numeral | str | Boxed


class _Running(threading.local):
    """The budget of the evaluation that this thread runs, which walks through values pay for too.

    Ten rules of the shape `x := [y, y]` make a value of a thousand leaves out of ten lists, and sixty make one that
    nothing could walk through.
    """

    meter: Meter | None = None


running = _Running()


def pay(steps: int) -> None:
    """Charge whatever evaluation is running."""
    meter = running.meter
    if meter is not None:
        meter.left -= steps
        if meter.left < 0:
            raise too_long()


class Undefined:
    """The only instance, UNDEFINED, is what a rule or builtin without a value gives."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "undefined"

    def __reduce__(self) -> str:
        return "UNDEFINED"


UNDEFINED = Undefined()


class Lazy(abc.ABC):
    """An object of base data that is read as it is asked for, never whole where a part will do.

    A reference goes through it by `get` and `names`; wherever it becomes a value of its own, `whole` is asked. Both may
    raise `declare.Halt`, where it cannot be read. Its keys are texts, and what is in it never changes.
    """

    __slots__ = ()

    @abc.abstractmethod
    def get(self, name: str) -> Value:
        """The member of that name, which may be lazy too, or UNDEFINED."""

    @abc.abstractmethod
    def names(self) -> list[str]:
        """All keys."""

    @abc.abstractmethod
    def whole(self) -> dict[Key, Value]:
        """Plain, with all that is in it."""


_SOLID = frozenset((str, dict, list, int, float, bool, type(None)))


def solid(value: Value) -> Value:
    """A value of base data that is no lazy one."""
    return value if type(value) in _SOLID or not isinstance(value, Lazy) else value.whole()


class Boxed:
    """A boolean, array, object or set as a key. Equal to a box of an equal value, and to nothing else."""

    __slots__ = ("_hash", "value")

    def __init__(self, value: Value) -> None:
        self.value = value
        self._hash = _hash(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return type(other) is Boxed and self._hash == other._hash and equal(self.value, other.value)

    def __repr__(self) -> str:
        return text(self.value)

    def __reduce__(self) -> tuple[Any, ...]:
        return Boxed, (self.value,)


_HASHED = frozenset({str, int, float, Numeral})


def _hash(value: Value) -> int:
    """Equal values have equal hashes. Only the first level is looked at: comparing is exact, and pays for itself."""
    kind = type(value)
    if kind is bool:
        return 3 if value else 5
    pay(8 + len(value))
    if kind is dict:
        made = hash(frozenset(value))
        for member in value.values():
            if type(member) is str:
                made ^= hash(member)
        return made
    made = len(value)
    if kind is list:
        for member in value:
            made = made * 31 & 0xFFFFFFFFFFFFFFF
            if type(member) in _HASHED:
                made ^= hash(member)
    else:
        for name in value.items:
            made ^= hash(name) * 17
    return made


def key(value: Value) -> Key:
    """`value` as a key of a dict or a Set."""
    kind = type(value)
    if kind is str or kind is int or value is None or kind is float or kind is Numeral:
        return value
    return Boxed(value)


def unkey(name: Key) -> Value:
    return name.value if type(name) is Boxed else name


class Set:
    """A set of values. `items`: key → value."""

    __slots__ = ("_ordered", "items")

    def __init__(self, items: dict[Key, Value] | None = None) -> None:
        self.items: dict[Key, Value] = {} if items is None else items
        self._ordered: list[Value] | None = None

    @classmethod
    def of(cls, values: Iterable[Value]) -> Set:
        items: dict[Key, Value] = {}
        for value in values:
            items.setdefault(key(value), value)
        return cls(items)

    def ordered(self) -> list[Value]:
        """The members in OPA's order; not to be changed."""
        if self._ordered is None or len(self._ordered) != len(self.items):
            self._ordered = ordered(self.items.values())
        return self._ordered

    def __contains__(self, value: Value) -> bool:
        return key(value) in self.items

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Value]:
        return iter(self.items.values())

    def __eq__(self, other: object) -> bool:
        return type(other) is Set and self.items.keys() == other.items.keys()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return text(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Set.of, (list(self.items.values()),)


def equal(left: Value, right: Value) -> bool:
    """Rego's equality: 1 and 1.0 are equal, 1 and true are not."""
    if left is right:
        return True
    kind, kind2 = type(left), type(right)
    if kind is str or kind2 is str:
        return bool(left == right)
    if kind is bool or kind2 is bool or left is None or right is None:
        return False
    if kind is list or kind is dict:
        pay(2 * len(left) + 2)
    if kind is list:
        return kind2 is list and len(left) == len(right) and all(map(equal, left, right))
    if kind is dict:
        return (kind2 is dict and len(left) == len(right)
                and all(name in right and equal(value, right[name]) for name, value in left.items()))
    return bool(left == right)


def order(value: Value) -> tuple[int, Any]:
    """A Python sort key in OPA's order: null, booleans, numbers, strings, arrays, objects, sets."""
    kind = type(value)
    if kind is str:
        return 3, value
    if kind is int or kind is float or kind is Numeral:
        return 2, value
    if kind is bool:
        return 1, value
    if value is not None:
        pay(3 * len(value) + 4)
    if kind is list:
        return 6, [order(member) for member in value]
    if kind is dict:
        return 7, sorted((order(unkey(member)), order(value[member])) for member in value)
    if kind is Set:
        return 8, [order(member) for member in value.ordered()]
    return 0, 0


def ordered(values: Iterable[Value]) -> list[Value]:
    """The values sorted as OPA sorts them."""
    members = list(values)
    kinds = set(map(type, members))
    if len(kinds) <= 1 and kinds <= {str, int, float}:
        members.sort()
    else:
        members.sort(key=order)
    return members


def compare(left: Value, right: Value) -> int:
    """-1, 0 or 1."""
    if left is right:
        return 0
    first, second = order(left), order(right)
    return -1 if first < second else 1 if first > second else 0


def pairs(value: dict[Key, Value]) -> list[tuple[Value, Value]]:
    """An object's keys, as values, with what is under them, in the order of the keys."""
    if all(type(name) is str for name in value):
        return sorted(value.items(), key=_first)
    members = [(unkey(name), member) for name, member in value.items()]
    members.sort(key=lambda pair: order(pair[0]))
    return members


def _first(pair: tuple[Any, Any]) -> Any:
    return pair[0]


def type_name(value: Value) -> str:
    kind = type(value)
    return _NAMES.get(kind) or ("null" if value is None else kind.__name__)


_NAMES = {str: "string", int: "number", float: "number", Numeral: "number",
          bool: "boolean", list: "array", dict: "object", Set: "set"}


_QUOTE: Callable[[str], str] = json.encoder.encode_basestring


_ODD_BYTES = re.compile("[\udc80-\udcff]")


def printable(value: str) -> str:
    """With U+FFFD for each byte that is no UTF-8, which strings hold as Python's surrogateescape does."""
    return value if value.isascii() else _ODD_BYTES.sub("\ufffd", value)


def quoted(value: str) -> str:
    """A string in JSON's quotes, as Go's encoding/json prints it."""
    shown = _QUOTE(printable(value))
    if "\x7f" in shown or "\u2028" in shown or "\u2029" in shown:
        shown = shown.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return shown


def text(value: Value) -> str:
    """A value as `print` and `sprintf("%v")` show it inside a collection: strings as Go quotes them, sets in braces."""
    kind = type(value)
    if kind is str:
        return quote(value)
    if kind is bool:
        return "true" if value else "false"
    if value is None:
        return "null"
    if kind is int or kind is float or kind is Numeral:
        return number_text(value)
    pay(3 * len(value) + 4)
    if kind is list:
        return "[" + ", ".join(map(text, value)) + "]"
    if kind is dict:
        return "{" + ", ".join(f"{text(name)}: {text(member)}" for name, member in pairs(value)) + "}"
    return "{" + ", ".join(map(text, value.ordered())) + "}" if value.items else "set()"


def to_json(value: Value) -> Any:
    """Plain JSON data: sets become arrays in order, keys that are no strings become their text.

    BudgetExceeded where that would be more than a hundred million values.
    """
    before, running.meter = running.meter, running.meter or Meter(GENEROUS)
    try:
        return _plain(value)
    finally:
        running.meter = before


def _plain(value: Value) -> Any:
    kind = type(value)
    if kind is dict or kind is list or kind is Set:
        pay(3 * len(value) + 4)
    if kind is str:
        return printable(value)
    if kind is dict:
        return {printable(name): _plain(member) for name, member in named(value)}
    if kind is list:
        return [_plain(item) for item in value]
    if kind is Set:
        return [_plain(item) for item in value.ordered()]
    if kind is Numeral:
        whole = integral(value)
        return float(value) if whole is None else whole
    if kind is float and value == value // 1 and abs(value) < 1e21:
        return int(value)
    return value


def named(value: dict[Key, Value]) -> Iterable[tuple[str, Value]]:
    """An object's members by the texts of their keys; of keys with one text the last in order counts, as in OPA."""
    if all(type(name) is str for name in value):
        return value.items()
    return {name if type(name) is str else compact(name): member for name, member in pairs(value)}.items()


def sorted_names(value: dict[Key, Value]) -> list[tuple[str, Value]]:
    return sorted(named(value), key=lambda pair: pair[0].encode("utf-8", "surrogatepass"))


def compact(value: Value) -> str:
    """JSON text without spaces and with sorted keys, as `json.marshal` writes it."""
    kind = type(value)
    if kind is str:
        return quoted(value).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    if kind is list or kind is Set or kind is dict:
        pay(3 * len(value) + 4)
    if kind is list:
        return "[" + ",".join(map(compact, value)) + "]"
    if kind is Set:
        return "[" + ",".join(map(compact, value.ordered())) + "]"
    if kind is dict:
        return "{" + ",".join(f"{compact(name)}:{compact(member)}" for name, member in sorted_names(value)) + "}"
    return text(value)
