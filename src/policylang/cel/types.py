"""CEL's types as the checker sees them, and how they are written in messages (cel-spec langdef, "Type checking")."""

from __future__ import annotations

from typing import NamedTuple


class Type(NamedTuple):
    """`kind` is one of the words below; `name` what a program calls it; `params` its type arguments."""

    kind: str
    name: str
    params: tuple[Type, ...] = ()

    def __str__(self) -> str:
        if self.kind == "param" or not self.params:
            return _SHOWN.get(self.kind, self.name)
        return f"{_SHOWN.get(self.kind, self.name)}({', '.join(map(str, self.params))})"

    @property
    def is_dyn(self) -> bool:
        return self.kind in _DYNAMIC


_SHOWN = {"any": "any", "timestamp": "timestamp", "duration": "duration", "null": "null", "error": "!error!"}
_DYNAMIC = frozenset({"dyn", "any", "error"})

BOOL = Type("bool", "bool")
INT = Type("int", "int")
UINT = Type("uint", "uint")
DOUBLE = Type("double", "double")
STRING = Type("string", "string")
BYTES = Type("bytes", "bytes")
NULL = Type("null", "null_type")
DYN = Type("dyn", "dyn")
ANY = Type("any", "google.protobuf.Any")
ERROR = Type("error", "!error!")
TIMESTAMP = Type("timestamp", "google.protobuf.Timestamp")
DURATION = Type("duration", "google.protobuf.Duration")
TYPE = Type("type", "type")

PRIMITIVE = frozenset({"bool", "int", "uint", "double", "string", "bytes"})


def list_of(element: Type) -> Type:
    return Type("list", "list", (element,))


def map_of(key: Type, value: Type) -> Type:
    return Type("map", "map", (key, value))


def optional_of(value: Type) -> Type:
    return Type("opaque", "optional_type", (value,))


def type_of(value: Type) -> Type:
    """The type of the type `value`, as `type(x)` has it."""
    return Type("type", "type", (value,))


def type_param(name: str) -> Type:
    return Type("param", name)


def opaque(name: str, *params: Type) -> Type:
    """A type of a library, e.g. `kubernetes.Quantity`; its Python class carries it as `cel_type`."""
    return Type("opaque", name, params)


def message(name: str) -> Type:
    """A protobuf message by its full name; well-known messages are the types that CEL has for them."""
    return WELL_KNOWN.get(name) or Type("message", name)


def enum(name: str) -> Type:
    """A protobuf enum where enums are types of their own."""
    return Type("enum", name)


def wrapper(primitive: Type) -> Type:
    """google.protobuf.Int64Value and the like: the primitive or null."""
    return Type("wrapper", "wrapper", (primitive,))


def is_optional(of: Type) -> bool:
    return of.kind == "opaque" and of.name == "optional_type"


WELL_KNOWN: dict[str, Type] = {
    "google.protobuf.Any": ANY,
    "google.protobuf.Timestamp": TIMESTAMP,
    "google.protobuf.Duration": DURATION,
    "google.protobuf.Value": DYN,
    "google.protobuf.ListValue": list_of(DYN),
    "google.protobuf.Struct": map_of(STRING, DYN),
    "google.protobuf.BoolValue": wrapper(BOOL),
    "google.protobuf.Int32Value": wrapper(INT),
    "google.protobuf.Int64Value": wrapper(INT),
    "google.protobuf.UInt32Value": wrapper(UINT),
    "google.protobuf.UInt64Value": wrapper(UINT),
    "google.protobuf.FloatValue": wrapper(DOUBLE),
    "google.protobuf.DoubleValue": wrapper(DOUBLE),
    "google.protobuf.StringValue": wrapper(STRING),
    "google.protobuf.BytesValue": wrapper(BYTES),
}

# What a program may name as a type: `type(1) == int`.
NAMED: dict[str, Type] = {
    named.name: named for named in (BOOL, INT, UINT, DOUBLE, STRING, BYTES, NULL, TIMESTAMP, DURATION)
} | {"list": list_of(DYN), "map": map_of(DYN, DYN), "type": TYPE, "dyn": DYN}
