"""Continuous matching: only what advisories name is looked up, and each change is told once, with its cause."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from custody.adapters.relational.store import MIGRATIONS
from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.adapters.sqlite.engine import SqliteEngine
from custody.adapters.sqlite.inventory import SqliteInventory
from custody.errors import StorageError
from custody.formats import osv
from custody.formats.kev import Exploited, ExploitedCatalogue
from custody.ports.findings import Event
from custody.ports.inventory import Component, Sighting
from custody.services import rematch
from custody.services.affected import ask
from custody.services.rematch import Refreshed, refresh
from custody.vulns import component
from custody.vulns.report import scan
from tests.cli.commands import custody
from tests.contents import images
from tests.contents.test_affected import catalog, package
from tests.contents.test_scan import record

NOW = datetime(2026, 11, 29, tzinfo=UTC)


class World:
    """A store of images, and advisories that change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SqliteInventory(folder / "inventory.db")
        self.advisories = SqliteAdvisories(folder / "advisories.db")
        self._told = 0
        self._day = 0

    def keep(self, name: str, *versions: str, tag: str = "") -> None:
        entry = catalog(name, *(package("npm", "left", version, "npm") for version in versions),
                        package("npm", "right", "1.0.0", "npm"))
        self.store.keep(entry, NOW)
        if tag:
            self._day += 1
            self.store.see([Sighting(entry.digest, "name", tag, NOW + timedelta(days=self._day))])

    def advise(self, name: str = "X-1", fixed: str = "2.0.0", **more: Any) -> None:
        self._day += 1
        stated = record(name, [{"introduced": "0"}, {"fixed": fixed}], ecosystem="npm", package="left", kind="SEMVER")
        modified = (NOW + timedelta(days=self._day)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.advisories.add([osv.read(msgspec.json.encode({**stated, "modified": modified, **more}))], NOW)

    def refresh(self) -> Refreshed:
        return refresh(self.store, self.advisories, NOW)

    def told(self) -> list[tuple[str, str, str, int]]:
        events = self.store.events(self._told, 1000)
        self._told = events[-1].number if events else self._told
        return [_short(event) for _, event in events]


def _short(event: Event) -> tuple[str, str, str, int]:
    return event.change, event.cause, f"{event.finding.vulnerability} {event.purl.rpartition('/')[2]}", event.affected


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_first_run_matches_all_and_tells_nothing(world: World) -> None:
    world.keep("a", "1.0.0")
    world.advise()
    done = world.refresh()
    assert (done.whole, done.judged, done.images, world.told()) == (True, 2, 1, [])
    assert [rows[0].vulnerability for rows in world.store.findings([1, 2]).values()] == ["X-1"]
    done = world.refresh()
    assert (done.whole, done.judged, done.images, world.told()) == (False, 0, 0, [])


def test_an_advisory_that_comes_changes_and_goes(world: World) -> None:
    world.keep("a", "1.0.0")
    world.keep("b", "1.0.0", "2.0.0")
    world.refresh()
    world.advise()
    assert world.refresh().judged == 2  # two versions of the one name
    assert world.told() == [("appeared", "advisory", "X-1 left@1.0.0", 2)]
    world.advise(fixed="3.0.0")
    world.refresh()
    assert world.told() == [("changed", "advisory", "X-1 left@1.0.0", 2), ("appeared", "advisory", "X-1 left@2.0.0", 1)]
    world.advise(fixed="3.0.0", withdrawn="2026-12-01T00:00:00Z")
    world.refresh()
    assert world.told() == [("disappeared", "advisory", "X-1 left@1.0.0", 2),
                            ("disappeared", "advisory", "X-1 left@2.0.0", 1)]


def test_what_others_say_is_not_looked_up(world: World) -> None:
    world.keep("a", "1.0.0")
    world.refresh()
    world.advise(affected=[{"package": {"ecosystem": "npm", "name": "somebody-elses"}, "versions": ["1.0.0"]}])
    assert world.refresh().judged == 0


def test_an_image_that_comes_brings_its_findings(world: World) -> None:
    world.advise()
    world.refresh()
    world.keep("a", "1.0.0", tag="shop:1")
    world.refresh()
    assert world.told() == [("appeared", "package", "X-1 left@1.0.0", 1)]


def test_an_image_in_the_place_of_another(world: World) -> None:
    world.advise()
    world.keep("a", "1.0.0", tag="shop:1")
    world.refresh()
    world.keep("b", "1.5.0", tag="shop:1")
    world.refresh()
    assert world.told() == []  # it has what the one before had
    world.keep("c", "2.0.0", tag="shop:1")
    world.refresh()
    assert world.told() == [("disappeared", "package", "X-1 left@1.5.0", 1)]


def test_each_name_is_compared_with_its_own_image_before(world: World) -> None:
    """Tags that move: what one of them had is not taken for what another had."""
    world.advise()
    world.keep("old", "1.0.0", tag="shop:1")
    world.keep("new", "2.0.0", tag="shop:2")
    world.refresh()
    world.keep("next", "1.1.0", tag="shop:2")  # had it not
    world.store.see([Sighting(catalog("next").digest, "name", "shop:1", NOW + timedelta(days=9))])  # had it
    world.refresh()
    assert world.told() == [("appeared", "package", "X-1 left@1.1.0", 1)]


def test_an_image_that_is_read_late_is_compared_with_the_one_before_it(world: World) -> None:
    world.advise()
    world.keep("old", "2.0.0", tag="shop:1")
    world.refresh()
    world.store.see([Sighting(catalog("late").digest, "name", "shop:1", NOW + timedelta(days=20))])
    world.store.see([Sighting(catalog("last").digest, "name", "shop:1", NOW + timedelta(days=30))])
    world.keep("last", "2.1.0")
    world.refresh()
    world.keep("late", "1.0.0")
    world.refresh()
    assert world.told() == [("appeared", "package", "X-1 left@1.0.0", 1)]


def test_an_image_that_is_read_otherwise_is_compared_with_itself(world: World) -> None:
    world.advise()
    world.keep("a", "1.0.0", tag="shop:1")
    world.refresh()
    world.keep("a", "1.0.0", "1.2.0")
    world.keep("a", "2.0.0")
    world.refresh()
    assert world.told() == [("disappeared", "cataloger", "X-1 left@1.0.0", 1)]
    world.keep("a", "1.3.0")
    world.refresh()
    assert world.told() == [("appeared", "cataloger", "X-1 left@1.3.0", 1)]
    assert world.store.former(catalog("a").digest) is None


def test_one_that_was_not_told_of_yet_has_nothing_to_be_compared_with(world: World) -> None:
    world.advise()
    world.refresh()
    world.keep("a", "2.0.0")
    world.keep("a", "1.0.0")
    world.refresh()
    assert world.told() == [("appeared", "package", "X-1 left@1.0.0", 1)]


@pytest.mark.parametrize("before", ["advisories", "image", "turn"])
def test_two_that_watch_one_store_tell_each_event_once(world: World, monkeypatch: pytest.MonkeyPatch,
                                                       before: str) -> None:
    """The second runs whole inside the first: after what it read, before what it writes."""
    world.keep("a", "1.0.0")
    world.refresh()
    world.advise()
    world.keep("b", "1.0.0", "1.1.0")
    other = SqliteInventory(world.folder / "inventory.db")
    replace, entered = world.store.replace, []

    def slow(findings: Any, events: Any, cursors: Any, **more: Any) -> bool:
        if not entered and (before == "turn" or before in cursors):
            entered.append(before)
            refresh(other, world.advisories, NOW)
        return replace(findings, events, cursors, **more)

    monkeypatch.setattr(world.store, "replace", slow)
    world.refresh()
    assert entered
    assert sorted(world.told()) == [("appeared", "advisory", "X-1 left@1.0.0", 2),
                                    ("appeared", "package", "X-1 left@1.1.0", 1)]


def test_threads_that_watch_one_store_tell_each_event_once(world: World) -> None:
    world.keep("a", *(f"1.{number}.0" for number in range(50)))
    world.refresh()
    world.advise()
    stores = [SqliteInventory(world.folder / "inventory.db") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda store: refresh(store, SqliteAdvisories(world.folder / "advisories.db"), NOW), stores))
    told = world.told()
    assert (len(told), len(set(told))) == (50, 50)


