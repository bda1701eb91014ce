"""Protobuf messages as CEL values: fields with defaults and presence, well-known types as what CEL makes of them."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import partial
from typing import Any

from policylang.cel import types
from policylang.cel.cost.units import CONSTANT
from policylang.cel.library import Function, Overload
from policylang.cel.protobuf import wire
from policylang.cel.protobuf.messages import EnumValue, Message
from policylang.cel.protobuf.pool import Field, Pool, well_known
from policylang.cel.protobuf.wellknown import INTO, PREFIX, absent
from policylang.cel.types import INT, STRING, Type
from policylang.cel.values import arithmetic
from policylang.cel.values.errors import CelError
from policylang.cel.values.values import Uint, type_name

_SCALARS: dict[str, Type] = {
    "double": types.DOUBLE, "float": types.DOUBLE, "bool": types.BOOL, "string": types.STRING, "bytes": types.BYTES,
} | dict.fromkeys(("int32", "int64", "sint32", "sint64", "sfixed32", "sfixed64"), types.INT) \
  | dict.fromkeys(("uint32", "uint64", "fixed32", "fixed64"), types.UINT)
_ZERO: dict[str, Any] = {"double": 0.0, "float": 0.0, "bool": False, "string": "", "bytes": b"", "enum": 0} \
  | dict.fromkeys(("int32", "int64", "sint32", "sint64", "sfixed32", "sfixed64"), 0) \
  | dict.fromkeys(("uint32", "uint64", "fixed32", "fixed64"), Uint(0))
_SECOND = 10**9
_DEEPEST = 100


class Descriptors:
    """The types of a FileDescriptorSet, with google.protobuf's own. `strong_enums`: enums are types of their own."""

    def __init__(self, descriptor_set: bytes = b"", *, strong_enums: bool = False) -> None:
        self.data, self.strong_enums = descriptor_set, strong_enums
        self.pool: Pool = well_known().read(descriptor_set)

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Descriptors, strong_enums=self.strong_enums), (self.data,)

    # ── what the checker asks ───────────────────────────────────────────────────────────────────────────────────────

    def has_type(self, name: str) -> bool:
        return name in self.pool.messages or (self.strong_enums and name in self.pool.enums)

    def field_type(self, name: str, field: str) -> Type | None:
        known = self.pool.field(name, field)
        return None if known is None else self._type(known)

    def _type(self, field: Field) -> Type:
        if field.kind == "map":
            assert field.key is not None
            assert field.value is not None
            return types.map_of(self._type(field.key), self._type(field.value))
        of = _SCALARS.get(field.kind)
        if of is None and field.kind == "enum":
            of = types.NULL if field.type_name == f"{PREFIX}NullValue" \
                else types.enum(field.type_name) if self.strong_enums else INT
        if of is None:
            of = types.message(field.type_name)
        return types.list_of(of) if field.repeated else of

    def enum_value(self, name: str) -> tuple[Type, Any] | None:
        enum, _, member = name.rpartition(".")
        known = self.pool.enums.get(enum)
        if known is None or member not in known.values:
            return None
        if enum == f"{PREFIX}NullValue":
            return types.NULL, None
        value = known.values[member]
        return (types.enum(enum), EnumValue(enum, value)) if self.strong_enums else (INT, value)

    def functions(self) -> Iterable[Function]:
        """Conversions to and from enums, where enums are types of their own."""
        if not self.strong_enums:
            return
        for name, enum in self.pool.enums.items():
            of = types.enum(name)
            yield Function(name, (Overload(f"int64_to_{name}", (INT,), of, partial(self._enum, name), CONSTANT),
                                  Overload(f"string_to_{name}", (STRING,), of, partial(_named, name, enum.values),
                                           CONSTANT)))
            yield Function("int", (Overload(f"{name}_to_int64", (of,), INT, int, CONSTANT),))

    @staticmethod
    def _enum(name: str, value: int) -> EnumValue:
        return EnumValue(name, _in_range(value, 32))

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def unset(self, message: str, field: str) -> Any:
        """The value of a message's field that is not set; CelError where there is no such field."""
        known = self.pool.field(message, field)
        if known is None:
            raise CelError(f"no such field '{field}'")
        return self.default(known)

    def default(self, field: Field) -> Any:
        """The value of a field that is not set."""
        if field.kind == "map":
            return {}
        if field.repeated:
            return []
        if field.kind in ("message", "group"):
            name = field.type_name
            if name.startswith(PREFIX) and name in types.WELL_KNOWN:
                return absent(name)
            return Message(self, name, {})
        if field.kind == "enum":
            if field.type_name == f"{PREFIX}NullValue":
                return None
            enum = self.pool.enums.get(field.type_name)
            number = enum.values.get(field.default, 0) if enum and field.default else \
                min(enum.values.values(), key=lambda value: (value != 0, value)) if enum and enum.values else 0
            return EnumValue(field.type_name, number) if self.strong_enums else number
        if field.default is None:
            return _ZERO[field.kind]
        return _from_text(field.kind, field.default)

    # ── making ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def new(self, name: str, fields: dict[str, Any]) -> Any:
        """The message `name{…}`, or what CEL has for it where it is well known. CelError for values out of range."""
        values: dict[str, Any] = {}
        chosen: dict[int, str] = {}
        for key, value in fields.items():
            field = self.pool.field(name, key)
            if field is None:
                raise CelError(f"no such field '{key}'")
            given, made = self.assigned(field, value)
            if given:
                values[key] = made
                if field.oneof >= 0:
                    values.pop(chosen.get(field.oneof, ""), None)
                    chosen[field.oneof] = key
                    values[key] = made
        return self.native(name, values)

    def assigned(self, field: Field, value: Any) -> tuple[bool, Any]:
        """Whether the field is set by this value, and what it then holds."""
        if field.kind == "map":
            if not isinstance(value, dict):
                raise _unfit(field, value)
            assert field.key is not None
            assert field.value is not None
            key, item = field.key, field.value
            made = {self._scalar(key, entry): self._single(item, held) for entry, held in value.items()
                    if held is not None or not _skips_null(item)}
            return bool(made), made
        if field.repeated:
            if not isinstance(value, list):
                raise _unfit(field, value)
            listed = [self._single(field, element) for element in value
                      if element is not None or not _skips_null(field)]
            return bool(listed), listed
        if value is None and field.kind in ("message", "group") and field.type_name not in (
                f"{PREFIX}Value", f"{PREFIX}Any"):
            if field.type_name in (f"{PREFIX}Struct", f"{PREFIX}ListValue"):
                raise _unfit(field, value)
            return False, None
        held = self._single(field, value)
        return field.presence or held is None or not _is_zero(field, held), held

    def _single(self, field: Field, value: Any) -> Any:
        if field.kind not in ("message", "group"):
            return self._scalar(field, value)
        name = field.type_name
        if name.startswith(PREFIX):
            if name == f"{PREFIX}Any":
                return value
            convert = INTO.get(name)
            if convert is not None:
                return convert(value)
            inner = self.pool.messages[name].fields.get("value") if name in types.WELL_KNOWN else None
            if inner is not None:
                return None if value is None else self._scalar(inner, value)
        if not isinstance(value, Message) or value.name != name:
            raise _unfit(field, value)
        return value

    def _scalar(self, field: Field, value: Any) -> Any:
        kind = field.kind
        if kind == "enum":
            if field.type_name == f"{PREFIX}NullValue":
                if value is None or (type(value) is int and value == 0):
                    return None
                raise _unfit(field, value)
            if self.strong_enums:
                if isinstance(value, EnumValue) and value.enum == field.type_name:
                    return value
                raise _unfit(field, value)
            if type(value) is not int:
                raise _unfit(field, value)
            return _in_range(value, 32)
        expected = type(_ZERO[kind])
        if type(value) is not expected:
            raise _unfit(field, value)
        if kind == "float":
            return single(value)
        if expected is int:
            return _in_range(value, 32 if kind.endswith("32") else 64)
        if expected is Uint:
            if kind.endswith("32") and value >> 32:
                raise CelError("range error: unsigned integer overflow")
            return value
        return value

    def native(self, name: str, values: dict[str, Any]) -> Any:
        """What a message with these fields is in CEL."""
        if name not in types.WELL_KNOWN:
            return Message(self, name, values)
        short = name.removeprefix(PREFIX)
        if short == "Any":
            return self.unpack(values.get("type_url", ""), values.get("value", b""))
        if short in ("Timestamp", "Duration"):
            ns = int(values.get("seconds", 0)) * _SECOND + int(values.get("nanos", 0))
            return arithmetic.timestamp(ns) if short == "Timestamp" else arithmetic.duration(ns)
        if short == "Struct":
            return values.get("fields", {})
        if short == "ListValue":
            return values.get("values", [])
        if short == "Value":
            return next(iter(values.values()), None)
        return values["value"] if "value" in values else _ZERO[self.pool.messages[name].fields["value"].kind]

    def unpack(self, url: str, data: bytes) -> Any:
        """The value in an Any."""
        if not url and data:
            return Message(self, f"{PREFIX}Any", {"value": data})
        name = url.rpartition("/")[2]
        if name not in self.pool.messages:
            raise CelError(f"conversion error: unknown type {url!r} in google.protobuf.Any")
        return self.decode(name, data)

    # ── bytes ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def decode(self, name: str, data: bytes, depth: int = 0) -> Any:
        """A serialised message. InvalidError for bytes that are none; unknown fields are passed over."""
        if depth > _DEEPEST:
            raise CelError("conversion error: messages nested too deeply")
        message = self.pool.messages[name]
        numbers = {field.number: field for field in message.fields.values()}
        numbers |= {field.number: field for (of, _), field in self.pool.extensions.items() if of == name}
        values: dict[str, Any] = {}
        for number, kind, raw in wire.fields(data):
            field = numbers.get(number)
            if field is None:
                continue
            if field.kind == "map" and isinstance(raw, bytes):
                self._entry(field, raw, values.setdefault(field.name, {}), depth)
            elif field.repeated:
                made = values.setdefault(field.name, [])
                if kind == wire.BYTES and field.kind not in ("string", "bytes", "message", "group"):
                    assert isinstance(raw, bytes)
                    made += [self._read(field, number, depth) for number in wire.packed(field.kind, raw)]
                else:
                    made.append(self._read(field, raw, depth))
            else:
                if field.oneof >= 0:
                    for member in message.fields.values():
                        if member.oneof == field.oneof:
                            values.pop(member.name, None)
                held = self._read(field, raw, depth)
                if field.presence or not _is_zero(field, held):
                    values[field.name] = held
        return self.native(name, values)

    def _entry(self, field: Field, raw: bytes, into: dict[Any, Any], depth: int) -> None:
        assert field.key is not None
        assert field.value is not None
        parts: dict[int, int | bytes] = {number: value for number, _, value in wire.fields(raw)}
        key = self._read(field.key, parts[1], depth) if 1 in parts else self.default(field.key)
        into[key] = self._read(field.value, parts[2], depth) if 2 in parts else self.default(field.value)

    def _read(self, field: Field, raw: int | bytes, depth: int) -> Any:
        kind = field.kind
        if isinstance(raw, bytes):
            if kind == "string":
                try:
                    return raw.decode()
                except UnicodeDecodeError:
                    raise CelError("conversion error: invalid UTF-8 in a string field") from None
            if kind == "bytes":
                return raw
            if kind in ("message", "group"):
                return self.decode(field.type_name, raw, depth + 1)
            raise CelError(f"conversion error: bytes in field {field.name}")
        if kind == "enum":
            if field.type_name == f"{PREFIX}NullValue":
                return None
            number = wire.signed(raw, 32)
            return EnumValue(field.type_name, number) if self.strong_enums else number
        read = wire.NUMBERS.get(kind)
        if read is None:
            raise CelError(f"conversion error: a number in field {field.name}")
        return read(raw)


