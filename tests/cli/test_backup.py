"""`custody backup` and `custody restore`: what comes back is what was there, whatever was written meanwhile; what was
changed, cut off or planted never becomes a data directory."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custody.adapters.backup.archive import Saved, write
from custody.adapters.backup.parts import files
from custody.adapters.backup.place import restore
from custody.adapters.filesystem.alertfile import AlertFile
from custody.adapters.sqlite.drift import SqliteDrift
from custody.adapters.sqlite.notes import SqliteNotes
from custody.cli.run import run
from custody.errors import (
    ConflictError,
    CustodyError,
    MalformedError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from custody.kit.digest import sha256
from custody.ports.alerting import Line
from custody.registry.store import BlobUnknownError
from custody.services.alertdelivery import Delivery
from custody.settings import Settings
from custody.trust.checkpoint import parse_checkpoint
from custody.wiring import Platform
from tests.serving import content

NOW = datetime(2026, 11, 28, tzinfo=UTC)
BASE = "http://127.0.0.1:5080"


def lived(data: Path, entries: int = 300) -> None:
    """A data directory in which something happened."""
    platform = Platform(Settings(data_dir=str(data)), BASE)
    try:
        platform.export()
        platform.certificate(["localhost"])

        async def log() -> None:
            await asyncio.gather(*(platform.log.add(b"entry %d" % number) for number in range(entries)))
            await asyncio.gather(*(platform.ct.add(b"certificate %d" % number) for number in range(3)))

        asyncio.run(log())
        push(platform, b"layer")
    finally:
        platform.close()


def push(platform: Platform, blob: bytes) -> str:
    platform.registry.put_blob("shop/app", sha256(blob), blob).result()
    return sha256(blob)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lived(tmp_path / "old" / ".custody")
    return tmp_path / "old" / ".custody"


def saved(data: Path, *, keys: bool = True) -> bytes:
    out = io.BytesIO()
    write(files(data, [], keys=keys), out, created=NOW, custody="test")
    return out.getvalue()


def test_what_comes_back_is_what_was_there(data: Path, tmp_path: Path) -> None:
    new = tmp_path / "another" / "place"
    logs = restore(io.BytesIO(saved(data)), new).logs
    assert logs == {"log": 300, "ctlog": 3}
    assert (new.stat().st_mode & 0o777, (new / "trust" / "root.key").stat().st_mode & 0o777) == (0o700, 0o600)
    for name in ("trust/root.key", "trust/trusted_root.json", "admission/tls.key", "log/checkpoint"):
        assert (new / name).read_bytes() == (data / name).read_bytes()
    platform = Platform(Settings(data_dir=str(new)), BASE)
    try:
        assert content(platform.registry, "shop/app", sha256(b"layer")) == b"layer"
        logged = asyncio.run(platform.log.add(b"the next"))
        assert logged.index == 300
    finally:
        platform.close()


def test_what_a_watch_noted_comes_back_and_alerts_told_since_are_not_cut_off(tmp_path: Path) -> None:
    old, new, alerts = tmp_path / "old", tmp_path / "new", tmp_path / "alerts.jsonl"
    old.mkdir()

    async def tell(folder: Path, key: str) -> tuple[dict[str, str], list[str]]:
        delivery = Delivery([AlertFile(alerts)], SqliteNotes(folder / "runtime.db"))
        noted, said = delivery.begin()
        await delivery.deliver([Line(key, 4, 0, b'{"rule": "%b"}' % key.encode(), key)], {"tetragon:log": key})
        await delivery.close()
        return noted.marks, said

    asyncio.run(tell(old, "before"))
    with contextlib.closing(SqliteDrift(old / "drift.db")) as drift:
        drift.keep_layer("sha256:a", b"files")
    backup = saved(old)
    asyncio.run(tell(old, "after the backup"))
    restore(io.BytesIO(backup), new)
    marks, said = asyncio.run(tell(new, "restored"))
    assert (marks, said) == ({"tetragon:log": "before"}, [])
    assert [json.loads(line)["rule"] for line in alerts.read_text().splitlines()] == [
        "before", "after the backup", "restored"]
    with contextlib.closing(SqliteDrift(new / "drift.db")) as drift:
        assert drift.layer("sha256:a") == b"files"


def test_a_backup_beside_writers_is_of_one_moment(data: Path, tmp_path: Path) -> None:
    """Each log is what one checkpoint covers, and every blob that the index names is there."""
    platform = Platform(Settings(data_dir=str(data)), BASE)
    stop = threading.Event()

    def work() -> None:
        async def log() -> None:
            number = 0
            while not stop.is_set():
                await asyncio.gather(*(platform.log.add(b"busy %d" % (number + i)) for i in range(37)))
                number += 37
                push(platform, b"blob %d" % number)

        asyncio.run(log())

    writer = threading.Thread(target=work)
    writer.start()
    try:
        backups = [saved(data) for _ in range(5)]
    finally:
        stop.set()
        writer.join()
        platform.close()
    for number, backup in enumerate(backups):
        new = tmp_path / f"new{number}"
        logs = restore(io.BytesIO(backup), new).logs
        assert logs["log"] == parse_checkpoint((new / "log" / "checkpoint").read_bytes()).size >= 300
        restored = Platform(Settings(data_dir=str(new)), BASE)
        try:
            assert restored.log.log.size == logs["log"]
            index = sqlite3.connect(new / "registry" / "index.db")
            digests = [row[0] for row in index.execute("SELECT digest FROM blob")]
            index.close()
            assert digests
            for digest in digests:
                assert sha256(content(restored.registry, "shop/app", digest)) == digest
        finally:
            restored.close()


def test_without_keys_no_key_is_in_it(data: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(saved(data, keys=False))) as tar:
        names = tar.getnames()
    assert not [name for name in names if name.endswith(".key")]
    assert "trust/root.crt" in names
    assert b"PRIVATE KEY" not in saved(data, keys=False)


def test_what_is_there_is_not_replaced(data: Path, tmp_path: Path) -> None:
    backup = saved(data)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine").write_text("x")
    with pytest.raises(ConflictError, match="it is not empty"):
        restore(io.BytesIO(backup), tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine"]
    with pytest.raises(ConflictError, match="it is not empty"):
        restore(io.BytesIO(backup), data)


def rewritten(backup: bytes, change: Callable[[str, bytes, tarfile.TarInfo], bytes | None]) -> bytes:
    """The tar with members changed, or left out where None."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(backup)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            stream = old.extractfile(member)
            assert stream is not None
            content = change(member.name, stream.read(), member)
            if content is not None:
                member.size = len(content) if member.isreg() else 0
                new.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _swap(path: str, content: bytes | None) -> Callable[[str, bytes, tarfile.TarInfo], bytes | None]:
    return lambda name, old, member: content if name == path else old


