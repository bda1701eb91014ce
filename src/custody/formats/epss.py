"""FIRST's Exploit Prediction Scoring System: `epss_scores-YYYY-MM-DD.csv`, plain or gzip.

https://www.first.org/epss/data_stats: a comment with the model's version and the day, a header, a line a CVE.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator
from itertools import islice

import msgspec

from custody.errors import MalformedError
from custody.kit.clock import parse_rfc3339

MAX_SIZE = 128 << 20
_MAX_ENTRIES = 2_500_000
_COMMENT = re.compile(r"#\s*model_version:([^,\s]{1,64}),\s*score_date:([0-9T:+Z.-]{10,40})\s*\Z")
_OFFSET = re.compile(r"([+-]\d\d)(\d\d)\Z")
_NUMBER = rb"(?:0(?:\.[0-9]{1,20})?|1(?:\.0{1,20})?|[0-9](?:\.[0-9]{1,20})?e-[0-9]{1,2})"
_UNUSUAL = re.compile(rb"^(?!CVE-[0-9]{4}-[0-9]{4,19}," + _NUMBER + b"," + _NUMBER + rb"\r?$|\Z)", re.MULTILINE)
"""A line that is not as FIRST writes them."""
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
    entries: Collection[Epss]


def is_scores(data: bytes) -> bool:
    return data.startswith((b"#model_version:", b"# model_version:", b"cve,epss,percentile"))


def read(data: bytes, where: str = "EPSS scores") -> EpssScores:
    """Of plain CSV. Raises MalformedError, naming the line: scores are taken whole or not at all."""
    if len(data) > MAX_SIZE:
        raise MalformedError(where, got=f"{len(data)} bytes", expected=f"at most {MAX_SIZE}")
    if not data.isascii():
        place = next(place for place, byte in enumerate(data) if byte > 0x7F)
        raise MalformedError(where, got=f"byte {place} that is not ASCII", expected="CSV")
    lines = [line.decode() for line in islice(io.BytesIO(data), 3)]
    comment = _COMMENT.match(lines[0]) if lines else None
    if comment is None:
        raise MalformedError(f"{where}: line 1", got=lines[0][:80] if lines else "nothing",
                             expected="#model_version:…,score_date:…, by which later scores are known")
    day = _OFFSET.sub(r"\1:\2", comment[2])
    day = f"{day}T00:00:00Z" if len(day) == 10 else day
    parse_rfc3339(day, f"{where}: score_date")
    if len(lines) < 3 or lines[1].replace(" ", "").rstrip() != "cve,epss,percentile":
        raise MalformedError(f"{where}: line 2", got=lines[1][:80] if len(lines) > 1 else "nothing",
                             expected="cve,epss,percentile and scores below it")
    if (count := data.count(b"\n")) > _MAX_ENTRIES:
        raise MalformedError(where, got=f"{count} lines", expected=f"at most {_MAX_ENTRIES}")
    return EpssScores(version=comment[1], day=day, entries=_Lines(data, where))


class _Lines(Collection[Epss]):
    """Entries as they stand in a file, each made when it is asked for: as objects they take five times as much."""

    def __init__(self, data: bytes, where: str) -> None:
        self._data, self._where = data, where
        begin = data.index(b"\n", data.index(b"\n") + 1) + 1
        self._usual = _UNUSUAL.search(data, begin) is None
        # Whoever goes through all of them says which one is broken.
        self._count = data.count(b"CVE-", begin) if self._usual else sum(1 for _ in self)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Epss]:
        lines = islice(io.BytesIO(self._data), 2, None)
        if self._usual:
            for line in lines:
                cve, score, percentile = line.split(b",")
                yield Epss(cve=cve.decode(), score=float(score), percentile=float(percentile))
            return
        for number, line in enumerate(lines, 3):
            if text := line.decode().strip():
                yield _entry(text, f"{self._where}: line {number}")

    def __contains__(self, entry: object) -> bool:
        return any(entry == own for own in self)


def _entry(line: str, where: str) -> Epss:
    fields = line.split(",")
    try:
        cve, score, percentile = fields[0], float(fields[1]), float(fields[2])
    except (IndexError, ValueError):
        raise MalformedError(where, got=line[:80], expected="CVE,score,percentile") from None
    if len(fields) != 3 or not _CVE.match(cve) or not 0 <= score <= 1 or not 0 <= percentile <= 1:
        raise MalformedError(where, got=line[:80], expected="a CVE, and two numbers from 0 to 1")
    return Epss(cve=cve, score=score, percentile=percentile)
