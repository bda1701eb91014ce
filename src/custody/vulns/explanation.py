"""Why a vulnerability is a finding of a package, or is none: where it lies, who says so, and what was compared."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from custody.errors import CustodyError, MissingEvidenceError
from custody.formats.bom import Catalog, Location, Package
from custody.ports.advisories import AdvisoryReader
from custody.vulns.match import Word, affected_by, place_of, whole, words
from custody.vulns.report import ScanReport
from custody.vulns.severity import rate


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of one advisory, and what came of it."""

    advisory: str
    source: str
    """Who published it."""
    modified: str
    ecosystem: str
    name: str
    """As the entry has it: what the package is called, or what it is built from."""
    version: str
    """Of the package, as it was compared."""
    events: tuple[str, ...]
    """`introduced 0, fixed 2.2.5`, a range each."""
    listed: bool
    """Whether the version is in the entry's list."""
    verdict: str
    """`affected: introduced 0, fixed 2.2.5`, `not affected`, `undecided: …`."""
    status: str
    reason: str
    severity: str
    vector: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Of one package."""

    id: str
    package: str
    version: str
    purl: str
    locations: tuple[Location, ...]
    verdict: str
    """`finding`, `left out: …`, `not affected`, `undecided`, `left to the advisories of …`."""
    rated_by: str
    severity: str
    compared: tuple[Compared, ...]


def explain(report: ScanReport, store: AdvisoryReader, question: str) -> list[Explanation]:
    """`CVE` or `CVE:PACKAGE`, a package by its name or its URL. Raises MissingEvidenceError where no advisory of that
    name speaks of any package of the target.
    """
    name, _, chosen = question.partition(":")
    namesakes = {alias for advisory in store.speaking([name]) for alias in (
        advisory.id, *(advisory.aliases if len(advisory.upstream) < 2 else ()))} | {name}
    explained = [explanation for package in report.catalog.packages
                 if chosen in ("", package.name, package.purl, package.source)
                 for explanation in _of_package(package, name, namesakes, report, store)]
    if not explained:
        raise MissingEvidenceError(
            f"{name}: no advisory of that name in the database speaks of "
            + (f"{chosen} in the target" if chosen else "a package of the target"),
            hint="custody db status says what was imported")
    return explained


def _of_package(package: Package, name: str, namesakes: set[str], report: ScanReport,
                store: AdvisoryReader) -> Iterator[Explanation]:
    ecosystem = place_of(package)
    if ecosystem is None:
        return
    spoken = [word for word in words(package, ecosystem, whole(store))
              if namesakes & {word.advisory.id, *word.advisory.aliases, *word.advisory.upstream}]
    if not spoken:
        return
    finding = next((finding for finding in report.findings if finding.purl == package.purl and name in (
        finding.cve, finding.id, *finding.aliases)), None)
    ignored = next((entry for entry in report.ignored if entry.finding.purl == package.purl and name in (
        entry.finding.cve, entry.finding.id, *entry.finding.aliases)), None)
    deferred = next((entry for entry in report.deferred if entry.finding.purl == package.purl and name in (
        entry.finding.cve, entry.finding.id, *entry.finding.aliases)), None)
    compared = tuple(_compared(word) for word in spoken)
    if finding is not None:
        verdict = "finding"
    elif ignored is not None:
        by = f" (by {ignored.by}, {ignored.source})" if ignored.by else ""
        verdict = f"left out: {ignored.reason}{by}"
    elif deferred is not None:
        spoke = f" ({', '.join(deferred.advisories[:3])})" if deferred.advisories else ", though it has no CVE"
        verdict = f"left to the advisories of {deferred.owner}, which installed it{spoke}"
    elif any(entry.verdict.startswith("undecided") for entry in compared):
        verdict = "undecided"
    else:
        verdict = "not affected"
    stated = finding or (ignored.finding if ignored else deferred.finding if deferred else None)
    yield Explanation(id=name, package=package.name, version=package.version, purl=package.purl, verdict=verdict,
                      locations=package.locations, compared=compared, rated_by=stated.rated_by if stated else "",
                      severity=stated.severity if stated else "")


def _compared(word: Word) -> Compared:
    advisory, affected, version = word.advisory, word.affected, word.version
    try:
        match = affected_by(affected, version)
        verdict = f"affected: {match.event}" if match else "not affected"
    except CustodyError as error:
        verdict = f"undecided: {error.message}"
    rating = rate(advisory, affected)
    return Compared(
        advisory=advisory.id, source=advisory.source, modified=advisory.modified, ecosystem=affected.ecosystem,
        name=affected.name, version=version, verdict=verdict, listed=version in affected.versions,
        events=tuple(", ".join(f"{event} {stated}" for event, stated in span.events) for span in affected.ranges),
        status=affected.status, reason=affected.reason, severity=str(rating.severity), vector=rating.vector)


def layer_of(catalog: Catalog, location: Location) -> str:
    """`layer 2 of 5 (sha256:…)`; empty where the SBOM did not say."""
    digests = [layer.digest for layer in catalog.layers]
    if location.layer not in digests:
        return location.layer
    return f"layer {digests.index(location.layer) + 1} of {len(digests)} ({location.layer})"


def text(explanations: list[Explanation], catalog: Catalog) -> str:
    """For people, a line a fact."""
    lines: list[str] = []
    for explanation in explanations:
        lines += [f"{explanation.id} in {explanation.package} {explanation.version}: {explanation.verdict}",
                  f"  package   {explanation.purl}"]
        for location in explanation.locations:
            path = f"{location.path}!{location.within}" if location.within else location.path
            lines.append(f"  found in  {path}" + (f", {layer_of(catalog, location)}" if location.layer else "")
                         + (f" ({location.evidence})" if location.evidence else ""))
        for entry in explanation.compared:
            rated = f", rated {entry.severity} ({entry.vector})" if entry.vector else ""
            lines.append(f"  advisory  {entry.advisory} of {entry.source}, {entry.modified or 'no time'}{rated}")
            lines.append(f"            {entry.ecosystem} {entry.name}: {'; '.join(entry.events) or 'no range'}")
            lines.append(f"            {entry.version or 'no version'}: {entry.verdict}"
                         + (" (it is in the list of versions)" if entry.listed else "")
                         + (f"; {entry.status}: {entry.reason}" if entry.status else ""))
        if explanation.rated_by:
            lines.append(f"  severity  {explanation.severity}, by {explanation.rated_by}")
    return "\n".join(lines) + "\n"