def test_another_matching_judges_all_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.advise()
    world.keep("a", "1.0.0")
    world.refresh()
    monkeypatch.setattr(rematch, "_MATCHING", "another")
    monkeypatch.setattr(rematch, "_judged", lambda component, reader: [])
    done = world.refresh()
    assert (done.whole, done.judged) == (True, 2)
    assert world.told() == [("disappeared", "matching", "X-1 left@1.0.0", 1)]
    assert world.refresh().judged == 0


def test_names_are_made_anew_where_their_rules_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.keep("a", "1.0.0")
    assert world.store.reindex() == 0
    monkeypatch.setattr(component, "RULES", component.RULES + 1)
    monkeypatch.setattr(component, "known", lambda found: [component.Name("sinister", "npm", "1.0.0")])
    monkeypatch.setattr(component, "marks", lambda found: ["license:NEW"])
    again = SqliteInventory(world.folder / "inventory.db")
    assert [len(again.named(name, "npm")) for name in ("left", "sinister")] == [0, 2]
    assert len(again.marked("license:NEW")) == 2
    assert again.reindex() == 0


@pytest.mark.parametrize(("by", "name", "fixed"), [("binary", "libleft1", "2.0"), ("source", "left", "3.0")])
def test_advisories_of_either_name_are_looked_at(world: World, by: str, name: str, fixed: str) -> None:
    """Those of a distribution speak of what was built, or of what it was built from."""
    entry = catalog("suse", package("rpm", "libleft1", "1.0", "SUSE:Linux Enterprise Server 15 SP5", source="left"))
    world.store.keep(entry, NOW)
    world.refresh()
    stated = osv.read(msgspec.json.encode(record(
        "S-1", [{"introduced": "0"}, {"fixed": fixed}], package=name, aliases=["CVE-2026-0001"],
        ecosystem="SUSE:Linux Enterprise Server 15 SP5")))
    world.advisories.add([msgspec.structs.replace(stated, affected=tuple(
        msgspec.structs.replace(affected, by=by) for affected in stated.affected))], NOW)
    world.refresh()
    assert world.told() == [("appeared", "advisory", "CVE-2026-0001 libleft1@1.0", 1)]
    assert [row.image for row in ask("CVE-2026-0001", world.store, world.advisories).affected] == [entry.digest]