def _renamed(old: str, new: str) -> Callable[[str, bytes, tarfile.TarInfo], bytes]:
    def change(name: str, content: bytes, member: tarfile.TarInfo) -> bytes:
        if name == old:
            member.name = new
        return content

    return change


def _linked(name: str, content: bytes, member: tarfile.TarInfo) -> bytes:
    if name == "trust/root.crt":
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return content


@pytest.mark.parametrize(("change", "error", "reason"), [
    (_swap("trust/root.crt", b"x"), VerificationError, r"trust/root.crt: got sha256:"),
    (_swap("trust/root.crt", None), VerificationError, "trust/root.crt is missing"),
    (_swap("manifest.json", None), MalformedError, "an end without manifest.json"),
    (_swap("manifest.json", b"{}"), MalformedError, "manifest.json"),
    (_swap("custody-backup", b"custody/backup/v9"), UnsupportedError, "version 'custody/backup/v9'"),
    (_swap("custody-backup", None), MalformedError, "which begins with custody-backup"),
    (_renamed("trust/root.crt", "trust/other.crt"), VerificationError, "manifest.json does not list it|is missing"),
    (_renamed("trust/root.crt", "../outside"), MalformedError, "paths below a data directory"),
    (_renamed("trust/root.crt", "/etc/outside"), MalformedError, "paths below a data directory"),
    (_renamed("trust/root.crt", "trust/.hidden"), MalformedError, "paths below a data directory"),
    (_renamed("trust/root.crt", "trust/root.key"), MalformedError, "each once"),
    (_linked, MalformedError, "a link, folder or device"),
], ids=["changed", "missing", "no manifest", "empty manifest", "version", "no head", "renamed", "above", "absolute",
        "hidden", "twice", "link"])
