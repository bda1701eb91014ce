"""AlmaLinux's errata: https://errata.almalinux.org/9/errata.full.json, and errata.json, the older list.

    {"data": [{"id": "ALSA-2022:8400", "type": "security", "severity": "Important", "title": …,
               "issued_date": 1668470400, "references": [{"type": "cve", "id": "CVE-2022-42010"}],
               "modules": [{"name": …, "stream": …}], "packages": [
                   {"name": "dbus", "epoch": "1", "version": "1.12.20", "release": "7.el9_1", "arch": "x86_64"}]}]}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.errors import MalformedError
from custody.formats.advisories.fields import (
    Fixes,
    document,
    items,
    mapping,
    moment,
    optional,
    summary,
    text,
    until,
)
from custody.formats.osv import Advisory, Affected, cve_of

MAX_SIZE = 512 << 20
SOURCE = "alma-errata"
_RELEASE = re.compile(r"[._+]el([0-9]+)")


def is_errata(data: bytes) -> bool:
    head = data[:65536]
    return b'"AL' in head and (b'"updateinfo_id"' in head or (b'"issued_date"' in head and b'"packages"' in head))


def read(data: bytes, where: str) -> Iterator[Advisory]:
    stated = document(data, where, MAX_SIZE)
    rows = items(stated, "data", where) if isinstance(stated, dict) and "data" in stated else stated
    for place, row in enumerate(rows if isinstance(rows, list) else [rows]):
        here = f"{where}[{place}]"
        advisory = _advisory(mapping(row, here), here)
        if advisory is not None:
            yield advisory


def _advisory(row: dict[str, Any], where: str) -> Advisory | None:
    """None of an erratum that is not of security."""
    if optional(row, "type", where) not in ("security", ""):
        return None
    listed = row.get("pkglist")
    content = mapping(listed, f"{where}.pkglist") if isinstance(listed, dict) else row
    modules = [mapping(module, f"{where}.modules") for module in items(content, "modules", where)]
    if isinstance(content.get("module"), dict):
        modules.append(content["module"])
    streams = {(name, optional(module, "stream", f"{where}.modules")) for module in modules
               if (name := optional(module, "name", f"{where}.modules"))}
    module = "{}:{}".format(*next(iter(streams))) if len(streams) == 1 else ""
    fixes = Fixes()
    for package in items(content, "packages", where):
        built = mapping(package, f"{where}.packages")
        name, version, release = (text(built, key, f"{where}.packages") for key in ("name", "version", "release"))
        major = _RELEASE.search(release)
        if major is None:
            raise MalformedError(f"{where}.packages: release", got=release, expected="one of .el8, .el9, …")
        own = module if ".module" in release or ".module_" in release else ""
        epoch = str(built.get("epoch") or "0")
        fixes.add(Affected(f"AlmaLinux:{major[1]}", name, module=own), until(f"{epoch}:{version}-{release}"))
    cves = [reference["id"] for reference in items(row, "references", where)
            if isinstance(reference, dict) and isinstance(reference.get("id"), str) and cve_of(reference["id"])]
    severity = optional(row, "severity", where)
    dates = [row.get(key) for key in ("updated_date", "issued_date") if row.get(key)]
    times = [moment(date["$date"] if isinstance(date, dict) and "$date" in date else date, f"{where}: date")
             for date in dates]
    name = text(row, "id" if "id" in row and str(row["id"]).startswith("AL") else "updateinfo_id", where)
    if not times:
        raise MalformedError(f"{where}: issued_date", got=None, expected="when it was issued")
    return Advisory(id=name, modified=times[0], withdrawn=False, aliases=(), severity=(), published=times[-1],
                    summary=summary(row.get("title"), row.get("description")),
                    ratings=(severity,) if severity else (), affected=fixes.affected(),
                    upstream=tuple(dict.fromkeys(cves)), source=SOURCE)