def test_a_store_of_an_older_custody_is_indexed_anew(tmp_path: Path) -> None:
    old = SqliteEngine(tmp_path / "inventory.db", MIGRATIONS[:2])
    left = Component(package=msgspec.structs.replace(package("npm", "left", "1.0.0", "npm"), locations=()))
    with old.write() as session:
        session.execute("INSERT INTO component (hash, ecosystem, name, body) VALUES (?, ?, ?, ?)", b"h", "npm", "gone",
                        msgspec.msgpack.encode(left))
    old.close()
    store = SqliteInventory(tmp_path / "inventory.db")
    assert [row.component for row in store.advised("npm", "left")] == [left]
    assert len(store.named("left", "npm")) == 1
    assert store.advised("npm", "gone") == []


def test_paths_that_no_image_names_go(world: World) -> None:
    world.keep("a", "1.0.0")
    world.store.forget(catalog("a").digest)
    with closing(sqlite3.connect(world.folder / "inventory.db")) as database:
        count = "SELECT count(*) FROM path"
        assert database.execute(count).fetchone()[0] > 0
        world.store.prune(NOW)
        assert database.execute(count).fetchone() == (0,)


def test_what_becomes_known_to_be_exploited_has_changed(world: World) -> None:
    world.advise(aliases=["CVE-2026-0001"])
    world.keep("a", "1.0.0")
    world.refresh()
    world.advisories.add_exploited(ExploitedCatalogue(version="1", released="2026-02-01T00:00:00Z", entries=(
        Exploited(cve="CVE-2026-0001", added="2026-01-01", due="2026-02-01", ransomware=False),)), NOW)
    world.refresh()
    (event,) = [event for _, event in world.store.events(0, 10)]
    assert event.before is not None
    assert (event.change, event.before.exploited, event.finding.exploited) == ("changed", False, True)