def test_a_changed_backup_is_refused(data: Path, tmp_path: Path, change: Callable[..., bytes | None],
                                     error: type[CustodyError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        restore(io.BytesIO(rewritten(saved(data), change)), tmp_path / "new" / "data")
    assert list((tmp_path / "new").iterdir()) == []


def _archive(*named: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    write((Saved(path, False, len(content), io.BytesIO(content)) for path, content in named), out, created=NOW,
          custody="test")
    return out.getvalue()


@pytest.mark.parametrize("name", ["my notes (old).txt", "clé.txt", "trusted_root.json~"])
def test_whatever_name_is_saved_comes_back(data: Path, tmp_path: Path, name: str) -> None:
    (data / "trust" / name).write_text("kept")
    restore(io.BytesIO(saved(data)), tmp_path / "new")
    assert (tmp_path / "new" / "trust" / name).read_text() == "kept"


@pytest.mark.parametrize("name", ["line\nend", "a\\b", "\udcff"])
def test_a_name_that_would_not_come_back_is_not_saved(data: Path, name: str) -> None:
    (data / "trust" / name).write_text("lost")
    with pytest.raises(UsageError, match=r"backup: trust/.*: got a name that a backup does not hold") as raised:
        saved(data)
    assert raised.value.message.isprintable()


class _Endless(io.RawIOBase):
    """`head`, and then one byte for ever; how much was asked for is counted."""

    def __init__(self, head: bytes) -> None:
        self._head = io.BytesIO(head)
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        data = self._head.read(size) or b"a" * size
        self.given += len(data)
        return data


def _raw(name: str, size: int, kind: bytes = tarfile.REGTYPE, data: bytes = b"") -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


_START = _raw("custody-backup", 18, data=b"custody/backup/v1\n")


def _named(record: bytes) -> bytes:
    return _raw("x", len(record), tarfile.XHDTYPE, record) + _raw("trust/a", 2, data=b"hi")


@pytest.mark.parametrize(("archive", "words"), [
    (_raw("x", 1 << 32, tarfile.XHDTYPE), "got 'a header of [0-9]+ bytes', expected at most 65536"),
    (_raw("x", 1 << 30, tarfile.GNUTYPE_LONGNAME), "got 'a header of 1073741824 bytes'"),
    (_raw("manifest.json", 1 << 30), "manifest.json: got '1073741824 bytes', expected at most 4096 for 0 files"),
    (_named(b"3818 path=trust/" + b"a/" * 1900 + b"f\n"), "expected paths below a data directory"),
    (_named(b"9" * 5000 + b" path=a\n"), "backup: got .* expected (a tar of|a whole) "),
    (_named(b"13 size=-512\n"), "expected a tar of `custody backup`"),
], ids=["pax header", "long name", "manifest", "depth", "digits", "negative size"])
def test_an_archive_made_to_hurt_is_refused_before_it_does(tmp_path: Path, archive: bytes, words: str) -> None:
    stream = _Endless(_START + archive)
    with pytest.raises(MalformedError, match=words):
        restore(stream, tmp_path / "new")
    assert stream.given <= 4 << 20
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="files of trust"):
        restore(io.BytesIO(_archive(("elsewhere/x", b"x"))), tmp_path / "new" / "data")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_blob_that_is_not_its_digest_is_in_quarantine(tmp_path: Path) -> None:
    """It was damaged where it was saved; that keeps nobody from their keys and logs."""
    new = tmp_path / "new" / "data"
    restored = restore(io.BytesIO(_archive((f"registry/blobs/sha256/{'0' * 64}", b"x"), ("trust/root.crt", b"y"))), new)
    assert [entry.path for entry in restored.damaged] == [f"registry/blobs/sha256/{'0' * 64}"]
    assert list((new / "registry" / "blobs" / "sha256").iterdir()) == []
    assert (new / "registry" / "quarantine" / f"sha256-{'0' * 64}.backup").read_bytes() == b"x"
    assert (new / "trust" / "root.crt").read_bytes() == b"y"


def test_a_log_whose_tiles_are_others_is_refused(data: Path, tmp_path: Path) -> None:
    """Also where whoever changed it wrote a fitting manifest."""
    members: list[tuple[str, bytes]] = []
    with tarfile.open(fileobj=io.BytesIO(saved(data))) as tar:
        for member in tar:
            stream = tar.extractfile(member)
            assert stream is not None
            members.append((member.name, stream.read()))
    forged = [(name, bytes(32) * 44 if name == "log/tile/0/001.p/44" else content) for name, content in members[1:-1]]
    assert forged != members[1:-1]
    with pytest.raises(VerificationError, match="log: the tiles of 300 entries give root"):
        restore(io.BytesIO(_archive(*forged)), tmp_path / "new" / "data")


def test_the_digest_that_was_kept_must_fit(data: Path, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="its manifest is sha256:"):
        restore(io.BytesIO(saved(data)), tmp_path / "new" / "data", digest=f"sha256:{'0' * 64}")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_backup_that_was_cut_or_flipped_is_refused_or_whole(tmp_path: Path, choice: st.DataObject) -> None:
    backup = bytearray(_archive(("trust/a.crt", b"certificate"), ("advisories.db", b"\0" * 700)))
    if choice.draw(st.booleans()):
        del backup[choice.draw(st.integers(0, len(backup) - 1)):]
    else:
        position = choice.draw(st.integers(0, len(backup) - 1))
        backup[position] ^= choice.draw(st.integers(1, 255))
    new = tmp_path / os.urandom(8).hex()
    try:
        restore(io.BytesIO(bytes(backup)), new)
    except CustodyError:
        assert not new.exists()
    else:  # the flipped bit was in padding, in a time, in a mode
        assert (new / "trust" / "a.crt").read_bytes() == b"certificate"
        assert (new / "advisories.db").read_bytes() == b"\0" * 700
    assert not [path for path in tmp_path.iterdir() if "restoring" in path.name]


def test_a_manifest_that_is_no_text_is_refused(tmp_path: Path) -> None:
    backup = bytearray(_archive(("trust/a.crt", b"certificate")))
    backup[backup.rindex(b"trust/a.crt")] = 0xFF
    with pytest.raises(MalformedError, match=r"manifest\.json: got"):
        restore(io.BytesIO(bytes(backup)), tmp_path / "new")


def test_blobs_that_are_rotten_or_gone_are_named_and_stop_no_backup(
        data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    platform = Platform(Settings(data_dir=str(data)), BASE)
    gone = push(platform, b"gone")
    platform.close()
    blobs = data / "registry" / "blobs" / "sha256"
    (blobs / gone.removeprefix("sha256:")).unlink()
    rotten = blobs / sha256(b"layer").removeprefix("sha256:")
    rotten.write_bytes(b"later")
    monkeypatch.chdir(data.parent)
    target = tmp_path / "custody.tar"
    assert run(["backup", str(target)]) == 4
    said = capsys.readouterr().err
    assert f"named by a repository, and not there: {gone}" in said
    assert f"changed at rest, and saved as it is: registry/blobs/sha256/{rotten.name}" in said
    monkeypatch.setenv("CUSTODY_DATA_DIR", str(tmp_path / "restored"))
    assert run(["restore", str(target)]) == 4
    said = capsys.readouterr().err
    assert f"in quarantine now: registry/blobs/sha256/{rotten.name}" in said
    restored = Platform(Settings(data_dir=str(tmp_path / "restored")), BASE)
    try:
        assert asyncio.run(restored.log.add(b"the next")).index == 300
        with pytest.raises(BlobUnknownError):
            restored.registry.blob("shop/app", sha256(b"layer"))
    finally:
        restored.close()


def test_a_backup_that_is_ended_leaves_no_keys_behind(data: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        place = data.parent / number.name
        place.mkdir()
        script = ("import custody.cli.backup as backup, signal, time, sys\nfrom custody.cli.main import main\n"
                  "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # nohup, which may run the tests, has it ignored
                  "def wait(*_, **__):\n    print('waiting', flush=True)\n    time.sleep(600)\n"
                  "backup.save = wait\nsys.exit(main(['backup', sys.argv[1]]))\n")
        process = subprocess.Popen([sys.executable, "-c", script, str(place / "b.tar")], text=True,
                                   stdout=subprocess.PIPE, env={**os.environ, "CUSTODY_DATA_DIR": str(data)})
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        assert len(list(place.iterdir())) == 1
        process.send_signal(number)
        process.communicate(timeout=60)
        assert (process.returncode, list(place.iterdir())) == (128 + number, [])


def test_the_commands(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(data.parent)
    target = tmp_path / "custody.tar"
    assert run(["backup", str(target)]) == 0
    assert target.stat().st_mode & 0o777 == 0o600
    told = capsys.readouterr()
    digest = told.out.strip()
    assert " files, " in told.err
    monkeypatch.setenv("CUSTODY_DATA_DIR", str(tmp_path / "restored"))
    assert run(["restore", str(target), "--digest", digest]) == 0
    told = capsys.readouterr().err
    assert "log: 300 entries" in told
    assert "will report a fork" in told
    assert run(["restore", str(target)]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert run(["restore", str(target), "--digest", "abc"]) == 2
    assert run(["restore", str(tmp_path / "none")]) == 2
    monkeypatch.setenv("CUSTODY_DATA_DIR", str(tmp_path / "empty"))
    assert run(["backup", str(target)]) == 4
    assert "nothing to save is here" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named_and_the_older_backup_is_kept(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(data.parent)
    target = tmp_path / "custody.tar"
    target.write_bytes(b"older")

    def full(handle: int, mode: str) -> IO[Any]:
        os.close(handle)
        return Path("/dev/full").open(mode)

    monkeypatch.setattr("custody.kit.destination.os.fdopen", full)
    assert run(["backup", str(target)]) == 1
    assert f"{target}: No space left on device; there is no backup, and an older file is as it was" in \
        capsys.readouterr().err
    assert target.read_bytes() == b"older"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".custody.tar")] == []
