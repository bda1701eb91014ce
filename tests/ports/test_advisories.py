"""What `ports.advisories` promises, of any adapter: SQLite's, and one in memory that a scan runs on as well."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.formats.bom import Catalog, from_purl
from custody.formats.epss import Epss, EpssScores
from custody.formats.kev import Exploited, ExploitedCatalogue
from custody.formats.osv import Advisory, cve_of, read
from custody.kit.clock import parse_rfc3339
from custody.kit.digest import sha256
from custody.ports.advisories import ANY, AdvisoryStatus, AdvisoryStore, Changes, Entry, Feed, Reach, SourceStatus
from custody.versions import sortable
from custody.vulns.report import scan
from custody.vulns.severity import rates
from tests.contents.test_scan import record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXPLOITED = Exploited(cve="CVE-2026-0001", added="2026-01-01", due="2026-02-01", ransomware=False)


class MemoryAdvisories:
    """AdvisoryStore for as long as it lives."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str, str], Advisory] = {}
        self._catalogue: ExploitedCatalogue | None = None
        self._scores: EpssScores | None = None
        self._feeds: dict[str, Feed] = {}
        self._sources: dict[str, tuple[datetime, str]] = {}
        self._imported: datetime | None = None

    @contextmanager
    def together(self) -> Iterator[None]:
        before = dict(self.__dict__)
        try:
            yield
        except BaseException:
            self.__dict__.update(before)
            raise

    def add(self, advisories: Iterable[Advisory], now: datetime, origin: str = "") -> int:
        records, count, sources = dict(self._records), 0, dict(self._sources)
        for advisory in advisories:
            key = advisory.source, advisory.part, advisory.id
            known = records.get(key)
            sources[advisory.source] = now, origin
            if known is None or parse_rfc3339(known.modified) < parse_rfc3339(advisory.modified):
                records[key], count = advisory, count + 1
        self._records, self._imported, self._sources = records, now, sources
        return count

    def replace(self, source: str, part: str, advisories: Iterable[Advisory], now: datetime, origin: str = "") -> int:
        old = {key: advisory for key, advisory in self._records.items() if key[:2] == (source, part)}
        new: dict[tuple[str, str, str], Advisory] = {}
        for advisory in advisories:
            key = source, part, advisory.id
            stated = msgspec.structs.replace(advisory, source=source, part=part,
                                             modified=advisory.modified or now.isoformat())
            known = old.get(key)
            same = known is not None and not advisory.modified and known == msgspec.structs.replace(
                stated, modified=known.modified)
            new.setdefault(key, known if same and known is not None else stated)
        count = sum(new.get(key) != old.get(key) for key in {**old, **new})
        self._records = {**{key: value for key, value in self._records.items() if key not in old}, **new}
        self._imported, self._sources = now, {**self._sources, source: (now, origin)}
        return count

    def remove(self, name: str) -> int:
        gone = [key for key in self._records if name in (key[0], key[2])]
        for key in gone:
            del self._records[key]
        if name == "kev" and self._catalogue:
            gone += [("", "", entry.cve) for entry in self._catalogue.entries]
            self._catalogue = None
        if name == "epss" and self._scores:
            gone += [("", "", score.cve) for score in self._scores.entries]
            self._scores = None
        for source in {key[0] for key in gone} - {key[0] for key in self._records}:
            self._sources.pop(source, None)
        return len(gone)

    def records(self, source: str = "") -> Iterator[Advisory]:
        return (self._records[key] for key in sorted(self._records) if source in ("", key[0]))

    def catalogue(self) -> ExploitedCatalogue | None:
        return self._catalogue

    def all_scores(self) -> EpssScores | None:
        return self._scores

    def feed(self, address: str) -> Feed:
        return self._feeds.get(address, Feed(address=address))

    def feeds(self) -> Sequence[Feed]:
        return [self._feeds[address] for address in sorted(self._feeds)]

    def keep(self, feed: Feed) -> None:
        self._feeds[feed.address] = feed

    def add_scores(self, scores: EpssScores, now: datetime) -> bool:
        if self._scores and parse_rfc3339(self._scores.day) > parse_rfc3339(scores.day):
            return False
        self._scores, self._imported = scores, now
        return True

    def scores(self, cves: Iterable[str]) -> Mapping[str, Epss]:
        entries = {entry.cve: entry for entry in self._scores.entries} if self._scores else {}
        return {cve: entries[cve] for cve in cves if cve in entries}

    def add_exploited(self, catalogue: ExploitedCatalogue, now: datetime) -> bool:
        if self._catalogue and parse_rfc3339(self._catalogue.released) > parse_rfc3339(catalogue.released):
            return False
        self._catalogue, self._imported = catalogue, now
        return True

    def find(self, ecosystem: str, name: str) -> Sequence[Advisory]:
        asked = [(advisory, tuple(entry for entry in advisory.affected
                                  if (entry.ecosystem, entry.name) == (ecosystem, name))) for advisory in self._valid()]
        return [msgspec.structs.replace(advisory, affected=entries) for advisory, entries in asked if entries]

    def find_all(self, ecosystem: str, names: Iterable[str]) -> Mapping[str, Sequence[Advisory]]:
        return {name: advisories for name in names if (advisories := self.find(ecosystem, name))}

    def known(self, ecosystem: str, names: Iterable[str]) -> set[str]:
        return {name for name in names if self.find(ecosystem, name)}

    def reached(self, ecosystem: str, versions: Iterable[tuple[str, bytes | None]]) -> set[tuple[str, bytes | None]]:
        return {(name, key) for name, key in versions if self.find(ecosystem, name)}

    def ahead(self, ecosystem: str, versions: Iterable[tuple[str, bytes | None]]) -> Mapping[str, Sequence[Entry]]:
        return {name: [Entry(advisory, affected, ANY) for advisory in records for affected in advisory.affected]
                for name, records in self.find_all(ecosystem, {name for name, _ in versions}).items()}

    def named(self, names: Iterable[str]) -> Sequence[Advisory]:
        asked = set(names)
        return [advisory for advisory in self._valid() if asked & {
            advisory.id, *advisory.aliases, *advisory.cves, *advisory.hashes}]

    def raters(self, names: Iterable[str]) -> Sequence[Advisory]:
        return [msgspec.structs.replace(advisory, affected=()) for advisory in self.named(names) if rates(advisory)]

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
            exploited_version=self._catalogue.version if self._catalogue else "",
            scored=len(self._scores.entries) if self._scores else None,
            scored_on=self._scores.day[:10] if self._scores else "",
            sources=tuple(self._source(name) for name in sorted(self._sources)))

    def _source(self, name: str) -> SourceStatus:
        valid = [advisory for advisory in self._valid() if advisory.source == name]
        at, origin = self._sources[name]
        return SourceStatus(name=name, records=len(valid), imported_at=at, origin=origin, newest=max(
            (parse_rfc3339(advisory.modified) for advisory in valid), default=None))

    def _valid(self) -> Iterator[Advisory]:
        return iter(sorted((advisory for advisory in self._records.values() if not advisory.withdrawn),
                           key=lambda advisory: (advisory.id, advisory.source, advisory.part)))


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


