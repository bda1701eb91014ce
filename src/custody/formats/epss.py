"""FIRST's Exploit Prediction Scoring System: `epss_scores-YYYY-MM-DD.csv`, plain or gzip.

https://www.first.org/epss/data_stats: a comment with the model's version and the day, a header, a line a CVE.
"""

from __future__ import annotations

import re

import msgspec

from custody.errors import MalformedError
from custody.kit.clock import parse_rfc3339

MAX_SIZE = 256 << 20
_MAX_ENTRIES = 5_000_000
_COMMENT = re.compile(r"#\s*model_version:([^,\s]{1,64}),\s*score_date:([0-9T:+Z.-]{10,40})\s*\Z")
_OFFSET = re.compile(r"([+-]\d\d)(\d\d)\Z")
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}\Z")


class Epss(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says of one CVE."""

    cve: str
    score: float
    """The probability that it is exploited within 30 days: 0 to 1."""
    percentile: float
    """The share of all CVEs with that score or a lower one: 0 to 1."""


class EpssScores(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    """The model's."""
    day: str
    """RFC 3339."""
    entries: tuple[Epss, ...]


def is_scores(data: bytes) -> bool:
    return data.startswith((b"#model_version:", b"# model_version:", b"cve,epss,percentile"))


def read(data: bytes, where: str = "EPSS scores") -> EpssScores:
    """Of plain CSV. Raises MalformedError, naming the line: scores are taken whole or not at all."""
    if len(data) > MAX_SIZE:
        raise MalformedError(where, got=f"{len(data)} bytes", expected=f"at most {MAX_SIZE}")
    try:
        lines = data.decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise MalformedError(where, got=f"byte {error.start} that is not ASCII", expected="CSV") from None
    comment = _COMMENT.match(lines[0]) if lines else None
    if comment is None:
        raise MalformedError(f"{where}: line 1", got=lines[0][:80] if lines else "nothing",
                             expected="#model_version:…,score_date:…, by which later scores are known")
    day = _OFFSET.sub(r"\1:\2", comment[2])
    day = f"{day}T00:00:00Z" if len(day) == 10 else day
    parse_rfc3339(day, f"{where}: score_date")
    if len(lines) < 3 or lines[1].replace(" ", "") != "cve,epss,percentile":
        raise MalformedError(f"{where}: line 2", got=lines[1][:80] if len(lines) > 1 else "nothing",
                             expected="cve,epss,percentile and scores below it")
    if len(lines) > _MAX_ENTRIES:
        raise MalformedError(where, got=f"{len(lines)} lines", expected=f"at most {_MAX_ENTRIES}")
    return EpssScores(version=comment[1], day=day, entries=tuple(
        _entry(line, f"{where}: line {number}") for number, line in enumerate(lines[2:], 3) if line))


def _entry(line: str, where: str) -> Epss:
    fields = line.split(",")
    try:
        cve, score, percentile = fields[0], float(fields[1]), float(fields[2])
    except (IndexError, ValueError):
        raise MalformedError(where, got=line[:80], expected="CVE,score,percentile") from None
    if len(fields) != 3 or not _CVE.match(cve) or not 0 <= score <= 1 or not 0 <= percentile <= 1:
        raise MalformedError(where, got=line[:80], expected="a CVE, and two numbers from 0 to 1")
    return Epss(cve=cve, score=score, percentile=percentile)
