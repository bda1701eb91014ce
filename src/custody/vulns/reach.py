"""Between which keys of versions an entry of an advisory can affect any: what lies outside need not be compared.

Keys are those of `versions.sortable`. Where one of an entry's versions has no key, the entry may affect any version,
or may be undecided of it: it has no bounds then. The bounds may be too wide; they are never too narrow for
`match.affected_by`, with epochs and without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from custody.ecosystems import Distribution, of_osv
from custody.formats.bom import Package
from custody.formats.osv import Affected, Range
from custody.ports.advisories import ANY, Reach
from custody.versions import KEYS, sortable
from custody.vulns.match import Names, bare, without_epochs

RULES = f"{KEYS}.2"
"""Counts changes of what `reach` gives: bounds that were kept before are made anew."""


_KINDS = frozenset(("introduced", "after", "fixed", "last_affected", "limit"))
_NOTHING = Reach(b"\xff", b"")
"""Of an entry that says of no version that it is affected."""
_LATER = Reach(b"\xff", None)
"""Of what has no place in the row: no version of a package that has one, and perhaps one that an upgrade leads to."""


def reach(affected: Affected) -> Reach:
    row = of_osv(affected.ecosystem)
    if (row is None or row.order != "semver") and any(span.kind == "SEMVER" for span in affected.ranges):
        return ANY  # compared as semver has it, and not in the order of the package's key
    # An RPM's source has no epoch written down, and is compared without.
    readings = dict.fromkeys((affected, without_epochs(affected)) if isinstance(row, Distribution) else (affected,))
    low, high, _ = hull = _hull(part for reading in readings for part in _parts(reading))
    if len(readings) > 1 or not _one_piece(affected):
        return hull
    span = _of_range(affected.ecosystem, affected.ranges[0])
    ends = len(affected.ranges[0].events) > 1
    # Versions that are listed beside it make it no wider, and it ends behind where it begins.
    return Reach(low, high, span is not ANY and span == hull and ends == (high is not None))


def _one_piece(affected: Affected) -> bool:
    """Whether it has a single range of the simplest form: from one version on, up to another or to no end."""
    if len(affected.ranges) != 1:
        return False
    kinds = [kind for kind, _ in affected.ranges[0].events]
    return kinds == ["introduced"] or (len(kinds) == 2 and kinds[0] == "introduced"
                                       and kinds[1] in ("fixed", "last_affected"))


def keys(package: Package, ecosystem: str, called: Names) -> Iterator[tuple[str, bytes | None]]:
    """The `names` of a package, each with the key of a version that entries of that name may be compared with."""
    for name, kind, version in called:
        if kind == "source" and package.type == "rpm":
            yield name, sortable(ecosystem, bare(version))
        yield name, sortable(ecosystem, version)


def _parts(affected: Affected) -> Iterator[Reach]:
    for span in affected.ranges:
        yield _of_range(affected.ecosystem, span)
    for version in affected.versions:
        key = sortable(affected.ecosystem, version)
        yield _LATER if key is None else Reach(key, _after(key))


def _of_range(ecosystem: str, span: Range) -> Reach:
    if span.kind not in ("ECOSYSTEM", "SEMVER"):  # nobody could read it
        return ANY
    begins: list[bytes | None] = []
    ends: list[bytes] = []
    for kind, version in span.events:
        if (kind, version) == ("introduced", "0"):
            begins.append(None)
            continue
        if (kind, version) == ("limit", "*"):
            continue
        key = sortable(ecosystem, version)
        if key is None or version == "0" or kind not in _KINDS:  # no version there, or an end before all versions
            return ANY
        if kind in ("introduced", "after"):
            begins.append(key if kind == "introduced" else _after(key))
        elif kind != "limit":
            ends.append(key if kind == "fixed" else _after(key))
    last = max(ends, default=None)
    low = None if None in begins else min((key for key in begins if key is not None), default=None)
    if last is None or any(key is not None and key >= last for key in begins):
        return Reach(low, None)
    return Reach(low, last)


def _after(key: bytes) -> bytes:
    """The first key behind a key."""
    return key + b"\x00"


def _hull(parts: Iterable[Reach]) -> Reach:
    low, high, _ = _NOTHING
    for part in parts:
        low = None if low is None or part.low is None else min(low, part.low)
        high = None if high is None or part.high is None else max(high, part.high)
    return Reach(low, high)
