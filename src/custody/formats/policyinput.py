"""What `cosign verify-attestation --policy` shows policies of a statement, by the name under which it was asked for.

(cosign pkg/policy/attestation.go.) Most statements are shown as protobuf's JSON has them: empty fields are left out,
and every number is a double. Those of `link`, `slsaprovenance` and `vuln` go through structures of Go first: fields
that those do not have are not shown, and those that are always there are shown empty.
"""

from __future__ import annotations

import base64
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from custody.errors import MalformedError, UnsupportedError
from custody.formats.intoto import MAX_SIZE
from custody.kit import strictjson
from policylang.errors import Shape
from policylang.go.numbers import format_float

Read = Callable[[Any, str], Any]
"""A value as it is shown, given the one that is there, None for one that is not, and its place.

Raises MalformedError.
"""
_DOUBLE = 1 << 53
_SMALLEST, _LARGEST = 1e-6, 1e21  # without an exponent Go writes what is between them
_ZERO_TIME = "0001-01-01T00:00:00Z"
_STATEMENT = {"_type": "type", "subject": "subject", "predicateType": "predicate_type", "predicate": "predicate"}
_DESCRIPTOR = {"name": "name", "uri": "uri", "digest": "digest", "content": "content",
               "downloadLocation": "download_location", "mediaType": "media_type", "annotations": "annotations"}
"""protobuf's JSON name of each field, and the other name by which it is read."""


def policy_input(payload: bytes, kind: str) -> str:
    """The JSON of the input document for the payload of an envelope, with its numbers as Go writes them.

    `kind` is what `--type` named: a short name, or a URI. Raises MalformedError, and UnsupportedError for fields that
    cosign refuses.
    """
    return "".join(_written(_input(payload, kind)))


def _input(payload: bytes, kind: str) -> Any:
    document = strictjson.loads(payload, "statement", max_size=MAX_SIZE, max_depth=200)
    known = _fields(document, _STATEMENT, "statement")
    text = isinstance(known.get("predicate"), str)  # SPDX in tag-value form, which has no structure
    if not text:
        _object(known.get("predicate", {}), "statement.predicate")
    shown = _filled({
        "_type": _text(known.get("_type"), "statement._type"),
        "subject": [_descriptor(entry, f"statement.subject[{at}]")
                    for at, entry in enumerate(_list(known.get("subject"), "statement.subject"))],
        "predicateType": _text(known.get("predicateType"), "statement.predicateType")})
    shaped = None if text else _SHAPED.get(kind)
    if shaped is None:
        return {**shown, **({"predicate": _plain(known["predicate"])} if "predicate" in known else {})}
    subjects = shown.get("subject", [])
    predicate = shaped(document.get("predicate"), "statement.predicate")
    if kind == "vuln":
        shown.pop("_type", None)
        return {**shown, "predicate": predicate}
    return {"_type": shown.get("_type", ""), "predicateType": shown.get("predicateType", ""), "predicate": predicate,
            "subject": [{"name": entry.get("name", ""), "digest": entry.get("digest")} for entry in subjects] or None}


# ── protobuf's JSON ─────────────────────────────────────────────────────────────────────────────────────────────────

def _fields(value: Any, names: Mapping[str, str], where: str) -> dict[str, Any]:
    """By their JSON names. Raises UnsupportedError for one that is none of them."""
    by_name = {**{name: name for name in names}, **{proto: name for name, proto in names.items()}}
    fields: dict[str, Any] = {}
    for name, entry in _object(value, where).items():
        if name not in by_name:
            raise UnsupportedError(f"{where}.{name}", "a statement has no such field, and cosign shows none with it to "
                                   "policies")
        if entry is not None:
            fields[by_name[name]] = entry
    return fields


def _descriptor(value: Any, where: str) -> dict[str, Any]:
    known = _fields(value, _DESCRIPTOR, where)
    content = _text(known.get("content"), f"{where}.content")
    digest = _object(known.get("digest", {}), f"{where}.digest")
    return _filled({
        **{name: _text(known.get(name), f"{where}.{name}")
           for name in ("name", "uri", "downloadLocation", "mediaType")},
        "digest": {name: _text(text, f"{where}.digest.{name}") for name, text in digest.items()},
        "content": _base64(content, f"{where}.content"),
        "annotations": _plain(_object(known.get("annotations", {}), f"{where}.annotations"))})


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _base64(text: str, where: str) -> str:
    try:
        return base64.b64encode(base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4),
                                                 validate=True)).decode()
    except ValueError:
        raise MalformedError(where, got=text, expected="base64") from None


