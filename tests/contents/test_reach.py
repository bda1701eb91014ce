"""Bounds of advisories' entries: whatever an entry affects, or is undecided of, lies within."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import pytest

from custody.ecosystems import Distribution, of_osv
from custody.errors import CustodyError
from custody.formats.bom import Package
from custody.formats.osv import Advisory, Affected, Range
from custody.ports.advisories import Reach
from custody.versions import KEYS, sortable
from custody.vulns.match import Match, Word, affected_by, bare, judge, match_package, names, without_epochs
from custody.vulns.reach import keys, reach
from tests.contents.test_versions import _ECOSYSTEMS
from tests.fuzz import matching

_EVENTS = ("introduced", "introduced", "fixed", "fixed", "last_affected", "after", "limit")
_SPELLINGS = ("0", "1", "1.0", "1.0.0", "1.5", "2.0.0-rc1", "2.0.0", "2.0.0-1.el9", "1:0.5-1", "1:3.0-1", "3~rc1-1",
              "10.0.0", "*", "latest", "", "1.0a", "2.0.0.Final", "v2.0.0", "0.0.0-20200101000000-abcdefabcdef")


def _entry(chance: random.Random, ecosystem: str) -> Affected:
    ranges = tuple(Range(chance.choice(("ECOSYSTEM", "ECOSYSTEM", "SEMVER", "UNREAD")), (
        ("introduced", chance.choice(("0", *_SPELLINGS))), *((chance.choice(_EVENTS), chance.choice(_SPELLINGS))
                                                            for _ in range(chance.randrange(4)))))
                   for _ in range(chance.randrange(3)))
    listed = tuple(chance.choice(_SPELLINGS) for _ in range(chance.choice((0, 0, 1, 3))))
    return Affected(ecosystem, "a", ranges, listed)


def _plain(chance: random.Random, ecosystem: str) -> Affected:
    """Of the form that most entries have."""
    ends = chance.choice([(), (("fixed", chance.choice(_SPELLINGS)),), (("last_affected", chance.choice(_SPELLINGS)),)])
    span = Range(chance.choice(("ECOSYSTEM", "SEMVER")), (("introduced", chance.choice(("0", *_SPELLINGS))), *ends))
    return Affected(ecosystem, "a", (span,), tuple(chance.choice(_SPELLINGS) for _ in range(chance.choice((0, 0, 1)))))


@pytest.mark.parametrize("ecosystem", [*_ECOSYSTEMS, "conda", "CPE", "cpan", "Nobody's"])
def test_a_reach_judges_as_comparing_does(ecosystem: str) -> None:
    """The same match, word for word, the same silence and the same refusal, with epochs and without."""
    chance = random.Random(ecosystem)
    exact = 0
    for _ in range(1500):
        entry = chance.choice((_entry, _plain))(chance, ecosystem)
        bounds = reach(entry)
        advisory = Advisory("X", "2026-01-01T00:00:00Z", False, (), "", (), (), (entry,))
        for version in _SPELLINGS:
            readings = [(entry, version)]
            if isinstance(of_osv(ecosystem), Distribution):
                readings.append((without_epochs(entry), bare(version)))
            for read, compared in readings:
                exact += bounds.exact and sortable(ecosystem, compared) is not None
                assert _said(judge, Word(advisory, read, compared, bounds), compared) == _said(
                    affected_by, read, compared), (entry, compared)
    assert exact or ecosystem in ("cpan", "Nobody's")


def _said(asked: Callable[..., Match | None], *given: object) -> Match | str | None:
    try:
        return asked(*given)
    except CustodyError as error:
        return error.message


def test_a_listed_version_without_a_place_may_be_what_an_upgrade_leads_to() -> None:
    """One that compares, and is no key: it is looked at however old all the others are."""
    entry = Affected("Maven", "a:a", (Range("ECOSYSTEM", (("introduced", "0"), ("fixed", "1"))),), ("1.0.rc",))
    assert sortable("Maven", "1.0.rc") is None
    assert reach(entry) == (None, None, False)


def _within(bounds: Reach, key: bytes | None) -> bool:
    return key is None or ((bounds.low is None or bounds.low <= key) and (bounds.high is None or key < bounds.high))


@pytest.mark.parametrize("ecosystem", [*_ECOSYSTEMS, "conda", "CPE", "cpan", "Nobody's"])
def test_what_is_affected_or_undecided_lies_within(ecosystem: str) -> None:
    chance = random.Random(ecosystem)
    outside = 0
    for _ in range(1500):
        entry = _entry(chance, ecosystem)
        bounds = reach(entry)
        for version in _SPELLINGS:
            readings = [(entry, version)]
            if isinstance(of_osv(ecosystem), Distribution):
                readings.append((without_epochs(entry), bare(version)))
            for read, compared in readings:
                if _within(bounds, sortable(ecosystem, compared)):
                    continue
                outside += 1
                try:
                    assert affected_by(read, compared) is None, (entry, version)
                except CustodyError:
                    pytest.fail(f"undecided, and outside: {entry} {version}")
    assert outside or ecosystem in ("cpan", "Nobody's")


def test_packages_that_advisories_affect_are_within() -> None:
    """Names of source and binary packages, and versions with an epoch: pairs of the slow matcher's generator."""
    chance = random.Random(3)
    hits = outside = 0
    for _ in range(20_000):
        ecosystem = chance.choice(list(matching._SPELLED))
        told = matching.advisory(chance, ecosystem)
        part, _, _ = matching.package(chance, ecosystem)
        asked = {*keys(part, ecosystem, names(part))}
        within = any(entry.name == name and entry.ecosystem == ecosystem and _within(reach(entry), key)
                     for entry in told.affected for name, key in asked)
        matched = match_package(part, ecosystem, matching.Told(told))  # type: ignore[arg-type]
        hits += bool(matched.hits)
        outside += not within
        assert within or not (matched.hits or matched.undecided), (part, told)
    assert hits > 2000
    assert outside > 2000


