"""Generated packages and advisories, matched by custody and by the simplest matcher that could be right.

usage: python -m tests.fuzz.matching [PAIRS] [SEED]
The slow matcher shares nothing with `custody.vulns`: it makes a list of all versions that there are, marks by the OSV
schema's words which an entry affects, and looks the package's up. Versions are whole numbers with dots, of which every
order says the same, spelled as each ecosystem spells them.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

from custody.formats.bom import Package
from custody.formats.osv import Advisory, Affected, Range
from custody.vulns.match import match_package

_LADDER = [(major, minor) for major in range(5) for minor in range(5)]
"""All versions that there are, oldest first."""
_SPELLED = {
    "PyPI": "{}.{}", "npm": "{}.{}.0", "Maven": "{}.{}", "Go": "{}.{}.0", "RubyGems": "{}.{}", "Packagist": "{}.{}.0.0",
    "crates.io": "{}.{}.0", "NuGet": "{}.{}", "Debian:12": "1:{}.{}-1", "Alpine:v3.19": "{}.{}-r0", "Hex": "{}.{}.0",
    "AlmaLinux:9": "{}.{}-1.el9", "SUSE:Linux Enterprise Server 15 SP5": "{}.{}-1.1", "Red Hat:9": "{}.{}-3.el9",
    "Arch Linux": "{}.{}-1", "CRAN": "{}.{}"}
_TYPES = {"Debian:12": "deb", "Alpine:v3.19": "apk", "AlmaLinux:9": "rpm", "Red Hat:9": "rpm", "PyPI": "pypi",
          "SUSE:Linux Enterprise Server 15 SP5": "rpm", "Arch Linux": "alpm"}
_BY_SOURCE = {"Debian:12": True, "Alpine:v3.19": True, "AlmaLinux:9": False, "Red Hat:9": False, "Arch Linux": False,
              "SUSE:Linux Enterprise Server 15 SP5": True}
"""Of distributions: whether their advisories go by what packages are built from."""


class Told:
    """AdvisoryReader of one advisory."""

    def __init__(self, advisory: Advisory) -> None:
        self._advisory = advisory

    def find(self, ecosystem: str, name: str) -> list[Advisory]:
        entries = tuple(entry for entry in self._advisory.affected
                        if (entry.ecosystem, entry.name) == (ecosystem, name))
        return [Advisory(*[entries if field == "affected" else getattr(self._advisory, field)
                           for field in Advisory.__struct_fields__])] if entries else []


def _spell(ecosystem: str, rung: int) -> str:
    return _SPELLED[ecosystem].format(*_LADDER[rung])


def advisory(chance: random.Random, ecosystem: str) -> Advisory:
    entries = []
    for _ in range(chance.randint(1, 3)):
        ranges = []
        for _ in range(chance.randint(0, 2)):
            events = [("introduced", "0" if chance.random() < 0.4 else _spell(ecosystem, chance.randrange(25)))]
            last = chance.choice(["fixed", "last_affected"])
            events += [(chance.choice(["introduced", last]), _spell(ecosystem, chance.randrange(25)))
                       for _ in range(chance.randint(0, 4))]
            if chance.random() < 0.15:
                events.append(("limit", chance.choice(["*", _spell(ecosystem, chance.randrange(25))])))
            chance.shuffle(events)
            ranges.append(Range("ECOSYSTEM", tuple(events)))
        versions = tuple(_spell(ecosystem, chance.randrange(25)) for _ in range(chance.choice([0, 0, 1, 3])))
        entries.append(Affected(
            chance.choice([ecosystem, ecosystem, ecosystem, chance.choice(list(_SPELLED))]),
            chance.choice(["a", "a", "b", "src"]), tuple(ranges), versions,
            by=chance.choice(["", "", "source", "binary"]) if ecosystem in _BY_SOURCE else ""))
    return Advisory("X", "2026-01-01T00:00:00Z", False, (), "", (), (), tuple(entries))


def package(chance: random.Random, ecosystem: str) -> tuple[Package, int, int]:
    """With the rungs of its version and of the version of what it was built from."""
    rung = chance.randrange(25)
    source_rung = rung if chance.random() < 0.6 else chance.randrange(25)
    distribution = ecosystem in _BY_SOURCE
    source = chance.choice(["a", "src", "src"]) if distribution else "a"
    kind = _TYPES.get(ecosystem, "npm")
    return Package(type=kind, name="a", version=_spell(ecosystem, rung), purl=f"pkg:{kind}/x/a@{rung}", source=source,
                   source_version=_spell(ecosystem, source_rung) if distribution else _spell(ecosystem, rung),
                   ecosystem=ecosystem), rung, source_rung


def slow(part: Package, rung: int, source_rung: int, told: Advisory) -> bool:
    """Whether the advisory affects the package, as the schema's own words have it."""
    ecosystem = part.ecosystem or ""
    for entry in told.affected:
        if entry.ecosystem != ecosystem:
            continue
        place = rung
        if ecosystem in _BY_SOURCE:
            by_source = entry.by == "source" or (entry.by == "" and _BY_SOURCE[ecosystem])
            if entry.name != (part.source if by_source else part.name):
                continue
            place = source_rung if by_source else rung
        elif entry.name != part.name:
            continue
        if _spell(ecosystem, place) in entry.versions or any(
                place in _affected_rungs(ecosystem, span) for span in entry.ranges):
            return True
    return False


def _affected_rungs(ecosystem: str, span: Range) -> set[int]:
    """Walk up the ladder with a lamp that events turn on and off (OSV schema, "Evaluation")."""
    rungs = {_spell(ecosystem, rung): rung for rung in range(25)}
    limits = [version for event, version in span.events if event == "limit"]
    lit, result = any(event == ("introduced", "0") for event in span.events), set()
    for rung in range(25):
        here = [event for event, version in span.events if rungs.get(version) == rung]
        if "introduced" in here:
            lit = True
        if "fixed" in here:
            lit = False
        below = not limits or "*" in limits or any(rung < rungs[limit] for limit in limits if limit != "*")
        if lit and below:
            result.add(rung)
        if "last_affected" in here:
            lit = False
    return result


def disagreements(count: int, seed: int) -> Iterator[str]:
    chance = random.Random(seed)
    for _ in range(count):
        ecosystem = chance.choice(list(_SPELLED))
        told = advisory(chance, ecosystem)
        part, rung, source_rung = package(chance, ecosystem)
        hits, undecided, *_ = match_package(part, ecosystem, Told(told))  # type: ignore[arg-type]
        expected = slow(part, rung, source_rung, told)
        if bool(hits) != expected or undecided:
            yield f"{part}\n  {told.affected}\n  custody {bool(hits)}, slow {expected}, {undecided}"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    wrong = list(disagreements(count, seed))
    print(*wrong[:5], f"{count} pairs, {len(wrong)} disagreements", sep="\n")


if __name__ == "__main__":
    main()
