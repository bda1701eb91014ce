"""Red Hat's and SUSE's CSAF: VEX documents of one CVE, and advisories of what an update mends.

https://security.access.redhat.com/data/csaf/v2/vex/, …/advisories/, https://ftp.suse.com/pub/projects/security/csaf/
and csaf-vex/. What is fixed names built packages and versions; what is not fixed names components, which are source
packages, and says in remediations why not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.ecosystems import canonical, normalise
from custody.errors import UnsupportedError
from custody.formats.advisories.csaf import MAX_SIZE as MAX_SIZE
from custody.formats.advisories.csaf import Component, Products, by_product, parse
from custody.formats.advisories.fields import (
    EVERY,
    Fixes,
    child,
    items,
    mapping,
    moment,
    optional,
    summary,
    text,
    texts,
    until,
)
from custody.formats.osv import Advisory, Affected, Status

_FIXED = ("fixed", "first_fixed", "recommended")
_AFFECTED = ("known_affected", "first_affected", "last_affected")
_RED_HAT = re.compile(r"cpe:[/2.3:]*[oa]:redhat:([a-z_]+):([^:]*)(?:::?([^:]*))?")
_DEFERRALS: dict[str, Status] = {"will not fix": "will_not_fix", "out of support scope": "end_of_life",
                                 "fix deferred": "fix_deferred", "deferred": "fix_deferred",
                                 "under investigation": "under_investigation"}
_PREFIXES = {"redhat-csaf": "REDHAT", "suse-csaf": "SUSE"}


def read(data: bytes, where: str) -> Iterator[Advisory]:
    stated = parse(data, where)
    head = child(stated, "document", where)
    namespace = optional(child(head, "publisher", where), "namespace", where)
    source = next((name for mark, name in (("redhat.com", "redhat-csaf"), ("suse.com", "suse-csaf"))
                   if mark in namespace), "")
    if not source:
        raise UnsupportedError(f"{where}: document.publisher.namespace", f"{namespace!r} is neither Red Hat nor SUSE",
                               hint="statements of others on their products are VEX: custody scan --vex FILE")
    tracking = child(head, "tracking", where)
    modified = moment(tracking.get("current_release_date"), f"{where}: current_release_date")
    first = tracking.get("initial_release_date")
    published = moment(first, f"{where}: initial_release_date") if first else ""
    products = Products(stated, where)
    vulnerabilities = [mapping(row, where) for row in items(stated, "vulnerabilities", where)]
    word = optional(child(head, "aggregate_severity", where), "text", where)
    vex = head.get("category") == "csaf_vex"
    rows = [[vulnerability] for vulnerability in vulnerabilities] if vex else [vulnerabilities]
    for mended in rows:
        cves = tuple(dict.fromkeys(cve for row in mended if (cve := optional(row, "cve", where))))
        if vex and not cves:
            continue
        fixes, severity = Fixes(), []
        for vulnerability in mended:
            _gather(vulnerability, products, source, vex, fixes, where)
            severity += _vectors(vulnerability, where) if vex else []
        identifier = f"{_PREFIXES[source]}-{cves[0]}" if vex else text(tracking, "id", where)
        yield Advisory(id=identifier, modified=modified, withdrawn=False, aliases=(), published=published,
                       summary=summary(head.get("title")), severity=tuple(dict.fromkeys(severity)),
                       ratings=(word,) if word else (), affected=fixes.affected(),
                       upstream=cves, source=source)


def _gather(vulnerability: dict[str, Any], products: Products, source: str, vex: bool, fixes: Fixes,
            where: str) -> None:
    status = child(vulnerability, "product_status", where)
    impacts = {name: optional(entry, "details", where) for entry, names in by_product(vulnerability, "threats", where)
               if entry.get("category") == "impact" for name in names} if vex else {}
    reasons = {name: optional(entry, "details", where) for entry, names in
               by_product(vulnerability, "remediations", where) if entry.get("category") in
               ("no_fix_planned", "none_available") for name in names}
    flags = {name: optional(entry, "label", where) for entry, names in by_product(vulnerability, "flags", where)
             for name in names}
    for key in (*_FIXED, *_AFFECTED, "known_not_affected", "under_investigation"):
        for name in texts(status, key, f"{where}: product_status"):
            component = products.component(name)
            if component is None or (key in _FIXED and (not component.evr or component.arch in ("src", "nosrc"))):
                continue
            ecosystem = _ecosystem(component.release, source)
            ratings = (impacts[name],) if impacts.get(name) else ()
            if key in _FIXED:
                fixes.add(_said(component, ecosystem, ratings), until(component.evr))
            elif key == "known_not_affected":
                fixes.add(_said(component, ecosystem, (), "not_affected", flags.get(name, "")))
            elif key == "under_investigation":
                fixes.add(_said(component, ecosystem, ratings, "under_investigation", key.replace("_", " ")), EVERY)
            else:
                reason = reasons.get(name, "")
                fixes.add(_said(component, ecosystem, ratings, _DEFERRALS.get(reason.lower(), ""), reason), EVERY)


def _said(component: Component, ecosystem: str, ratings: tuple[str, ...], status: Status = "",
          reason: str = "") -> Affected:
    by: Any = "source" if not component.evr else "binary" if ecosystem.startswith(("SUSE", "openSUSE")) else ""
    return Affected(ecosystem, normalise(ecosystem, component.name), (), (), (), ratings, status, reason,
                    component.module, by)


def _vectors(vulnerability: dict[str, Any], where: str) -> list[tuple[str, str]]:
    vectors = []
    for row in items(vulnerability, "scores", where):
        for key, kind in (("cvss_v4", "CVSS_V4"), ("cvss_v3", "CVSS_V3"), ("cvss_v2", "CVSS_V2")):
            vector = child(mapping(row, where), key, where).get("vectorString")
            if isinstance(vector, str) and len(vector) <= 256:
                vectors.append((kind, vector))
    return vectors


def _ecosystem(release: str, source: str) -> str:
    """As OSV calls the release: `Red Hat:9` of its main repositories, `Red Hat:rhel_eus:9.2::baseos` of others."""
    if source == "redhat-csaf":
        match = _RED_HAT.match(release)
        if match is None:
            return f"Red Hat:{release}"
        return canonical(f"Red Hat:{match[1]}:{match[2]}" + (f"::{match[3]}" if match[3] else ""))
    if release.startswith("openSUSE"):
        return "openSUSE:" + release.removeprefix("openSUSE").strip()
    return canonical("SUSE:" + release.removeprefix("SUSE").strip())