def _skips_null(field: Field) -> bool:
    """Times, durations and wrappers in lists and maps are left out where they are null."""
    known = types.WELL_KNOWN.get(field.type_name)
    return field.kind == "message" and known is not None and known.kind in ("timestamp", "duration", "wrapper")


def _is_zero(field: Field, value: Any) -> bool:
    if type(value) is float:
        return value == 0.0 and str(value)[0] != "-"
    return field.kind in _ZERO and bool(value == _ZERO[field.kind])


def _in_range(value: int, bits: int) -> int:
    if -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        return int(value)
    raise CelError("range error: integer overflow")


def single(value: float) -> float:
    """The nearest float32."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return float("-inf") if value < 0 else float("inf")


def _unfit(field: Field, value: Any) -> CelError:
    declared = field.type_name or field.kind
    return CelError(f"unsupported field type: cannot assign {type_name(value)} to field '{field.name}' of {declared}")


def _named(enum: str, values: dict[str, int], name: str) -> EnumValue:
    if name not in values:
        raise CelError(f"invalid enum value '{name}' of {enum}")
    return EnumValue(enum, values[name])


def _from_text(kind: str, text: str) -> Any:
    """A default as descriptor.proto writes it."""
    if kind in ("double", "float"):
        return single(float(text)) if kind == "float" else float(text)
    if kind == "bool":
        return text == "true"
    if kind == "string":
        return text
    if kind == "bytes":
        return text.encode("latin-1").decode("unicode_escape").encode("latin-1")
    return Uint(int(text)) if type(_ZERO[kind]) is Uint else int(text)
