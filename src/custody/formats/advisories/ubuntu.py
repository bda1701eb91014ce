"""Ubuntu's own: the notices' database (https://usn.ubuntu.com/usn-db/database.json), and a CVE of the CVE tracker
(https://git.launchpad.net/ubuntu-cve-tracker, `active/CVE-…`), which says too what is not fixed and why.

    {"5844-1": {"id": "5844-1", "title": …, "summary": …, "timestamp": 1675777776.5, "cves": ["CVE-2023-0286"],
                "releases": {"jammy": {"sources": {"openssl": {"version": "3.0.2-0ubuntu1.8"}}}}}}

    Candidate: CVE-2023-0286
    Priority: high
    jammy_openssl: released (3.0.2-0ubuntu1.8)
    esm-infra/xenial_openssl: ignored (end of standard support)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.ecosystems import normalise
from custody.errors import MalformedError
from custody.formats.advisories.fields import (
    EVERY,
    Fixes,
    child,
    document,
    mapping,
    moment,
    summary,
    texts,
    until,
)
from custody.formats.advisories.snapshot import Snapshot
from custody.formats.osv import Advisory, Affected, Status

MAX_SIZE = 1 << 30
NOTICES, TRACKER = "ubuntu-usn", "ubuntu-cve-tracker"
_RELEASES = {"trusty": "14.04:LTS", "xenial": "16.04:LTS", "bionic": "18.04:LTS", "focal": "20.04:LTS",
             "jammy": "22.04:LTS", "kinetic": "22.10", "lunar": "23.04", "mantic": "23.10", "noble": "24.04:LTS",
             "oracular": "24.10", "plucky": "25.04", "questing": "25.10", "resolute": "26.04:LTS",
             "precise": "12.04:LTS"}
_NOTICE = re.compile(rb'\s*\{\s*"[0-9]+-[0-9]+"\s*:\s*\{')
_STATE = re.compile(r"(?:(?P<pocket>[a-z0-9.-]+)/)?(?P<release>[a-z]+)(?:/(?P<behind>[a-z0-9.-]+))?_"
                    r"(?P<package>[a-z0-9][a-z0-9+.-]*):\s*(?P<status>[A-Za-z-]+)(?:\s*\((?P<note>.*)\))?\s*\Z")
_OPEN = ("needed", "active", "pending", "in-progress", "deferred", "ignored", "needs-triage")
_ESM = ("esm", "esm-infra", "esm-apps", "esm-infra-legacy")
_VERSION = re.compile(r"[0-9A-Za-z][A-Za-z0-9.+:~-]*\Z")


def is_notices(data: bytes) -> bool:
    return bool(_NOTICE.match(data[:4096])) and b'"releases"' in data


def is_tracked(data: bytes) -> bool:
    head = data[:65536]
    return not head.lstrip().startswith((b"{", b"<", b"[")) and bool(
        re.search(rb"^Candidate: CVE-", head, re.MULTILINE)) and b"\nPriority:" in data


def read_notices(data: bytes, where: str) -> Snapshot:
    return Snapshot(NOTICES, "", _notices(mapping(document(data, where, MAX_SIZE), where), where))


def read_tracked(data: bytes, where: str) -> Snapshot:
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise MalformedError(where, got=f"byte {error.start} that is not UTF-8", expected="UTF-8") from None
    advisory = _tracked(lines, where)
    return Snapshot(TRACKER, advisory.id, [advisory])


def _notices(notices: dict[str, Any], where: str) -> Iterator[Advisory]:
    for name, value in notices.items():
        here = f"{where}: {name}"
        notice = mapping(value, here)
        fixes = Fixes()
        for release, stated in child(notice, "releases", here).items():
            ecosystem = f"Ubuntu:{_RELEASES[release]}" if release in _RELEASES else f"Ubuntu:{release}"
            for package, built in child(mapping(stated, here), "sources", here).items():
                version = mapping(built, f"{here}.{release}.{package}").get("version")
                if isinstance(version, str) and version:
                    fixes.add(Affected(_pocket(ecosystem, "esm" if "esm" in version else ""),
                                       normalise(ecosystem, package)), until(version))
        cves = [cve for cve in texts(notice, "cves", here) if cve.startswith("CVE-")]
        when = moment(notice.get("timestamp"), f"{here}.timestamp")
        yield Advisory(id=f"USN-{name}", modified=when, withdrawn=False, aliases=(), severity=(), ratings=(),
                       summary=summary(notice.get("title"), notice.get("summary")), affected=fixes.affected(),
                       upstream=tuple(dict.fromkeys(cves)), source=NOTICES, published=when)


def _tracked(lines: list[str], where: str) -> Advisory:
    fixes = Fixes()
    single: dict[str, str] = {}
    description = ""
    priorities: dict[str, str] = {}
    states = []
    for place, line in enumerate(lines):
        if line.startswith("#"):
            continue
        key, colon, value = line.partition(":")
        if colon and key in ("Candidate", "PublicDate", "Priority"):
            single[key] = value.strip()
        elif colon and key.startswith("Priority_"):
            priorities[key.removeprefix("Priority_")] = value.split()[0] if value.split() else ""
        elif key == "Description" and colon and place + 1 < len(lines):
            description = lines[place + 1]
        elif match := _STATE.match(line):
            states.append(match)
    name = single.get("Candidate", "")
    if not re.fullmatch(r"CVE-[0-9]{4}-[0-9]{4,19}", name):
        raise MalformedError(f"{where}: Candidate", got=name, expected="CVE-YYYY-NNNN")
    for match in states:
        release, package = match["release"], match["package"]
        pocket = match["pocket"] or match["behind"] or ""
        if pocket in _RELEASES:  # `trusty/esm`: the release in front
            release, pocket = pocket, release
        if release not in _RELEASES or (pocket and pocket not in _ESM):
            continue
        ecosystem = _pocket(f"Ubuntu:{_RELEASES[release]}", pocket)
        _say(fixes, ecosystem, package, match["status"], match["note"] or "", priorities.get(package, ""), where)
    priority = single.get("Priority", "").split()
    day = single.get("PublicDate", "").replace(" UTC", "")
    return Advisory(id=f"UBUNTU-{name}", modified="", withdrawn=False, aliases=(), summary=description.strip()[:500],
                    severity=(), ratings=(priority[0],) if priority and priority[0] != "untriaged" else (),
                    affected=fixes.affected(), upstream=(name,), source=TRACKER,
                    published=moment(day, f"{where}: PublicDate") if day and day != "unknown" else "")


def _say(fixes: Fixes, ecosystem: str, package: str, kind: str, note: str, priority: str, where: str) -> None:
    said = Affected(ecosystem, normalise(ecosystem, package), ratings=(priority,) if priority else ())
    if kind == "released" and _VERSION.match(note):
        fixes.add(said, until(note))
    elif kind in ("not-affected", "DNE"):
        if kind == "not-affected":
            fixes.add(Affected(said.ecosystem, said.name, status="not_affected", reason=note))
    elif kind in _OPEN or kind == "released":
        status: Status = {"ignored": "will_not_fix", "deferred": "fix_deferred",  # type: ignore[assignment]
                          "needs-triage": "under_investigation"}.get(kind, "")
        if kind == "ignored" and ("end of" in note or "end-of-life" in note):
            status = "end_of_life"
        reason = f"{kind}: {note}" if note else kind
        fixes.add(Affected(said.ecosystem, said.name, ratings=said.ratings, status=status, reason=reason), EVERY)
    else:
        raise MalformedError(f"{where}: {package}", got=kind, expected="a status of Ubuntu's tracker")


def _pocket(ecosystem: str, pocket: str) -> str:
    """What only subscribers get is another ecosystem (OSV: `Ubuntu:Pro:16.04:LTS`)."""
    return ecosystem.replace("Ubuntu:", "Ubuntu:Pro:", 1) if pocket else ecosystem
