"""What a scan covered, and its gaps: all that was in the image and that no advisory could have spoken of.

A gap is one of

    nothing-catalogued         no package was found at all, in an image that has files, or in an SBOM
    distribution-not-catalogued    the image names a distribution of packages, and none of them was found
    not-catalogued             packages of a kind that is seen and counted, and not read; unless the distribution's
                               package that installed them is one that its advisories speak of
    no-advisories              packages of an ecosystem for which the database has no advisory, or OSV no ecosystem
    undecided                  an advisory for a package whose version could not be compared with the advisory's
    old-advisories             the newest advisory is older than was asked for, or of a time to come

What is no gap: a package that no advisory names, in an ecosystem for which there are some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Literal

import msgspec

from custody.ecosystems import of_type
from custody.formats.bom import Catalog, Unknown
from custody.formats.osv import Advisory
from custody.kit.clock import format_rfc3339
from custody.ports.advisories import AdvisoryReader, AdvisoryStatus
from custody.vulns.match import Undecided, names, place

GapKind = Literal["nothing-catalogued", "distribution-not-catalogued", "not-catalogued", "no-advisories", "undecided",
                  "old-advisories"]

_PACKAGED = frozenset((
    "almalinux", "alpine", "amzn", "arch", "azurelinux", "centos", "chainguard", "debian", "fedora", "gentoo", "mageia",
    "mariner", "ol", "openeuler", "opensuse-leap", "opensuse-tumbleweed", "photon", "rhel", "rocky", "sled", "sles",
    "ubuntu", "wolfi"))
"""The os-release IDs of distributions whose images have a package database; others may mean anything, or nothing."""

_WHOLE = {"container": "the image", "rootfs": "the root file system", "directory": "the folder", "file": "the file",
          "sbom": "the SBOM", "lock files": "the lock files"}


_SKEW = timedelta(days=2)
"""That clocks and calendars may differ."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was not scanned."""

    kind: GapKind
    what: str
    """The ecosystem, the kind of package, the distribution, or the advisory and the package."""
    count: int
    """Packages, or files that stand for some."""
    reason: str

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


class Matched(msgspec.Struct, frozen=True, kw_only=True):
    """Packages of an ecosystem, and how many advisories of it they were matched with."""

    ecosystem: str
    packages: int
    advisories: int


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan speaks of. `packages` is the sum of those matched, left to a distribution, and in gaps."""

    packages: int
    ecosystems: tuple[Matched, ...]
    distribution: int
    """Packages left to the advisories of the distribution whose package installed them, where those speak."""
    adopted: int
    """Packages that a distribution's package installed, of which its advisories do not speak: they were matched in
    their own ecosystem."""
    unknowns: tuple[Unknown, ...]
    """What was seen and not catalogued, gap or not."""
    database: AdvisoryStatus
    gaps: tuple[Gap, ...]

    def to_json(self, now: datetime) -> dict[str, Any]:
        """Plain data, as it stands in reports and in the attested predicate; `now` is when the scan ended."""
        database = self.database
        return {
            "packages": self.packages, "ecosystems": [msgspec.to_builtins(matched) for matched in self.ecosystems],
            "distribution": self.distribution, "adopted": self.adopted,
            "notCatalogued": [{"kind": unknown.kind, "count": unknown.count, "examples": list(unknown.examples),
                               "owner": unknown.owner} for unknown in self.unknowns],
            "database": {"advisories": database.advisories, "digest": database.digest,
                         "newest": database.newest and format_rfc3339(database.newest),
                         "importedAt": database.imported_at and format_rfc3339(database.imported_at),
                         "ageDays": (now - database.newest).days if database.newest else None,
                         "exploited": database.exploited, "exploitedVersion": database.exploited_version},
            "gaps": [msgspec.to_builtins(gap) for gap in self.gaps]}


class Spokesmen:
    """Which advisories speak of a package: those of its own ecosystem, or those of the distribution that installed it.

    A distribution's package speaks for what it installed where the distribution's advisories name it. Where they do
    not, it may be anybody's package (a vendor's, beside the distribution's own): what it installed speaks for itself.
    So it does in each vulnerability of which the advisories of that package are silent (`vulns.deferral`).
    """

    def __init__(self, catalog: Catalog, store: AdvisoryReader) -> None:
        self._store = store
        system = {kind for kind in {package.type for package in catalog.packages} if of_type(kind).system}
        self._system = {package.purl: package for package in catalog.packages if package.type in system}
        self._advisories: dict[str, int] = {}
        self._named: dict[str, Sequence[Advisory]] = {}
        self._speaking: dict[str, bool] = {}

    def advisories(self, ecosystem: str | None) -> int:
        """How many there are for the ecosystem; 0 where OSV has none."""
        if ecosystem is None:
            return 0
        if ecosystem not in self._advisories:
            self._advisories[ecosystem] = self._store.count(ecosystem)
        return self._advisories[ecosystem]

    def of_owner(self, owner: str) -> Sequence[Advisory]:
        """The distribution's advisories that name the package with this package URL."""
        if owner not in self._named:
            package = self._system.get(owner)
            self._named[owner] = [] if package is None or not package.ecosystem or not self.owner_speaks(owner) else [
                advisory for name in sorted({name for name, _, _ in names(package)})
                for advisory in self._store.find(package.ecosystem, name)]
        return self._named[owner]

    def owner_speaks(self, owner: str) -> bool:
        """Whether there is one."""
        if owner not in self._speaking:
            package = self._system.get(owner)
            ecosystem = package.ecosystem if package else None
            self._speaking[owner] = bool(package and ecosystem and self.advisories(ecosystem) and self._store.known(
                ecosystem, {name for name, _, _ in names(package)}))
        return self._speaking[owner]