def test_what_cannot_be_decided_is_kept_as_that(world: World) -> None:
    world.advise()
    world.keep("a", "latest")
    world.refresh()
    (row,) = world.store.findings([1])[1]
    assert (row.vulnerability, row.decided, row.severity) == ("X-1", False, "unknown")


def test_findings_are_those_of_a_scan(world: World) -> None:
    for number in range(20):
        world.keep(f"i{number}", f"{number % 4}.0.0", "latest" if number % 3 else "1.1.0")
    for number in range(5):
        world.advise(f"X-{number}", f"{number}.5.0", aliases=[f"CVE-2026-000{number % 3}"])
    world.refresh()
    world.advise("X-9", "9.0.0")
    world.refresh()
    for _, digest in world.store.images(0, 100):
        entry = world.store.catalog(digest)
        assert entry is not None
        report = scan(entry, world.advisories, NOW)
        kept = world.store.findings(world.store.contents(digest))
        assert sorted(row.vulnerability for rows in kept.values() for row in rows if row.decided) == sorted(
            finding.cve for finding in report.findings)
        assert sorted(row.vulnerability for rows in kept.values() for row in rows if not row.decided) == sorted(
            unsure.id for unsure in report.undecided)


def test_one_that_is_broken_off_is_done_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.keep("a", "1.0.0")
    world.refresh()
    world.advise()
    replace, calls = world.store.replace, []

    def broken(*arguments: Any, **more: Any) -> bool:
        calls.append(arguments)
        if "advisories" in arguments[2]:
            raise StorageError("cut off")
        return replace(*arguments, **more)

    monkeypatch.setattr(world.store, "replace", broken)
    with pytest.raises(StorageError):
        world.refresh()
    monkeypatch.undo()
    world.refresh()
    assert world.told() == [("appeared", "advisory", "X-1 left@1.0.0", 1)]


def test_other_advisories_are_matched_whole(world: World, tmp_path: Path) -> None:
    world.keep("a", "1.0.0")
    world.advise()
    world.refresh()
    world.advisories = SqliteAdvisories(tmp_path / "new.db")
    world.advise("Y-1")
    done = world.refresh()
    assert (done.whole, done.judged) == (True, 2)
    assert world.told() == [("appeared", "advisory", "Y-1 left@1.0.0", 1),
                            ("disappeared", "advisory", "X-1 left@1.0.0", 1)]


def test_old_events_go(world: World) -> None:
    world.advise()
    world.refresh()
    world.keep("a", "1.0.0")
    world.refresh()
    assert world.store.prune(NOW) == 0
    assert world.store.prune(NOW + timedelta(seconds=1)) == 1
    assert world.store.events(0, 10) == []


def test_command(tmp_path: Path) -> None:
    images.layout(tmp_path / "image", [images.tar([("app/flask-1.0.dist-info/METADATA",
                                                    b"Name: flask\nVersion: 1.0\n")])])
    assert custody("scan", "oci:image", "--allow-empty-db", cwd=tmp_path).returncode == 0
    done = custody("watch", "--once", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "1 new image, 1 package matched" in done.stderr
    (tmp_path / "r.json").write_text(json.dumps(record("X-1", [{"introduced": "0"}], package="flask")))
    assert custody("db", "import", "r.json", cwd=tmp_path).returncode == 0
    done = custody("watch", "--once", cwd=tmp_path)
    assert " appeared unknown X-1 in pkg:pypi/flask@1.0 (advisory; 1 image)\n" in done.stdout
    assert custody("watch", "--once", cwd=tmp_path).stdout == ""
    document = json.loads(custody("watch", "--once", "--since", "0", "-o", "json", cwd=tmp_path).stdout)
    assert (document["change"], document["finding"]["vulnerability"], len(document["images"])) == ("appeared", "X-1", 1)
    assert custody("watch", "--once", "--timeout", "5s", cwd=tmp_path).returncode == 2
