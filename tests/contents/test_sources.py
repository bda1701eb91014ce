"""A new kind of advisories is one reader and one row; the importer knows none by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from custody.adapters.sqlite.advisories import SqliteAdvisories
from custody.errors import MalformedError, UsageError
from custody.formats import osv
from custody.formats.osv import Advisory
from custody.vulns import sources
from custody.vulns.sources import SOURCES, Source
from custody.vulns.store import import_advisories
from tests.contents.test_scan import record

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _feed(data: bytes, name: str) -> Iterator[Advisory]:
    """A distribution's feed: several advisories a document."""
    for entry in json.loads(data)["feed"]:
        yield osv.read(json.dumps(entry).encode(), name)


FEED = Source(one="a feed", many="feeds", files="example.org's feed.json", recognises=lambda data: b'"feed"' in data,
              read=_feed, largest=1 << 20)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sources, "SOURCES", (FEED, *SOURCES))
    folder = tmp_path / "records"
    folder.mkdir()
    return folder


def test_a_feed_beside_osv_records(folder: Path, tmp_path: Path) -> None:
    affected = [{"introduced": "0"}]
    (folder / "osv.json").write_text(json.dumps(record("A-1", affected)))
    (folder / "feed.json").write_text(json.dumps({"feed": [record("F-1", affected), record("F-2", affected)]}))
    store = SqliteAdvisories(tmp_path / "a.db")
    done = import_advisories(store, folder, NOW)
    assert (done.read, done.added, done.refused) == (2, 3, [])
    assert {advisory.id for advisory in store.named(["A-1", "F-1", "F-2"])} == {"A-1", "F-1", "F-2"}


def test_of_a_document_that_is_broken_nothing_counts(folder: Path, tmp_path: Path) -> None:
    affected = [{"introduced": "0"}]
    (folder / "osv.json").write_text(json.dumps(record("A-1", affected)))
    (folder / "feed.json").write_text(json.dumps({"feed": [record("F-1", affected), {"id": "F-2"}]}))
    store = SqliteAdvisories(tmp_path / "a.db")
    done = import_advisories(store, folder, NOW)
    assert (done.read, done.added, len(done.refused)) == (2, 1, 1)
    assert not store.named(["F-1"])


def test_what_is_read_is_said_by_the_rows(folder: Path, tmp_path: Path) -> None:
    store = SqliteAdvisories(tmp_path / "a.db")
    with pytest.raises(MalformedError, match=r"got 'no documents', expected feeds or .* or OSV records \(\*\.json"):
        import_advisories(store, folder, NOW)
    (folder / "a.json").write_text("[]")
    with pytest.raises(UsageError, match=r"none of 1 documents is a feed or .* or an OSV record: "):
        import_advisories(store, folder, NOW)
    with pytest.raises(UsageError, match="no such file or folder") as raised:
        import_advisories(store, folder / "none", NOW)
    hint = raised.value.hint or ""
    assert hint.startswith("a folder of OSV records, osv.dev's all.zip, or NVD's")
    assert hint.endswith("or CISA's known_exploited_vulnerabilities.json, or example.org's feed.json")
