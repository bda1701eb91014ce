"""Builders of wiring: what fails has opened nothing, and what was opened is closed, the last first."""

from __future__ import annotations

from pathlib import Path

import pytest

from custody.errors import ConflictError, CustodyError, VerificationError
from custody.settings import Settings
from custody.wiring import Platform

BASE = "http://127.0.0.1:1"


def platform(data: Path) -> Platform:
    return Platform(Settings(data_dir=str(data)), BASE)


def test_a_registry_whose_index_is_broken_is_not_held(tmp_path: Path) -> None:
    opened = platform(tmp_path)
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "index.db").write_bytes(b"this is no database" * 100)
    for _ in range(2):  # and the second time it is not this process that has it
        with pytest.raises(CustodyError, match="file is not a database"):
            assert opened.registry
    (tmp_path / "registry" / "index.db").unlink()
    assert opened.registry.repositories.names("", 1) == []
    opened.close()


def test_a_log_that_is_damaged_is_not_held(tmp_path: Path) -> None:
    opened = platform(tmp_path)
    opened.log.log.append([b"one"])
    opened.close()
    tile = tmp_path / "log" / "tile" / "0" / "000.p" / "1"
    good = tile.read_bytes()
    tile.write_bytes(bytes(32))
    again = platform(tmp_path)
    for _ in range(2):
        with pytest.raises(VerificationError, match="the tiles of 1 entries give root"):
            assert again.log
    tile.write_bytes(good)
    assert again.log.log.size == 1
    again.close()


def test_one_process_has_each_and_lets_go_of_all(tmp_path: Path) -> None:
    first, second = platform(tmp_path), platform(tmp_path)
    assert all([first.log, first.ct, first.registry])
    for role in ("log", "ct", "registry"):
        with pytest.raises(ConflictError, match="has it"):
            getattr(second, role)
    assert second.archive().writer is None  # may look beside it
    with pytest.raises(ConflictError):
        second.archive(exclusive=True)
    first.close()
    first.close()
    assert second.archive(exclusive=True).writer is not None
    second.close()
    third = platform(tmp_path)
    assert all([third.log, third.ct, third.registry])
    third.close()
