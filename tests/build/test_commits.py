"""Commits made by hand to hurt the builder: each is refused by name before anything of it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dulwich.repo import Repo

from custody.adapters.git import GitRepository
from custody.build import builder
from custody.build.builder import build
from custody.errors import MalformedError
from tests.build.digest import no_fetch
from tests.build.test_build import NOW
from tests.source.objects import FILE, FOLDER, LINK, SUBMODULE, Entry, blob, commit, tree


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repo]:
    (tmp_path / "repo").mkdir()
    repository = Repo.init(str(tmp_path / "repo"))
    yield repository
    repository.close()


def attempt(repository: Repo, *entries: Entry, seconds: int = 1793534400) -> None:
    """Build a commit of these entries and a definition. It leaves nothing, whatever becomes of it."""
    definition = blob(repository, b'[build]\ncommand = ["sh", "-c", "mkdir $CUSTODY_OUTPUT/1"]\n')
    root = tree(repository, (b"custody-build.toml", FILE, definition), *entries)
    commit_id = commit(repository, root, seconds=seconds).decode()
    place = Path(repository.path).parent
    opened = GitRepository(Path(repository.path))
    try:
        build(opened, commit_id, repository_uri="https://x/y", layout=place / "image", cache=place / "cache",
              fetch=no_fetch, clock=lambda: NOW, isolation="none")
    finally:
        opened.close()
        assert [path.name for path in place.iterdir() if path.name.startswith("custody-build-")] == []


@pytest.mark.parametrize("target", [b"", b"a\0b", b"a" * 3000])
def test_a_link_that_no_system_makes(repository: Repo, target: bytes) -> None:
    with pytest.raises(MalformedError, match=r"commit: link: got .*a symbolic link to .*expected where it leads"):
        attempt(repository, (b"link", LINK, blob(repository, target)))


def test_a_name_that_no_system_has(repository: Repo) -> None:
    with pytest.raises(MalformedError, match=r"a path of 256 bytes with a name of 256'.*255 for a name"):
        attempt(repository, (b"n" * 256, FILE, blob(repository, b"x")))


def test_a_path_that_no_system_opens(repository: Repo) -> None:
    inner = tree(repository, (b"file", FILE, blob(repository, b"x")))
    for _ in range(20):
        inner = tree(repository, (b"d" * 200, FOLDER, inner))
    with pytest.raises(MalformedError, match=r"got 'a path of 4026 bytes .*expected at most 2048"):
        attempt(repository, (b"d", FOLDER, inner))


def test_a_name_cannot_write_lines_of_its_own(repository: Repo) -> None:
    with pytest.raises(MalformedError, match="submodules") as raised:
        attempt(repository, (b"a\n::error::\x1b[2J", SUBMODULE, b"1" * 40))
    assert raised.value.message.isprintable()
    assert r"a\n::error::\x1b[2J: got 'mode 160000'" in raised.value.message


def test_folders_in_folders_without_a_file_are_counted(repository: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 objects that git shows as 10^10 folders."""
    monkeypatch.setattr("custody.adapters.git._MAX_ENTRIES", 1000)
    inner = tree(repository)
    for _ in range(10):
        inner = tree(repository, *((b"%d" % number, FOLDER, inner) for number in range(10)))
    with pytest.raises(MalformedError, match="over 1000 files and folders"):
        attempt(repository, (b"bomb", FOLDER, inner))


def test_one_object_in_many_places_is_counted_each_time(repository: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "_MAX_SOURCE", 10 << 20)
    large = blob(repository, bytes(1 << 20))
    with pytest.raises(MalformedError, match=r"commit: many/19: .* more than 10 MiB"):
        attempt(repository, (b"many", FOLDER, tree(repository, *((b"%d" % number, FILE, large)
                                                                 for number in range(10, 40)))))


@pytest.mark.parametrize("seconds", [253_402_300_800, 999_999_999_999, -62_135_596_801])
def test_a_time_that_no_calendar_has(repository: Repo, seconds: int) -> None:
    with pytest.raises(MalformedError, match="expected a time in the years 1 to 9999"):
        attempt(repository, seconds=seconds)


@pytest.mark.parametrize("seconds", [253_402_300_799, 0, -1])
def test_times_that_are_odd_and_right(repository: Repo, seconds: int) -> None:
    attempt(repository, seconds=seconds)
