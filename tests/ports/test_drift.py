"""The contract of DriftStore, of each that keeps what is known of running images."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from custody.adapters.sqlite.drift import SqliteDrift
from custody.ports.drift import DriftStore, KeptIndex
from tests.runtime.stores import MemoryDrift

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> DriftStore:
    return SqliteDrift(tmp_path / "drift.db") if request.param == "sqlite" else MemoryDrift()


def kept(digest: str, platform: str = "linux/amd64", name: str = "shop") -> KeptIndex:
    return KeptIndex(digest, name, platform, 3, 4, NOW)


def test_layers(store: DriftStore) -> None:
    assert store.layer("a") is None
    store.keep_layer("a", b"1")
    store.keep_layer("a", b"2")
    assert store.layer("a") == b"2"


def test_an_index_is_there_by_its_digest_and_by_names_of_its_platform(store: DriftStore) -> None:
    store.keep_index(kept("d1"), ["all", "config"], b"amd!")
    store.keep_index(kept("d2", "linux/arm64"), ["all"], b"arm!")
    assert store.index("d1", "linux/arm64") == b"amd!"
    assert store.index("all", "linux/amd64") == b"amd!"
    assert store.index("all", "linux/arm64") == b"arm!"
    assert store.index("all", "linux/s390x") is None
    assert store.index("config", "linux/amd64") == b"amd!"
    assert [row.digest for row in store.indexes()] == ["d1", "d2"]
    assert store.indexes()[0] == kept("d1")


def test_an_index_that_is_kept_again_takes_the_place(store: DriftStore) -> None:
    store.keep_index(kept("d1"), ["old"], b"1234")
    store.keep_index(kept("d1"), ["new"], b"5678")
    assert [store.index(name, "linux/amd64") for name in ("d1", "old", "new")] == [b"5678"] * 3


def test_what_is_forgotten_has_no_names(store: DriftStore) -> None:
    store.keep_index(kept("d1"), ["all"], b"1234")
    assert store.forget("d1")
    assert not store.forget("d1")
    assert store.index("all", "linux/amd64") is None


def test_indexes_take_no_more_room_than_they_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.adapters.sqlite.drift._INDEXES", 10)
    store = SqliteDrift(tmp_path / "drift.db")
    for number in range(4):
        store.keep_index(kept(f"d{number}")._replace(at=NOW + timedelta(seconds=number)), [f"n{number}"], b"1234")
    assert [row.digest for row in store.indexes()] == ["d2", "d3"]
    assert store.index("n0", "linux/amd64") is None
    store.keep_index(kept("large")._replace(at=NOW), [], b"x" * 50)  # what was read last is kept, whatever its size
    assert [row.digest for row in store.indexes()] == ["large"]


def test_baselines(store: DriftStore) -> None:
    store.keep_baselines({"b": b"1", "a": b"2"})
    store.keep_baselines({"b": b"3"})
    assert list(store.baselines().items()) == [("a", b"2"), ("b", b"3")]
    assert store.forget_baseline("a")
    assert not store.forget_baseline("a")


def test_witnesses(store: DriftStore) -> None:
    store.keep_witness("n1", b"1")
    store.keep_witness("n1", b"2")
    assert store.witnesses() == {"n1": b"2"}
    assert store.forget_witnesses(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert store.forget_witnesses(datetime.now(UTC) + timedelta(hours=1)) == 1


def test_the_file_is_its_owners(tmp_path: Path) -> None:
    SqliteDrift(tmp_path / "drift.db")
    assert (tmp_path / "drift.db").stat().st_mode & 0o777 == 0o600
