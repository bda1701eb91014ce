"""The messages that cel-spec's cases use (cel.expr.conformance.proto2 and proto3), as a FileDescriptorSet."""

from __future__ import annotations

from functools import cache

from policylang.cel.protobuf.pool import KINDS

_PACKAGE = "cel.expr.conformance."
_SCALARS = ("int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64",
            "float", "double", "bool", "string", "bytes")
_DEFAULTS = {"int32": "-32", "int64": "-64", "uint32": "32", "uint64": "64", "float": "3", "double": "6.4",
             "bool": "true", "string": "empty", "bytes": "none"}
_WELL_KNOWN = {"any": "Any", "duration": "Duration", "timestamp": "Timestamp", "struct": "Struct", "value": "Value",
               "int64_wrapper": "Int64Value", "int32_wrapper": "Int32Value", "double_wrapper": "DoubleValue",
               "float_wrapper": "FloatValue", "uint64_wrapper": "UInt64Value", "uint32_wrapper": "UInt32Value",
               "string_wrapper": "StringValue", "bool_wrapper": "BoolValue", "bytes_wrapper": "BytesValue",
               "list_value": "ListValue", "null_value": "enum:google.protobuf.NullValue"}
_RESERVED = ("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package",
             "namespace", "return", "var", "void", "while")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


class _Message:
    def __init__(self, name: str, proto3: bool) -> None:
        self.name, self.proto3 = name, proto3
        self.fields = self.nested = b""
        self.oneofs: list[str] = []

    def field(self, name: str, number: int, kind: str, *, repeated: bool = False, default: str | None = None,
              oneof: str = "", optional: bool = False) -> None:
        """`kind` is a scalar, the full name of a message, or enum:NAME, group:NAME."""
        self.fields += _bytes(2, _field(name, number, kind, repeated, default, self._oneof(oneof), optional))

    def _oneof(self, name: str) -> int:
        if not name:
            return -1
        if name not in self.oneofs:
            self.oneofs.append(name)
        return self.oneofs.index(name)

    def map(self, name: str, number: int, key: str, value: str) -> None:
        entry = "".join(word.capitalize() for word in name.split("_")) + "Entry"
        inner = _bytes(2, _field("key", 1, key)) + _bytes(2, _field("value", 2, value))
        self.nested += _bytes(3, _bytes(1, entry) + inner + _bytes(7, _number(7, 1)))
        self.field(name, number, f"{self.name}.{entry}", repeated=True)

    def data(self) -> bytes:
        oneofs = b"".join(_bytes(8, _bytes(1, name)) for name in self.oneofs)
        return _bytes(1, self.name.rpartition(".")[2]) + self.fields + self.nested + oneofs


def _field(name: str, number: int, kind: str, repeated: bool = False, default: str | None = None, oneof: int = -1,
           optional: bool = False, extendee: str = "") -> bytes:
    word, _, of = kind.partition(":")
    if word not in KINDS:
        word, of = "message", kind
    data = _bytes(1, name) + _number(3, number) + _number(4, 3 if repeated else 1) + _number(5, KINDS.index(word))
    data += _bytes(2, f".{extendee}") if extendee else b""
    data += _bytes(6, f".{of}") if of else b""
    data += _bytes(7, default) if default is not None else b""
    data += _number(9, oneof) if oneof >= 0 else b""
    return data + (_number(17, 1) if optional else b"")


def _enum(name: str, *values: str) -> bytes:
    return _bytes(1, name) + b"".join(_bytes(2, _bytes(1, value) + _number(2, at)) for at, value in enumerate(values))


def _kind(name: str) -> str:
    of = _WELL_KNOWN[name]
    return of if of.startswith("enum:") else f"google.protobuf.{of}"


