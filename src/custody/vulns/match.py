"""Which advisories speak of a package, and whether its version is affected, as the OSV schema says ("Evaluation").

A distribution's advisories name what packages are built from, or packages as they are built: each entry says which
(`by`), or goes as its distribution does. Entries of a stream of a module are for packages of that stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec

from custody.ecosystems import Distribution, of_osv
from custody.errors import CustodyError, UnsupportedError
from custody.formats.bom import Package
from custody.formats.osv import Advisory, Affected, Range
from custody.ports.advisories import ANY, AdvisoryReader, Entry, Reach
from custody.versions import key, sortable
from custody.vulns import aliases, modules
from custody.vulns.severity import Rating, rate

Names = tuple[tuple[str, Literal["", "source", "binary"], str], ...]
"""What a package is called by advisories, whose name that is, and the version of it."""


class Match(msgspec.Struct, frozen=True, gc=False):
    """Why a version is affected."""

    event: str
    """`introduced 2.0, fixed 2.3` or `listed in versions`."""
    fixed: str
    """The next version without it; empty where none is known."""


class Hit(msgspec.Struct, frozen=True, gc=False):
    """A record that affects a package, why, and how bad it says that it is."""

    advisory: Advisory
    match: Match
    rating: Rating
    affected: Affected
    """The entry that says so."""
    names: frozenset[str]
    cves: frozenset[str]
    bundle: tuple[str, ...]
    """As `aliases` has them of the record."""


class Undecided(msgspec.Struct, frozen=True, kw_only=True):
    """A package and an advisory for it whose versions could not be compared."""

    purl: str
    id: str
    reason: str
    aliases: tuple[str, ...] = ()


class Word(msgspec.Struct, frozen=True, gc=False):
    """What an advisory says of a package: an entry, and the version that it is to be compared with."""

    advisory: Advisory
    affected: Affected
    version: str
    reach: Reach = ANY


Record = tuple[str, str, str]
"""Publisher, part and identifier of a record."""


class Matched(NamedTuple):
    """What became of comparing a package with all that is said of it."""

    hits: list[Hit]
    """The records that affect it."""
    undecided: list[Undecided]
    """Those of which that cannot be said."""
    words: list[Word]
    settled: frozenset[Record]
    """Those of both: all others that speak of it say that it is not affected."""


Told = Callable[[str, str], Iterable[Entry]]
"""What is said of an ecosystem and a name of it."""


_EVER = Match("introduced 0", "")
_WITHOUT_CAPITALS = "trivy-db/"
"""Begins the sources whose Maven names have lost their capitals."""


def place_of(package: Package) -> str | None:
    """The ecosystem whose advisories speak of it; `CPE` for what only its publisher's CPE names say; None: nobody's."""
    return place(package.ecosystem, package.cpes)


def place(ecosystem: str | None, cpes: tuple[str, ...]) -> str | None:
    """That of a package with these."""
    return ecosystem or ("CPE" if cpes else None)


def names(package: Package) -> Names:
    """Under which normalised names advisories may speak of it: (name, `source` or `binary`, version)."""
    ecosystem = package.ecosystem or ""
    if not ecosystem and package.cpes:
        return tuple((":".join(cpe.split(":")[2:5]).lower(), "", package.version) for cpe in package.cpes
                     if cpe.startswith("cpe:2.3:"))
    row = of_osv(ecosystem)
    if not isinstance(row, Distribution):
        name, version = package.source, package.source_version or package.version
        called = row.compared(name) if row else name
        if ecosystem == "Maven" and called != (small := called.lower()):  # as _WITHOUT_CAPITALS have it
            return (called, "", version), (small, "", version)
        return (called, "", version),
    return ((row.compared(package.source or package.name), "source", package.source_version or package.version),
            (row.compared(package.name), "binary", package.version))


def whole(store: AdvisoryReader) -> Told:
    """All that a store says."""
    def told(ecosystem: str, name: str) -> Iterator[Entry]:
        for advisory in store.find(ecosystem, name):
            for affected in advisory.affected:
                yield Entry(advisory, affected, ANY)

    return told


def words(package: Package, ecosystem: str, told: Told) -> Iterator[Word]:
    """All that is said of a package, by advisory."""
    row = of_osv(ecosystem)
    usual = "source" if isinstance(row, Distribution) and row.by_source else "binary"
    spoken = names(package)
    own = spoken[0][0] if spoken else ""
    build = modules.build(package)
    for name in dict.fromkeys([name for name, _, _ in spoken]):
        kinds = {kind: version for called, kind, version in spoken if called == name}
        alike = kinds.get("")
        for advisory, affected, reach in told(ecosystem, name):
            if ecosystem == "Maven" and name != own and not advisory.source.startswith(_WITHOUT_CAPITALS):
                continue  # Maven's names with other capitals are other names
            kind = "" if alike is not None else affected.by or usual
            if affected.ecosystem != ecosystem or affected.name != name or kind not in kinds or (
                    build is not None and modules.of_another(build, affected, advisory.summary)):
                continue
            version = kinds[kind]
            if kind == "source" and build is not None and package.source != package.name:
                # The epoch of what it was built from is not written down: perl-Errno has none, and perl has 4.
                version, affected = bare(version), without_epochs(affected)
            yield Word(advisory, affected, version, reach)


def match_package(package: Package, ecosystem: str, store: AdvisoryReader, told: Told | None = None) -> Matched:
    """`told`: what is said of it, where somebody has that without what ended before its version."""
    spoken = [*words(package, ecosystem, told or whole(store))]
    hits: list[Hit] = []
    undecided: list[Undecided] = []
    decided: set[Record] = set()
    unsure: set[Record] = set()
    for word in spoken:
        advisory, affected, version = word.advisory, word.affected, word.version
        record = advisory.source, advisory.part, advisory.id
        if record in decided:
            continue
        try:
            match = judge(word, version)
        except CustodyError as error:
            reason = error.message if version else "nobody knows the package's version"
            undecided.append(Undecided(purl=package.purl, id=advisory.id, reason=reason, aliases=advisory.aliases))
            unsure.add(record)
            continue
        if match is not None:
            hits.append(Hit(advisory, match, rate(advisory, affected), affected, *aliases.called(advisory),
                            aliases.bundle(advisory)))
            decided.add(record)
    return Matched(hits, undecided, spoken, frozenset(decided | unsure))


def silent(package: Package, ecosystem: str, matched: Matched, store: AdvisoryReader) -> Iterator[Advisory]:
    """The records of single vulnerabilities that speak of a package and say that it is not affected."""
    told = whole(store)
    for word in words(package, ecosystem, lambda place, name: (
            entry for entry in told(place, name) if not aliases.bundle(entry.advisory))):
        advisory = word.advisory
        if (advisory.source, advisory.part, advisory.id) not in matched.settled:
            yield advisory


def bare(version: str) -> str:
    """Without its epoch."""
    epoch, colon, rest = version.partition(":")
    return rest if colon and epoch.isdigit() else version


def without_epochs(affected: Affected) -> Affected:
    return msgspec.structs.replace(
        affected, versions=tuple(map(bare, affected.versions)), ranges=tuple(
            Range(span.kind, tuple((event, bare(version)) for event, version in span.events))
            for span in affected.ranges))


def judge(word: Word, version: str) -> Match | None:
    """`affected_by` of the entry of a word, by its reach where that says enough. Raises as that."""
    affected, reach = word.affected, word.reach
    if reach is not ANY and (mine := sortable(affected.ecosystem, version)) is not None:
        low, high, exact = reach
        if (low is not None and mine < low) or (high is not None and mine >= high):
            return None
        if exact:
            (_, first), *ends = affected.ranges[0].events
            if not ends:
                return _EVER if first == "0" else Match(f"introduced {first}", "")
            (kind, last), = ends
            return Match(f"introduced {first}, {kind} {last}", last if kind == "fixed" else "")
    return affected_by(affected, version)


def affected_by(affected: Affected, version: str) -> Match | None:
    """Raises MalformedError or UnsupportedError where the versions cannot be put in order: that is not a "no"."""
    undecided: CustodyError | None = None
    for span in affected.ranges:
        try:
            match = _in_range(affected.ecosystem, span, version)
        except CustodyError as error:
            undecided = error
            continue
        if match:
            return match
    if version in affected.versions:  # affected, whatever the ranges say
        return Match("listed in versions", _next_fix(affected, version))
    if undecided is not None:
        raise undecided
    # Two spellings of one version are one version, where the ecosystem says so.
    if affected.versions:
        mine = key(affected.ecosystem, version)
        for stated in affected.versions:
            try:
                if key(affected.ecosystem, stated) == mine:
                    return Match("listed in versions", _next_fix(affected, version))
            except CustodyError:
                continue
    return None


_BEGINS = ("introduced", "after")
_TURNS = {"introduced": 0, "fixed": 1, "last_affected": 1, "after": 2}
"""Which comes first of several at one version: what is said of it, then what is said of those behind it."""


def _in_range(ecosystem: str, span: Range, version: str) -> Match | None:
    if span.kind == "UNREAD":
        raise UnsupportedError(span.events[0][1], "a constraint that custody does not read")
    mine = _key(ecosystem, span, version)
    limits, events = _ordered(ecosystem, span)
    if limits and not any(mine < limit for limit in limits):
        return None
    vulnerable, began, ended, fixed = False, "", "", ""
    for place, kind, stated in events:
        here = None if place[0] == 0 else place[1]
        if kind in _BEGINS:
            if ended:
                break
            if here is None or mine > here or (mine == here and kind == "introduced"):
                vulnerable, began = True, f"{kind} {stated}"
        elif (kind == "fixed" and (here is None or mine >= here)) or (kind == "last_affected" and mine > here):
            vulnerable = False
        elif vulnerable:
            ended, fixed = ended or f"{kind} {stated}", stated if kind == "fixed" else ""
            if fixed:
                break
    if not vulnerable:
        return None
    return Match(began + (f", {ended}" if ended else ""), fixed)


@lru_cache(maxsize=16384)
def _ordered(ecosystem: str, span: Range) -> tuple[list[Any], list[tuple[tuple[int, Any], str, str]]]:
    """Limits, and all other events from the oldest on: one range is asked for many packages and versions."""
    limits = [_key(ecosystem, span, stated) for kind, stated in span.events if kind == "limit" and stated != "*"]
    return limits, sorted(((_place(ecosystem, span, kind, stated), kind, stated) for kind, stated in span.events
                           if kind != "limit"), key=lambda event: (event[0], _TURNS[event[1]]))


def _key(ecosystem: str, span: Range, version: str) -> Any:
    if span.kind == "SEMVER":
        return key("npm", version)
    return key(ecosystem, version)


def _place(ecosystem: str, span: Range, kind: str, version: str) -> tuple[int, Any]:
    """What begins or is fixed at `0` does so before every version."""
    return (0, 0) if version == "0" and kind in ("introduced", "fixed") else (1, _key(ecosystem, span, version))


def _next_fix(affected: Affected, version: str) -> str:
    """The first fixed version after a version, of any range that can be ordered; of those in the ecosystem's own order
    where there are any, since versions of two orders cannot be compared.
    """
    row = of_osv(affected.ecosystem)
    own: list[tuple[Any, str]] = []
    foreign: list[tuple[Any, str]] = []
    for span in affected.ranges:
        later = foreign if span.kind == "SEMVER" and (row is None or row.order != "semver") else own
        try:
            mine = _key(affected.ecosystem, span, version)
            later += [(place, stated) for kind, stated in span.events
                      if kind == "fixed" and (place := _key(affected.ecosystem, span, stated)) > mine]
        except CustodyError:
            continue
    return min(own or foreign)[1] if own or foreign else ""
