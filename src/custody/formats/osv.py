"""Advisories as OSV writes them (https://ossf.github.io/osv-schema/, version 1.7): the parts that matching needs."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from custody.errors import MalformedError, UnsupportedError
from custody.kit import strictjson
from custody.kit.clock import parse_rfc3339

MAX_SIZE = 16 * 1024 * 1024
_MAX_LIST = 100_000
_EVENTS = ("introduced", "fixed", "last_affected", "limit")
_RANGES = ("SEMVER", "ECOSYSTEM", "GIT")


class Range(msgspec.Struct, frozen=True, array_like=True):
    kind: str
    """`SEMVER` or `ECOSYSTEM`; GIT ranges speak of commits and are left out."""
    events: tuple[tuple[str, str], ...]
    """(`introduced` | `fixed` | `last_affected` | `limit`, version), as they stand in the record."""


class Affected(msgspec.Struct, frozen=True, array_like=True):
    ecosystem: str
    name: str
    ranges: tuple[Range, ...] = ()
    versions: tuple[str, ...] = ()
    severity: tuple[tuple[str, str], ...] = ()
    rating: str = ""


class Advisory(msgspec.Struct, frozen=True, array_like=True):
    """One record. Times are RFC 3339 text as it was written."""

    id: str
    modified: str
    withdrawn: bool
    aliases: tuple[str, ...]
    summary: str
    severity: tuple[tuple[str, str], ...]
    """(`CVSS_V2` | `CVSS_V3` | `CVSS_V4` | `Ubuntu`, vector or word)."""
    rating: str
    """`database_specific.severity`, in the database's own words; empty where there is none."""
    affected: tuple[Affected, ...]


def read(data: bytes, where: str = "advisory") -> Advisory:
    """Raises MalformedError and UnsupportedError, naming the field."""
    document = _object(strictjson.loads(data, where, max_size=MAX_SIZE, max_depth=64), where)
    schema = document.get("schema_version", "1.0.0")
    if not isinstance(schema, str) or not schema.startswith("1."):
        raise UnsupportedError(f"{where}: schema_version", f"{schema!r} is not version 1 of the OSV schema")
    name = _text(document, "id", where)
    parse_rfc3339(document.get("modified"), f"{where}: modified")
    affected = [_affected(entry, f"{where}: affected[{place}]")
                for place, entry in enumerate(_list(document, "affected", where))]
    return Advisory(
        name, _text(document, "modified", where), bool(document.get("withdrawn")),
        tuple(_texts(document, "aliases", where)), str(document.get("summary") or _first_line(document))[:500],
        _severity(document, where), _rating(document), tuple(entry for entry in affected if entry is not None))


def normalise(ecosystem: str, name: str) -> str:
    """The name as it is compared: by PyPI's rule for PyPI, as it stands elsewhere (OSV schema, "package")."""
    return re.sub(r"[-_.]+", "-", name).lower() if ecosystem == "PyPI" else name


def _affected(value: Any, where: str) -> Affected | None:
    entry = _object(value, where)
    if "package" not in entry:
        return None  # a commit range of a repository
    package = _object(entry["package"], f"{where}.package")
    ecosystem = _text(package, "ecosystem", f"{where}.package")
    name = normalise(ecosystem, _text(package, "name", f"{where}.package"))
    ranges = []
    for place, item in enumerate(_list(entry, "ranges", where)):
        here = f"{where}.ranges[{place}]"
        kind = _object(item, here).get("type")
        if kind not in _RANGES:
            raise MalformedError(f"{here}.type", got=kind, expected=" or ".join(_RANGES))
        events = tuple(_event(event, f"{here}.events") for event in _list(item, "events", here))
        if not any(event == "introduced" for event, _ in events):
            raise MalformedError(f"{here}.events", got="no introduced", expected="at least one")
        if kind != "GIT":
            ranges.append(Range(kind, events))
    return Affected(ecosystem, name, tuple(ranges), tuple(_texts(entry, "versions", where)), _severity(entry, where),
                    _rating(entry))


def _event(value: Any, where: str) -> tuple[str, str]:
    event = _object(value, where)
    if len(event) != 1 or next(iter(event)) not in _EVENTS:
        raise MalformedError(where, got=event, expected=f"one of {', '.join(_EVENTS)}")
    kind = next(iter(event))
    return kind, _text(event, kind, where)


def _severity(entry: dict[str, Any], where: str) -> tuple[tuple[str, str], ...]:
    result = []
    for place, item in enumerate(_list(entry, "severity", where)):
        here = f"{where}.severity[{place}]"
        result.append((_text(_object(item, here), "type", here), _text(item, "score", here)))
    return tuple(result)


def _rating(entry: dict[str, Any]) -> str:
    for key, field in (("database_specific", "severity"), ("ecosystem_specific", "severity"),
                       ("ecosystem_specific", "urgency")):
        place = entry.get(key)
        if isinstance(place, dict) and isinstance(place.get(field), str):
            return str(place[field])
    return ""


def _first_line(document: dict[str, Any]) -> str:
    details = document.get("details")
    return details.strip().partition("\n")[0] if isinstance(details, str) else ""


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(where, got=value, expected="a JSON object")
    return value


def _text(entry: dict[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value or len(value) > 4096:
        raise MalformedError(f"{where}.{key}", got=value, expected="text of 1 to 4096 characters")
    return value


def _list(entry: dict[str, Any], key: str, where: str) -> list[Any]:
    value = entry.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > _MAX_LIST:
        raise MalformedError(f"{where}.{key}", got=value, expected=f"a list of at most {_MAX_LIST}")
    return value


def _texts(entry: dict[str, Any], key: str, where: str) -> list[str]:
    value = _list(entry, key, where)
    if not all(isinstance(item, str) for item in value):
        raise MalformedError(f"{where}.{key}", got=value, expected="texts")
    return value
