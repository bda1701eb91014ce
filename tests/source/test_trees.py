"""Repositories of a few objects that come to a great deal: what that is, is known before any of it is built."""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from dulwich.objects import Blob
from dulwich.pack import write_pack_index
from dulwich.repo import Repo

from custody.adapters.git import GitRepository
from custody.errors import MalformedError
from custody.formats.gitobject import Commit
from tests.source.objects import FILE, FOLDER, blob, commit, put, tree

_OPENED: list[GitRepository] = []


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repo]:
    (tmp_path / "repo").mkdir()
    repository = Repo.init(str(tmp_path / "repo"))
    yield repository
    repository.close()
    while _OPENED:
        _OPENED.pop().close()


def open_again(repository: Repo) -> GitRepository:
    _OPENED.append(GitRepository(Path(repository.path)))
    return _OPENED[-1]


def multiplied(repository: Repo, inner: bytes, levels: int, name: bytes = b"") -> bytes:
    for _ in range(levels):
        inner = tree(repository, *((name + b"%d" % number, FOLDER, inner) for number in range(10)))
    return inner


def read(repository: Repo, commit_id: bytes) -> tuple[GitRepository, Commit]:
    opened = open_again(repository)
    return opened, opened.commit(commit_id.decode())


@pytest.mark.parametrize(("levels", "name", "reason"), [
    (10, b"", "over 1000000 files and folders"), (6, b"n" * 200, "paths of over 268435456 bytes")])
def test_trees_that_multiply(repository: Repo, levels: int, name: bytes, reason: str) -> None:
    """Ten same folders in ten same folders: each tree is read once, and no path is made."""
    inner = tree(repository, *((b"%d" % number, FILE, b"1" * 40) for number in range(9 if name else 10)))
    opened, head = read(repository, commit(repository, multiplied(repository, inner, levels - bool(name), name)))
    reads: list[bytes] = []
    looked_up = opened._repo.object_store.get_raw

    def get_raw(object_id: bytes) -> tuple[int, bytes]:
        reads.append(object_id)
        return looked_up(object_id)  # type: ignore[arg-type]

    opened._repo.object_store.get_raw = get_raw  # type: ignore[method-assign,assignment]
    with pytest.raises(MalformedError, match=reason):
        opened.files(head)
    assert len(reads) == len(set(reads)) <= levels + 1


def test_the_same_folder_in_many_places_is_whole_in_each(repository: Repo) -> None:
    inner = tree(repository, (b"x", FILE, b"1" * 40))
    opened, head = read(repository, commit(repository, multiplied(repository, inner, 2)))
    assert [file.path for file in opened.files(head)] == sorted(f"{a}/{b}/x" for a in range(10) for b in range(10))


def test_a_folder_that_is_deep_only_where_it_is_deep_is_refused_there(repository: Repo) -> None:
    inner = tree(repository, (b"x", FILE, b"1" * 40))
    middle = inner
    for _ in range(40):
        middle = tree(repository, (b"d", FOLDER, middle))
    outer = middle
    for _ in range(30):
        outer = tree(repository, (b"d", FOLDER, outer))
    opened, head = read(repository, commit(repository, tree(repository, (b"a", FOLDER, middle))))
    assert len(opened.files(head)) == 1
    opened, head = read(repository, commit(repository, tree(repository, (b"a", FOLDER, middle), (b"b", FOLDER, outer))))
    with pytest.raises(MalformedError, match="folders deeper than 64"):
        opened.files(head)


def test_a_million_merges_of_the_same_wait_once(repository: Repo) -> None:
    empty = tree(repository)
    first = [commit(repository, empty, b"%d" % number) for number in range(50)]
    top = commit(repository, empty, b"top", tuple(first * 20))
    opened, _ = read(repository, top)
    assert [parent.summary for parent in opened.history(top.decode())] == ["top", *map(str, range(50))]


