"""GitLab's security reports, schema 15.2: container scanning of an image, dependency scanning of a folder.

https://gitlab.com/gitlab-org/security-products/security-report-schemas. What they have no place for, secrets and
settings, is left out: GitLab reads secrets from a report of a commit's files.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from custody.formats.issue import Issue

_VERSION = "15.2.1"
_LEVELS = {"critical": "Critical", "high": "High", "medium": "Medium", "low": "Low", "none": "Info",
           "unknown": "Unknown"}
_IMAGE = re.compile(r"[^:]+(?::\d+[^:]*)?:[^:]+(?::[^:]+)?\Z")
_MOST_NAME, _MOST_SOLUTION = 255, 7000


def document(listed: Sequence[Issue], *, container: bool, image: str, system: str, started: datetime, ended: datetime,
             version: str, address: str) -> dict[str, Any]:
    """`container`: container scanning; else dependency scanning. `system` is the distribution, `debian 12`."""
    kind = "container_scanning" if container else "dependency_scanning"
    tool = {"id": "custody", "name": "custody", "url": address, "version": version, "vendor": {"name": "custody"}}
    vulnerabilities = [_vulnerability(issue, container, image if _IMAGE.match(image) else f"{image}:unknown",
                                      system or "unknown")
                       for issue in listed if issue.kind == "vulnerability"]
    report: dict[str, Any] = {
        "version": _VERSION, "scan": {
            "analyzer": tool, "scanner": tool, "type": kind, "status": "success",
            "start_time": _time(started), "end_time": _time(ended)},
        "vulnerabilities": vulnerabilities, "remediations": []}
    if not container:
        report["dependency_files"] = []
    return report


def _vulnerability(issue: Issue, container: bool, image: str, system: str) -> dict[str, Any]:
    dependency = {"package": {"name": issue.package}, "version": issue.version}
    where: dict[str, Any] = {"dependency": dependency}
    where |= {"operating_system": system, "image": image} if container else {"file": issue.path or image}
    fingerprint = hashlib.sha256(f"{issue.fingerprint} {issue.purl} {image}".encode()).hexdigest()
    names = [issue.id, *(name for name in issue.names if name != issue.id)]
    return {"id": str(uuid.UUID(hex=fingerprint[:32], version=5)),
            "name": (issue.title or issue.id)[:_MOST_NAME], "description": issue.message,
            "severity": _LEVELS.get(issue.severity, "Unknown"), "solution": issue.remedy[:_MOST_SOLUTION],
            "location": where, "identifiers": [_identifier(name) for name in names[:20]],
            "links": [{"url": issue.help}] if issue.help else []}


def _identifier(name: str) -> dict[str, str]:
    kind = name.partition("-")[0].lower()
    kind = kind if kind in ("cve", "ghsa", "usn", "rhsa", "elsa", "osv") else "osv"
    address = (f"https://nvd.nist.gov/vuln/detail/{name}" if kind == "cve" else
               f"https://github.com/advisories/{name}" if kind == "ghsa" else f"https://osv.dev/vulnerability/{name}")
    return {"type": kind, "name": name, "value": name, "url": address}


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