def test_names_are_known_that_something_is_said_of(store: AdvisoryStore) -> None:
    store.add([_advisory("A"), _advisory("B", withdrawn="2026-02-01T00:00:00Z",
                                         affected=[{"package": {"ecosystem": "PyPI", "name": "gone"}}])], NOW)
    assert store.known("PyPI", ["flask", "gone", "other"]) == {"flask"}
    assert store.known("npm", ["flask"]) == store.known("PyPI", []) == set()


def test_whatever_is_affected_is_reached(store: AdvisoryStore) -> None:
    store.add([_advisory("A")], NOW)
    versions = [("flask", sortable("PyPI", "1")), ("flask", None), ("other", None)]
    assert store.reached("PyPI", versions) == {*versions[:2]}
    assert store.reached("npm", versions) == set()


def test_of_what_is_not_reached_there_is_no_word(tmp_path: Path) -> None:
    """Of SQLite's, whose answer is as narrow as it can be: below the first version, and from the fixed one on."""
    store = SqliteAdvisories(tmp_path / "a.db")
    store.add([_advisory("A", affected=[{"package": {"ecosystem": "PyPI", "name": "flask"}, "ranges": [
        {"type": "ECOSYSTEM", "events": [{"introduced": "1"}, {"fixed": "2"}]}], "versions": ["3"]}])], NOW)
    keys = {version: sortable("PyPI", version) for version in ("0.9", "1.0", "1.5", "3", "3.0.1")}
    assert {version for version, key in keys.items() if store.reached("PyPI", [("flask", key)])} == {
        "1.0", "1.5", "3"}


