"""in-toto's vulnerability predicate, `https://in-toto.io/attestation/vulns/v0.2` (in-toto/attestation, vulns_02.md)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from custody.formats.issue import Issue
from custody.kit.clock import format_rfc3339

PREDICATE_TYPE = "https://in-toto.io/attestation/vulns/v0.2"


def predicate(listed: Sequence[Issue], *, scanner_uri: str, scanner_version: str, db_version: str,
              db_updated: datetime, started: datetime, finished: datetime) -> dict[str, Any]:
    """`listed` are vulnerabilities; the package that has one is among its annotations."""
    return {"scanner": {"uri": scanner_uri, "version": scanner_version,
                        "db": {"version": db_version, "lastUpdate": format_rfc3339(db_updated)},
                        "result": [_result(issue) for issue in listed]},
            "metadata": {"scanStartedOn": format_rfc3339(started), "scanFinishedOn": format_rfc3339(finished)}}


def _result(issue: Issue) -> dict[str, Any]:
    severity = [{"method": "custody", "score": issue.severity}]
    if issue.score is not None:
        severity.append({"method": "cvss_score", "score": f"{issue.score:.1f}"})
    return {"id": issue.id, "severity": severity,
            "annotations": [{"purl": issue.purl}, *([{"exploited": "true"}] if issue.exploited else [])]}
