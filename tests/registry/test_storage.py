"""What the registry's parts promise by themselves: drafts, sessions, group commit, the index, sending files."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.adapters.filesystem.blobs import FileBlob, FilesystemBlobs
from custody.adapters.filesystem.drafts import FileDraft
from custody.adapters.sqlite.database import Database
from custody.adapters.sqlite.repositories import SqliteRepositories
from custody.errors import CustodyError, StorageError, StorageFullError, VerificationError
from custody.kit.clock import system_clock
from custody.registry.store import BlobUnknownError, Registry
from custody.registry.uploads import Uploads, UploadUnknownError
from tests.registry.api import Api, sha
from tests.serving import content, registry_on


@pytest.fixture
def blobs(tmp_path: Path) -> Iterator[FilesystemBlobs]:
    store = FilesystemBlobs(tmp_path / "registry")
    yield store
    store.close()


class Disk:
    """pwrite on a disk that fails: `plan` says how many bytes each call takes, or raises that errno."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, plan: list[int]) -> None:
        self._plan, self._write = list(plan), os.pwrite
        monkeypatch.setattr(os, "pwrite", self)

    def __call__(self, handle: int, data: memoryview, offset: int) -> int:
        step = self._plan.pop(0) if self._plan else len(data)
        if step < 0:
            self._write(handle, bytes(data)[:3], offset)  # a disk that tears: some of it got there
            raise OSError(-step, os.strerror(-step))
        return self._write(handle, data[:step], offset)


# Drafts

@given(parts=st.lists(st.binary(max_size=40), max_size=6),
       plan=st.lists(st.one_of(st.integers(1, 20), st.sampled_from(
           [-errno.ENOSPC, -errno.EDQUOT, -errno.EFBIG, -errno.EIO])), max_size=12))
def test_a_draft_is_what_was_hashed_whatever_the_disk_does(tmp_path: Path, parts: list[bytes],
                                                           plan: list[int]) -> None:
    path = tmp_path / "draft"
    path.unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        Disk(patch, plan)
        draft, kept = FileDraft(path), b""
        for part in parts:
            before = draft.size
            try:
                draft.write(part)
            except StorageError:
                assert draft.size <= before + len(part)
            kept += part[:draft.size - before]
            assert path.stat().st_size == draft.size == len(kept)
    draft.suspend()
    again = FileDraft(path, existing=True)
    again.complete(sha(kept))
    assert path.read_bytes() == kept


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, StorageFullError), (errno.EDQUOT, StorageFullError),
                                              (errno.EFBIG, StorageFullError), (errno.EIO, StorageError)])
def test_a_sync_that_fails_ends_the_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int,
                                          kind: type[StorageError]) -> None:
    def fails(_: int) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path))

    draft = FileDraft(tmp_path / "draft")
    draft.write(b"data")
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(kind) as caught:
        draft.complete(sha(b"data"))
    assert type(caught.value) is kind
    assert str(tmp_path) not in caught.value.message
    assert not (tmp_path / "draft").exists()


def test_bytes_that_nobody_hashed_are_noticed(tmp_path: Path) -> None:
    draft = FileDraft(tmp_path / "draft")
    draft.write(b"data")
    with (tmp_path / "draft").open("ab") as stranger:
        stranger.write(b"!")
    with pytest.raises(StorageError, match="upload: Input/output error"):
        draft.complete(sha(b"data"))


def test_other_algorithms_are_hashed_when_they_are_named(tmp_path: Path) -> None:
    for number, early in enumerate(("sha512", "sha256")):
        draft = FileDraft(tmp_path / str(number), early)
        draft.write(b"data")
        draft.complete("sha512:" + hashlib.sha512(b"data").hexdigest())


# Publishing

def test_one_content_that_fails_is_no_others(blobs: FilesystemBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def full(handle: int, data: memoryview) -> int:
        if bytes(data) == b"too much":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data)

    monkeypatch.setattr(os, "write", full)
    outcomes = blobs.publish([(sha(b"a"), b"a"), (sha(b"too much"), b"too much"), (sha(b"b"), b"lie"),
                              (sha(b"c"), b"c")])
    assert [type(outcome) for outcome in outcomes] == [type(None), StorageFullError, VerificationError, type(None)]
    assert blobs.size(sha(b"a")) is not None
    assert blobs.size(sha(b"too much")) is None
    assert blobs.size(sha(b"b")) is None
    assert os.listdir(blobs._uploads) == []


