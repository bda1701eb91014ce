"""Debian's security tracker: https://security-tracker.debian.org/tracker/data/json, a single document.

    {"openssl": {"CVE-2023-0286": {"description": …, "scope": "remote", "debianbug": …, "releases": {
        "bookworm": {"status": "resolved" | "open" | "undetermined", "fixed_version": "3.0.8-1", "urgency": "medium",
                     "repositories": {…}, "nodsa": "Minor issue", "nodsa_reason": "" | "ignored" | "postponed"}}}}}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.ecosystems import normalise
from custody.formats.advisories.fields import EVERY, document, mapping, optional, summary, text, until
from custody.formats.advisories.snapshot import Snapshot
from custody.formats.osv import Advisory, Affected, Status

MAX_SIZE = 512 << 20
SOURCE = "debian-tracker"
_HEAD = re.compile(rb'\s*\{\s*"[a-z0-9][a-z0-9+.-]*"\s*:\s*\{\s*"(?:CVE|TEMP)-')
_RELEASES = {"jessie": "8", "stretch": "9", "buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13",
             "forky": "14", "duke": "15"}
"""By codename; of any other, such as sid, the codename."""
_DEFERRALS: dict[str, Status] = {"ignored": "will_not_fix", "postponed": "fix_deferred"}


def is_tracker(data: bytes) -> bool:
    return bool(_HEAD.match(data[:4096])) and b'"releases"' in data


def read(data: bytes, where: str) -> Snapshot:
    return Snapshot(SOURCE, "", _advisories(mapping(document(data, where, MAX_SIZE), where), where))


def _advisories(tracker: dict[str, Any], where: str) -> Iterator[Advisory]:
    affected: dict[str, list[Affected]] = {}
    summaries: dict[str, str] = {}
    for package, entries in tracker.items():
        for name, entry in mapping(entries, f"{where}: {package}").items():
            here = f"{where}: {package}.{name}"
            stated = mapping(entry, here)
            summaries.setdefault(name, summary(stated.get("description")))
            rows = affected.setdefault(name, [])
            for release, state in mapping(stated.get("releases"), f"{here}.releases").items():
                rows.append(_affected(package, release, mapping(state, f"{here}.{release}"), f"{here}.{release}"))
    for name in sorted(affected):
        yield Advisory(id=f"DEBIAN-{name}", modified="", withdrawn=False, aliases=(name,), summary=summaries[name],
                       severity=(), ratings=(), affected=tuple(affected[name]), source=SOURCE)


def _affected(package: str, release: str, state: dict[str, Any], where: str) -> Affected:
    ecosystem = f"Debian:{_RELEASES.get(release, release)}"
    name = normalise(ecosystem, package)
    urgency = optional(state, "urgency", where).rstrip("*")
    ratings = (urgency,) if urgency not in ("", "not yet assigned", "end-of-life") else ()
    kind, fixed = text(state, "status", where), optional(state, "fixed_version", where)
    if kind == "resolved" and fixed == "0":
        return Affected(ecosystem, name, ratings=ratings, status="not_affected", reason="never affected")
    if kind == "resolved" and fixed:
        return Affected(ecosystem, name, (until(fixed),), ratings=ratings)
    if urgency == "end-of-life":
        return Affected(ecosystem, name, (EVERY,), status="end_of_life", reason="end-of-life")
    if kind == "undetermined":
        return Affected(ecosystem, name, (EVERY,), ratings=ratings, status="under_investigation", reason=kind)
    nodsa, why = optional(state, "nodsa", where), optional(state, "nodsa_reason", where)
    words = ": ".join(word for word in (why or "no-dsa", nodsa) if word) if nodsa or why else ""
    return Affected(ecosystem, name, (EVERY,), ratings=ratings, status=_DEFERRALS.get(why, ""), reason=words)
