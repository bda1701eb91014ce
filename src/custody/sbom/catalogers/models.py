"""Machine learning models by the metadata in front of them: GGUF (ggml, "GGUF") and safetensors (its "Format")."""

from __future__ import annotations

import io
import re
import struct
from typing import BinaryIO

from custody.kit import strictjson
from custody.sbom.catalogers.cataloger import Cataloger, ending
from custody.sbom.catalogers.fact import Fact, unknown

_KEYS, _ITEMS, _LONGEST, _HEADER = 4096, 4 << 20, 1 << 20, 16 << 20
"""Keys of a file, items of a list, bytes of a text, bytes of safetensors' header."""
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value by its type; 8 is a text, 9 a list."""
_TEXT, _LIST = 8, 9


def read(_path: str, content: bytes) -> tuple[Fact, ...]:
    """By the first bytes of a model. Raises ValueError for what is neither."""
    file = io.BytesIO(content)
    told = _gguf(file) if file.read(4) == b"GGUF" else _safetensors(content)
    name = told.get("general.name") or told.get("general.basename") or told.get("name") or ""
    version = told.get("general.version") or told.get("version") or told.get("modelspec.version") or ""
    spelled = re.sub(r"[^A-Za-z0-9._-]+", "-", name or told.get("modelspec.title", "")).strip("-")[:200]
    if not spelled:
        return (unknown("machine learning model without a name"),)
    license_ = told.get("general.license") or told.get("license") or told.get("modelspec.license") or ""
    author = told.get("general.author") or told.get("general.organization") or told.get("modelspec.author") or ""
    return (Fact(type="generic", name=spelled, version=version[:100], supplier=author[:200],
                 licenses=(license_[:200],) if license_ else ()),)


def _gguf(file: BinaryIO) -> dict[str, str]:
    """Texts among the keys and values; lists, such as of tokens, are passed over."""
    version, _, count = struct.unpack("<IQQ", file.read(20).ljust(20, b"\xff"))
    if version not in (2, 3) or count > _KEYS:
        raise ValueError(f"GGUF of version {version} with {count} keys")
    told: dict[str, str] = {}
    for _ in range(count):
        try:
            key = _text(file)
            (kind,) = struct.unpack("<I", _take(file, 4))
            if kind == _TEXT:
                told.setdefault(key, _text(file))
            else:
                _pass(file, kind)
        except EOFError:
            break  # what a model is called comes first; long lists of tokens may go beyond what is read
    return told


def _text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", _take(file, 8))
    if length > _LONGEST:
        raise ValueError(f"a text of {length} bytes")
    return _take(file, length).decode("utf-8", "replace")


def _pass(file: BinaryIO, kind: int) -> None:
    if kind != _LIST:
        if kind not in _WIDTHS:
            raise ValueError(f"a value of type {kind}")
        _take(file, _WIDTHS[kind])
        return
    inner, count = struct.unpack("<IQ", _take(file, 12))
    if count > _ITEMS:
        raise ValueError(f"a list of {count}")
    if inner == _TEXT:
        for _ in range(count):
            _text(file)
    elif inner in _WIDTHS:
        file.seek(_WIDTHS[inner] * count, 1)
    else:
        raise ValueError(f"a list of type {inner}")


def _take(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _safetensors(content: bytes) -> dict[str, str]:
    (length,) = struct.unpack("<Q", content[:8].ljust(8, b"\xff"))
    header = content[8:8 + length] if length <= _HEADER else b""
    if length > _HEADER or len(header) < length or strictjson.weight(header) > 4 * _HEADER:
        raise ValueError(f"a header of {length} bytes")
    document = strictjson.loads(header, "safetensors")
    metadata = document.get("__metadata__") if isinstance(document, dict) else None
    return {key: value for key, value in metadata.items() if isinstance(value, str)} if isinstance(metadata, dict) \
        else {}


CATALOGER = Cataloger(name="machine learning model", version=1, types=("generic",), read=read, head=True,
                      largest=_HEADER + 8, paths=(ending("gguf", "safetensors", pattern=r".*\.(?i:gguf|safetensors)"),))
