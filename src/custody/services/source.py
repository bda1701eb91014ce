"""The source gate with advisories: signed commits, locked inputs, and none of them known to be bad."""

from __future__ import annotations

from datetime import datetime

from custody.formats.bom import Catalog, Unknown, from_purl
from custody.ports.advisories import AdvisoryReader
from custody.source.check import SourceReport
from custody.vulns.report import ScanReport, scan

_EXAMPLES = 3


def scan_locks(report: SourceReport, store: AdvisoryReader, now: datetime, *, allow_empty: bool = False) -> ScanReport:
    """Match what the lock files name with the advisories, as the contents of an image would be.

    Lock files that are not read are counted as not catalogued.
    """
    packages = {}
    for lock in report.locks:
        for locked in lock.entries:
            packages[locked.purl] = from_purl(locked.purl, None)
    for entries in report.inputs.packages.values():
        for entry in entries:
            if not entry.own and entry.version and (spelled := entry.purl) is not None:
                packages[spelled] = from_purl(spelled, None)
    unread: dict[str, list[str]] = {}
    for path in report.not_checked:
        unread.setdefault(path.rpartition("/")[2], []).append(path)
    catalog = Catalog(kind="lock files", name=f"{report.branch}@{report.head[:12]}", digest=report.head,
                      packages=tuple(packages[purl] for purl in sorted(packages)),
                      unknowns=tuple(Unknown(kind=kind, count=len(paths), examples=tuple(paths[:_EXAMPLES]))
                                     for kind, paths in sorted(unread.items())))
    return scan(catalog, store, now, allow_empty=allow_empty)
