"""Kyverno's json, yaml, gzip and transform libraries. Decoded numbers are doubles, as Go decodes them."""

from __future__ import annotations

import base64
import zlib
from typing import Any, ClassVar

from policylang.budget import Meter
from policylang.cel.cost.units import CONSTANT
from policylang.cel.library import Constant, Library, Overload, function
from policylang.cel.types import BYTES, DYN, STRING, Type, list_of, map_of, opaque
from policylang.cel.values.errors import CelError
from policylang.cel.values.values import Duration, Optional, Timestamp
from policylang.go.jsontext import JSONError, decode
from policylang.go.printing import marshal
from policylang.go.yamltext import YAMLError, decode_yaml, weight

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
        return _doubles(decode(text))
    except JSONError as wrong:
        raise CelError(str(wrong)) from None


def _doubles(value: Any) -> Any:
    """Numbers of decoded data, which is not nested deeper than its decoder allows, as Go's float64."""
    if isinstance(value, dict):
        return {key: _doubles(held) for key, held in value.items()}
    if isinstance(value, list):
        return [_doubles(element) for element in value]
    return float(value) if type(value) is int else value


def _encode(_: JsonRoot, value: Any) -> str:
    return marshal(_plain(value, 0))


def _plain(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise CelError("json: exceeded max depth")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise CelError(f"json: unsupported map key type {type(key).__name__}")
        return {key: _plain(held, depth + 1) for key, held in value.items()}
    if isinstance(value, list):
        return [_plain(element, depth + 1) for element in value]
    if isinstance(value, (str, bool, int, float)) or value is None:
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (Timestamp, Duration, Optional)):
        raise CelError(f"json: unsupported type {type(value).__name__}")
    raise CelError("no such overload")


def _parse_yaml(_: YamlRoot, text: str, meter: Meter) -> Any:
    meter.spend(weight(text))
    try:
        return _doubles(decode_yaml(text))
    except YAMLError as wrong:
        raise CelError(f"error converting YAML to JSON: {wrong}") from None


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
    for key_holder, value_holder in zip(keys, values, strict=True):
        key = key_holder.get(key_name)
        if not isinstance(key, str):
            raise CelError("the passed key name cannot be handled as a string in the key object list")
        made[key] = value_holder.get(value_name)
    return made


_LIST = list_of(DYN)

LIBRARIES = (
    Library("kyverno.json", constants=(Constant("json", JSON, JsonRoot()),), functions=(
        function("unmarshal", Overload("unmarshal_string_dyn", (JSON, DYN), DYN, _decode, CONSTANT, member=True)),
        function("marshal", Overload("marshal_dyn_string", (JSON, DYN), STRING, _encode, CONSTANT, member=True)),
    )),
    Library("kyverno.yaml", constants=(Constant("yaml", YAML, YamlRoot()),), functions=(
        function("parse", Overload("parse_string_dyn", (YAML, STRING), DYN, _parse_yaml, CONSTANT, member=True,
                                    metered=True)),
    )),
    Library("kyverno.gzip", functions=(
        function("gzip.compress", Overload("compress_any_bytes", (DYN,), BYTES, _compress, CONSTANT, metered=True)),
        function("gzip.decompress", Overload("decompress_bytes_string", (BYTES,), STRING, _decompress, CONSTANT,
                                             metered=True)),
    )),
    Library("kyverno.transform", functions=(
        function("listObjToMap", Overload("list_of_object_to_map", (_LIST, _LIST, STRING, STRING), map_of(DYN, DYN),
                                          _to_map, CONSTANT)),
    )),
)
