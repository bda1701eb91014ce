"""CISA's Known Exploited Vulnerabilities catalogue, `known_exploited_vulnerabilities.json`.

https://www.cisa.gov/known-exploited-vulnerabilities-catalog, known_exploited_vulnerabilities_schema.json.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import msgspec

from custody.errors import MalformedError
from custody.kit import members, strictjson
from custody.kit.clock import parse_rfc3339

MAX_SIZE = 64 * 1024 * 1024
_MAX_ENTRIES, _LONGEST = 200_000, 256
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}\Z")
_RANSOMWARE = {"Known": True, "Unknown": False, "": False}


class Exploited(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalogue says of one CVE: dates as `YYYY-MM-DD`."""

    cve: str
    added: str
    due: str
    """By when agencies must have acted."""
    ransomware: bool
    """Whether ransomware is known to use it."""


class ExploitedCatalogue(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    released: str
    """RFC 3339, as it was written."""
    entries: tuple[Exploited, ...]


def is_catalogue(data: bytes) -> bool:
    """Whether it wants to be one, and no OSV record: by the names of its fields, wherever they are."""
    return b'"catalogVersion"' in data or (b'"vulnerabilities"' in data and b'"cveID"' in data)


def read(data: bytes, where: str = "KEV catalogue") -> ExploitedCatalogue:
    """Raises MalformedError, naming the field: a catalogue is taken whole or not at all."""
    document = strictjson.loads(data, where, max_size=MAX_SIZE, max_depth=16)
    if not isinstance(document, dict):
        raise MalformedError(where, got=document, expected="a JSON object, CISA's known_exploited_vulnerabilities.json")
    version, released = (members.text(document, key, where, _LONGEST) for key in ("catalogVersion", "dateReleased"))
    parse_rfc3339(released, f"{where}: dateReleased")
    vulnerabilities = document.get("vulnerabilities")
    if not isinstance(vulnerabilities, list) or not vulnerabilities or len(vulnerabilities) > _MAX_ENTRIES:
        raise MalformedError(f"{where}: vulnerabilities", got=vulnerabilities,
                             expected=f"a list of 1 to {_MAX_ENTRIES} vulnerabilities")
    count = document.get("count")
    if isinstance(count, bool) or not isinstance(count, int) or count != len(vulnerabilities):
        raise MalformedError(f"{where}: count", got=count, expected=f"{len(vulnerabilities)}, as many as are listed",
                             hint="was the file cut off or edited? fetch it again")
    return ExploitedCatalogue(version=version, released=released, entries=tuple(
        _entry(vulnerability, f"{where}: vulnerabilities[{place}]")
        for place, vulnerability in enumerate(vulnerabilities)))


def _entry(value: Any, where: str) -> Exploited:
    entry = members.mapping(value, where)
    cve = members.text(entry, "cveID", where, _LONGEST)
    if not _CVE.match(cve):
        raise MalformedError(f"{where}.cveID", got=cve, expected="CVE-YYYY-NNNN")
    use = entry.get("knownRansomwareCampaignUse", "")
    if not isinstance(use, str) or use not in _RANSOMWARE:
        raise MalformedError(f"{where}.knownRansomwareCampaignUse", got=use, expected="Known or Unknown")
    return Exploited(cve=cve, added=_date(entry, "dateAdded", where), due=_date(entry, "dueDate", where),
                     ransomware=_RANSOMWARE[use])


def _date(entry: dict[str, Any], key: str, where: str) -> str:
    text = members.text(entry, key, where, _LONGEST)
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise MalformedError(f"{where}.{key}", got=text, expected="a date, YYYY-MM-DD") from None