def test_many_versions_are_asked_for_at_once(store: AdvisoryStore) -> None:
    store.add([_advisory("A")], NOW)
    asked = [(f"p{number}", sortable("PyPI", "1")) for number in range(2000)] + [("flask", sortable("PyPI", "1.9"))]
    assert ("flask", sortable("PyPI", "1.9")) in store.reached("PyPI", asked)
    assert store.known("PyPI", [name for name, _ in asked]) == {"flask"}


def test_bounds_that_others_made_do_not_count(tmp_path: Path) -> None:
    """Until the next import has made them anew: keys of another custody may sort otherwise."""
    store = SqliteAdvisories(tmp_path / "a.db")
    store.add([_advisory("A", aliases=["CVE-2026-0002"], database_specific={"severity": "HIGH"})], NOW)
    fixed = [("flask", sortable("PyPI", "2"))]
    assert store.reached("PyPI", fixed) == set()
    assert store.ahead("PyPI", fixed) == {}
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("UPDATE bounds SET rules = 'other'")
        database.execute("UPDATE affected SET low = x'ff', high = x'00', exact = 1")
        database.execute("DELETE FROM rater")
        database.execute("INSERT INTO rater SELECT 'CVE-2026-0003', number FROM advisory")
    database.close()
    assert store.reached("PyPI", fixed) == {*fixed}
    assert [entry.reach for entry in store.ahead("PyPI", fixed)["flask"]] == [ANY]
    assert [record.id for record in store.raters(["CVE-2026-0002", "CVE-2026-0003"])] == ["A"]
    store.add([_advisory("B", affected=[])], NOW)
    assert store.reached("PyPI", fixed) == set()
    assert store.reached("PyPI", [("flask", sortable("PyPI", "1"))])
    assert store.ahead("PyPI", fixed) == {}
    assert [record.id for record in store.raters(["CVE-2026-0002"])] == ["A"]
    assert not store.raters(["CVE-2026-0003"])


def test_those_that_rate_a_vulnerability(store: AdvisoryStore) -> None:
    """Without what they say of packages; by any of their names, and no longer than they say so."""
    rated: dict[str, object] = {"database_specific": {"severity": "HIGH"}}
    store.add([_advisory("A", aliases=["CVE-2026-0002"], **rated), _advisory("B", aliases=["CVE-2026-0002"]),
               _advisory("DSA-1", upstream=["CVE-2026-0002", "CVE-2026-0003"], aliases=["CVE-2026-0002"], **rated),
               _advisory("DSA-2", upstream=["CVE-2026-0004", "CVE-2026-0005"], **rated),
               _advisory("DEBIAN-CVE-2026-0002", **rated), _advisory("MAL-1")], NOW)
    assert [(advisory.id, advisory.affected) for advisory in store.raters(["CVE-2026-0002", "MAL-1", "DSA-2"])] == [
        ("A", ()), ("DEBIAN-CVE-2026-0002", ()), ("DSA-1", ()), ("MAL-1", ())]  # DSA-1 says that it is the one
    assert [advisory.id for advisory in store.raters(["A", "B"])] == ["A"]
    store.add([_advisory("A", "2026-02-01T00:00:00Z", aliases=["CVE-2026-0002"]),
               _advisory("DEBIAN-CVE-2026-0002", "2026-02-01T00:00:00Z", withdrawn="2026-02-01T00:00:00Z")], NOW)
    assert [advisory.id for advisory in store.raters(["CVE-2026-0002"])] == ["DSA-1"]
    assert store.remove("DSA-1")
    assert store.raters(["CVE-2026-0002"]) == []


def test_whatever_may_speak_of_a_later_version_is_ahead(store: AdvisoryStore) -> None:
    store.add([_advisory("B"), _advisory("A")], NOW)
    for version in (sortable("PyPI", "1"), None):
        assert [(entry.advisory.id, entry.affected.name, entry.affected.ranges) for entry in store.ahead(
            "PyPI", [("flask", version), ("other", None)])["flask"]] == [
                (record.id, "flask", record.affected[0].ranges) for record in store.find("PyPI", "flask")]
    assert store.ahead("npm", [("flask", None)]) == {}


def test_what_ended_before_is_left_out(tmp_path: Path) -> None:
    """Of SQLite's: by the first of the versions that a name is asked with."""
    store = SqliteAdvisories(tmp_path / "a.db")
    store.add([_advisory("A"), _advisory("B", affected=[{"package": {"ecosystem": "PyPI", "name": "flask"}, "ranges": [
        {"type": "ECOSYSTEM", "events": [{"introduced": "5"}]}]}])], NOW)

    def ahead(*versions: str | None) -> list[tuple[str, Reach]]:
        asked = [("flask", sortable("PyPI", version) if version else None) for version in versions]
        return [(entry.advisory.id, entry.reach) for entry in store.ahead("PyPI", asked).get("flask", ())]

    first, later = ("A", Reach(None, sortable("PyPI", "2"), True)), ("B", Reach(sortable("PyPI", "5"), None, True))
    assert ahead("1.9") == ahead("3", "1") == ahead("3", None) == [first, later]
    assert ahead("2") == ahead("6", "7") == [later]


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


