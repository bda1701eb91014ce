"""Rocky Linux's errata: pages of https://errata.rockylinux.org/api/v2/advisories, which Apollo serves.

    {"advisories": [{"type": "TYPE_SECURITY", "name": "RLSA-2023:0340", "synopsis": "Moderate: bash security update",
                     "severity": "SEVERITY_MODERATE", "publishedAt": …, "cves": [{"name": "CVE-2022-3715", …}],
                     "rpms": {"Rocky Linux 9": {"nvras": ["bash-0:5.1.8-6.el9_1.aarch64.rpm"]}}}]}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.formats.advisories.fields import (
    Fixes,
    child,
    document,
    items,
    mapping,
    moment,
    optional,
    summary,
    text,
    texts,
    until,
)
from custody.formats.advisories.nevra import split
from custody.formats.osv import Advisory, Affected, cve_of

MAX_SIZE = 256 << 20
SOURCE = "rocky-errata"
_PRODUCT = re.compile(r"Rocky Linux (?:SIG \S+ )?([0-9]+)(?:\.[0-9]+)?(?: |\Z)")


def is_errata(data: bytes) -> bool:
    head = data[:65536]
    return b'"nvras"' in data and (b'"advisories"' in head or b'"shortCode"' in head or b'"affectedProducts"' in head)


def read(data: bytes, where: str) -> Iterator[Advisory]:
    stated = mapping(document(data, where, MAX_SIZE), where)
    rows = items(stated, "advisories", where) if "advisories" in stated else [stated.get("advisory", stated)]
    for place, row in enumerate(rows):
        here = f"{where}: advisories[{place}]"
        entry = mapping(row, here)
        if optional(entry, "type", here) in ("", "TYPE_SECURITY"):
            yield _advisory(entry, here)


def _advisory(entry: dict[str, Any], where: str) -> Advisory:
    fixes = Fixes()
    for product, rpms in child(entry, "rpms", where).items():
        match = _PRODUCT.match(product)
        ecosystem = product.replace("Linux ", "Linux:")  # what a special interest group builds stays apart
        if match and " SIG " not in product:
            ecosystem = f"Rocky Linux:{match[1]}"
        for nevra in texts(mapping(rpms, f"{where}.rpms"), "nvras", f"{where}.rpms"):
            built = split(nevra.removesuffix(".rpm"), where)
            if built.arch not in ("src", "nosrc"):
                fixes.add(Affected(ecosystem, built.name, by="binary"), until(built.evr))
    rows = [mapping(cve, f"{where}.cves") for cve in items(entry, "cves", where)]
    cves = [name for row in rows if isinstance(name := row.get("name"), str) and cve_of(name)]
    word = optional(entry, "severity", where).removeprefix("SEVERITY_").lower()
    published = moment(text(entry, "publishedAt", where), f"{where}.publishedAt")
    updated = optional(entry, "updatedAt", where)
    return Advisory(id=text(entry, "name", where), modified=moment(updated, where) if updated else published,
                    withdrawn=False, aliases=(), summary=summary(entry.get("synopsis"), entry.get("description")),
                    severity=(), ratings=(word,) if word not in ("", "unknown") else (), affected=fixes.affected(),
                    upstream=tuple(dict.fromkeys(cves)), source=SOURCE, published=published)
