"""Fields, keys and elements where the checker could not know what they are of, and what literals make."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from policylang.cel.values.errors import CelError, key_text
from policylang.cel.values.values import NONE, Mixed, Optional, TypeValue, Uint, type_name


def lookup(values: dict[Any, Any], key: Any) -> tuple[bool, Any]:
    """Whether a map has a key, and its value: True and 1 are different keys, 1, 1u and 1.0 the same."""
    kind = type(key)
    if kind is str:
        return (True, values[key]) if key in values else (False, None)
    if kind is float:
        if not key.is_integer():
            return False, None
    elif kind is not int and kind is not Uint and kind is not bool:
        return False, None
    if key not in values:
        return False, None
    if key in (0, 1) and type(values) is not Mixed:
        stored = next(stored_key for stored_key in values if stored_key == key)
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
        present, value = lookup(container, key)
        if present:
            return value
        raise CelError(f"no such key: {key_text(key)}")
    if kind is Optional:
        return optional_index(container, key)
    if isinstance(container, list):
        return container[position(key, len(container))]
    if isinstance(container, dict):
        present, value = lookup(container, key)
        if present:
            return value
        raise CelError(f"no such key: {key_text(key)}")
    if hasattr(container, "cel_index"):
        return container.cel_index(key)
    raise CelError(f"no such key: {key_text(key)}")


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
            raise CelError(f"unsupported index type '{type_name(key)}' in list")
        return Optional(container[int(key)]) if key in range(len(container)) else NONE
    if isinstance(container, dict):
        present, value = lookup(container, key)
        return Optional(value) if present else NONE
    if type(key) is str and hasattr(container, "cel_has"):
        return Optional(container[key]) if container.cel_has(key) else NONE
    return NONE


def optional_field(container: Any, field: str) -> Optional:
    """`container.?field`; nothing, as in cel-go, of what has no fields at all."""
    if type(container) is Optional:
        return container[field]
    if type(container) is dict:
        return Optional(container[field]) if field in container else NONE
    return Optional(container)[field] if isinstance(container, (dict, list)) or hasattr(container, "cel_has") else NONE


def optional_fields(container: Any, *fields: str) -> Optional:
    """`container.?a.?b`: one optional for all of it, where it leads through maps."""
    held = container
    if type(container) is Optional:
        if not container.present:
            return NONE
        held = container.value
    for at, field in enumerate(fields):
        if type(held) is not dict:
            made = optional_field(container, field) if at == 0 else Optional(held)[field]
            for later in fields[at + 1:]:
                made = made[later]
            return made
        if field not in held:
            return NONE
        held = held[field]
    return Optional(held)


def select(container: Any, field: str) -> Any:
    """`container.field` for generated code that has a literal before the dot."""
    if isinstance(container, list):
        raise CelError("unsupported index type 'string' in list")
    raise CelError(f"no such key: {field}")


def has(container: Any, field: str) -> bool:
    """`has(container.field)`; false, as in cel-go, of what has no fields at all."""
    if isinstance(container, dict):
        return field in container
    if type(container) is Optional:
        return container.present and has(container.value, field)
    if isinstance(container, list):
        raise CelError("unsupported index type 'string' in list")
    return bool(container.cel_has(field)) if hasattr(container, "cel_has") else False


def size(value: Any) -> int:
    if isinstance(value, (str, bytes, list, dict)):
        return len(value)
    raise CelError("no such overload: size")


def elements(value: Any) -> Iterable[Any]:
    """What a loop with one variable runs over; a sequence with a length."""
    if isinstance(value, (list, dict)):
        return value
    raise _no_range(value)


def pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    """What a loop with two variables runs over."""
    if isinstance(value, list):
        return list(enumerate(value))
    if isinstance(value, dict):
        return list(value.items())
    raise _no_range(value)


def _no_range(value: Any) -> CelError:
    name = type_name(value).rpartition(".")[2].removesuffix("_type").capitalize()
    return CelError(f"got 'types.{name}', expected iterable type")


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
