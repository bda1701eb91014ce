"""Photon OS' feed: https://packages.vmware.com/photon/photon_cve_metadata/cve_data_photon5.0.json, one a release.

    [{"cve_id": "CVE-2023-1255", "pkg": "openssl", "cve_score": 5.9, "aff_ver": "all versions before 3.0.8-4.ph5 are
      vulnerable", "res_ver": "3.0.8-4.ph5"}]
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.ecosystems import normalise
from custody.errors import MalformedError
from custody.formats.advisories.fields import EVERY, Fixes, document, mapping, optional, text, until
from custody.formats.advisories.snapshot import Snapshot
from custody.formats.osv import Advisory, Affected

MAX_SIZE = 128 << 20
SOURCE = "photon"
_HEAD = re.compile(rb'\s*\[\s*\{[^}]*"aff_ver"')
_RELEASE = re.compile(r"photon[_-]?v?([0-9]+\.[0-9]+)", re.IGNORECASE)
_BUILT = re.compile(r"\.ph([0-9]+)\b")


def is_feed(data: bytes) -> bool:
    return bool(_HEAD.match(data[:4096])) and b'"res_ver"' in data


def read(data: bytes, where: str) -> Snapshot:
    stated = document(data, where, MAX_SIZE)
    rows = stated if isinstance(stated, list) else []
    match = _RELEASE.search(where.replace("\\", "/").rpartition("/")[2])
    release = match[1] if match else _built(rows)
    if not release:
        raise MalformedError(where, got="a feed of no release that is known",
                             expected="a file named as the publisher does: cve_data_photon5.0.json")
    return Snapshot(SOURCE, release, _advisories(rows, f"Photon OS:{release}", where))


def _built(rows: list[Any]) -> str:
    """The release that every fixed version was built for; empty where they are of several."""
    releases = {match[1] for row in rows if isinstance(row, dict)
                if (match := _BUILT.search(str(row.get("res_ver", ""))))}
    return f"{releases.pop()}.0" if len(releases) == 1 else ""


def _advisories(rows: list[Any], ecosystem: str, where: str) -> Iterator[Advisory]:
    by_id: dict[str, Fixes] = {}
    scores: dict[str, str] = {}
    for place, row in enumerate(rows):
        here = f"{where}[{place}]"
        entry = mapping(row, here)
        name, fixed = text(entry, "cve_id", here), optional(entry, "res_ver", here)
        said = Affected(ecosystem, normalise(ecosystem, text(entry, "pkg", here)))
        gathered = by_id.setdefault(name, Fixes())
        if fixed in ("", "NA") and optional(entry, "aff_ver", here).upper() == "NA":
            gathered.add(Affected(said.ecosystem, said.name, status="not_affected", reason="aff_ver: NA"))
        else:
            gathered.add(said, EVERY if fixed in ("", "NA") else until(fixed))
        score = entry.get("cve_score")
        if isinstance(score, int | float) and not isinstance(score, bool) and 0 < score <= 10:
            scores[name] = str(float(score))
    for name in sorted(by_id):
        yield Advisory(id=f"PHOTON-{name}", modified="", withdrawn=False, aliases=(name,), summary="", severity=(),
                       ratings=(scores[name],) if name in scores else (), affected=by_id[name].affected(),
                       source=SOURCE)
