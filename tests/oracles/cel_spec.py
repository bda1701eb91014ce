"""cel-spec's conformance cases (tests/simple/testdata/*.textproto), evaluated as its runners do.

A case is right where the value (and the deduced type, where the case has one) is exactly the expected one, or where an
error is expected and the program does not parse, check or evaluate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from policylang import cel
from policylang.cel import types
from policylang.cel.libraries import ext
from policylang.cel.protobuf.descriptors import Descriptors, single
from policylang.cel.protobuf.messages import EnumValue, Message
from policylang.cel.syntax.expander import Expander
from policylang.cel.syntax.tree import Ident, ListNode, Literal, Node
from tests.oracles.cel_types import descriptor_set
from tests.oracles.textproto import Fields, Word, parse

_PRIMITIVES = {"BOOL": cel.BOOL, "INT64": cel.INT, "UINT64": cel.UINT, "DOUBLE": cel.DOUBLE, "STRING": cel.STRING,
               "BYTES": cel.BYTES}
_NUMBERS = {"int64_value": int, "uint64_value": lambda word: cel.Uint(int(word, 0)), "double_value": float}
# Files whose cases need another environment than the one that all others share.
_NETWORK = "network_ext"


@cache
def _descriptors(strong: bool) -> Descriptors:
    return Descriptors(descriptor_set(), strong_enums=strong)


def run(folder: Path) -> Iterator[tuple[str, str | None]]:
    for file in sorted((folder / "tests" / "simple" / "testdata").glob("*.textproto")):
        text = file.read_bytes().decode()
        for section in _all(parse(text), "section"):
            name = _text(section, "name")
            for test in _all(section, "test"):
                yield f"{file.stem}/{name}/{_text(test, 'name')}", _judge(test, name, file.stem)


def _judge(test: Fields, section: str, file: str) -> str | None:
    """None where the case is right, else the reason."""
    types_of = _descriptors(section.startswith("strong"))
    expects_error = bool(_all(test, "eval_error") or _all(test, "any_eval_errors"))
    variables, functions = _declared(test)
    values: dict[str, Any] = {}
    try:
        for binding in _all(test, "bindings"):
            values[_text(binding, "key")] = _value(_one(_one(binding, "value"), "value"), types_of)
        env = _env(tuple(variables.items()), tuple(functions), _text(test, "container"), types_of,
                   _one(test, "disable_macros") == "true", file)
        unchecked = _one(test, "disable_check") == "true"
        program = env.compile(_text(test, "expr"), check=not unchecked)
        if _one(test, "check_only") == "true":
            value: Any = None
        else:
            value = program(values)
    except Exception as error:
        if expects_error and isinstance(error, (cel.CelError, cel.CompileError)):
            return None
        return f"{type(error).__name__}: {str(error)[:300]}"
    if expects_error:
        return f"got {value!r}, expected an error"
    typed = _one(test, "typed_result")
    if typed is not None:
        wanted = _type(_one(typed, "deduced_type"))
        if program.result != wanted:
            return f"deduced {program.result}, expected {wanted}"
        if _one(typed, "result") is None:
            return None
    expected_text = _one(typed, "result") if typed is not None else _one(test, "value")
    if _all(test, "unknown") or _all(test, "any_unknowns"):
        return f"got {value!r}, expected unknowns"
    expected = _value(expected_text, types_of) if expected_text is not None else True
    return None if _same(value, expected) else f"got {value!r}, expected {expected!r}"


# ── environments ────────────────────────────────────────────────────────────────────────────────────────────────────

def _block(build: Expander, target: Node | None, args: list[Node]) -> Node | None:
    """cel.block([a, b, …], e), where cel.index(i) stands for the i-th."""
    if not _is_cel(target) or not isinstance(args[0], ListNode):
        return None
    body = args[1]
    for at in range(len(args[0].elements) - 1, -1, -1):
        body = build.bind(f"@index{at}", args[0].elements[at], body)
    return body


def _numbered(prefix: str) -> Any:
    def expand(build: Expander, target: Node | None, args: list[Node]) -> Node | None:
        if not _is_cel(target) or not all(isinstance(each, Literal) for each in args):
            return None
        return build.ident(prefix + ":".join(str(each.value) for each in args))

    return expand


def _is_cel(target: Node | None) -> bool:
    return isinstance(target, Ident) and target.name == "cel"


_BLOCK = cel.Library("cel.lib.ext.cel.block", macros=(
    cel.Macro("block", 2, True, _block), cel.Macro("index", 1, True, _numbered("@index")),
    cel.Macro("iterVar", 2, True, _numbered("@it:")), cel.Macro("accuVar", 2, True, _numbered("@ac:"))))


@cache
def _env(variables: tuple[tuple[str, cel.Type], ...], functions: tuple[cel.Function, ...], container: str,
         types_of: Descriptors, no_macros: bool, file: str) -> cel.Env:
    libraries = [*ext.everything(), _BLOCK]
    if file == _NETWORK:
        libraries.append(ext.network())
    if functions:
        libraries.append(cel.Library("declared", functions=functions))
    return cel.Env(libraries, dict(variables), container, types_of, macros=not no_macros)


def _declared(test: Fields) -> tuple[dict[str, cel.Type], list[cel.Function]]:
    variables: dict[str, cel.Type] = {}
    functions: list[cel.Function] = []
    for entry in _all(test, "type_env"):
        name = _text(entry, "name")
        if (ident := _one(entry, "ident")) is not None:
            variables[name] = _type(_one(ident, "type"))
        elif (function := _one(entry, "function")) is not None:
            functions.append(cel.Function(name, tuple(
                cel.Overload(_text(each, "overload_id"), tuple(map(_type, _all(each, "params"))),
                             _type(_one(each, "result_type")), _unbound, cel.CONSTANT,
                             _one(each, "is_instance_function") == "true")
                for each in _all(function, "overloads"))))
    return variables, functions


def _unbound(*_: Any) -> Any:
    raise cel.CelError("unbound function")


def _type(fields: Fields) -> cel.Type:
    """google.api.expr.v1alpha1.Type"""
    name, value = fields[0]
    if name == "primitive":
        return _PRIMITIVES[value]
    if name == "wrapper":
        return types.wrapper(_PRIMITIVES[value])
    if name == "list_type":
        element = _one(value, "elem_type")
        return cel.list_of(_type(element) if element else cel.DYN)
    if name == "map_type":
        key, item = _one(value, "key_type"), _one(value, "value_type")
        return cel.map_of(_type(key) if key else cel.DYN, _type(item) if item else cel.DYN)
    if name == "message_type":
        return cel.message(value.decode())
    if name == "well_known":
        return {"ANY": cel.ANY, "TIMESTAMP": cel.TIMESTAMP, "DURATION": cel.DURATION}[value]
    if name == "null":
        return cel.NULL
    if name == "type":
        return types.type_of(_type(value)) if value else types.type_of(cel.DYN)
    if name == "type_param":
        return cel.type_param(value.decode())
    if name == "abstract_type":
        parameters = tuple(map(_type, _all(value, "parameter_types")))
        return cel.opaque(_text(value, "name"), *parameters)
    return cel.DYN


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────────

def _value(fields: Fields, types_of: Descriptors) -> Any:
    """google.api.expr.v1alpha1.Value"""
    name, value = fields[0]
    if name in _NUMBERS:
        return int(value, 0) if name == "int64_value" else _NUMBERS[name](value)
    if name == "null_value":
        return None
    if name == "bool_value":
        return value == "true"
    if name == "string_value":
        return value.decode()
    if name == "bytes_value":
        return value
    if name == "type_value":
        return cel.TypeValue(value.decode())
    if name == "list_value":
        return [_value(each, types_of) for each in _all(value, "values")]
    if name == "map_value":
        return {_value(_one(entry, "key"), types_of): _value(_one(entry, "value"), types_of)
                for entry in _all(value, "entries")}
    if name == "enum_value":
        enum, number = _text(value, "type"), int(_one(value, "value") or 0)
        return EnumValue(enum, number) if types_of.strong_enums else number
    if name == "object_value":
        return _any(value, types_of)
    raise ValueError(f"value {name}")


def _any(fields: Fields, types_of: Descriptors) -> Any:
    name, value = fields[0]
    if name.startswith("["):
        return _message(name[1:-1].rpartition("/")[2], value, types_of)
    return types_of.unpack(_text(fields, "type_url"), _one(fields, "value") or b"")


def _message(name: str, fields: Fields, types_of: Descriptors) -> Any:
    """A message as the text format has it."""
    if name == "google.protobuf.Any" and fields and fields[0][0].startswith("["):
        return _any(fields, types_of)
    values: dict[str, Any] = {}
    for key, text in fields:
        key = key.strip("[]")
        field = types_of.pool.field(name, key) or types_of.pool.field(name, key.lower())
        if field is None:
            raise ValueError(f"{name} has no field {key}")
        if field.kind == "map":
            assert field.key is not None
            assert field.value is not None
            entry_key, entry_value = _one(text, "key"), _one(text, "value")
            held = _scalar(field.value, entry_value, types_of) if entry_value is not None \
                else types_of.default(field.value)
            at = _scalar(field.key, entry_key, types_of) if entry_key is not None else types_of.default(field.key)
            values.setdefault(field.name, {})[at] = held
        elif field.repeated:
            values.setdefault(field.name, []).append(_scalar(field, text, types_of))
        else:
            given, made = types_of.assigned(field, value) if (value := _scalar(field, text, types_of)) is not None \
                else (True, None)
            if given:
                values[field.name] = made
    return types_of.native(name, values)


def _scalar(field: Any, text: Any, types_of: Descriptors) -> Any:
    kind = field.kind
    if kind in ("message", "group"):
        return _message(field.type_name, text, types_of)
    if kind == "enum":
        if field.type_name == "google.protobuf.NullValue":
            return None
        values = types_of.pool.enums[field.type_name].values
        number = values[text] if text in values else int(text)
        return EnumValue(field.type_name, number) if types_of.strong_enums else number
    if kind == "bool":
        return text in ("true", "1", "t", "True")
    if kind == "string":
        return text.decode()
    if kind == "bytes":
        return text
    if kind in ("float", "double"):
        value = float(text.rstrip("f") if isinstance(text, Word) and "inf" not in text else text)
        return single(value) if kind == "float" else value
    return cel.Uint(int(text, 0)) if "uint" in kind or kind.startswith("fixed") else int(text, 0)


def _same(one: Any, other: Any) -> bool:
    """Exactly the same: of one type, NaN like NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (one == other and str(one) == str(other)) or one == other == 0
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            any(_same(key, wanted) and _same(value, expected) for wanted, expected in other.items())
            for key, value in one.items())
    if isinstance(one, Message):
        return one.name == other.name and _same(one.values, other.values)
    return bool(one == other)


def _all(fields: Fields, name: str) -> list[Any]:
    return [value for key, value in fields if key == name]


def _one(fields: Fields, name: str) -> Any:
    return next((value for key, value in fields if key == name), None)


def _text(fields: Fields, name: str) -> str:
    found = _one(fields, name)
    return found.decode() if isinstance(found, bytes) else ""