def test_a_blob_is_durable_before_it_has_its_name(blobs: FilesystemBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    sync, replace = os.fsync, os.replace

    def name(handle: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{handle}")).parent.name

    monkeypatch.setattr(os, "fsync", lambda handle: (events.append(f"sync in {name(handle)}"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda *paths: (events.append("rename"), replace(*paths)))
    blobs._unsynced.clear()
    blobs.publish([(sha(b"a"), b"a"), (sha(b"b"), b"b")])
    assert events == ["sync in uploads", "sync in uploads", "rename", "rename", "sync in blobs"]


def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    FilesystemBlobs(tmp_path).close()
    for name in ("." + "0" * 24, "0" * 32, "0" * 48, ".nfs0001"):
        (tmp_path / "uploads" / name).touch()
    FilesystemBlobs(tmp_path).close()
    assert sorted(os.listdir(tmp_path / "uploads")) == [".nfs0001", "0" * 48]


# Sessions

def test_abandoned_sessions_are_swept_by_a_clock_of_their_own(blobs: FilesystemBlobs) -> None:
    clock = [0.0]
    left = FileDraft(blobs._uploads / ("0" * 48))
    left.suspend()
    uploads = Uploads(blobs, lambda: clock[0], idle=100)
    empty, used, held, idle = (uploads.begin("r") for _ in range(4))
    for upload in (used, held, idle):
        uploads.claim("r", upload.name, "somebody")
        upload.write([b"x"])
        if upload is not held:
            uploads.release(upload)
    os.utime(blobs._uploads / idle.name, (1, 1))  # the time of day says nothing
    assert uploads.sweep() == []
    clock[0] = 90
    uploads.claim("r", used.name, "somebody")
    uploads.release(used)
    clock[0] = 150
    assert set(uploads.sweep()) == {empty.name, idle.name, "0" * 48}
    assert set(blobs.drafts()) == {used.name, held.name}
    with pytest.raises(UploadUnknownError):
        uploads.claim("r", idle.name, "somebody")


def test_sessions_without_bytes_are_bounded_whatever_else_is_open(blobs: FilesystemBlobs,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.registry.uploads._EMPTY", 5)
    uploads = Uploads(blobs)
    written, held = uploads.begin("r"), uploads.begin("r")
    uploads.claim("r", written.name, "somebody")
    written.write([b"x"])
    uploads.release(written)
    uploads.claim("r", held.name, "somebody")
    names = [uploads.begin("r").name for _ in range(50)]
    assert [name for name in names if uploads.is_open(name)] == names[-5:]
    uploads.release(held)
    assert uploads.claim("r", written.name, "somebody").size == 1
    assert uploads.claim("r", held.name, "somebody") is held


@given(st.text(max_size=60))
def test_no_other_name_is_a_session(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    class Nothing:
        def resume(self, name: str) -> None:
            raise AssertionError(f"the disk was asked for {name}")

    with pytest.raises(UploadUnknownError):
        Uploads(Nothing()).find("r", name)  # type: ignore[arg-type]


# Group commit

def test_changes_that_wait_share_a_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FilesystemBlobs(tmp_path)
    repositories = SqliteRepositories(tmp_path / "index.db")
    registry = Registry(store, repositories, system_clock)
    batches: list[int] = []
    begun, go = threading.Event(), threading.Event()
    publish = store.publish

    def slow(contents: list[tuple[str, bytes]]) -> list[CustodyError | None]:
        batches.append(len(contents))
        begun.set()
        assert go.wait(60)
        return publish(contents)

    monkeypatch.setattr(store, "publish", slow)
    data = [b"%d" % number for number in range(21)]
    futures = [registry.put_blob("r", sha(data[0]), data[0])]
    assert begun.wait(60)
    futures += [registry.put_blob("r", sha(part), part) for part in data[1:]]
    futures.append(registry.delete_blob("r", sha(b"absent")))
    futures.append(registry.put_blob("r", sha(b"right"), b"wrong"))
    go.set()
    with pytest.raises(VerificationError, match="expected"):
        futures.pop().result(60)
    with pytest.raises(BlobUnknownError):
        futures.pop().result(60)
    for future in futures:
        future.result(60)
    assert batches == [1, 21]
    assert all(content(registry, "r", sha(part)) == part for part in data)
    registry.close()
    with pytest.raises(StorageError, match="being closed"):
        registry.put_blob("r", sha(b"x"), b"x")
    repositories.close()


def test_a_deletion_and_a_push_of_the_same_bytes(tmp_path: Path) -> None:
    """Whichever comes first, what was acknowledged last is so."""
    store, repositories = FilesystemBlobs(tmp_path), SqliteRepositories(tmp_path / "index.db")
    registry = Registry(store, repositories, system_clock)
    registry.put_blob("a", sha(b"x"), b"x").result(60)
    deleted, pushed = registry.delete_blob("a", sha(b"x")), registry.put_blob("b", sha(b"x"), b"x")
    deleted.result(60)
    pushed.result(60)
    assert content(registry, "b", sha(b"x")) == b"x"
    mounted, gone = registry.mount("c", sha(b"x"), "b"), registry.delete_blob("b", sha(b"x"))
    assert mounted.result(60)
    gone.result(60)
    assert content(registry, "c", sha(b"x")) == b"x"
    gone, mounted = registry.delete_blob("c", sha(b"x")), registry.mount("d", sha(b"x"), "c")
    gone.result(60)
    assert not mounted.result(60)
    registry.close()
    assert list(store.entries()) == []
    repositories.close()


# The index

def test_reading_does_not_wait_for_a_transaction(tmp_path: Path) -> None:
    repositories = SqliteRepositories(tmp_path / "index.db")
    seen: list[bool] = []
    with repositories.transaction() as transaction:
        transaction.link_blob("r", sha(b"x"), 1)
        other = threading.Thread(target=lambda: seen.append(repositories.has_blob("r", sha(b"x"))))
        other.start()
        other.join(60)
        assert transaction.has_blob("r", sha(b"x"))
    assert seen == [False]
    assert repositories.has_blob("r", sha(b"x"))
    repositories.close()


def test_a_part_of_a_transaction_fails_alone_and_a_full_disk_all(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db", ["CREATE TABLE x (y BLOB)"])
    with database.write():
        with database.write() as db:
            db.execute("INSERT INTO x VALUES ('kept')")
        with pytest.raises(sqlite3.ProgrammingError), database.write() as db:
            db.executemany("INSERT INTO x VALUES (?)", [("not",), (object(),)])
    assert database.read("SELECT y FROM x").fetchall() == [("kept",)]
    database._db.execute("PRAGMA max_page_count=3")
    with pytest.raises(StorageFullError, match="database or disk is full"), database.write() as db:
        db.execute("INSERT INTO x VALUES (?)", (b"y" * 100_000,))
    database._db.execute("PRAGMA max_page_count=1000")
    with database.write() as db:
        db.execute("INSERT INTO x VALUES ('later')")
    assert [row for (row,) in database.read("SELECT y FROM x")] == ["kept", "later"]
    database.close()


# Sending

def test_who_waits_for_a_full_socket_does_not_spin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small answers that a client does not read stay before the head of a large one."""
    from custody.server import sendfile

    pauses: list[float] = []

    class Full:
        closing = False

        def get_write_buffer_size(self) -> int:
            return 30_000

        def is_closing(self) -> bool:
            return len(pauses) > 50

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def main() -> None:
        with (tmp_path / "file").open("wb+") as file, pytest.raises(sendfile.DisconnectedError):
            await sendfile.to_transport(Full(), file.fileno(), 0, 1)  # type: ignore[arg-type]

    monkeypatch.setattr("custody.server.sendfile.asyncio.sleep", sleep)
    asyncio.run(main())
    assert pauses[0] == 0
    assert set(pauses[8:]) == {0.02}


def test_a_file_is_sent_whole_in_parts_and_to_those_who_read_slowly(tmp_path: Path) -> None:
    data = os.urandom(9_000_000)
    with registry_on(tmp_path) as (host, _):
        api = Api(host)
        digest = api.push("r", data)
        name, _, port = host.partition(":")
        slow = [socket.create_connection((name, int(port)), timeout=60) for _ in range(12)]  # more than threads send
        for client in slow:
            client.sendall(f"GET /v2/r/blobs/{digest} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() * 2)
        assert api("GET", f"/v2/r/blobs/{digest}")[2] == data
        assert api("GET", f"/v2/r/blobs/{digest}", Range="bytes=5-8000004")[2] == data[5:8_000_005]
        assert api("GET", f"/v2/r/blobs/{digest}", If_None_Match=f'W/"x", "{digest}"')[0] == 304
        assert api("GET", f"/v2/r/blobs/{digest}", Range="bytes=0-0", If_Range='"other"')[2] == data
        assert api("GET", f"/v2/r/blobs/{digest}", Range=f"bytes={'9' * 5000}-")[2] == data
        for client in slow[:3]:  # both answers on one connection
            with client.makefile("rb") as stream:
                for _ in range(2):
                    while stream.readline() != b"\r\n":
                        pass
                    assert stream.read(len(data)) == data
        for client in slow:
            client.close()


def test_a_file_that_became_shorter_breaks_the_answer_off(tmp_path: Path) -> None:
    from custody.server import sendfile

    class Sink:
        def __init__(self) -> None:
            self.sent: list[bytes] = []

        async def __call__(self, message: dict[str, bytes]) -> None:
            self.sent.append(message["body"])

    async def main() -> None:
        (tmp_path / "file").write_bytes(b"x" * 100)
        handle = os.open(tmp_path / "file", os.O_RDONLY)
        here, there = socket.socketpair()
        _, writer = await asyncio.open_connection(sock=here)
        try:
            with pytest.raises(sendfile.DisconnectedError):
                await sendfile.send_blob({}, Sink(), FileBlob(handle), 0, 101)  # type: ignore[arg-type]
            sink = Sink()
            await sendfile.send_blob({}, sink, FileBlob(handle), 10, 60)  # type: ignore[arg-type]
            assert b"".join(sink.sent) == b"x" * 50
            with pytest.raises(sendfile.DisconnectedError):
                await sendfile.to_transport(writer.transport, handle, 0, 101)
            assert writer.transport.is_closing()
        finally:
            os.close(handle)
            there.close()

    asyncio.run(main())
