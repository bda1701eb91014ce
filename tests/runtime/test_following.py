"""Files that are followed: lines that come in pieces, rotation, truncation, marks."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from custody.adapters.filesystem import following
from custody.adapters.filesystem.following import DocumentFolder
from custody.adapters.filesystem.following import FollowedFile as Followed
from custody.errors import StorageError
from custody.ports.following import Piece


class FollowedFile(Followed):
    """Closed when the test ends."""

    opened: ClassVar[list[Followed]] = []

    def __init__(self, path: Path, *, once: bool = False) -> None:
        super().__init__(path, once=once)
        self.opened.append(self)


@pytest.fixture(autouse=True)
def promptly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(following, "_LINGERING", 0.0)
    yield
    while FollowedFile.opened:
        FollowedFile.opened.pop().close()


def drained(followed: FollowedFile | DocumentFolder) -> list[Piece]:
    """Until nothing new is there: a rotation takes a look or two."""
    pieces: list[Piece] = []
    quiet = 0
    while quiet < 3 and not followed.finished():
        piece = followed.read(1 << 20)
        if piece is None:
            quiet += 1
        else:
            pieces.append(piece)
            quiet = 0
    return pieces


def lines(pieces: list[Piece]) -> list[bytes]:
    return [line for piece in pieces for line in piece.lines]


def test_a_line_counts_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    followed = FollowedFile(path)
    assert drained(followed) == []
    path.write_bytes(b"one\ntw")
    pieces = drained(followed)
    assert lines(pieces) == [b"one"]
    with path.open("ab") as file:
        file.write(b"o\nthree\n")
    later = drained(followed)
    assert lines(later) == [b"two", b"three"]
    assert (pieces[0].first, later[0].first) == (0, 4)
    again = FollowedFile(path)
    assert again.begin(pieces[-1].mark) == ""
    assert lines(drained(again)) == [b"two", b"three"]
    last = FollowedFile(path)
    last.begin(later[-1].mark)
    assert lines(drained(last)) == []


def test_a_file_that_is_renamed_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    followed = FollowedFile(path)
    assert lines(drained(followed)) == [b"one"]
    with path.open("ab") as file:
        os.rename(path, tmp_path / "log.1")
        path.write_bytes(b"three\n")
        file.write(b"two\nwithout end")
    assert lines(drained(followed)) == [b"two", b"without end", b"three"]


def test_rotation_while_nobody_looks(tmp_path: Path) -> None:
    """Twice: the file of the mark, the one between, and the one that has the name now."""
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    followed = FollowedFile(path)
    mark = drained(followed)[-1].mark
    followed.close()
    for number, text in ((2, b"two\n"), (3, b"three\n")):
        os.rename(path, tmp_path / f"log.{9 - number}")
        time.sleep(0.02)
        path.write_bytes(text)
        time.sleep(0.02)
    with (tmp_path / "log.7").open("ab") as file:
        file.write(b"late\n")
    os.utime(tmp_path / "log.7", ns=(1, 1))
    again = FollowedFile(path)
    assert again.begin(mark) == ""
    assert lines(drained(again)) == [b"late", b"two", b"three"]


def test_a_file_that_was_cut_off_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n")
    followed = FollowedFile(path)
    drained(followed)
    path.write_bytes(b"new\n")
    pieces = drained(followed)
    assert lines(pieces) == [b"new"]
    assert "shorter" in pieces[0].said


def test_a_file_that_is_gone_is_said_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    followed = FollowedFile(path)
    mark = drained(followed)[-1].mark
    followed.close()
    path.unlink()
    (tmp_path / "other").write_bytes(b"takes the inode, perhaps\n")
    path.write_bytes(b"another\n")
    again = FollowedFile(path)
    assert "is not there any more" in again.begin(mark)
    pieces = drained(again)
    assert lines(pieces) == [b"another"]
    assert pieces[0].lost == 1


def test_another_file_with_the_same_inode_is_another(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    followed = FollowedFile(path)
    mark = drained(followed)[-1].mark
    path.write_bytes(b"two, which is longer\n")  # the same inode
    again = FollowedFile(path)
    assert again.begin(mark)
    assert lines(drained(again)) == [b"two, which is longer"]


@pytest.mark.parametrize("mark", ["", "{}", "nonsense", '{"device":"x"}', '{"device":0,"inode":0,"offset":-5}'])
def test_a_mark_that_is_none_is_said(tmp_path: Path, mark: str) -> None:
    (tmp_path / "log").write_bytes(b"one\n")
    followed = FollowedFile(tmp_path / "log")
    assert followed.begin(mark)
    assert lines(drained(followed)) == [b"one"]


def test_a_line_without_end_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LARGEST", 100)
    path = tmp_path / "log"
    path.write_bytes(b"one\n" + b"x" * 500)
    followed = FollowedFile(path)
    pieces = drained(followed)
    assert lines(pieces) == [b"one"]
    assert sum(piece.skipped for piece in pieces) == 1
    with path.open("ab") as file:
        file.write(b"x" * 500 + b"\ntwo\n")
    assert lines(drained(followed)) == [b"two"]


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="it is no file"):
        FollowedFile(tmp_path / "pipe").read(10)


def test_once_is_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo")
    followed = FollowedFile(path, once=True)
    assert lines(drained(followed)) == [b"one", b"two"]
    assert followed.finished()


def test_documents_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "2026" / "11").mkdir(parents=True)
    (tmp_path / "2026" / "11" / "a.json.gz").write_bytes(gzip.compress(b"first") + gzip.compress(b" and more"))
    (tmp_path / "2026" / "11" / "b.json").write_bytes(b"second")
    (tmp_path / "2026" / "11" / "c.json.gz").write_bytes(gzip.compress(b"cut off" * 50)[:-12])
    folder = DocumentFolder(tmp_path, once=True)
    pieces = drained(folder)
    assert lines(pieces) == [b"first and more", b"second"]
    assert [piece.skipped for piece in pieces] == [0, 0, 1]
    again = DocumentFolder(tmp_path, once=True)
    again.begin(pieces[-1].mark)
    assert drained(again) == []
    (tmp_path / "d.json").write_bytes(b"third")
    third = DocumentFolder(tmp_path, once=True)
    third.begin(pieces[-1].mark)
    assert lines(drained(third)) == [b"third"]
    assert len(json.loads(pieces[-1].mark)) == 3


def test_a_document_that_grows_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"half")
    folder = DocumentFolder(tmp_path)
    assert folder.read(1) is None
    path.write_bytes(b"half and half")
    assert folder.read(1) is None
    piece = folder.read(1)
    assert piece is not None
    assert list(piece.lines) == [b"half and half"]


def test_a_bomb_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_EXPANDED", 1000)
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x" * 100_000))
    pieces = drained(DocumentFolder(tmp_path, once=True))
    assert lines(pieces) == []
    assert "larger than may be" in pieces[0].said


def test_a_file_is_known_before_anything_of_it_is_read(tmp_path: Path) -> None:
    """It may be rotated, and the process killed, before it told anything."""
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    piece = FollowedFile(path).read(1 << 20)
    assert piece is not None
    assert list(piece.lines) == []
    os.rename(path, tmp_path / "log.1")
    time.sleep(0.02)
    path.write_bytes(b"two\n")
    again = FollowedFile(path)
    assert again.begin(piece.mark) == ""
    assert lines(drained(again)) == [b"one", b"two"]


def test_a_file_of_the_same_inode_is_another_file(tmp_path: Path) -> None:
    """Rotated files are deleted, and their inodes given to new ones: what is told of them has other keys."""
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    followed = FollowedFile(path)
    first = drained(followed)
    path.write_bytes(b"")
    shorter = drained(followed)
    path.write_bytes(b"one\n")
    again = [*shorter, *drained(followed)]
    (before,), (after,) = ([piece for piece in pieces if piece.lines] for pieces in (first, again))
    assert (before.first, list(before.lines)) == (after.first, list(after.lines))
    assert before.file != after.file
    resumed = FollowedFile(path)
    resumed.begin(after.mark)
    with path.open("ab") as file:
        file.write(b"two\n")
    (piece,) = drained(resumed)
    assert piece.file == after.file, "the same file has the same after a restart"