def _plain(value: Any) -> Any:
    """With every number as a double, in the way that Go writes those. Raises MalformedError for one that is none."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    if isinstance(value, int) and abs(value) <= _DOUBLE:
        return value
    try:
        double = float(value)
    except OverflowError:
        double = math.inf
    if math.isinf(double):
        raise MalformedError("statement", got=f"a number beyond {sys.float_info.max:.2g}", expected="one that a double "
                             "holds")
    return double


def _written(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield "{"
        for at, (name, entry) in enumerate(value.items()):
            yield f"{',' if at else ''}{json.dumps(name)}:"
            yield from _written(entry)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for at, entry in enumerate(value):
            yield "," if at else ""
            yield from _written(entry)
        yield "]"
    elif isinstance(value, float):
        far = value != 0 and not _SMALLEST <= abs(value) < _LARGEST
        text = format_float(value, "e" if far else "f")
        yield re.sub(r"e-0(?=[0-9]$)", "e-", text)
    else:
        yield json.dumps(value)


# ── structures of Go ────────────────────────────────────────────────────────────────────────────────────────────────

def _structure(**fields: Read) -> Read:
    """All fields, each as its reader shows it; what a reader shows as `_LEFT_OUT` is not there."""
    def read(value: Any, where: str) -> Any:
        given = _object({} if value is None else value, where)
        folded = {name.lower(): entry for name, entry in given.items()}  # Go reads names in any case
        if len(folded) != len(given):  # and takes the last one, which others do not
            raise MalformedError(where, got="a name twice, in several cases", expected="each name once")
        shown = {}
        for name, reader in fields.items():
            plain = name.replace("__", ".")
            entry = reader(given.get(plain, folded.get(plain.lower())), f"{where}.{plain}")
            if entry is not _LEFT_OUT:
                shown[plain] = entry
        return shown

    return read


_LEFT_OUT = object()


def _optional(reader: Read) -> Read:
    """Left out where it is not there, or empty."""
    def read(value: Any, where: str) -> Any:
        if value is None:
            return _LEFT_OUT
        shown = reader(value, where)
        return _LEFT_OUT if shown in ("", 0, False) or shown == {} or shown == [] else shown

    return read


def _pointed(reader: Read) -> Read:
    """Left out where it is not there; shown where it is empty."""
    return lambda value, where: _LEFT_OUT if value is None else reader(value, where)


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(where, got=Shape(value), expected="an object")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedError(where, got=Shape(value), expected="a list")
    return value


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedError(where, got=Shape(value), expected="a text")
    return value


def _flag(value: Any, where: str) -> bool:
    if value is not None and not isinstance(value, bool):
        raise MalformedError(where, got=Shape(value), expected="true or false")
    return bool(value)


def _any(value: Any, _: str) -> Any:
    return _plain(value)


def _anything(value: Any, _: str) -> Any:
    """An interface with omitempty: only what is not there is left out."""
    return _LEFT_OUT if value is None else _plain(value)


def _map_of(reader: Read) -> Read:
    """A map, null where there is none."""
    def read(value: Any, where: str) -> Any:
        if value is None:
            return None
        return {name: reader(entry, f"{where}.{name}") for name, entry in _object(value, where).items()}

    return read


def _list_of(reader: Read) -> Read:
    """A list, null where there is none."""
    def read(value: Any, where: str) -> Any:
        if value is None:
            return None
        return [reader(entry, f"{where}[{at}]") for at, entry in enumerate(_list(value, where))]

    return read


def _time(value: Any, where: str) -> str:
    """As Go writes it again: without zeros at the end of a fraction."""
    if value is None:
        return _ZERO_TIME
    text = _text(value, where)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or len(text) < 20 or text[10] != "T":
        raise MalformedError(where, got=text, expected="a time such as 2026-05-01T00:00:00Z")
    head, dot, rest = text.partition(".")
    if not dot:
        return text
    zone_at = next(at for at, char in enumerate(rest) if char in "Z+-")
    fraction = rest[:zone_at].rstrip("0")
    return head + (f".{fraction}" if fraction else "") + rest[zone_at:]


_DIGEST = _map_of(_text)
_PROVENANCE = _structure(
    builder=_structure(id=_text), buildType=_text,
    invocation=_structure(
        configSource=_structure(uri=_optional(_text), digest=_optional(_DIGEST), entryPoint=_optional(_text)),
        parameters=_anything, environment=_anything),
    buildConfig=_anything,
    metadata=_pointed(_structure(
        buildInvocationID=_optional(_text), buildStartedOn=_pointed(_time), buildFinishedOn=_pointed(_time),
        completeness=_structure(parameters=_flag, environment=_flag, materials=_flag), reproducible=_flag)),
    materials=_optional(_list_of(_structure(uri=_optional(_text), digest=_optional(_DIGEST)))))
_VULN = _structure(
    invocation=_structure(parameters=_any, uri=_text, event_id=_text, builder__id=_text),
    scanner=_structure(uri=_text, version=_text, db=_structure(uri=_text, version=_text), result=_any),
    metadata=_structure(scanStartedOn=_time, scanFinishedOn=_time))
_LINK = _structure(_type=_text, name=_text, materials=_map_of(_DIGEST), products=_map_of(_DIGEST),
                   byproducts=_map_of(_any), command=_list_of(_text), environment=_map_of(_any))


def _bare(value: Any, _: str) -> Any:
    return _plain(value)


_SHAPED: dict[str, Read] = {"slsaprovenance": _PROVENANCE, "vuln": _VULN, "link": _LINK, "spdx": _bare,
                            "spdxjson": _bare, "cyclonedx": _bare}
