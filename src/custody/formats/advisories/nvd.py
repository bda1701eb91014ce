"""NVD's CVE API 2.0 and its feeds: https://services.nvd.nist.gov/rest/json/cves/2.0, nvdcve-2.0-2024.json.

Its severities rate what others report. Its configurations speak of products by CPE name: they are kept under ecosystem
`CPE` and `part:vendor:product`, for packages whose CPE is known and not guessed. `running on` platforms are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.errors import MalformedError
from custody.formats.advisories.fields import child, document, items, mapping, moment, text
from custody.formats.osv import Advisory, Affected, Range

MAX_SIZE = 1 << 30
SOURCE = "nvd"
_CPE = re.compile(r"(?<!\\):")
_KINDS = (("cvssMetricV40", "CVSS_V4"), ("cvssMetricV31", "CVSS_V3"), ("cvssMetricV30", "CVSS_V3"),
          ("cvssMetricV2", "CVSS_V2"))
_ANY = ("*", "-", "")


def is_feed(data: bytes) -> bool:
    head = data[:4096]
    return b'"NVD_CVE"' in head or (b'"cve"' in head and b'"sourceIdentifier"' in head)


def read(data: bytes, where: str) -> Iterator[Advisory]:
    stated = mapping(document(data, where, MAX_SIZE), where)
    rows = items(stated, "vulnerabilities", where) if "vulnerabilities" in stated else [stated]
    if stated.get("resultsPerPage") not in (None, len(rows)):
        raise MalformedError(f"{where}: resultsPerPage", got=stated["resultsPerPage"], expected=f"{len(rows)}, as many "
                             "as are listed", hint="was the file cut off or edited? fetch it again")
    for place, row in enumerate(rows):
        here = f"{where}: vulnerabilities[{place}]"
        yield _advisory(mapping(mapping(row, here).get("cve"), f"{here}.cve"), here)


def _advisory(cve: dict[str, Any], where: str) -> Advisory:
    name = text(cve, "id", where)
    here = f"{where}: {name}"
    status = cve.get("vulnStatus")
    descriptions = [mapping(row, here) for row in items(cve, "descriptions", here)]
    english = next((row.get("value") for row in descriptions if row.get("lang") == "en"), "")
    return Advisory(
        id=name, modified=moment(cve.get("lastModified"), f"{here}: lastModified"), withdrawn=status == "Rejected",
        aliases=(), summary=str(english or "").strip().partition("\n")[0][:500],
        severity=_severity(child(cve, "metrics", here), here), ratings=(), affected=tuple(_affected(cve, here)),
        source=SOURCE, published=moment(cve.get("published"), f"{here}: published") if cve.get("published") else "")


def _severity(metrics: dict[str, Any], where: str) -> tuple[tuple[str, str], ...]:
    """NVD's own before what others told it, as it ranks them: Primary, then Secondary."""
    severity = []
    for key, kind in _KINDS:
        rows = [mapping(row, f"{where}: {key}") for row in items(metrics, key, where)]
        for row in sorted(rows, key=lambda row: row.get("type") != "Primary"):
            vector = child(row, "cvssData", where).get("vectorString")
            if isinstance(vector, str) and len(vector) <= 256:
                severity.append((kind, vector))
    return tuple(dict.fromkeys(severity))


def _affected(cve: dict[str, Any], where: str) -> Iterator[Affected]:
    ranges: dict[str, dict[Range, None]] = {}
    versions: dict[str, dict[str, None]] = {}
    for configuration in items(cve, "configurations", where):
        for node in items(mapping(configuration, where), "nodes", where):
            for match in items(mapping(node, where), "cpeMatch", where):
                entry = mapping(match, where)
                if entry.get("vulnerable") is not True:
                    continue
                parts = _CPE.split(text(entry, "criteria", where))
                if len(parts) != 13:
                    raise MalformedError(f"{where}: criteria", got=entry["criteria"], expected="a CPE 2.3 name")
                product = name(parts)
                version = "-".join(re.sub(r"\\(.)", r"\1", part) for part in parts[5:7] if part not in _ANY)
                if version:
                    versions.setdefault(product, {})[version] = None
                elif parts[5] == "*":
                    ranges.setdefault(product, {})[_range(entry, where)] = None
    for product in sorted({*ranges, *versions}):
        yield Affected("CPE", product, tuple(ranges.get(product, ())), tuple(versions.get(product, ())))


def name(parts: list[str]) -> str:
    """`a:vendor:product` of a CPE's parts; with the software that it is for behind it, `a:x:forms:wordpress`."""
    plain = [re.sub(r"\\(.)", r"\1", part).lower() for part in parts]
    return ":".join(plain[2:5]) + ("" if plain[10] in _ANY else f":{plain[10]}")


def _range(entry: dict[str, Any], where: str) -> Range:
    events: list[tuple[str, str]] = []
    start = entry.get("versionStartIncluding") or entry.get("versionStartExcluding") or "0"
    events.append(("introduced", str(start)))
    if entry.get("versionEndExcluding"):
        events.append(("fixed", text(entry, "versionEndExcluding", where)))
    elif entry.get("versionEndIncluding"):
        events.append(("last_affected", text(entry, "versionEndIncluding", where)))
    return Range("ECOSYSTEM", tuple(events))
