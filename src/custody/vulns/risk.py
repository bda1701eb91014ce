"""How likely and how bad at once, from 0 to 100, as grype counts it (grype docs, "Risk score").

Threat times severity: the threat is EPSS's probability, or 1 where the vulnerability is known to be exploited; the
severity is the mean of the middle of its word's range and of the CVSS scores. What is exploited is raised by 5 %, by
ransomware by 10 %.
"""

from __future__ import annotations

from collections.abc import Sequence

from custody.formats.kev import Exploited
from custody.vulns.severity import Severity

_MIDDLE = {Severity.NONE: 0.5, Severity.LOW: 3.0, Severity.MEDIUM: 5.0, Severity.HIGH: 7.5, Severity.CRITICAL: 9.0,
           Severity.UNKNOWN: 5.0}


def risk(severity: Severity, scores: Sequence[float], epss: float | None, exploited: Exploited | None) -> float:
    """`scores` are CVSS base scores, 0 to 10, of which those of 0 do not count; `epss` is from 0 to 1."""
    threat = 1.0 if exploited is not None else epss or 0.0
    bases = [score for score in scores if score]
    impact = _MIDDLE[severity] / 10
    if bases:
        impact = (impact + sum(bases) / len(bases) / 10) / 2
    raised = 1.0 if exploited is None else 1.1 if exploited.ransomware else 1.05
    return round(min(threat * impact * raised, 1.0) * 100, 4)
