"""How bad an advisory is: CVSS scores in FIRST's qualitative buckets, else the database's own word."""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from custody.formats.cvssvector import base_score
from custody.formats.osv import Advisory, Affected
from custody.vulns import aliases


class Severity(enum.IntEnum):
    """Ordered; `UNKNOWN` is an advisory that states none."""

    NONE = 0
    UNKNOWN = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5

    def __str__(self) -> str:
        return self.name.lower()


WORDS = {severity: str(severity) for severity in Severity}
"""What reports call it."""


class Rating(NamedTuple):
    severity: Severity
    score: float | None
    vector: str
    """The CVSS vector that gave the score, or the word that was read; empty for unknown."""


RULES = "1"
"""Counts changes of what `rates` says: records that were marked before are marked anew."""
_SCORE = re.compile(r"(?:10(?:\.0)?|[0-9](?:\.[0-9])?)\Z")
_WORDS = {"critical": Severity.CRITICAL, "high": Severity.HIGH, "important": Severity.HIGH, "medium": Severity.MEDIUM,
          "moderate": Severity.MEDIUM, "low": Severity.LOW, "minor": Severity.LOW, "negligible": Severity.LOW,
          "unimportant": Severity.LOW, "none": Severity.NONE}
_MALICIOUS = Rating(Severity.CRITICAL, None, "malicious")
_UNKNOWN = Rating(Severity.UNKNOWN, None, "")
_KINDS = ("CVSS_V4", "CVSS_V3", "CVSS_V2")


def rate(advisory: Advisory, affected: Affected | None = None) -> Rating:
    """CVSS 4 before 3 before 2 (OSV schema, "severity"), the package's own before the record's, then other words.

    Of several words the worst; a number is a CVSS base score only where nothing else is said.
    """
    if advisory.id.startswith("MAL-"):
        return _MALICIOUS
    if not (advisory.severity or advisory.ratings or (affected and (affected.severity or affected.ratings))):
        return _UNKNOWN
    for stated in (affected.severity if affected else (), advisory.severity):
        for kind in _KINDS:
            for name, vector in stated:
                if name == kind and (rating := _vector(vector)) is not None:
                    return rating
        for _, word in stated:
            if (rating := _word(word)) is not None:
                return rating
    for ratings in (affected.ratings if affected else (), advisory.ratings):
        vectors = [rating for text in ratings if (rating := _vector(text)) is not None]
        words = [rating for text in ratings if (rating := _word(text)) is not None]
        scores = [rating for text in ratings if (rating := _number(text)) is not None]
        for choice in (vectors, words, scores):
            if choice:
                return max(choice, key=lambda rating: (rating.severity, rating.score or 0))
    scores = [rating for _, text in advisory.severity if (rating := _number(text)) is not None]
    return max(scores, key=lambda rating: rating.severity) if scores else _UNKNOWN


def rates(advisory: Advisory) -> bool:
    """Whether a record may say how bad a vulnerability is: of all that `rate` reads there is something, and bundles do
    not rate what they mend.
    """
    says = bool(advisory.severity or advisory.ratings or advisory.id.startswith("MAL-"))
    return says and not aliases.bundle(advisory)


def bucket(score: float) -> Severity:
    """CVSS specification, "Qualitative Severity Rating Scale"."""
    return (Severity.NONE if score < 0.1 else Severity.LOW if score < 4 else Severity.MEDIUM if score < 7
            else Severity.HIGH if score < 9 else Severity.CRITICAL)


def _word(text: str) -> Rating | None:
    """Debian marks urgencies that are not its own with stars: `low**`."""
    severity = _WORDS.get(text.strip().rstrip("*").lower())
    return None if severity is None else Rating(severity, None, text)


def _vector(text: str) -> Rating | None:
    score = base_score(text)
    return None if score is None else Rating(bucket(score), score, text)


def _number(text: str) -> Rating | None:
    if not _SCORE.match(text):
        return None
    return Rating(bucket(float(text)), float(text), text)
