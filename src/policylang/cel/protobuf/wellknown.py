"""google.protobuf's own types: JSON values, structs, lists and times, and what an absent one is (JSON mapping)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from policylang.cel.protobuf.messages import EnumValue, Message
from policylang.cel.values.conversions import string_from_double
from policylang.cel.values.errors import CelError
from policylang.cel.values.times import show_timestamp
from policylang.cel.values.values import Duration, Timestamp, Uint, type_name

PREFIX = "google.protobuf."
_SAFE = (1 << 53) - 1
_SECOND = 10**9


def absent(name: str) -> Any:
    """What a field of a well-known type is where it is not set."""
    short = name.removeprefix(PREFIX)
    if short == "Timestamp":
        return Timestamp(0)
    if short == "Duration":
        return Duration(0)
    return {} if short == "Struct" else [] if short == "ListValue" else None


def to_json(value: Any) -> Any:
    """A value as google.protobuf.Value holds it (the JSON mapping of proto3)."""
    kind = type(value)
    if value is None or kind in (bool, str, float):
        return value
    if kind is int or kind is Uint:
        return float(value) if -_SAFE <= value <= _SAFE else str(int(value))
    if kind is bytes:
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [to_json(element) for element in value]
    if isinstance(value, dict):
        return {_json_key(key): to_json(held) for key, held in value.items()}
    if kind is Timestamp:
        return _in_thousands(show_timestamp(value))
    if kind is Duration:
        return _in_thousands(f"{'-' if value.ns < 0 else ''}{abs(value.ns) // _SECOND}.{abs(value.ns) % _SECOND:09d}s")
    if isinstance(value, Message):
        if value.name == f"{PREFIX}Empty":
            return {}
        if value.name == f"{PREFIX}FieldMask":
            return ",".join(map(_camel, value["paths"]))
        return {_camel(name): to_json(held) for name, held in value.values.items()}
    if isinstance(value, EnumValue):
        return float(int(value))
    raise CelError(f"unsupported conversion from {type_name(value)} to google.protobuf.Value")


def _in_thousands(shown: str) -> str:
    """The fraction of a second with no, three, six or nine digits, as protobuf's JSON has it."""
    whole, point, fraction = shown[:-1].partition(".")
    digits = fraction.rstrip("0")
    digits = digits.ljust(-(-len(digits) // 3) * 3, "0")
    return f"{whole}{point if digits else ''}{digits}{shown[-1]}"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _json_key(key: Any) -> str:
    kind = type(key)
    if kind is str:
        return str(key)
    if kind is bool:
        return "true" if key else "false"
    if kind is float:
        return string_from_double(key)
    return str(int(key))


def _into_struct(value: Any) -> Any:
    if not isinstance(value, dict) or any(type(key) is not str for key in value):
        raise CelError(f"unsupported conversion: bad key type or value {type_name(value)} for google.protobuf.Struct")
    return to_json(value)


def _into_list(value: Any) -> Any:
    if not isinstance(value, list):
        raise CelError(f"unsupported conversion from {type_name(value)} to google.protobuf.ListValue")
    return to_json(value)


def _into_time(expected: type) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if type(value) is not expected:
            raise CelError(f"unsupported conversion from {type_name(value)} to {expected.__name__.lower()}")
        return value

    return convert


INTO: dict[str, Callable[[Any], Any]] = {
    f"{PREFIX}Value": to_json, f"{PREFIX}Struct": _into_struct, f"{PREFIX}ListValue": _into_list,
    f"{PREFIX}Timestamp": _into_time(Timestamp), f"{PREFIX}Duration": _into_time(Duration),
}
