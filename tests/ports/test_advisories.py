"""What `ports.advisories` promises, of any adapter: SQLite's, and one in memory that a scan runs on as well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.formats.bom import Catalog, from_purl
from custody.formats.kev import Exploited, ExploitedCatalogue
from custody.formats.osv import Advisory, cve_of, read
from custody.kit.clock import parse_rfc3339
from custody.kit.digest import sha256
from custody.ports.advisories import AdvisoryStatus, AdvisoryStore, Changes
from custody.vulns.report import scan
from tests.contents.test_scan import record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXPLOITED = Exploited(cve="CVE-2026-0001", added="2026-01-01", due="2026-02-01", ransomware=False)


class MemoryAdvisories:
    """AdvisoryStore for as long as it lives."""

    def __init__(self) -> None:
        self._records: dict[str, Advisory] = {}
        self._catalogue: ExploitedCatalogue | None = None
        self._imported: datetime | None = None

    def add(self, advisories: Iterable[Advisory], now: datetime) -> int:
        records, count = dict(self._records), 0
        for advisory in advisories:
            known = records.get(advisory.id)
            if known is None or parse_rfc3339(known.modified) < parse_rfc3339(advisory.modified):
                records[advisory.id], count = advisory, count + 1
        self._records, self._imported = records, now
        return count

    def add_exploited(self, catalogue: ExploitedCatalogue, now: datetime) -> bool:
        if self._catalogue and parse_rfc3339(self._catalogue.released) > parse_rfc3339(catalogue.released):
            return False
        self._catalogue, self._imported = catalogue, now
        return True

    def find(self, ecosystem: str, name: str) -> Sequence[Advisory]:
        return [advisory for advisory in self._valid()
                if any((entry.ecosystem, entry.name) == (ecosystem, name) for entry in advisory.affected)]

    def named(self, names: Iterable[str]) -> Sequence[Advisory]:
        asked = set(names)
        return [advisory for advisory in self._valid() if asked & {advisory.id, *advisory.aliases, *advisory.cves}]

    def speaking(self, names: Iterable[str]) -> Sequence[Advisory]:
        asked = set(names)
        return [advisory for advisory in self._valid() if asked & {
            advisory.id, *advisory.aliases, *advisory.cves, *advisory.upstream,
            *(cve for name in advisory.upstream if (cve := cve_of(name)))}]

    def changes(self, cursor: str) -> Changes:
        return Changes("", (), complete=False)  # it remembers nothing of how it was

    def exploited(self, cves: Iterable[str]) -> Mapping[str, Exploited]:
        entries = {entry.cve: entry for entry in self._catalogue.entries} if self._catalogue else {}
        return {cve: entries[cve] for cve in cves if cve in entries}

    def count(self, ecosystem: str) -> int:
        return sum(any(entry.ecosystem == ecosystem for entry in advisory.affected) for advisory in self._valid())

    def status(self) -> AdvisoryStatus:
        valid = list(self._valid())
        bases = sorted({entry.ecosystem.partition(":")[0] for advisory in valid for entry in advisory.affected})
        return AdvisoryStatus(
            advisories=len(valid), newest=max((parse_rfc3339(advisory.modified) for advisory in valid), default=None),
            ecosystems={base: sum(any(entry.ecosystem.partition(":")[0] == base for entry in advisory.affected)
                                  for advisory in valid) for base in bases}, imported_at=self._imported,
            digest=sha256(msgspec.json.encode((sorted(self._records.items()), self._catalogue))) if self._imported
            else "", exploited=len(self._catalogue.entries) if self._catalogue else None,
            exploited_version=self._catalogue.version if self._catalogue else "")

    def _valid(self) -> Iterator[Advisory]:
        return (self._records[name] for name in sorted(self._records) if not self._records[name].withdrawn)


@pytest.fixture(name="store", params=["sqlite", "memory"])
def _store(request: pytest.FixtureRequest, tmp_path: Path) -> AdvisoryStore:
    return SqliteAdvisories(tmp_path / "a.db") if request.param == "sqlite" else MemoryAdvisories()


def _advisory(name: str, modified: str = "2026-01-01T00:00:00Z", **more: object) -> Advisory:
    raw = {**record(name, [{"introduced": "0"}, {"fixed": "2"}], package="flask"), "modified": modified, **more}
    return read(msgspec.json.encode(raw))


def _catalogue(version: str, released: str) -> ExploitedCatalogue:
    return ExploitedCatalogue(version=version, released=released, entries=(EXPLOITED,))


def test_nothing_is_in_a_new_one(store: AdvisoryStore) -> None:
    assert store.status() == AdvisoryStatus(advisories=0, ecosystems={}, newest=None, imported_at=None, digest="")
    assert (store.find("PyPI", "flask"), store.named(["A"]), store.exploited([EXPLOITED.cve]), store.count("PyPI")) == (
        [], [], {}, 0)


def test_of_two_of_one_identifier_the_later_stays(store: AdvisoryStore) -> None:
    later, older = _advisory("A", "2026-02-01T00:00:00Z", summary="later"), _advisory("A", summary="older")
    assert store.add([later, older], NOW) == 1
    assert store.add([_advisory("A", "2026-02-01T01:00:00+01:00", summary="the same time")], NOW) == 0
    assert [advisory.summary for advisory in store.find("PyPI", "flask")] == ["later"]
    digest = store.status().digest
    assert store.add([_advisory("A", "2026-03-01T00:00:00Z", summary="newest")], NOW) == 1
    assert [advisory.summary for advisory in store.find("PyPI", "flask")] == ["newest"]
    assert store.status().digest != digest


def test_a_withdrawn_one_is_never_found(store: AdvisoryStore) -> None:
    store.add([_advisory("A"), _advisory("B", aliases=["CVE-2026-0002"])], NOW)
    assert [advisory.id for advisory in store.named(["CVE-2026-0002", "A"])] == ["A", "B"]
    assert store.add([_advisory("B", "2026-02-01T00:00:00Z", withdrawn="2026-02-01T00:00:00Z")], NOW) == 1
    assert [advisory.id for advisory in store.find("PyPI", "flask")] == ["A"]
    assert not store.named(["B", "CVE-2026-0002"])
    assert (store.count("PyPI"), store.status().advisories) == (1, 1)


def test_all_or_none(store: AdvisoryStore) -> None:
    def broken() -> Iterator[Advisory]:
        yield _advisory("A")
        raise ValueError("cut off")

    before = store.status()
    with pytest.raises(ValueError, match="cut off"):
        store.add(broken(), NOW)
    assert store.status() == before


def test_releases_are_apart_and_counted_together(store: AdvisoryStore) -> None:
    for name, ecosystem in (("A", "Debian:12"), ("B", "Debian:13")):
        store.add([read(msgspec.json.encode(record(name, [{"introduced": "0"}], ecosystem=ecosystem)))], NOW)
    assert (store.count("Debian:12"), store.count("Debian"), dict(store.status().ecosystems)) == (1, 0, {"Debian": 2})


def test_the_later_catalogue_stays(store: AdvisoryStore) -> None:
    assert store.add_exploited(_catalogue("2", "2026-02-01T00:00:00Z"), NOW)
    assert not store.add_exploited(_catalogue("1", "2026-01-01T00:00:00Z"), NOW)
    assert store.exploited([EXPLOITED.cve, "CVE-1"]) == {EXPLOITED.cve: EXPLOITED}
    assert (store.status().exploited, store.status().exploited_version) == (1, "2")


def test_a_scan_says_the_same_on_any(store: AdvisoryStore) -> None:
    store.add([_advisory("A", aliases=[EXPLOITED.cve])], NOW)
    store.add_exploited(_catalogue("2", "2026-02-01T00:00:00Z"), NOW)
    report = scan(Catalog(name="n", digest="d", packages=(from_purl("pkg:pypi/Flask@1.0", None),)), store, NOW)
    assert [(finding.cve, finding.fixed, finding.exploited) for finding in report.findings] == [
        (EXPLOITED.cve, ("2",), EXPLOITED)]
    assert not report.coverage.gaps


def test_records_that_are_of_a_vulnerability_speak_of_it(store: AdvisoryStore) -> None:
    store.add([_advisory("GHSA-1", aliases=["CVE-2026-0002"]), _advisory("DEBIAN-CVE-2026-0002"),
               _advisory("DSA-1", upstream=["CVE-2026-0002", "CVE-2026-0003"]),
               _advisory("X-1", upstream=["UBUNTU-CVE-2026-0002"]), _advisory("CVE-2026-0004")], NOW)
    assert [advisory.id for advisory in store.speaking(["CVE-2026-0002"])] == [
        "DEBIAN-CVE-2026-0002", "DSA-1", "GHSA-1", "X-1"]
    store.add([_advisory("DSA-1", "2026-03-01T00:00:00Z", upstream=["CVE-2026-0003"])], NOW)
    assert [advisory.id for advisory in store.speaking(["CVE-2026-0003", "CVE-2026-0004"])] == [
        "CVE-2026-0004", "DSA-1"]


def test_who_was_never_here_is_told_that_all_may_have_changed(store: AdvisoryStore) -> None:
    store.add([_advisory("A")], NOW)
    for cursor in ("", "someone 1", "x"):
        assert not store.changes(cursor).complete


def test_changes_name_what_a_record_speaks_of_now_and_spoke_of_before(tmp_path: Path) -> None:
    store = SqliteAdvisories(tmp_path / "a.db")
    store.add([_advisory("A"), _advisory("B")], NOW)
    cursor = store.changes("").cursor
    assert store.changes(cursor) == Changes(cursor, ())
    moved = read(msgspec.json.encode({**record("A", [{"introduced": "0"}], package="django"),
                                      "modified": "2026-02-01T00:00:00Z"}))
    store.add([moved], NOW)
    assert store.changes(cursor).names == (("PyPI", "django"), ("PyPI", "flask"))
    cursor = store.changes(cursor).cursor
    store.add([_advisory("B", "2026-02-01T00:00:00Z", withdrawn="2026-02-01T00:00:00Z")], NOW)
    assert store.changes(cursor).names == (("PyPI", "flask"),)
    cursor = store.changes(cursor).cursor
    store.add_exploited(_catalogue("2", "2026-02-01T00:00:00Z"), NOW)
    assert store.changes(cursor).names == (("", EXPLOITED.cve),)
    second = SqliteAdvisories(tmp_path / "b.db")
    for number in range(9):
        second.add([_advisory(f"N{number}")], NOW)
    assert not second.changes(cursor).complete