def _all_types(package: str, proto3: bool) -> bytes:
    name = f"{package}.TestAllTypes"
    made = _Message(name, proto3)
    for at, kind in enumerate(_SCALARS, 1):
        made.field(f"single_{kind}", at, kind, default=None if proto3 else _DEFAULTS.get(kind))
        made.field(f"repeated_{kind}", at + 30, kind, repeated=True)
    if proto3:
        made.field("optional_bool", 16, "bool", optional=True)
        made.field("optional_string", 17, "string", optional=True)
    made.field("in", 18, "bool")
    nested, enum = f"{name}.NestedMessage", f"enum:{name}.NestedEnum"
    made.field("single_nested_message", 21, nested, oneof="nested_type")
    made.field("single_nested_enum", 22, enum, oneof="nested_type", default=None if proto3 else "BAR")
    made.field("standalone_message", 23, nested)
    made.field("standalone_enum", 24, enum)
    made.field("repeated_nested_message", 51, nested, repeated=True)
    made.field("repeated_nested_enum", 52, enum, repeated=True)
    made.field("repeated_string_piece", 53, "string", repeated=True)
    made.field("repeated_cord", 54, "string", repeated=True)
    made.field("repeated_lazy_message", 55, nested, repeated=True)
    for at, word in enumerate(_WELL_KNOWN):
        made.field(word if word in ("list_value", "null_value") else f"single_{word}", 100 + at, _kind(word))
        made.field(f"repeated_{word}", 120 + at, _kind(word), repeated=True)
    made.field("optional_null_value", 116, _kind("null_value"), optional=proto3)
    made.field("field_mask", 117, "google.protobuf.FieldMask")
    made.field("empty", 118, "google.protobuf.Empty")
    made.map("map_int64_nested_type", 62, "int64", f"{package}.NestedTestAllTypes")
    values = {kind: kind for kind in ("bool", "string", "bytes", "int32", "int64", "uint32", "uint64", "float",
                                      "double")} | {"enum": enum, "message": nested}
    values |= {word: _kind(word) for word in _WELL_KNOWN}
    number = 1000
    for key in ("bool", "int32", "int64", "uint32", "uint64", "string"):
        for word, kind in values.items():
            number += 1
            made.map(f"map_{key}_{word}", number + 1000, key, kind)
    made.field("oneof_type", 400, f"{package}.NestedTestAllTypes", oneof="kind")
    made.field("oneof_msg", 401, nested, oneof="kind")
    made.field("oneof_bool", 402, "bool", oneof="kind")
    if not proto3:
        made.field("nestedgroup", 403, f"group:{name}.NestedGroup")
        group = _Message(f"{name}.NestedGroup", proto3)
        group.field("single_id", 404, "int32")
        group.field("single_name", 405, "string")
        made.nested += _bytes(3, group.data())
    for at, word in enumerate(_RESERVED):
        made.field(word, 500 + at, "bool")
    inner = _Message(nested, proto3)
    inner.field("bb", 1, "int32")
    made.nested += _bytes(3, inner.data()) + _bytes(4, _enum("NestedEnum", "FOO", "BAR", "BAZ"))
    return made.data()


def _file(package: str, proto3: bool) -> bytes:
    outer = _Message(f"{package}.NestedTestAllTypes", proto3)
    outer.field("child", 1, f"{package}.NestedTestAllTypes")
    outer.field("payload", 2, f"{package}.TestAllTypes")
    name = f"{package}.TestAllTypes"
    data = _bytes(2, package) + _bytes(4, _all_types(package, proto3)) + _bytes(4, outer.data())
    data += _bytes(5, _enum("GlobalEnum", "GOO", "GAR", "GAZ"))
    if proto3:
        return data + _bytes(12, "proto3")
    group = _Message(f"{package}.TestRequired", proto3)
    group.field("required_int32", 1, "int32")
    data += _bytes(4, group.data())
    enum = f"enum:{name}.NestedEnum"

    def extend(field: str, number: int, kind: str, repeated: bool = False) -> bytes:
        return _field(field, number, kind, repeated, extendee=name)

    for extension in (extend("int32_ext", 1000, "int32"), extend("nested_ext", 1001, name),
                      extend("test_all_types_ext", 1002, name), extend("nested_enum_ext", 1003, enum),
                      extend("repeated_test_all_types", 1004, name, True)):
        data += _bytes(7, extension)
    scoped = _bytes(1, "Proto2ExtensionScopedMessage") + b"".join(_bytes(6, extension) for extension in (
        extend("int64_ext", 1005, "int64"), extend("message_scoped_nested_ext", 1006, name),
        extend("nested_enum_ext", 1007, enum),
        extend("message_scoped_repeated_test_all_types", 1008, name, True)))
    return data + _bytes(4, scoped)


@cache
def descriptor_set() -> bytes:
    return _bytes(1, _file(f"{_PACKAGE}proto2", False)) + _bytes(1, _file(f"{_PACKAGE}proto3", True))
