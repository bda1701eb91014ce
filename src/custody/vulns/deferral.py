"""What is left to a distribution: vulnerabilities of a package that one of the distribution's packages installed.

Whose file a file is, a list inside the image says, and nobody signed it. So a distribution's package answers only for
what the distribution's advisories of it speak of, whatever they say: a fix that was carried back, or that it is not
affected. Of the rest the package is judged by its own ecosystem's advisories, as if nobody had installed it. A
vulnerability without a CVE is one that no distribution could name: it is left, and said. Malware never is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from custody.formats.osv import Advisory, cve_of
from custody.vulns.findings import Finding
from custody.vulns.match import Undecided


class Deferred(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that does not count, because the distribution answers for it."""

    finding: Finding
    owner: str
    """The package URL of the distribution's package that says that it installed it."""
    advisories: tuple[str, ...]
    """Those of the distribution that speak of it; empty where it has no CVE that they could name."""


def speaking(names: Iterable[str], advisories: Sequence[Advisory]) -> tuple[str, ...] | None:
    """The records of a distribution, of the package that installed another, that speak of a vulnerability of that one.

    Empty where it has no CVE; None where it is the other package's own affair.
    """
    called = tuple(names)
    if any(name.startswith("MAL-") for name in called):
        return None
    cves = {cve for name in called if (cve := cve_of(name))}
    if not cves:
        return ()
    return tuple(dict.fromkeys(advisory.id for advisory in advisories if not cves.isdisjoint(_cves(advisory)))) or None


def divide(findings: Iterable[Finding], owner: str,
           advisories: Sequence[Advisory]) -> tuple[list[Finding], list[Deferred]]:
    """The findings that count, and those that are left to the `advisories` of its owner."""
    own: list[Finding] = []
    left: list[Deferred] = []
    for finding in findings:
        spoken = speaking((finding.cve, finding.id, *finding.aliases), advisories)
        if spoken is None:
            own.append(finding)
        else:
            left.append(Deferred(finding=finding, owner=owner, advisories=spoken))
    return own, left


def own_undecided(undecided: Sequence[Undecided], advisories: Sequence[Advisory]) -> list[Undecided]:
    """Those of which the owner's advisories say nothing."""
    return [entry for entry in undecided if speaking((entry.id, *entry.aliases), advisories) is None]


def _cves(advisory: Advisory) -> set[str]:
    return {cve for name in (advisory.id, *advisory.aliases, *advisory.upstream) if (cve := cve_of(name))}
