"""The `vulnerabilities` of a CycloneDX document (ECMA-424, from 1.4 on), beside the components that have them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from custody.formats.issue import Issue
from custody.kit.digest import sha256

_METHODS = (("CVSS:4", "CVSSv4"), ("CVSS:3.1", "CVSSv31"), ("CVSS:3.0", "CVSSv3"), ("AV:", "CVSSv2"))


def added(document: dict[str, Any], listed: Sequence[Issue], vectors: Mapping[str, str]) -> dict[str, Any]:
    """The document with these vulnerabilities; one entry for each, with all packages that have it. `vectors`: CVSS, by
    identifier. The serial number is of the whole again.
    """
    by_id: dict[str, list[Issue]] = {}
    for issue in listed:
        by_id.setdefault(issue.id, []).append(issue)
    document["vulnerabilities"] = [_entry(same, vectors.get(identifier, "")) for identifier,
        same in sorted(by_id.items())]
    document["serialNumber"] = ""
    document["serialNumber"] = "urn:uuid:" + str(uuid.UUID(hex=sha256(msgspec.json.encode(document))[7:39], version=5))
    return document


def _entry(same: Sequence[Issue], vector: str) -> dict[str, Any]:
    worst = same[0]
    source = {"name": "NVD" if worst.id.startswith("CVE-") else "OSV", "url": worst.help}
    rating: dict[str, Any] = {"severity": worst.severity}
    if worst.score is not None:
        rating["score"] = worst.score
        if method := next((name for prefix, name in _METHODS if vector.startswith(prefix)), ""):
            rating |= {"method": method, "vector": vector}
    remedies = sorted({issue.remedy for issue in same if issue.remedy})
    entry: dict[str, Any] = {
        "bom-ref": f"vulnerability:{worst.id}", "id": worst.id, "source": source, "ratings": [rating],
        "description": worst.title, **({"recommendation": "; ".join(remedies)} if remedies else {}),
        "references": [{"id": name, "source": {"name": name.partition("-")[0] or name}} for name in worst.names
                       if name != worst.id],
        "affects": [{"ref": purl} for purl in sorted({issue.purl for issue in same})]}
    if not entry["references"]:
        del entry["references"]
    if any(issue.exploited for issue in same):
        entry["properties"] = [{"name": "custody:exploited", "value": "true"}]
    return entry
