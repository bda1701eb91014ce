"""How bad an advisory is: CVSS scores in FIRST's qualitative buckets, else the database's own word."""

from __future__ import annotations

import enum
from typing import NamedTuple

import cvss

from custody.formats.osv import Advisory, Affected


class Severity(enum.IntEnum):
    """Ordered; `UNKNOWN` is an advisory that states none, and meets only the threshold `low`."""

    NONE = 0
    UNKNOWN = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5

    def __str__(self) -> str:
        return self.name.lower()


class Rating(NamedTuple):
    severity: Severity
    score: float | None
    vector: str
    """The CVSS vector that gave the score, or the word that was read; empty for unknown."""


_WORDS = {"critical": Severity.CRITICAL, "high": Severity.HIGH, "important": Severity.HIGH, "medium": Severity.MEDIUM,
          "moderate": Severity.MEDIUM, "low": Severity.LOW, "negligible": Severity.LOW, "unimportant": Severity.LOW,
          "none": Severity.NONE}
_MALICIOUS = Rating(Severity.CRITICAL, None, "malicious")


def rate(advisory: Advisory, affected: Affected) -> Rating:
    """CVSS 4 before 3 before 2 (OSV schema, "severity"), the package's own before the record's, then words."""
    if advisory.id.startswith("MAL-"):
        return _MALICIOUS
    for stated in (affected.severity, advisory.severity):
        for kind in ("CVSS_V4", "CVSS_V3", "CVSS_V2"):
            for name, vector in stated:
                if name == kind and (score := _score(kind, vector)) is not None:
                    return Rating(bucket(score), score, vector)
        for name, word in stated:
            if name == "Ubuntu" and word.lower() in _WORDS:
                return Rating(_WORDS[word.lower()], None, word)
    for word in (affected.rating, advisory.rating):
        if word.lower() in _WORDS:
            return Rating(_WORDS[word.lower()], None, word)
    return Rating(Severity.UNKNOWN, None, "")


def bucket(score: float) -> Severity:
    """CVSS specification, "Qualitative Severity Rating Scale"."""
    return (Severity.NONE if score < 0.1 else Severity.LOW if score < 4 else Severity.MEDIUM if score < 7
            else Severity.HIGH if score < 9 else Severity.CRITICAL)


def _score(kind: str, vector: str) -> float | None:
    reader = {"CVSS_V4": cvss.CVSS4, "CVSS_V3": cvss.CVSS3, "CVSS_V2": cvss.CVSS2}[kind]
    try:
        found = reader(vector)
        return float(found.base_score)
    except (cvss.exceptions.CVSSError, AttributeError, KeyError, ValueError):
        return None
