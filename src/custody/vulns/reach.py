"""Between which keys of versions an entry of an advisory can affect any: what lies outside need not be compared.

Keys are those of `versions.sortable`. Where one of an entry's versions has no key, the entry may affect any version,
or may be undecided of it: it has no bounds then. The bounds may be too wide; they are never too narrow for
`match.affected_by`, with epochs and without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from custody.ecosystems import Distribution, of_osv
from custody.formats.bom import Package
from custody.formats.osv import Affected, Range
from custody.versions import KEYS, sortable
from custody.vulns.match import Names, bare, without_epochs

RULES = f"{KEYS}.1"
"""Counts changes of what `reach` gives: bounds that were kept before are made anew."""


class Reach(NamedTuple):
    """Nothing below `low` is affected, and nothing from `high` on; None where there is no bound."""

    low: bytes | None
    high: bytes | None


_KINDS = frozenset(("introduced", "after", "fixed", "last_affected", "limit"))
_NOTHING = Reach(b"\xff", b"")
"""Of an entry that says of no version that it is affected."""


def reach(affected: Affected) -> Reach:
    row = of_osv(affected.ecosystem)
    if (row is None or row.order != "semver") and any(span.kind == "SEMVER" for span in affected.ranges):
        return Reach(None, None)  # compared as semver has it, and not in the order of the package's key
    # An RPM's source has no epoch written down, and is compared without.
    readings = dict.fromkeys((affected, without_epochs(affected)) if isinstance(row, Distribution) else (affected,))
    return _hull(part for reading in readings for part in _parts(reading))


def keys(package: Package, ecosystem: str, called: Names) -> Iterator[tuple[str, bytes | None]]:
    """The `names` of a package, each with the key of a version that entries of that name may be compared with."""
    for name, kind, version in called:
        if kind == "source" and package.type == "rpm":
            yield name, sortable(ecosystem, bare(version))
        yield name, sortable(ecosystem, version)


def _parts(affected: Affected) -> Iterator[Reach]:
    for span in affected.ranges:
        yield _of_range(affected.ecosystem, span)
    for version in affected.versions:  # what has no key is affected where it is the same text, which then has none
        if (key := sortable(affected.ecosystem, version)) is not None:
            yield Reach(key, _after(key))


def _of_range(ecosystem: str, span: Range) -> Reach:
    if span.kind not in ("ECOSYSTEM", "SEMVER"):  # nobody could read it
        return Reach(None, None)
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
            return Reach(None, None)
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
    low, high = _NOTHING
    for part in parts:
        low = None if low is None or part.low is None else min(low, part.low)
        high = None if high is None or part.high is None else max(high, part.high)
    return Reach(low, high)
