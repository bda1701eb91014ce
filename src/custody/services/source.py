"""The source gate with advisories: signed commits, locked inputs, and none of them known to be bad."""

from __future__ import annotations

from datetime import datetime

from custody.formats.bom import Catalog, from_purl
from custody.ports.advisories import AdvisoryStore
from custody.source.check import SourceReport
from custody.vulns.report import ScanReport, scan


def scan_locks(report: SourceReport, store: AdvisoryStore, now: datetime, *, allow_empty: bool = False) -> ScanReport:
    """Match what the lock files name with the advisories, as the contents of an image would be."""
    packages = {}
    for lock in report.locks:
        for entry in lock.entries:
            packages[entry.purl] = from_purl(entry.purl, None)
    catalog = Catalog(name=f"{report.branch}@{report.head[:12]}", digest=report.head,
                      packages=tuple(packages[purl] for purl in sorted(packages)))
    return scan(catalog, store, now, allow_empty=allow_empty)