def _unstated(name: str, ecosystem: str = "Debian:12", **more: object) -> Advisory:
    raw = record(name, [{"introduced": "0"}], ecosystem=ecosystem, package="bash")
    made = read(msgspec.json.encode({**raw, **more}))
    return msgspec.structs.replace(made, modified="")


def test_what_is_the_whole_truth_of_a_part_takes_its_place(store: AdvisoryStore) -> None:
    store.replace("tracker", "a", [_unstated("A"), _unstated("B")], NOW)
    store.replace("tracker", "b", [_unstated("A", "Debian:13")], NOW)
    store.add([_advisory("B")], NOW)
    later = datetime(2026, 2, 1, tzinfo=UTC)
    assert store.replace("tracker", "a", [_unstated("B"), _unstated("C")], later) == 2
    assert [(advisory.id, advisory.modified[:7], advisory.source) for advisory in store.find("Debian:12", "bash")] == [
        ("B", "2026-01", "tracker"), ("C", "2026-02", "tracker")]
    assert [advisory.id for advisory in store.find("Debian:13", "bash")] == ["A"]
    assert [(advisory.id, advisory.source) for advisory in store.named(["B"])] == [("B", "osv/b"), ("B", "tracker")]
    assert store.replace("tracker", "a", [_unstated("B", summary="other"), _unstated("C")], NOW) == 1
    assert (store.count("Debian:12"), dict(store.status().ecosystems)) == (2, {"Debian": 3, "PyPI": 1})


def test_publishers_and_records_are_removed(store: AdvisoryStore) -> None:
    store.replace("tracker", "a", [_unstated("A"), _unstated("B")], NOW, "tracker.json")
    store.add([_advisory("B"), _advisory("D")], NOW, "osv.zip")
    store.add_exploited(_catalogue("2", "2026-02-01T00:00:00Z"), NOW)
    assert [(source.name, source.records, source.origin) for source in store.status().sources] == [
        ("osv/b", 1, "osv.zip"), ("osv/d", 1, "osv.zip"), ("tracker", 2, "tracker.json")]
    assert (store.remove("B"), store.remove("kev"), store.remove("nobody")) == (2, 1, 0)
    assert [advisory.id for advisory in store.records()] == ["D", "A"]
    assert store.remove("tracker") == 1
    assert not store.find("Debian:12", "bash")
    assert (dict(store.status().ecosystems), store.status().exploited) == ({"PyPI": 1}, None)
    assert [source.name for source in store.status().sources] == ["osv/d"]


def test_the_later_scores_stay(store: AdvisoryStore) -> None:
    one = Epss(cve="CVE-2026-0001", score=0.5, percentile=0.9)
    assert store.add_scores(EpssScores(version="v", day="2026-02-01T00:00:00Z", entries=(one,)), NOW)
    assert not store.add_scores(EpssScores(version="v", day="2026-01-01T00:00:00Z", entries=()), NOW)
    assert store.scores(["CVE-2026-0001", "CVE-1"]) == {one.cve: one}
    assert (store.status().scored, store.status().scored_on) == (1, "2026-02-01")


def test_where_an_update_stands_is_kept(store: AdvisoryStore) -> None:
    assert store.feed("https://a") == Feed(address="https://a")
    store.keep(Feed(address="https://a", etag='"1"'))
    store.keep(Feed(address="https://a", etag='"2"', failure="refused"))
    assert store.feeds() == [Feed(address="https://a", etag='"2"', failure="refused")]


def test_calls_together_happen_or_not(store: AdvisoryStore) -> None:
    store.add([_advisory("A")], NOW)
    before = store.status()

    def both(end: bool) -> None:
        with store.together():
            store.replace("tracker", "a", [_unstated("T")], NOW)
            store.add([_advisory("B")], NOW)
            store.replace("tracker", "b", [_unstated("T")], NOW)
            if end:
                raise ValueError("cut off")

    with pytest.raises(ValueError, match="cut off"):
        both(end=True)
    assert store.status() == before
    both(end=False)
    assert [source.records for source in store.status().sources] == [1, 1, 2]