def test_a_source_of_rpms_is_compared_without_epochs() -> None:
    entry = Affected("Rocky Linux:9", "perl", (Range("ECOSYSTEM", (("introduced", "0"), ("fixed", "4:5.30-1"))),))
    part = Package(type="rpm", name="perl-Errno", version="1.30-1", purl="pkg:rpm/rocky/perl-Errno@1.30-1",
                   ecosystem="Rocky Linux:9", source="perl", source_version="5.32-1")
    (_, bare_key), (_, key), _ = keys(part, "Rocky Linux:9", names(part))
    assert bare_key == key == sortable("Rocky Linux:9", "5.32-1")
    assert _within(reach(entry), bare_key)


def test_an_entry_that_says_of_no_version_reaches_none() -> None:
    bounds = reach(Affected("PyPI", "a"))
    assert not any(_within(bounds, sortable("PyPI", version)) for version in ("0", "1.0", "99!9"))
    assert _within(bounds, None)


def test_keys_are_those_that_stores_have() -> None:
    """Where this fails, `sortable` gives other keys than those in databases that were written before: count
    `versions.KEYS` up, so that they are made anew, and put the new digest here.
    """
    samples = ("0", "1", "1.0", "1.10", "1.0a1", "1.0-rc1", "2.0.0-beta.2", "1:2.0-3", "v1.2.3", "1.0.0.Final",
               "3.1.4-r2", "2024.01.05", "1.2.3+build", "1.0~rc1", "0.0.0-20200101000000-abcdefabcdef", "1!2.0")
    orders = (*_ECOSYSTEMS, "conda", "CPE", "Arch Linux", "Gentoo", "nix", "CRAN", "opam", "brew", "vcpkg")
    digest = hashlib.sha256(repr([(order, text, sortable(order, text)) for order in orders for text in samples])
                            .encode()).hexdigest()
    assert (KEYS, digest[:16]) == (3, "60d372afb3eb1c1c")
