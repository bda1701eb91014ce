"""What operators do at run time where the checker could not know the types (cel-spec langdef, "Runtime semantics")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isnan
from typing import Any, NoReturn

from custody.languages.budget import Meter, too_large
from custody.languages.cel.values import (
    INT_MAX,
    INT_MIN,
    NONE,
    UINT_MAX,
    CelError,
    Duration,
    Mixed,
    Optional,
    Timestamp,
    TypeValue,
    Uint,
    no_such_overload,
    type_name,
)

_EXACT = 1 << 53
_LONG = 4096  # texts below are looked through for nothing
_MIN_TIME, _MAX_TIME = -62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1
_NUMBERS = frozenset({int, Uint, float})
_ORDERED = frozenset({str, bytes, bool, Timestamp, Duration})

class MissingError(Exception):
    """A variable that was not given; the program is run again in its careful form, where only its use is an error."""


# What generated code catches: CelError, and what Python raises where a value is not of the kind that was expected.
FAULTS = (CelError, KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError, RecursionError)


def error_of(fault: BaseException) -> CelError:
    """The error value that one of FAULTS stands for."""
    if isinstance(fault, CelError):
        return fault
    if isinstance(fault, KeyError):
        return CelError(f"no such key: {key_text(fault.args[0])}" if fault.args else "no such key")
    if isinstance(fault, IndexError):
        return CelError("index out of bounds")
    if isinstance(fault, RecursionError):
        return CelError("value nested too deeply")
    if isinstance(fault, OverflowError):
        return CelError("range error")
    return CelError("no such overload")


def key_text(key: Any) -> str:
    if key is True or key is False:
        return str(key).lower()
    return str(key)


def variable(variables: Mapping[str, Any], name: str, kind: type | None) -> Any:
    """A variable where it is used, of the class that it was declared to be."""
    try:
        value = variables[name]
    except KeyError:
        raise CelError(f"no such attribute(s): {name}") from None
    if kind is not None and type(value) is not kind and not (kind in (list, dict) and isinstance(value, kind)):
        raise CelError("no such overload")
    return value


def free_name(variables: Mapping[str, Any], choices: tuple[tuple[str, tuple[str, ...]], ...]) -> Any:
    """A name that was not declared: the longest prefix that is given, and the fields of the rest."""
    for name, fields in choices:
        if name in variables:
            value = variables[name]
            for field in fields:
                value = value[field]
            return value
    raise CelError(f"no such attribute(s): {', '.join(name for name, _ in choices)}")


def missing() -> NoReturn:
    raise MissingError


def fail(message: str) -> NoReturn:
    raise CelError(message)


def rethrow(fault: BaseException) -> NoReturn:
    raise error_of(fault) from None


def overload(*_: Any) -> NoReturn:
    raise CelError("no such overload")


def overflow() -> NoReturn:
    raise CelError("integer overflow")


def unsigned_overflow() -> NoReturn:
    raise CelError("unsigned integer overflow")


# ── equality ────────────────────────────────────────────────────────────────────────────────────────────────────────

def equal(left: Any, right: Any) -> bool:
    """Heterogeneous equality: numbers on one line, anything else unequal across types."""
    one, other = type(left), type(right)
    if one is other:
        if one is list:
            return len(left) == len(right) and all(map(equal, left, right))
        if one is dict:
            return _same_maps(left, right)
        if one is Optional:
            return left.present == right.present and (not left.present or equal(left.value, right.value))
        return bool(left == right)
    if one in _NUMBERS and other in _NUMBERS:
        return _numbers_equal(left, right)
    if one is bool or other is bool:
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return _same_maps(left, right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right) if hasattr(left, "cel_type") and hasattr(right, "cel_type") else False


def _numbers_equal(left: Any, right: Any) -> bool:
    if type(left) is float or type(right) is float:
        return float(left) == float(right)
    return bool(left == right)


def _same_maps(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    if len(left) != len(right):
        return False
    for key, value in left.items():
        if type(key) is str:
            if key not in right or not equal(value, right[key]):
                return False
        else:
            found, other = lookup(right, key)
            if not found or not equal(value, other):
                return False
    return True


def unequal(left: Any, right: Any) -> bool:
    return not equal(left, right)


def equal_within(left: Any, right: Any, meter: Meter) -> bool:
    """As equal, for programs in which one value may stand in many places: pays for what it compares."""
    one = type(left)
    if one is str or one is bytes:
        if one is type(right) and len(left) == len(right) > _LONG:
            meter.spend(len(left) >> 8)
    elif isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            return False
        meter.spend(len(left))
        return all(equal_within(*pair, meter) for pair in zip(left, right, strict=True))
    elif isinstance(left, dict) and isinstance(right, dict):
        if len(left) != len(right):
            return False
        meter.spend(len(left))
        for key, value in left.items():
            found, other = lookup(right, key)
            if not found or not equal_within(value, other, meter):
                return False
        return True
    elif one is Optional and type(right) is Optional and left.present and right.present:
        return equal_within(left.value, right.value, meter)
    return equal(left, right)


def unequal_within(left: Any, right: Any, meter: Meter) -> bool:
    return not equal_within(left, right, meter)


def contains_within(value: Any, container: Any, meter: Meter) -> bool:
    """As contains, paying for what it looks through."""
    if isinstance(container, list):
        meter.spend(len(container) >> 2)
        if type(value) is not str:
            return any(equal_within(value, each, meter) for each in container)
    return contains(value, container)


def add_within(left: Any, right: Any, meter: Meter) -> Any:
    return paid(meter, add(left, right, meter.size))


def paid(meter: Meter, value: Any) -> Any:
    """Pay for a value that a loop made, so that many large ones are as impossible as one that is too large."""
    kind = type(value)
    if kind is str or kind is bytes:
        if len(value) > 64:
            meter.spend(len(value) >> 6)
    elif kind is list and len(value) > 4:
        meter.spend(len(value) >> 2)
    return value


def scanned(meter: Meter, text: str) -> str:
    """Pay for looking through a long text."""
    meter.spend(len(text) >> 8)
    return text


# ── order ───────────────────────────────────────────────────────────────────────────────────────────────────────────

def _comparable(left: Any, right: Any) -> tuple[Any, Any]:
    one, other = type(left), type(right)
    if one in _NUMBERS and other in _NUMBERS:
        if one is not other and (one is float or other is float) \
                and (abs(left) > _EXACT or abs(right) > _EXACT):
            return float(left), float(right)
        return left, right
    if one is other and one in _ORDERED:
        return left, right
    raise CelError("no such overload")


def less(left: Any, right: Any) -> bool:
    one, other = _comparable(left, right)
    return bool(one < other)


def less_equal(left: Any, right: Any) -> bool:
    one, other = _comparable(left, right)
    return bool(one <= other)


def greater(left: Any, right: Any) -> bool:
    one, other = _comparable(left, right)
    return bool(one > other)


def greater_equal(left: Any, right: Any) -> bool:
    one, other = _comparable(left, right)
    return bool(one >= other)


# ── arithmetic ──────────────────────────────────────────────────────────────────────────────────────────────────────

def _int(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise CelError("integer overflow")


def _uint(value: int) -> Uint:
    if 0 <= value <= UINT_MAX:
        return Uint(value)
    raise CelError("unsigned integer overflow")


def timestamp(ns: int) -> Timestamp:
    if _MIN_TIME <= ns <= _MAX_TIME:
        return Timestamp(ns)
    raise CelError("timestamp overflow")


def duration(ns: int) -> Duration:
    if INT_MIN <= ns <= INT_MAX:
        return Duration(ns)
    raise CelError("duration overflow")


def join(left: Any, right: Any, most: int) -> Any:
    """Two strings, bytes or lists; both of one type."""
    size = len(left) + len(right)
    if size > most:
        raise too_large(size, most)
    return left + right


def add(left: Any, right: Any, most: int) -> Any:
    one, other = type(left), type(right)
    if one is other:
        if one is int:
            return _int(left + right)
        if one is float:
            return left + right
        if one is str or one is bytes or one is list:
            return join(left, right, most)
        if one is Uint:
            return _uint(int(left) + int(right))
        if one is Duration:
            return duration(left.ns + right.ns)
    elif (one is Timestamp and other is Duration) or (one is Duration and other is Timestamp):
        return timestamp(left.ns + right.ns)
    elif isinstance(left, list) and isinstance(right, list):
        return join(list(left), list(right), most)
    raise CelError("no such overload")


def subtract(left: Any, right: Any) -> Any:
    one, other = type(left), type(right)
    if one is other:
        if one is int:
            return _int(left - right)
        if one is float:
            return left - right
        if one is Uint:
            return _uint(int(left) - int(right))
        if one is Duration or one is Timestamp:
            return duration(left.ns - right.ns)
    elif one is Timestamp and other is Duration:
        return timestamp(left.ns - right.ns)
    raise CelError("no such overload")


def multiply(left: Any, right: Any) -> Any:
    one = type(left)
    if one is type(right):
        if one is int:
            return _int(left * right)
        if one is float:
            return left * right
        if one is Uint:
            return _uint(int(left) * int(right))
    raise CelError("no such overload")


def divide(left: Any, right: Any) -> Any:
    one = type(left)
    if one is type(right):
        if one is int or one is Uint:
            if right == 0:
                raise CelError("division by zero")
            if one is Uint:
                return Uint(int(left) // int(right))
            quotient = abs(left) // abs(right)
            return _int(quotient if (left < 0) == (right < 0) else -quotient)
        if one is float:
            if right == 0.0:
                return float("nan") if left == 0.0 or isnan(left) else _infinity(left, right)
            return left / right
    raise CelError("no such overload")


def _infinity(left: float, right: float) -> float:
    negative = (left < 0) != (str(right)[0] == "-")
    return float("-inf") if negative else float("inf")


def remainder(left: Any, right: Any) -> Any:
    one = type(left)
    if one is type(right) and (one is int or one is Uint):
        if right == 0:
            raise CelError("modulus by zero")
        if one is Uint:
            return Uint(int(left) % int(right))
        if right == -1 and left == INT_MIN:
            raise CelError("integer overflow")
        rest = abs(left) % abs(right)
        return -rest if left < 0 else rest
    raise CelError("no such overload")


def negate(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        return _int(-value)
    if kind is float:
        return -value
    if kind is Duration:
        return duration(-value.ns)
    raise CelError("no such overload")


def invert(value: Any) -> bool:
    if value is True or value is False:
        return not value
    raise CelError("no such overload")


# ── fields, keys and elements ───────────────────────────────────────────────────────────────────────────────────────

def lookup(values: dict[Any, Any], key: Any) -> tuple[bool, Any]:
    """Whether a map has a key, and its value: True and 1 are different keys, 1, 1u and 1.0 the same."""
    kind = type(key)
    if kind is str:
        return (True, values[key]) if key in values else (False, None)
    if kind is float:
        if not key.is_integer():
            return False, None
    elif kind is not int and kind is not Uint and kind is not bool:
        raise CelError(f"unsupported key type: {type_name(key)}")
    if key not in values:
        return False, None
    if key in (0, 1) and type(values) is not Mixed:
        stored = next(each for each in values if each == key)
        if (type(stored) is bool) != (kind is bool):
            return False, None
    return True, values[key]


def index(container: Any, key: Any) -> Any:
    """`container[key]`."""
    kind = type(container)
    if kind is list:
        return container[position(key, len(container))]
    if kind is dict:
        if type(key) is str:
            return container[key]
        found, value = lookup(container, key)
        if found:
            return value
        raise CelError(f"no such key: {key_text(key)}")
    if kind is Optional:
        return optional_index(container, key)
    if isinstance(container, list):
        return container[position(key, len(container))]
    if isinstance(container, dict):
        found, value = lookup(container, key)
        if found:
            return value
        raise CelError(f"no such key: {key_text(key)}")
    if hasattr(container, "cel_index"):
        return container.cel_index(key)
    raise CelError("no such overload")


def position(key: Any, length: int) -> int:
    kind = type(key)
    if kind is float:
        if not key.is_integer():
            raise CelError(f"unsupported index value {key} in list")
        key = int(key)
    elif kind is not int and kind is not Uint:
        raise CelError(f"unsupported index type '{type_name(key)}' in list")
    if 0 <= key < length:
        return int(key)
    raise CelError(f"index out of bounds: {int(key)}")


def optional_index(container: Any, key: Any) -> Optional:
    """`container[?key]`, and `[key]` of an optional."""
    if type(container) is Optional:
        if not container.present:
            return NONE
        container = container.value
    if isinstance(container, list):
        kind = type(key)
        if kind is not int and kind is not Uint and kind is not float:
            raise CelError("no such overload")
        return Optional(container[int(key)]) if key in range(len(container)) else NONE
    if isinstance(container, dict):
        found, value = lookup(container, key)
        return Optional(value) if found else NONE
    if type(key) is str and hasattr(container, "cel_has"):
        return Optional(container[key]) if container.cel_has(key) else NONE
    raise CelError("no such overload")


def optional_field(container: Any, field: str) -> Optional:
    """`container.?field`, and `.field` of an optional."""
    return container[field] if type(container) is Optional else Optional(container)[field]


def select(container: Any, field: str) -> Any:
    """`container.field` for generated code that has a literal before the dot."""
    return container[field]


def has(container: Any, field: str) -> bool:
    """`has(container.field)`."""
    if isinstance(container, dict):
        return field in container
    if type(container) is Optional:
        return container.present and has(container.value, field)
    if hasattr(container, "cel_has"):
        return bool(container.cel_has(field))
    raise CelError("no such overload")


def contains(value: Any, container: Any) -> bool:
    """`value in container`."""
    if isinstance(container, list):
        if type(value) is str:
            return value in container
        return any(equal(value, each) for each in container)
    if isinstance(container, dict):
        try:
            return lookup(container, value)[0]
        except CelError:
            return False
    raise no_such_overload("@in", value, container)


def size(value: Any) -> int:
    if isinstance(value, (str, bytes, list, dict)):
        return len(value)
    raise no_such_overload("size", value)


def elements(value: Any) -> Iterable[Any]:
    """What a loop with one variable runs over; a sequence with a length."""
    if isinstance(value, (list, dict)):
        return value
    raise CelError("no such overload")


def pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    """What a loop with two variables runs over."""
    if isinstance(value, list):
        return list(enumerate(value))
    if isinstance(value, dict):
        return list(value.items())
    raise CelError("no such overload")


def to_bool(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise CelError("no such overload")


# ── what literals make ──────────────────────────────────────────────────────────────────────────────────────────────

_KEYS = frozenset({str, int, Uint, bool})


def finished(made: Mixed) -> dict[Any, Any]:
    """The map that a literal with keys of unknown types made."""
    return made.plain()


def put(made: dict[Any, Any], key: Any, value: Any) -> None:
    """An entry of a map literal."""
    if type(key) not in _KEYS:
        raise CelError(f"unsupported key type: {type_name(key)}")
    if key in made:
        raise CelError(f"Failed with repeated key: {key_text(key)}")
    made[key] = value


def put_optional(made: dict[Any, Any], key: Any, value: Any) -> None:
    if type(value) is not Optional:
        raise CelError(f"cannot initialize optional entry '{key_text(key)}' from non-optional value {value!r}")
    if value.present:
        put(made, key, value.value)


def extend(made: list[Any], value: Any) -> None:
    """An optional element of a list literal."""
    if type(value) is not Optional:
        raise CelError(f"cannot initialize optional list element from non-optional value {value!r}")
    if value.present:
        made.append(value.value)


def merge(made: dict[Any, Any], entry: Any) -> None:
    """The entries that one step of transformMapEntry gives."""
    if type(entry) is not dict:
        raise CelError("no such overload")
    for key, value in entry.items():
        if key in made:
            raise CelError(f"insert failed: key {key_text(key)} already exists")
        made[key] = value


def type_value(value: Any) -> TypeValue:
    return TypeValue(type_name(value))
