"""Kyverno's json, yaml, gzip and transform libraries. Decoded numbers are doubles, as Go decodes them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any, ClassVar

import yaml

from custody.languages.cel.declare import Constant, Library, Overload, function
from custody.languages.cel.types import BYTES, DYN, STRING, Type, list_of, map_of, opaque
from custody.languages.cel.values import CelError, Duration, Optional, Timestamp
from custody.languages.go.printing import marshal

JSON = opaque("json.Json")
YAML = opaque("yaml.Yaml")
_DEEPEST = 1000


class JsonRoot:
    __slots__ = ()
    cel_type: ClassVar[Type] = JSON


class YamlRoot:
    __slots__ = ()
    cel_type: ClassVar[Type] = YAML


def _decode(_: JsonRoot, text: Any) -> Any:
    if not isinstance(text, str):
        raise CelError("no such overload")
    try:
        return json.loads(text, parse_int=float, parse_constant=_no_constant)
    except (ValueError, RecursionError) as wrong:
        raise CelError(_go_words(text, wrong)) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"invalid character '{name[0]}' looking for beginning of value")


def _go_words(text: str, wrong: Exception) -> str:
    """encoding/json's message for the same place."""
    if not isinstance(wrong, json.JSONDecodeError):
        return str(wrong) if isinstance(wrong, ValueError) else "exceeded max depth"
    at = wrong.pos
    if at >= len(text):
        return "unexpected end of JSON input"
    shown = {"'": "\\'", '"': "'\"'"}.get(text[at], text[at])
    quoted = shown if text[at] == '"' else f"'{shown}'"
    if wrong.msg == "Extra data":
        return f"invalid character {quoted} after top-level value"
    if wrong.msg.startswith("Expecting property name"):
        return f"invalid character {quoted} looking for beginning of object key string"
    if wrong.msg == "Expecting ':' delimiter":
        return f"invalid character {quoted} after object key"
    if wrong.msg == "Expecting ',' delimiter":
        return f"invalid character {quoted} after object key:value pair"
    return f"invalid character {quoted} looking for beginning of value"


def _encode(_: JsonRoot, value: Any) -> str:
    return marshal(_plain(value, 0))


def _plain(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise CelError("json: exceeded max depth")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise CelError(f"json: unsupported map key type {type(key).__name__}")
        return {key: _plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, depth + 1) for each in value]
    if isinstance(value, (str, bool, int, float)) or value is None:
        return value
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode()
    if isinstance(value, (Timestamp, Duration, Optional)):
        raise CelError(f"json: unsupported type {type(value).__name__}")
    raise CelError("no such overload")


# ── YAML ────────────────────────────────────────────────────────────────────────────────────────────────────────────

class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """YAML as JSON: no dates, numbers as doubles, keys as texts."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in _Loader.yaml_implicit_resolvers.items()
}


def _parse_yaml(_: YamlRoot, text: str) -> Any:
    try:
        return _as_json(yaml.load(text, Loader=_Loader), 0)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as wrong:
        raise CelError(f"error converting YAML to JSON: yaml: {str(wrong).splitlines()[0]}") from None


def _as_json(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError("exceeded max depth")
    if isinstance(value, dict):
        return {_key(key): _as_json(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_json(each, depth + 1) for each in value]
    return float(value) if type(value) is int else value


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if key is None:
        return "null"
    if isinstance(key, (str, int, float)):
        return str(key)
    raise ValueError(f"unsupported map key of type {type(key).__name__}")


# ── gzip, transform ─────────────────────────────────────────────────────────────────────────────────────────────────

def _compress(text: Any, meter: Any) -> bytes:
    if not isinstance(text, str):
        raise CelError("no such overload")
    meter.spend(len(text) // 64)
    squeeze = zlib.compressobj(wbits=31)
    return squeeze.compress(text.encode()) + squeeze.flush()


def _decompress(data: bytes, meter: Any) -> str:
    """No more than the evaluation may make of one value, so that no small input becomes a large one."""
    inflate = zlib.decompressobj(wbits=31)
    try:
        out = inflate.decompress(data, meter.size + 1)
    except zlib.error:
        raise CelError("gzip: invalid header" if data[:2] != b"\x1f\x8b" else "flate: corrupt input") from None
    meter.fit(len(out))
    if not inflate.eof:
        raise CelError("unexpected EOF")
    return out.decode("utf-8", "replace")


def _to_map(keys: list[Any], values: list[Any], key_name: str, value_name: str) -> dict[str, Any]:
    if len(keys) != len(values):
        raise CelError(f"listObjToMap must take lists of equal length. list1: {len(keys)}, list2: {len(values)}")
    made = {}
    for one, other in zip(keys, values, strict=True):
        key = one.get(key_name)
        if not isinstance(key, str):
            raise CelError("the passed key name cannot be handled as a string in the key object list")
        made[key] = other.get(value_name)
    return made


_LIST = list_of(DYN)
_decode_call: Callable[..., Any] = _decode

LIBRARIES = (
    Library("kyverno.json", constants=(Constant("json", JSON, JsonRoot()),), functions=(
        function("unmarshal", Overload("unmarshal_string_dyn", (JSON, DYN), DYN, _decode_call, member=True)),
        function("marshal", Overload("marshal_dyn_string", (JSON, DYN), STRING, _encode, member=True)),
    )),
    Library("kyverno.yaml", constants=(Constant("yaml", YAML, YamlRoot()),), functions=(
        function("parse", Overload("parse_string_dyn", (YAML, STRING), DYN, _parse_yaml, member=True)),
    )),
    Library("kyverno.gzip", functions=(
        function("gzip.compress", Overload("compress_any_bytes", (DYN,), BYTES, _compress, metered=True)),
        function("gzip.decompress", Overload("decompress_bytes_string", (BYTES,), STRING, _decompress, metered=True)),
    )),
    Library("kyverno.transform", functions=(
        function("listObjToMap", Overload("list_of_object_to_map", (_LIST, _LIST, STRING, STRING), map_of(DYN, DYN),
                                          _to_map)),
    )),
)
