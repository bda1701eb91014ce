"""Protobuf types: messages and enums of a FileDescriptorSet, and the well-known ones (descriptor.proto)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from policylang.cel.protobuf import wire

# FieldDescriptorProto.Type
KINDS = ("", "double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "group", "message",
         "bytes", "uint32", "enum", "sfixed32", "sfixed64", "sint32", "sint64")
_REPEATED = 3


class Field(NamedTuple):
    """`kind` is one of KINDS, or map with `key` and `value`; `presence`: whether unset and zero are different."""

    name: str
    number: int
    kind: str
    type_name: str = ""
    repeated: bool = False
    presence: bool = False
    default: Any = None
    oneof: int = -1
    key: Field | None = None
    value: Field | None = None


class MessageType(NamedTuple):
    name: str
    fields: dict[str, Field]


class EnumType(NamedTuple):
    name: str
    values: dict[str, int]


class Pool:
    """Types by full name; extensions by (message, name of the extension)."""

    def __init__(self) -> None:
        self.messages: dict[str, MessageType] = {}
        self.enums: dict[str, EnumType] = {}
        self.extensions: dict[tuple[str, str], Field] = {}
        self._map_entries: dict[str, MessageType] = {}

    def field(self, message: str, name: str) -> Field | None:
        known = self.messages.get(message)
        return (known.fields.get(name) if known else None) or self.extensions.get((message, name))

    def read(self, descriptor_set: bytes) -> Pool:
        """Add a serialised FileDescriptorSet (`protoc --descriptor_set_out --include_imports`). InvalidError."""
        for number, _, file in wire.fields(descriptor_set):
            if number == 1 and isinstance(file, bytes):
                self._file(file)
        for name, message in self.messages.items():
            for field in list(message.fields.values()):
                entry = self._map_entries.get(field.type_name)
                if entry is not None and field.repeated:
                    message.fields[field.name] = field._replace(
                        kind="map", repeated=False, key=entry.fields["key"], value=entry.fields["value"])
            self.messages[name] = message
        return self

    def _file(self, data: bytes) -> None:
        parts = _parts(data)
        package = _text(parts, 2)
        proto3 = _text(parts, 12) != "" and _text(parts, 12) != "proto2"
        for message in _nested(parts, 4):
            self._message(message, package, proto3)
        for enum in _nested(parts, 5):
            self._enum(enum, package)
        for extension in _nested(parts, 7):
            self._extension(extension, package)

    def _message(self, data: bytes, scope: str, proto3: bool) -> None:
        parts = _parts(data)
        name = f"{scope}.{_text(parts, 1)}" if scope else _text(parts, 1)
        fields = {field.name: field for field in (_field(described, proto3) for described in _nested(parts, 2))}
        options = _parts(b"".join(_nested(parts, 7)))
        message = MessageType(name, fields)
        if options.get(7, [0])[-1]:
            self._map_entries[name] = message
        else:
            self.messages[name] = message
        for nested in _nested(parts, 3):
            self._message(nested, name, proto3)
        for enum in _nested(parts, 4):
            self._enum(enum, name)
        for extension in _nested(parts, 6):
            self._extension(extension, name)

    def _enum(self, data: bytes, scope: str) -> None:
        parts = _parts(data)
        name = f"{scope}.{_text(parts, 1)}" if scope else _text(parts, 1)
        values = {}
        for described in _nested(parts, 2):
            value = _parts(described)
            values[_text(value, 1)] = wire.signed(_number(value, 2), 32)
        self.enums[name] = EnumType(name, values)

    def _extension(self, data: bytes, scope: str) -> None:
        field = _field(data, False)
        extendee = _text(_parts(data), 2).removeprefix(".")
        name = f"{scope}.{field.name}" if scope else field.name
        self.extensions[extendee, name] = field._replace(name=name)


_Parts = dict[int, list[int | bytes]]


def _parts(data: bytes) -> _Parts:
    parts: _Parts = {}
    for number, _, value in wire.fields(data):
        parts.setdefault(number, []).append(value)
    return parts


def _nested(parts: _Parts, number: int) -> Iterable[bytes]:
    return [value for value in parts.get(number, ()) if isinstance(value, bytes)]


def _text(parts: _Parts, number: int) -> str:
    text = parts.get(number, [b""])[-1]
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else ""


def _number(parts: _Parts, number: int, default: int = 0) -> int:
    held = parts.get(number, [default])[-1]
    return held if isinstance(held, int) else default


def _field(data: bytes, proto3: bool) -> Field:
    parts = _parts(data)
    kind = KINDS[min(_number(parts, 5), len(KINDS) - 1)]
    repeated = _number(parts, 4) == _REPEATED
    oneof = -1 if 9 not in parts or _number(parts, 17) else _number(parts, 9)
    presence = not repeated and (not proto3 or bool(_number(parts, 17)) or oneof >= 0 or kind in ("message", "group"))
    default = _text(parts, 7) if 7 in parts else None
    return Field(_text(parts, 1), _number(parts, 3), kind, _text(parts, 6).removeprefix("."), repeated, presence,
                 default, oneof)


def _plain(name: str, **fields: tuple[int, str]) -> MessageType:
    made = {}
    for field, (number, kind) in fields.items():
        base, _, type_name = kind.removeprefix("repeated ").partition(":")
        repeated = kind.startswith("repeated ")
        made[field] = Field(field, number, base, type_name, repeated, base == "message" and not repeated)
    return MessageType(name, made)


def well_known() -> Pool:
    """A pool of google.protobuf's types that CEL knows."""
    pool = Pool()
    scalars = {"Bool": "bool", "Int32": "int32", "Int64": "int64", "UInt32": "uint32", "UInt64": "uint64",
               "Float": "float", "Double": "double", "String": "string", "Bytes": "bytes"}
    messages = [_plain(f"google.protobuf.{word}Value", value=(1, kind)) for word, kind in scalars.items()]
    value = "message:google.protobuf.Value"
    messages += [
        _plain("google.protobuf.Any", type_url=(1, "string"), value=(2, "bytes")),
        _plain("google.protobuf.Timestamp", seconds=(1, "int64"), nanos=(2, "int32")),
        _plain("google.protobuf.Duration", seconds=(1, "int64"), nanos=(2, "int32")),
        _plain("google.protobuf.Empty"),
        _plain("google.protobuf.FieldMask", paths=(1, "repeated string")),
        _plain("google.protobuf.ListValue", values=(1, f"repeated {value}")),
    ]
    key, item = Field("key", 1, "string"), Field("value", 2, "message", "google.protobuf.Value", presence=True)
    messages.append(MessageType("google.protobuf.Struct", {"fields": Field("fields", 1, "map", key=key, value=item)}))
    kinds = {"null_value": (1, "enum:google.protobuf.NullValue"), "number_value": (2, "double"),
           "string_value": (3, "string"), "bool_value": (4, "bool"),
           "struct_value": (5, "message:google.protobuf.Struct"),
           "list_value": (6, "message:google.protobuf.ListValue")}
    choice = _plain("google.protobuf.Value", **kinds)
    choice.fields.update({name: field._replace(presence=True, oneof=0) for name, field in choice.fields.items()})
    messages.append(choice)
    pool.messages.update({message.name: message for message in messages})
    pool.enums["google.protobuf.NullValue"] = EnumType("google.protobuf.NullValue", {"NULL_VALUE": 0})
    return pool
