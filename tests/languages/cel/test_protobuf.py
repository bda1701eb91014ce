"""Messages of a descriptor set, and what CEL makes of the well-known ones."""

from __future__ import annotations

from typing import Any

import pytest

from policylang import cel
from policylang.cel.libraries import ext
from policylang.cel.protobuf.descriptors import Descriptors
from policylang.errors import InvalidError
from tests.oracles.cel_types import descriptor_set

TYPES = Descriptors(descriptor_set())
PROTO3 = "cel.expr.conformance.proto3"
ENV = cel.Env(ext.everything(), {"msg": cel.message(f"{PROTO3}.TestAllTypes")}, PROTO3, TYPES)
EMPTY = {"msg": TYPES.new(f"{PROTO3}.TestAllTypes", {})}


@pytest.mark.parametrize(("text", "value"), [
    ("TestAllTypes{single_int32: 5}.single_int32", 5), ("TestAllTypes{}.single_string", ""),
    ("has(TestAllTypes{single_int32: 0}.single_int32)", False),
    ("has(TestAllTypes{optional_bool: false}.optional_bool)", True),
    ("TestAllTypes{single_any: TestAllTypes{single_bool: true}}.single_any.single_bool", True),
    ("TestAllTypes{single_value: duration('1.5s')}.single_value", "1.500s"),
    ("TestAllTypes{single_value: google.protobuf.FieldMask{paths: ['a_b', 'c']}}.single_value", "aB,c"),
    ("TestAllTypes{single_struct: {'a': 1}}.single_struct", {"a": 1.0}),
    ("TestAllTypes{repeated_int32_wrapper: [1, null]}.repeated_int32_wrapper", [1]),
    ("TestAllTypes{}.single_int32_wrapper", None), ("TestAllTypes{}.standalone_message.bb", 0),
    ("TestAllTypes{single_float: 1.1}.single_float == 1.1", False), ("TestAllTypes.NestedEnum.BAZ", 2),
    ("TestAllTypes{standalone_enum: -1}.standalone_enum", -1), ("type(msg) == TestAllTypes", True),
    ("GlobalEnum.GAZ", 2),
    ("msg == TestAllTypes{}", True), ("TestAllTypes{single_nested_message: null} == TestAllTypes{}", True),
    ("google.protobuf.Int32Value{value: 3} + 1", 4), ("TestAllTypes{?single_int32: optional.none()} == msg", True),
    ("TestAllTypes{map_bool_string: {true: 'a'}}.map_bool_string[true]", "a"),
    ("google.protobuf.Any{type_url: 'type.googleapis.com/google.protobuf.Duration', value: b'\\x08\\x05'} == "
     "duration('5s')", True),
])
def test_values(text: str, value: Any) -> None:
    assert ENV.compile(text)(EMPTY) == value


@pytest.mark.parametrize("text", [
    "TestAllTypes{single_int32: 5000000000}", "TestAllTypes{standalone_enum: 5000000000}", "google.protobuf.Any{}",
    "TestAllTypes{single_struct: dyn({1: 2})}", "google.protobuf.Any{type_url: 'x/unknown.Type', value: b'a'}",
])
def test_errors(text: str) -> None:
    with pytest.raises(cel.CelError):
        ENV.compile(text)(EMPTY)


@pytest.mark.parametrize(("text", "message"), [
    ("msg.nope", "undefined field 'nope'"), ("TestAllTypes{nope: 1}", "undefined field 'nope'"),
    ("TestAllTypes{single_bool: 1}", "expected type of field 'single_bool' is 'bool' but provided type is 'int'"),
    ("Nope{}", "undeclared reference to 'Nope'"),
])
def test_the_checker_knows_fields(text: str, message: str) -> None:
    with pytest.raises(cel.CompileError, match=message):
        ENV.compile(text)


def test_proto2_has_defaults_presence_and_extensions() -> None:
    env = cel.Env(ext.everything(), {}, "cel.expr.conformance.proto2", TYPES)
    assert env.compile("TestAllTypes{}.single_int32")() == -32
    assert env.compile("has(TestAllTypes{single_int32: 0}.single_int32)")() is True
    assert env.compile("TestAllTypes{}.single_nested_enum")() == 1
    assert env.compile("proto.hasExt(TestAllTypes{}, cel.expr.conformance.proto2.int32_ext)")() is False
    assert env.compile("proto.getExt(TestAllTypes{}, cel.expr.conformance.proto2.int32_ext)")() == 0
    assert env.compile("TestAllTypes{`cel.expr.conformance.proto2.int32_ext`: 4} == TestAllTypes{}")() is False


def test_bytes_are_decoded() -> None:
    found = TYPES.decode(f"{PROTO3}.TestAllTypes", b"\x08\x96\x01\xfa\x01\x02\x01\x02\x72\x02hi")
    assert (found["single_int32"], found["repeated_int32"], found["single_string"]) == (150, [1, 2], "hi")
    for broken in (b"\x08", b"\x0a\xff", b"\x0f", b"\x00\x01", b"\xff" * 20):
        with pytest.raises(InvalidError):
            TYPES.decode(f"{PROTO3}.TestAllTypes", broken)
    with pytest.raises(InvalidError):
        Descriptors(b"\x0a\x05abc")


def test_messages_nested_without_end_are_refused() -> None:
    data = b""
    for _ in range(200):
        data = b"\x0a" + bytes([len(data) & 0x7f | 0x80, len(data) >> 7]) + data
    with pytest.raises(cel.CelError, match="nested too deeply"):
        TYPES.decode(f"{PROTO3}.NestedTestAllTypes", data)