def measure(catalog: Catalog, spokesmen: Spokesmen, undecided: Sequence[Undecided], database: AdvisoryStatus,
            now: datetime, max_age: timedelta | None = None) -> Coverage:
    """What was covered, after a scan; `max_age` makes advisories of which the newest is older a gap."""
    matched: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    distribution = adopted = 0
    alike = Counter(map(attrgetter("owner", "ecosystem", "cpes", "type"), catalog.packages))
    for (owner, ecosystem, cpes, kind), count in alike.items():
        spoken = place(ecosystem, cpes)
        if owner and spokesmen.owner_speaks(owner):
            distribution += count
        elif spoken is not None and spokesmen.advisories(spoken):
            matched[spoken] += count
            adopted += count if owner else 0
        else:
            missing[ecosystem or f"{kind} (no OSV ecosystem)"] += count
    gaps = [*_uncatalogued(catalog, spokesmen)]
    gaps += [Gap(kind="no-advisories", what=ecosystem, count=count,
                 reason=f"{_packages(count)}, for which the database has no advisories")
             for ecosystem, count in sorted(missing.items())]
    gaps += [Gap(kind="undecided", what=f"{match.id} for {match.purl}", count=1, reason=match.reason)
             for match in undecided]
    if max_age is not None and database.newest is not None and now - database.newest > max_age:
        gaps.append(Gap(kind="old-advisories", what="advisories", count=database.advisories, reason=(
            f"the newest is {(now - database.newest).days} days old, expected at most {max_age.days}")))
    if max_age is not None and database.newest is not None and database.newest - now > _SKEW:
        gaps.append(Gap(kind="old-advisories", what="advisories", count=database.advisories, reason=(
            f"the newest is of {format_rfc3339(database.newest)}, which is to come: nobody can say how old they are")))
    return Coverage(
        packages=len(catalog.packages), distribution=distribution, adopted=adopted, unknowns=catalog.unknowns,
        ecosystems=tuple(Matched(ecosystem=name, packages=count, advisories=spokesmen.advisories(name))
                         for name, count in sorted(matched.items())),
        database=database, gaps=tuple(gaps))


def _uncatalogued(catalog: Catalog, spokesmen: Spokesmen) -> list[Gap]:
    gaps: list[Gap] = []
    system = catalog.distribution
    if not catalog.packages and not (catalog.layers and not any(layer.entries for layer in catalog.layers)):
        gaps.append(Gap(kind="nothing-catalogued", what=_WHOLE.get(catalog.kind, catalog.kind), count=0,
                        reason="no package was found in it"))
    elif system and system.id in _PACKAGED and catalog.kind in ("container", "rootfs") and not any(
            of_type(package.type).system and not package.copied for package in catalog.packages):
        gaps.append(Gap(kind="distribution-not-catalogued", what=f"{system.id} {system.version}".strip(), count=0,
                        reason="none of its packages was found"))
    kinds: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for unknown in catalog.unknowns:
        if not (unknown.owner and spokesmen.owner_speaks(unknown.owner)):
            kinds[unknown.kind] += unknown.count
            examples.setdefault(unknown.kind, next(iter(unknown.examples), ""))
    gaps += [Gap(kind="not-catalogued", what=kind, count=count, reason=f"{count} not catalogued"
                 + (f", such as {examples[kind]}" if examples[kind] else "")) for kind, count in sorted(kinds.items())]
    return gaps


def _packages(count: int) -> str:
    return f"{count} package{'' if count == 1 else 's'}"
