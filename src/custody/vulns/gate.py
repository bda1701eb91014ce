"""What stops an image: conditions on a scan, all of which are judged, each of which names what met it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from custody.errors import DeniedError, MissingEvidenceError
from custody.formats.exposed import Exposure
from custody.kit.amount import amount
from custody.kit.clock import parse_rfc3339
from custody.kit.visible import visible
from custody.vulns.findings import Finding
from custody.vulns.report import ScanReport
from custody.vulns.severity import Severity


class Met(NamedTuple):
    """One condition, and what met it; the worst first."""

    condition: str
    """Completes `3 findings …`: `at or above high`."""
    findings: Sequence[Finding]
    exposures: Sequence[Exposure] = ()
    instead: str = ""
    """What is said where no finding met it, but the scan as a whole."""

    def __str__(self) -> str:
        if self.instead:
            return self.instead
        count = len(self.findings) + len(self.exposures)
        if self.findings:
            worst = self.findings[0]
            example = f"{worst.cve} in {worst.package} {worst.version}"
        else:
            example = f"{self.exposures[0].id} in {self.exposures[0].path}"
        return f"{count} finding{'s' * (count > 1)} {self.condition}, such as {example}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Every condition is asked for by itself; one that is met is enough."""

    severity: Severity | None = None
    """This or worse, of vulnerabilities, secrets and settings; `low` counts unknown ones too."""
    anything: bool = False
    """Whatever is listed."""
    unknown: bool = False
    exploited: bool = False
    epss: float | None = None
    """A probability of exploitation of at least this (FIRST's EPSS)."""
    fixable: bool = False
    malicious: bool = False
    grace: int | None = None
    """Days since its publication in which a vulnerability stops nothing by severity, nor because it is listed or
    fixable; one that is exploited or malicious, or that says no time, always does."""
    coverage: int | None = None
    """Per cent of the bytes of programs for which a package answers; fewer stop."""
    allow_gaps: bool = False

    @property
    def asks(self) -> bool:
        return (self.anything or self.unknown or self.exploited or self.fixable or self.malicious
                or self.severity is not None or self.epss is not None or self.coverage is not None)

    def judge(self, report: ScanReport) -> None:
        """Raises DeniedError with every condition that is met; else MissingEvidenceError where a condition could not be
        judged, or not everything was scanned.
        """
        met: list[Met] = []
        missing: list[MissingEvidenceError] = []
        for condition in self._conditions(report):
            if isinstance(condition, Met):
                met.append(condition)
            else:
                missing.append(condition)
        if met:
            firsts = [condition.findings[0].fixed for condition in met if condition.findings]
            fixed = next(filter(None, firsts), ())
            raise DeniedError(visible("; ".join(map(str, met))),
                              hint=visible(f"fixed in {', '.join(fixed)}") if fixed else None)
        if missing:
            raise missing[0]
        if self.asks and not self.allow_gaps:
            report.require_coverage()
            if report.unread:
                raise MissingEvidenceError(
                    visible(f"not looked into for secrets: {amount(len(report.unread), 'file')}, such as "
                            f"{report.unread[0]}"),
                    hint="--allow-gaps, if they may pass unread")

    def _conditions(self, report: ScanReport) -> Iterator[Met | MissingEvidenceError]:
        if self.severity is not None:
            floor = Severity.UNKNOWN if self.severity is Severity.LOW else self.severity
            yield from _met(f"at or above {self.severity}", self._old(report, report.meets(self.severity)), [
                exposure for exposure in report.exposures if Severity[exposure.severity.upper()] >= floor])
        if self.anything:
            yield from _met("listed", self._old(report, report.findings), [exposure for exposure in report.exposures
                                                        if exposure.severity != str(Severity.NONE)])
        if self.unknown:
            yield from _met("of unknown severity", report.unrated())
        if self.exploited:
            try:
                yield from _met("known to be exploited", report.exploited())
            except MissingEvidenceError as error:
                yield error
        if self.epss is not None:
            if report.database.scored is None:
                yield MissingEvidenceError("no EPSS scores were imported: nobody can say what is likely exploited",
                                           hint="custody db import epss_scores-current.csv.gz (of FIRST)")
            else:
                likely = [finding for finding in report.findings if (finding.epss or 0) >= self.epss]
                yield from _met(f"with an EPSS of {self.epss:g} or more",
                                sorted(likely, key=lambda finding: -(finding.epss or 0)))
        if self.fixable:
            yield from _met("with a fixed version", [
                finding for finding in self._old(report, report.findings) if finding.fixed])
        if self.malicious:
            yield from _met("of packages that are malicious",
                            [finding for finding in report.findings if finding.malicious])
        if self.coverage is not None:
            covered = report.catalog.coverage
            if covered is None:
                yield MissingEvidenceError("nobody says how many of the programs a package answers for",
                                           hint="an SBOM of custody does, and an image")
            elif covered.share * 100 < self.coverage:
                yield Met("", (), (), f"packages answer for {covered.share:.1%} of the bytes of programs, "
                                      f"fewer than {self.coverage}%")

    def _old(self, report: ScanReport, findings: Sequence[Finding]) -> list[Finding]:
        """Those whose days of grace are over."""
        if self.grace is None:
            return list(findings)
        since = report.finished - timedelta(days=self.grace)
        return [finding for finding in findings if finding.exploited is not None or finding.malicious
                or not finding.published or parse_rfc3339(finding.published, "published") <= since]


def _met(condition: str, findings: Sequence[Finding], exposures: Sequence[Exposure] = ()) -> Iterator[Met]:
    if findings or exposures:
        yield Met(condition, findings, sorted(exposures, key=lambda exposure: -Severity[exposure.severity.upper()]))