def test_a_history_of_many_bytes(repository: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.adapters.git._MAX_HISTORY", 10_000)
    empty = tree(repository)
    top = commit(repository, empty, b"a" * 6000)
    opened, head = read(repository, top)
    assert len(head.summary) == 1000
    assert len(list(opened.history(top.decode()))) == 1
    top = commit(repository, empty, b"b" * 6000, (top,))
    with pytest.raises(MalformedError, match="a history of more than 10000 bytes"):
        list(opened.history(top.decode()))


def varint(number: int) -> bytes:
    done = b""
    while number >= 0x80:
        done += bytes([number & 0x7F | 0x80])
        number >>= 7
    return done + bytes([number])


def entry(kind: int, size: int, body: bytes, base: bytes = b"") -> bytes:
    head = bytes([kind << 4 | size & 15 | (0x80 if size > 15 else 0)])
    return head + (varint(size >> 4) if size > 15 else b"") + base + zlib.compress(body)


def pack(repository: Repo, *entries: tuple[bytes, bytes]) -> None:
    """A pack of (id, entry) as they are."""
    data, rows = b"PACK" + struct.pack(">II", 2, len(entries)), []
    for object_id, raw in entries:
        rows.append((bytes.fromhex(object_id.decode()), len(data), zlib.crc32(raw)))
        data += raw
    checksum = hashlib.sha1(data, usedforsecurity=False).digest()
    folder = Path(repository.path) / ".git/objects/pack"
    (folder / "pack-1.pack").write_bytes(data + checksum)
    with (folder / "pack-1.idx").open("wb") as file:
        write_pack_index(file, sorted(rows), checksum)


def bomb(base: bytes, made: int) -> bytes:
    """A delta that says it makes `made` bytes of copies of the whole base."""
    copy = bytes([0x80 | 0x70]) + len(base).to_bytes(3, "little")
    return varint(len(base)) + varint(made) + copy * (made // len(base))


@pytest.mark.parametrize("by", ["offset", "reference"])
def test_deltas_that_multiply(repository: Repo, by: str) -> None:
    base = bytes(1 << 16)
    delta = bomb(base, 1 << 30)
    first = entry(3, len(base), base)
    link = offset(len(first)) if by == "offset" else bytes.fromhex("11" * 20)
    pack(repository, (b"11" * 20, first), (b"22" * 20, entry(6 if by == "offset" else 7, len(delta), delta, link)))
    opened = open_again(repository)
    with pytest.raises(MalformedError, match=r"object 2222.*got '1073741824 bytes', expected at most 536870912"):
        opened.blob("22" * 20)


def test_a_delta_behind_a_large_table_of_codes(repository: Repo) -> None:
    """Deflate says its codes first (RFC 1951, 3.2.7), in some hundred bytes where many are in use."""
    base = b"base"
    inserted = bytes(int(256 * math.sin(index) ** 8) % 256 * 37 % 256 for index in range(127 * 40))
    delta = varint(len(base)) + varint(len(inserted)) + b"".join(
        b"\x7f" + inserted[at:at + 127] for at in range(0, len(inserted), 127))
    assert len(zlib.decompressobj().decompress(zlib.compress(delta)[:64], 24)) == 0
    made = hashlib.sha1(b"blob %d\0" % len(inserted) + inserted, usedforsecurity=False).hexdigest()
    first = entry(3, len(base), base)
    pack(repository, (b"11" * 20, first), (made.encode(), entry(6, len(delta), delta, offset(len(first)))))
    assert open_again(repository).blob(made) == inserted


def offset(distance: int) -> bytes:
    parts = [distance & 0x7F]
    while distance := distance >> 7:
        distance -= 1
        parts.append(distance & 0x7F | 0x80)
    return bytes(reversed(parts))


@pytest.mark.parametrize(("raw", "reason"), [
    (entry(7, 10, b"\x01\x01", bytes.fromhex("22" * 20)), "a chain of more than 4096 deltas"),
    (entry(6, 10, b"\x01\x01", b"\x00"), "a delta of itself"),
    (entry(6, 10, b"\x01\x01", b"\xff" * 12 + b"\x00"), "an offset without an end"),
    (entry(6, 10, b"\x01\x01", b"\x7f"), "offset -"),
    (b"\xff" * 12 + b"\x00", "a size without an end"),
    (entry(6, 10, b"\x01", b"\x01"), "a pack's entry that ends early")])
def test_entries_that_no_git_writes(repository: Repo, raw: bytes, reason: str) -> None:
    pack(repository, (b"22" * 20, raw))
    opened = open_again(repository)
    with pytest.raises(MalformedError, match=reason):
        opened.blob("22" * 20)


def test_an_object_that_is_no_zlib_stream(repository: Repo) -> None:
    made = blob(repository, b"x").decode()
    place = Path(repository.path) / ".git/objects" / made[:2] / made[2:]
    place.chmod(0o644)
    place.write_bytes(b"x\x9cnothing")
    opened = open_again(repository)
    with pytest.raises(MalformedError, match="expected an object that git wrote"):
        opened.blob(made)


def test_packs_that_git_writes_are_read(repository: Repo) -> None:
    """Deltas of deltas, with sizes that are right."""
    texts = [b"".join(b"line %d\n" % number for number in range(2000 + more)) for more in range(20)]
    blobs = [Blob.from_string(text) for text in texts]
    for made in blobs:
        put(repository, made)
    repository.object_store.pack_loose_objects()
    opened = open_again(repository)
    assert [opened.blob(made.id.decode()) for made in blobs] == texts
